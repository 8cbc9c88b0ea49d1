"""Measures of decoded voices see a lost voice, a wrong pitch, a wrong level, a humming frame,
another speaker and other words."""

from importlib.util import find_spec

import numpy as np
import pytest

from laconic.codec.audio import speaker
from laconic.codec.evaluate import audio_measures
from laconic.formats.audio import Audio
from laconic.formats.errors import ParameterError, UnsupportedError

NOISE = 0.05 * np.random.default_rng(0).standard_normal(32000)


def sound(samples: np.ndarray) -> Audio:
    return Audio(samples[None].astype(np.float32), 16000)


def vowel(f0: float, seconds: float = 2.0) -> np.ndarray:
    """Harmonics that fall by 6 dB an octave."""
    time = np.arange(int(16000 * seconds)) / 16000
    return sum(0.1 / h * np.sin(2 * np.pi * h * f0 * time) for h in range(1, 20))


def test_a_whisper_has_lost_its_voice() -> None:
    pytest.importorskip("parselmouth")
    said = sound(vowel(100))

    assert audio_measures.voiced_lost(said, said) == 0
    assert audio_measures.voiced_lost(said, sound(NOISE)) > 80


def test_an_octave_is_twelve_semitones() -> None:
    pytest.importorskip("parselmouth")
    low, high = sound(vowel(110)), sound(vowel(220))

    assert audio_measures.f0_error(low, high) == pytest.approx(12, abs=0.1)
    assert audio_measures.f0_error(low, low) == 0


def test_levels_are_in_decibels() -> None:
    said = vowel(150)

    assert audio_measures.level_error(sound(said), sound(said / 2)) == pytest.approx(6.02, abs=0.01)
    with pytest.raises(ParameterError):
        audio_measures.level_error(sound(0 * said), sound(said))


def test_a_hum_of_frames_stands_out() -> None:
    time = np.arange(len(NOISE)) / 16000
    humming = NOISE * (1 + 0.5 * np.cos(2 * np.pi * 62.5 * time))

    assert audio_measures.frame_lines(sound(NOISE), sound(humming)) > 10
    assert audio_measures.frame_lines(sound(NOISE), sound(NOISE)) == 0
    # Another hum is none of the frames.
    other = NOISE * (1 + 0.5 * np.cos(2 * np.pi * 70 * time))
    assert audio_measures.frame_lines(sound(NOISE), sound(other)) < 3


def test_lines_by_chance_are_no_hum() -> None:
    random = np.random.default_rng(1)
    found = [
        audio_measures.frame_lines(
            *(sound(0.05 * random.standard_normal(160000)) for _ in range(2))
        )
        for _ in range(12)
    ]

    assert abs(np.mean(found)) < 1


def test_a_speaker_is_most_like_himself_however_quiet() -> None:
    if find_spec("resemblyzer") is None:
        pytest.skip("the weights of Resemblyzer are not installed")
    low, high = vowel(100), vowel(300)

    assert audio_measures.speaker_similarity(sound(low / 20), sound(low / 50)) > 0.99
    assert audio_measures.speaker_similarity(sound(low), sound(high)) < 0.8
    with pytest.raises(ParameterError, match="silence"):
        audio_measures.speaker_similarity(sound(0 * low), sound(low))


def test_speakers_without_the_weights_name_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    audio_measures._speaker_network.cache_clear()
    monkeypatch.setattr(speaker, "find_spec", lambda name: None)

    with pytest.raises(UnsupportedError, match="pip install --no-deps Resemblyzer"):
        audio_measures.speaker_similarity(sound(vowel(100)), sound(vowel(100)))


@pytest.mark.parametrize(
    ("said", "heard", "error"),
    [
        ("a b c d", "a b c d", 0),
        ("a b c d", "a c d", 25),
        ("a b c d", "a x b c d", 25),
        ("a b c d", "", 100),
        ("a b", "x y z", 150),
    ],
)
def test_wrong_missing_and_added_words_each_count_once(
    monkeypatch: pytest.MonkeyPatch, said: str, heard: str, error: float
) -> None:
    words = {100: said.split(), 200: heard.split()}
    monkeypatch.setattr(
        audio_measures, "_words", lambda recording: words[len(recording.samples[0])]
    )

    assert audio_measures.word_error(sound(np.ones(100)), sound(np.ones(200))) == error


def test_silence_has_no_words() -> None:
    pytest.importorskip("pocketsphinx")

    with pytest.raises(ParameterError, match="no words"):
        audio_measures.word_error(sound(np.zeros(16000)), sound(vowel(100)))
