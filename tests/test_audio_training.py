"""Trainings of the small audio model: which voices they hear, and how the token stage goes on."""

import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from laconic.codec.audio.semanticodec_small.config import CONFIGS, RATE
from laconic.codec.train.audio_loop import AudioRecipe
from laconic.codec.train.audio_stages import MaePair
from laconic.codec.train.audio_tokens import TokenTrainer
from laconic.codec.train.recordings import AudioCrops, Clip, load_recordings, low_voice

TINY = CONFIGS["tiny"]


def voice(pitch: float, seconds: float) -> NDArray[np.int16]:
    """A voice that glides a little about one pitch."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (pitch * time + np.sin(3 * time))
    tone = sum(np.sin(k * phase) / k for k in range(1, 15))
    return (4000 * tone).astype(np.int16)


def write(path: Path, samples: NDArray[np.int16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def test_low_voices_are_known_whatever_stands_in_the_middle() -> None:
    parts = {
        "low": voice(110, 4),
        "high": voice(220, 4),
        "a high word": np.concatenate([voice(110, 2), voice(220, 1), voice(110, 2)]),
        "a pause": np.concatenate([voice(110, 2), np.zeros(RATE, np.int16), voice(110, 2)]),
        "a low word": np.concatenate([voice(220, 2), voice(110, 1), voice(220, 2)]),
        "short": voice(110, 0.4),
    }
    expected = {"low", "a high word", "a pause", "short"}
    assert {name for name, samples in parts.items() if low_voice(samples)} == expected


def test_what_has_no_voice_is_no_low_one() -> None:
    noise = np.random.default_rng(0).normal(0, 2000, 4 * RATE).astype(np.int16)
    for samples in (noise, np.zeros(4 * RATE, np.int16), np.zeros(100, np.int16)):
        assert not low_voice(samples)


def test_few_low_voices_are_heard_a_little_more_often_than_many_high_ones() -> None:
    length = RATE
    low = [Clip("speech", np.full(length, 1000, np.int16), low=True)]
    high = [Clip("speech", np.full(length, 2000, np.int16)) for _ in range(9)]
    crops = AudioCrops([*low, *high], seed=0)
    drawn = np.array([float(crops.crop("speech", 8, False)[0]) for _ in range(3000)])
    assert np.mean(drawn < 0.04) == pytest.approx(1.2 / 2.2, abs=0.04)


def test_three_quarters_of_a_batch_are_speech() -> None:
    levels = {"general": 1000, "speech": 2000, "music": 3000}
    clips = [Clip(d, np.full(RATE, v, np.int16)) for d, v in levels.items()]
    batch = AudioCrops(clips, seed=0).batch(3000, 8, augment=False)[:, 0] * 32768
    for domain, share in (("general", 0.125), ("speech", 0.75), ("music", 0.125)):
        found = float((batch - levels[domain]).abs().lt(1).float().mean())
        assert found == pytest.approx(share, abs=0.03)


def test_recordings_of_speech_are_labelled_when_they_are_read(tmp_path: Path) -> None:
    write(tmp_path / "speech" / "man.wav", voice(110, 2))
    write(tmp_path / "speech" / "woman.wav", voice(220, 2))
    write(tmp_path / "music" / "bass.wav", voice(110, 2))
    write(tmp_path / "speech" / "validation" / "other.wav", voice(110, 2))
    train, held_out = load_recordings([tmp_path])
    assert [(c.domain, c.low) for c in train] == [
        ("music", False),
        ("speech", True),
        ("speech", False),
    ]
    assert len(held_out) == 1


@pytest.fixture
def trainer(tmp_path: Path) -> TokenTrainer:
    """The token stage of the tiny model after a masked autoencoder of random weights."""
    for name, pitch in (("a", 110), ("b", 220), ("validation/c", 150)):
        write(tmp_path / "data" / "speech" / f"{name}.wav", voice(pitch, 6))
    torch.manual_seed(0)
    before = tmp_path / "runs" / "audio-mae"
    before.mkdir(parents=True)
    torch.save({"average": MaePair(TINY).state_dict()}, before / "checkpoint.pt")
    recipe = AudioRecipe("audio-tokens", 1.0, 4, 1.28, model="tiny")
    out = tmp_path / "runs" / "audio-tokens"
    out.mkdir()
    return TokenTrainer(recipe, [tmp_path / "data"], out)


def test_a_third_of_the_samples_have_the_stages_of_the_default_rate(trainer: TokenTrainer) -> None:
    found = trainer.stages(2000, 8 * TINY.positions)
    whole = (found == TINY.stages).all(1).float().mean()  # the tiny model has fewer than four
    assert 0.33 < float(whole) < 0.5
    assert float((found == 1).all(1).float().mean()) > 0.15
    assert int(found.max()) == TINY.stages


def test_codebooks_settle_towards_the_end(trainer: TokenTrainer) -> None:
    def kept(progress: float) -> float:
        trainer.seconds = 60 * trainer.minutes * progress
        return trainer.kept()

    assert [round(kept(p), 4) for p in (0, 0.5, 0.65, 0.8, 1)] == [0.98, 0.98, 0.9885, 0.997, 0.997]
    trainer.begin(trainer.model.state_dict(), {"name": "before"})
    assert kept(0.1) == pytest.approx(0.99)
    assert kept(0.9) == pytest.approx(0.997)


def test_a_run_that_goes_on_is_gentler_and_falls_earlier(trainer: TokenTrainer) -> None:
    usual = trainer.recipe
    trainer.begin(trainer.model.state_dict(), {"name": "before"})
    further = trainer.recipe
    assert further.muon_lr < 0.5 * usual.muon_lr
    assert further.adam_lr < 0.5 * usual.adam_lr
    assert further.warmup > usual.warmup
    assert further.anneal > usual.anneal
    assert further.seed != usual.seed


def test_a_model_of_another_spectrogram_is_not_averaged_with(trainer: TokenTrainer) -> None:
    for spectrogram, share in (([256, 1024], 0.4), ([128, 512], 1.0)):
        start = {"name": "before", "spectrogram": spectrogram}
        trainer.begin(trainer.model.state_dict(), start)
        assert trainer.recipe.share == share


def test_silent_and_unvoiced_crops_train_like_others(trainer: TokenTrainer) -> None:
    wave = trainer.batch()
    wave[0] = 0
    wave[1] = 0.01 * torch.randn(wave.shape[1])
    loss, figures = trainer.loss(wave)
    loss.backward()
    assert all(np.isfinite(v) for v in figures.values())
    gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
