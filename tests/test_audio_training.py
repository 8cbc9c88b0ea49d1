"""Trainings of the small audio model: which voices they hear, and how the token stage goes on."""

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from laconic.codec.audio.semanticodec_small.config import CONFIGS, RATE
from laconic.codec.audio.semanticodec_small.mae import patches_of
from laconic.codec.train import audio_tokens
from laconic.codec.train.audio_loop import AudioRecipe
from laconic.codec.train.audio_stages import MaePair
from laconic.codec.train.audio_tokens import TokenTrainer
from laconic.codec.train.recordings import AudioCrops, Clip, load_recordings, low_voice, tracks_of

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


@pytest.fixture
def detailed(trainer: TokenTrainer, monkeypatch: pytest.MonkeyPatch) -> TokenTrainer:
    """The same with detail, after its beginning."""
    wide = replace(TINY, detail=12, stages=6)
    monkeypatch.setitem(CONFIGS, "tiny", wide)
    monkeypatch.setattr(audio_tokens, "BATCHES", 6)
    made = TokenTrainer(trainer.recipe, [trainer.out.parents[1] / "data"], trainer.out)
    made.seconds = 60 * made.minutes * 0.2
    made.prepare()
    return made


def test_detail_begins_as_what_the_decoder_lacks(detailed: TokenTrainer) -> None:
    """From the first step it brings spectrograms nearer, those of all streams too."""
    wave = detailed.batch()
    target, track = detailed.synthesis(wave), tracks_of(wave)
    patches = patches_of(detailed.analysis(wave))
    detailed.train_step()  # the average follows
    assert not detailed.model.quantiser.codebooks[0, :, TINY.latent :].any()
    assert detailed.model.quantiser.codebooks[1, :, TINY.latent :].any()
    for model in (detailed.model, detailed.average):
        tokens, latents = model.latents(patches, detailed.mae(patches), target)
        centroids = model.semantic.centroids[tokens]
        entries = model.quantiser.decode(model.quantiser.encode(latents, 6))
        for numbers, share in ((latents, 0.7), (entries, 0.99)):
            without = torch.cat(
                [numbers[..., : TINY.latent], torch.zeros_like(numbers[..., TINY.latent :])], -1
            )
            errors = [
                (model.decoder(centroids, x, track) - target).abs().mean().item()
                for x in (numbers, without)
            ]
            assert errors[0] < share * errors[1]


def test_only_samples_of_many_stages_train_detail(detailed: TokenTrainer) -> None:
    """Stages that do not code it would make it grow."""
    plain = TINY.latent
    latents = torch.randn(64, 8, plain + 12, requires_grad=True)
    used = torch.full((64, 8), 1)
    used[32:] = 2  # the first stage does not code detail
    passed, _ = detailed.quantised(latents, used)
    passed.sum().backward()
    assert latents.grad is not None
    exact = (passed == latents).flatten(1).all(1)
    assert 0 < exact.sum() < 20
    assert (used[exact] == 6).all()
    few = ~exact
    few[32:] = False
    assert not latents.grad[few][..., plain:].any()
    assert (latents.grad[few][..., :plain] == 1).all()
    assert (latents.grad[32:] == 1).all()


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
