"""Sizes of the small model. What is no field here is a fact of the design: 16 kHz, patches of 16
frames and 16 bands (0.16 s) on the analysis side, 80 bands on the synthesis side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from laconic.formats.errors import ModelError

RATE = 16_000
PATCH = 16  # frames and bands of an analysis patch
PATCH_HOP = 2_560  # samples of a patch
PATCHES = 64  # patches in the longest window: 10.24 s
BANDS = 128  # of the analysis spectrogram
PATCH_ROWS = BANDS // PATCH
MEL_BANDS = 80  # of the synthesis spectrogram
MEL_HOP = 256  # samples of a frame inside the decoder
MEL_WINDOW = 1024
MAY_BE_ZERO = ("pitch", "rounds", "refiner_depth", "vocoder_depth", "detail", "uneven")


@dataclass(frozen=True)
class SmallConfig:
    """One trained size.

    ``stack`` is the factor K of SemantiCodec (section III-B): 1 keeps every patch a position of
    its own (50 per second), 2 joins pairs of neighbouring bands (25 per second), 4 joins squares of
    two bands and two columns (12.5 per second).
    """

    stack: int = 2
    mae_dim: int = 192
    mae_depth: int = 6
    mae_heads: int = 6
    mae_features: int = 2  # last blocks whose mean is the semantic feature
    semantic: int = 2048  # centroids: general, speech and music merged 2:1:1
    acoustic: int = 1024  # entries of each acoustic stage
    stages: int = 12
    latent: int = 48  # width of the acoustic latent
    dim: int = 256  # token transformers
    heads: int = 4
    reach: float = 1.28  # seconds that attention sees to each side
    encoder_depth: int = 4
    decoder_depth: int = 4
    frame_dim: int = 192  # convolutions over synthesis frames after the token decoder
    frame_depth: int = 3
    refiner_dim: int = 192
    refiner_depth: int = 6  # 0: there is none
    vocoder_dim: int = 256
    vocoder_depth: int = 6
    pitch: int = 0  # 1: the decoder is told the pitch
    rounds: int = 0  # of fast consistency after the vocoder; 0: twelve plain ones
    mel_hop: int = MEL_HOP  # samples of a frame of the synthesis spectrogram
    mel_window: int = MEL_WINDOW  # samples that a frame is taken from
    detail: int = 0  # further numbers of a latent, which a linear layer adds to the spectrogram
    uneven: int = 0  # 1: later streams code low bands before high ones

    def __post_init__(self) -> None:
        values = asdict(self)
        reach = values.pop("reach")
        depths = [v for k, v in values.items() if k.endswith("depth")]
        possible = all(
            type(n) is int and (k in MAY_BE_ZERO or n) and 0 <= n <= 1 << 16
            for k, n in values.items()
        )
        possible = possible and isinstance(reach, int | float) and 0 <= reach <= 60
        if (
            not possible
            or max(self.pitch, self.uneven) > 1
            or self.rounds > 256
            or self.detail > 1 << 12
            or self.stack not in (1, 2, 4)
            or max(depths) > 64
            or self.stages > 64
            or self.mae_features > self.mae_depth
            or self.mel_hop not in (MEL_HOP, MEL_HOP // 2)
            or self.mel_window not in (MEL_WINDOW, MEL_WINDOW // 2)
            or (not self.vocoder_depth and not (self.pitch and self.rounds))
            or self.mae_dim % (2 * self.mae_heads)
            or self.dim % (2 * self.heads)
        ):
            raise ModelError(f"the model's configuration is impossible: {asdict(self)}")

    @property
    def span(self) -> int:
        """Patches in time that a position joins."""
        return 2 if self.stack == 4 else 1

    @property
    def rows(self) -> int:
        """Bands of patches that a position joins."""
        return 1 if self.stack == 1 else 2

    @property
    def positions(self) -> int:
        """Positions in a column."""
        return PATCH_ROWS // self.rows

    @property
    def hop(self) -> int:
        """Samples in a column."""
        return PATCH_HOP * self.span

    @property
    def frames(self) -> int:
        """Frames of the decoder in a column."""
        return self.hop // MEL_HOP

    @property
    def split(self) -> int:
        """Frames of the synthesis spectrogram that a frame of the decoder makes."""
        return MEL_HOP // self.mel_hop

    @property
    def width(self) -> int:
        """Numbers that the acoustic stages code at a position."""
        return self.latent + self.detail

    @property
    def partly(self) -> int:
        """Acoustic stages, the first ones, that do not code the detail."""
        return self.stages // 4

    @property
    def block(self) -> tuple[int, int]:
        """Frames and bands of the synthesis spectrogram at a position."""
        return self.frames * self.split, MEL_BANDS // self.positions

    @property
    def window(self) -> int:
        """Columns in the longest window."""
        return PATCHES // self.span

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; an entry that earlier models lack is left out at its default, so that
        they keep their identity."""
        values = asdict(self)
        return {k: v for k, v in values.items() if k not in LATER or v != LATER[k]}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> SmallConfig:
        """Raises ``ModelError`` for names that are no fields."""
        unknown = set(values) - {f.name for f in fields(SmallConfig)}
        if unknown:
            raise ModelError(f"unknown settings of an audio model: {', '.join(sorted(unknown))}")
        return SmallConfig(**values)


LATER = {"mel_hop": MEL_HOP, "mel_window": MEL_WINDOW, "detail": 0, "uneven": 0}
ROUNDS, FINE_ROUNDS = 32, 12
CONFIGS = {
    "small": SmallConfig(pitch=1, rounds=ROUNDS),
    "small-50": SmallConfig(stack=1, pitch=1, rounds=ROUNDS),
    "small-12": SmallConfig(stack=4, pitch=1, rounds=ROUNDS),
    "small-fine": SmallConfig(
        pitch=1, rounds=FINE_ROUNDS, refiner_depth=0, vocoder_depth=0, mel_hop=MEL_HOP // 2,
        mel_window=MEL_WINDOW // 2,
    ),
    "small-wide": SmallConfig(
        pitch=1, rounds=FINE_ROUNDS, refiner_depth=0, vocoder_depth=0, mel_hop=MEL_HOP // 2,
        mel_window=MEL_WINDOW // 2, stages=24, detail=144, uneven=1,
    ),
    "tiny": SmallConfig(  # to try the recipes out in seconds
        mae_dim=32, mae_depth=2, mae_heads=2, semantic=32, acoustic=16, stages=3, latent=8, dim=32,
        heads=2, encoder_depth=1, decoder_depth=1, frame_dim=32, frame_depth=1, refiner_dim=32,
        refiner_depth=1, vocoder_dim=32, vocoder_depth=1, pitch=1, rounds=4,
    ),
}  # fmt: skip
