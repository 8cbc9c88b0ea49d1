"""An audio model without training, for tests of everything around networks: each token says how
loud one of four tones is, later streams say it more finely. And recordings to feed it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_prior import POSITIONS, VOCABULARIES, prior_tensors
from torch import Tensor

from laconic.codec import models
from laconic.codec.audio import loading
from laconic.formats.audio import Audio
from laconic.formats.audio_writer import write_audio

NAME = "tiny-tones"
TONES = (300.0, 900.0, 2100.0, 5000.0)  # whole numbers of periods in a column
RANGE = 12.0  # natural logarithms that the first stream covers


class TinyTones:
    """Implements :class:`laconic.codec.audio.windows.AudioModel`."""

    rate, hop, positions, window = 16000, 2560, POSITIONS, 64
    knots = 0
    vocabularies = VOCABULARIES

    def __init__(self) -> None:
        time = torch.arange(self.hop) / self.rate
        self.tones = torch.stack([torch.sin(2 * torch.pi * f * time) for f in TONES])

    def to(self, device: torch.device) -> Any:
        return self

    def encode(self, wave: Tensor, streams: int) -> Tensor:
        columns = wave.reshape(len(wave), -1, self.hop)
        assert columns.shape[1] <= self.window
        level = (columns @ self.tones.T / (self.hop / 2)).abs().clamp(min=1e-9).log()
        rest = ((level + RANGE) / RANGE).clamp(0, 0.999999)  # [B, columns, 4]
        tokens = []
        for symbols in self.vocabularies[:streams]:
            rest = rest * symbols
            tokens.append(rest.floor())
            rest = rest - rest.floor()
        return torch.stack(tokens, -1).long().flatten(1, 2)

    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Tensor:
        batch, count, streams = tokens.shape
        assert count <= self.window * self.positions
        value, unit = torch.zeros(batch, count), 1.0
        for stream in range(streams):
            unit /= self.vocabularies[stream]
            value = value + tokens[..., stream] * unit
        level = ((value + unit / 2) * RANGE - RANGE).exp() * (value > 0)
        wave = level.reshape(batch, -1, self.positions) @ self.tones
        sound = wave.reshape(batch, -1)
        if steps:
            noise = torch.randn(sound.shape, generator=torch.Generator().manual_seed(seed))
            sound = sound + 0.001 * steps * noise
        return sound.clamp(-1, 1)


def install(folder: Path, patch: pytest.MonkeyPatch, *, prior: bool = True) -> None:
    """Put the model into a store and make its architecture known."""
    patch.setitem(loading.ARCHITECTURES, "tones", "tiny_audio:read_tones")
    name = NAME if prior else NAME + "-plain"
    path = folder / f"{name}.safetensors"
    if path.exists():
        return
    tensors: dict[str, NDArray[Any]] = {"nothing": np.zeros(1, np.float16)}
    if prior:
        tensors |= prior_tensors()
    models.write_model(
        path,
        name=name,
        codec="semanticodec",
        config={"architecture": "tones"},
        numerics=0,
        tensors=tensors,
        training={},
    )


def read_tones(info: models.ModelInfo) -> TinyTones:
    """The network."""
    return TinyTones()


def melody(seconds: float, rate: int = 16000, channels: int = 1, seed: int = 0) -> Audio:
    """Tones of the model that come and go; channels differ in loudness."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    time = np.arange(count) / rate
    sound = np.zeros(count)
    for tone in TONES[: 3 if rate < 12000 else 4]:
        steps = rng.uniform(0.02, 0.2, 2 + round(seconds / 0.4))
        gain = np.interp(time, 0.4 * np.arange(len(steps)), steps)
        sound += gain * np.sin(2 * np.pi * tone * time)
    gains = np.linspace(1.0, 0.3, channels)[:, None]
    return Audio((gains * sound).astype(np.float32), rate)


def wav(sound: Audio, format: str = "wav", **settings: Any) -> bytes:
    """The bytes of a file of ``sound``."""
    buffer = io.BytesIO()
    write_audio(sound, buffer, format, **settings)
    return buffer.getvalue()
