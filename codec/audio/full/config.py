"""Configuration of the published SemantiCodec models.

Three rates exist, named by the tokens per second of both streams: 100, 50 and 25, which differ in
how many neighbouring patches are stacked into one token (K = 1, 2, 4). Everything else is shared.
Widths are free so that the same code runs at any size; ``config_of`` gives the published ones.
Paper: Liu et al., SemantiCodec, IEEE JSTSP 18(8) 2024 (arXiv 2405.00233).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laconic.codec.configs import from_values, to_values
from laconic.formats.errors import ModelError

RATE = 16_000
MEL_BINS = 128  # of the analysis spectrogram
FRAMES = 1024  # of the analysis spectrogram, 10 ms each: one window
PATCH = 16  # side of a patch in frames and in bins
PATCH_SAMPLES = PATCH * RATE // 100  # 2,560: 0.16 s
GRID = (FRAMES // PATCH, MEL_BINS // PATCH)  # patches of a window in time, in frequency
POSITION_WIDTH = 192  # sine-cosine position of the diffusion's condition
STACKS = {1: (1, 1), 2: (1, 2), 4: (2, 2)}  # K -> patches stacked in time, in frequency
LSTM_LAYERS = {1: 4, 2: 3, 4: 2}
SEMANTIC_SIZES = (4096, 8192, 16384, 32768)
LICENCE = "CC BY-NC 4.0 (AudioMAE): not for commercial use"
MAX_WIDTH = 8192


@dataclass(frozen=True)
class FullConfig:
    """Numbers that fix the tensors of a model."""

    stack: int = 1  # K: patches per token
    semantic: int = 8192  # centroids of the merged semantic codebook
    acoustic: int = 8192  # entries of the acoustic codebook
    width: int = 768  # AudioMAE
    depth: int = 12
    heads: int = 12
    pretraining_width: int = 512  # decoder of the masked pre-training, which no codec needs
    pretraining_depth: int = 8
    lstm_layers: int = 4
    unet_channels: int = 64
    unet_multipliers: tuple[int, ...] = (1, 2, 3, 5)
    head_width: int = 32  # of the diffusion network's attention
    vae_channels: int = 128
    vae_multipliers: tuple[int, ...] = (1, 2, 4)
    latent: int = 8  # channels of the latent that is diffused
    mel_bins: int = 64  # of the spectrogram that is synthesised
    vocoder_channels: int = 1024

    def __post_init__(self) -> None:
        widths = (self.width, self.pretraining_width, self.unet_channels, self.vae_channels)
        sensible = (
            self.stack in STACKS
            and all(1 <= w <= MAX_WIDTH for w in widths)
            and 1 <= self.semantic <= 1 << 16
            and 1 <= self.acoustic <= 1 << 16
            and self.width % (4 * self.heads) == 0
            and self.pretraining_width % 4 == 0
            and 1 <= self.depth <= 64
            and 0 <= self.pretraining_depth <= 64
            and 1 <= self.lstm_layers <= 16
            and self.unet_channels % 32 == 0
            and self.vae_channels % 32 == 0
            and 1 <= len(self.unet_multipliers) <= 8
            and 1 <= len(self.vae_multipliers) <= 8
            and all(1 <= m <= 16 for m in (*self.unet_multipliers, *self.vae_multipliers))
            and 1 <= self.head_width <= self.unet_channels
            and 1 <= self.latent <= 64
            and self.mel_bins % 2 ** (len(self.vae_multipliers) - 1) == 0
            and 1 <= self.mel_bins <= 256
            and self.vocoder_channels % 32 == 0
            and self.vocoder_channels <= MAX_WIDTH
        )
        if not sensible:
            raise ModelError(
                f"no SemantiCodec stacks {self.stack} patches of width {self.width} with"
                f" {self.lstm_layers} LSTM layers, a diffusion network of"
                f" {self.unet_channels} x {list(self.unet_multipliers)} channels and a vocoder of"
                f" {self.vocoder_channels}"
            )

    @property
    def features(self) -> int:
        """Width of a stacked feature, of a centroid and of an acoustic code: 768 K."""
        return self.width * self.stack

    @property
    def context(self) -> int:
        """Width of the diffusion's condition: both codes and the position."""
        return 2 * self.features + POSITION_WIDTH

    @property
    def tokens(self) -> int:
        """Positions of a window."""
        return GRID[0] * GRID[1] // self.stack

    @property
    def token_rate(self) -> int:
        """Tokens per second of both streams, the name of a published model."""
        return 100 // self.stack

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, time, frequency of a window's latent."""
        reduction = 2 ** (len(self.vae_multipliers) - 1)
        return self.latent, FRAMES // reduction, self.mel_bins // reduction

    def to_dict(self) -> dict[str, Any]:
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FullConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError`` for unknown or missing entries."""
        return from_values(cls, values, "; import its checkpoint again")


def config_of(token_rate: int, semantic: int = 8192) -> FullConfig:
    """The published model of 100, 50 or 25 tokens per second. Raises ``ModelError``."""
    stack = 100 // token_rate if token_rate in (100, 50, 25) else 0
    if not stack:
        raise ModelError(
            f"no SemantiCodec of {token_rate} tokens per second was published: there are 100, 50"
            " and 25"
        )
    return FullConfig(stack=stack, semantic=semantic, lstm_layers=LSTM_LAYERS[stack])
