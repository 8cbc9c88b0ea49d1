"""Losses that hear: what listeners do not notice costs nothing, what disturbs them most most."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from laconic.codec.audio.semanticodec_small.config import CONFIGS
from laconic.codec.audio.semanticodec_small.heard import (
    Disturbance,
    Heard,
    envelope_distance,
    third_octaves,
)
from laconic.codec.audio.semanticodec_small.mae import FLOOR, Synthesis


def voice(seconds: float = 2.56, pitch: float = 120.0) -> Tensor:
    """Syllables of a gliding voice, ``[1, samples]``."""
    time = torch.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * torch.pi * (pitch * time + 4 * torch.sin(4 * time))
    tone = sum(torch.sin(k * phase) / k for k in range(1, 25))
    return (0.1 * tone * torch.sin(2 * torch.pi * 2 * time).clamp(min=0))[None]


def noise(like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def heard() -> Disturbance:
    return Disturbance()


@pytest.fixture(scope="module")
def mel() -> Tensor:
    return Synthesis()(voice() + 1e-4 * noise(voice()))


def test_what_is_equal_or_masked_does_not_disturb(heard: Disturbance, mel: Tensor) -> None:
    for decoded in (mel, mel + 0.02 * noise(mel)):
        assert float(heard(decoded, mel)) < 0.01


def test_more_noise_disturbs_more(heard: Disturbance) -> None:
    sound = voice()
    clean = Synthesis()(sound)
    found = [heard(Synthesis()(sound + a * noise(sound)), clean) for a in (1e-4, 1e-3, 1e-2, 0.1)]
    assert all(a < b for a, b in pairwise(found))


def test_each_sample_of_a_batch_is_heard_alone(heard: Disturbance, mel: Tensor) -> None:
    decoded = torch.cat([mel + 0.5 * noise(mel), mel + noise(mel)])
    both = heard(decoded, mel.expand(2, -1, -1))
    for n in range(2):
        torch.testing.assert_close(heard(decoded[n : n + 1], mel)[0], both[n])


def test_the_level_of_a_recording_does_not_matter(heard: Disturbance, mel: Tensor) -> None:
    decoded = mel + 0.5 * noise(mel)
    expected = heard(decoded, mel)
    for ours, theirs in ((2.0, 2.0), (-1.5, 0.0), (0.0, -1.5)):
        found = heard(decoded + ours, mel + theirs)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_slow_change_of_level_disturbs_less_than_jumps(heard: Disturbance, mel: Tensor) -> None:
    frames = torch.arange(mel.shape[1], dtype=torch.float32)
    swelling = 0.3 * torch.sin(2 * torch.pi * frames / mel.shape[1])[None, :, None]
    jumping = 0.3 * torch.sign(torch.sin(2 * torch.pi * frames / 3 + 0.5))[None, :, None]
    slow, fast = heard(mel + swelling, mel), heard(mel + jumping, mel)
    assert slow < 0.5 * fast


@pytest.mark.parametrize("frames", [1, 13, 160])
@pytest.mark.parametrize("of_silence", [True, False])
def test_gradients_are_finite_in_silence_too(
    heard: Disturbance, mel: Tensor, frames: int, of_silence: bool
) -> None:
    whole = Heard(CONFIGS["tiny"])
    silence = torch.full((1, frames, 80), float(np.log(FLOOR)))
    target = silence if of_silence else mel[:, :frames]
    for start in (silence, target, target + noise(target)):
        decoded = start.clone().requires_grad_()
        wrong = heard(decoded, target).sum() + whole.level(decoded, target)
        wrong.backward()
        assert torch.isfinite(wrong)
        assert decoded.grad is not None
        assert torch.isfinite(decoded.grad).all()


def test_sounds_that_decode_too_quiet_or_too_loud_cost_what_they_are_off(mel: Tensor) -> None:
    level = Heard(CONFIGS["tiny"]).level
    for off in (-0.5, 0.3):
        assert float(level(mel + off, mel)) == pytest.approx(abs(off), abs=1e-3)
    silent = mel - 20
    assert float(level(torch.cat([mel, silent + 1], 1), torch.cat([mel, silent], 1))) == 0


def test_envelopes_matter_whatever_the_level_of_their_bands(mel: Tensor) -> None:
    thirds = third_octaves()
    assert envelope_distance(mel, mel, thirds) < 1e-4
    louder = mel + torch.linspace(-1, 1, 80).round()
    flat = 0.5 * mel + 0.5 * mel.mean(1, keepdim=True)
    flattened = envelope_distance(flat, mel, thirds)
    assert envelope_distance(louder, mel, thirds) < flattened < 0.5
    assert envelope_distance(mel.flip(1), mel, thirds) > 0.5
