"""Measures of decoded voices see a lost voice, a wrong pitch, a wrong level and a humming frame."""

import numpy as np
import pytest

from laconic.codec.evaluate import voice
from laconic.formats.audio import Audio
from laconic.formats.errors import ParameterError


def sound(samples: np.ndarray) -> Audio:
    return Audio(samples[None].astype(np.float32), 16000)


def vowel(f0: float, seconds: float = 2.0) -> np.ndarray:
    """Harmonics that fall by 6 dB an octave."""
    time = np.arange(int(16000 * seconds)) / 16000
    return sum(0.1 / h * np.sin(2 * np.pi * h * f0 * time) for h in range(1, 20))


NOISE = 0.05 * np.random.default_rng(0).standard_normal(32000)


def test_a_whisper_has_lost_its_voice() -> None:
    pytest.importorskip("parselmouth")
    said = sound(vowel(100))

    assert voice.voiced_lost(said, said) == 0
    assert voice.voiced_lost(said, sound(NOISE)) > 80


def test_an_octave_is_twelve_semitones() -> None:
    pytest.importorskip("parselmouth")
    low, high = sound(vowel(110)), sound(vowel(220))

    assert voice.f0_error(low, high) == pytest.approx(12, abs=0.1)
    assert voice.f0_error(low, low) == 0


def test_levels_are_in_decibels() -> None:
    said = vowel(150)

    assert voice.level_error(sound(said), sound(said / 2)) == pytest.approx(6.02, abs=0.01)
    with pytest.raises(ParameterError):
        voice.level_error(sound(0 * said), sound(said))


def test_a_hum_of_frames_stands_out() -> None:
    time = np.arange(len(NOISE)) / 16000
    humming = NOISE * (1 + 0.5 * np.cos(2 * np.pi * 62.5 * time))

    assert voice.frame_lines(sound(NOISE), sound(humming)) > 10
    assert voice.frame_lines(sound(NOISE), sound(NOISE)) == 0
    # Another hum is none of the frames.
    other = NOISE * (1 + 0.5 * np.cos(2 * np.pi * 70 * time))
    assert voice.frame_lines(sound(NOISE), sound(other)) < 3
