"""Configuration of the MLIC-family image model: the numbers that fix its tensors.

One family serves every size. ``small`` is the model whose weights ship; a larger configuration
is a change of numbers, not of code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from laconic.formats.errors import ModelError


@dataclass(frozen=True)
class MlicConfig:
    """Widths and depths. ``slices`` are the channels of y per slice, in coding order."""

    luma: int = 64  # features of the sum colour at 1/8 resolution
    chroma: int = 48  # features of each difference colour at 1/8 resolution
    slices: tuple[int, ...] = (16, 24, 40, 80, 160)  # channels of y at 1/16, uneven, energy order
    z_channels: int = 64  # hyper-latent at 1/64
    hyper: int = 128  # hyperprior features at 1/16
    context: int = 64  # channel-wise context features
    attention: int = 32  # features of each attention context
    heads: int = 2
    window: int = 5  # checkerboard local attention
    hidden: int = 128  # width of the parameter networks
    encoder_blocks: int = 3
    decoder_blocks: int = 4
    rate_anchors: int = 13  # control points of every per-quality vector
    scale_low: float = 0.11
    scale_high: float = 256.0
    scale_count: int = 128

    @property
    def features(self) -> int:
        """Channels at 1/8 resolution."""
        return self.luma + 2 * self.chroma

    @property
    def latent(self) -> int:
        """Channels of y."""
        return sum(self.slices)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "slices": list(self.slices)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MlicConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError`` for unknown or missing entries."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            wrong = sorted(set(values) ^ names)
            raise ModelError(
                f"the model's configuration differs in {wrong}: it is of another version of the"
                " image codec; install the version that the model names"
            )
        try:
            config = cls(**{**values, "slices": tuple(values["slices"])})
            possible = config._possible()
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ModelError(f"the model's configuration is impossible: {error}") from error
        if not possible:
            raise ModelError(f"the model's configuration is impossible: {values}")
        return config

    def _possible(self) -> bool:
        counts = {k: v for k, v in asdict(self).items() if k not in ("scale_low", "scale_high")}
        slices = counts.pop("slices")
        whole = [*counts.values(), *slices]
        return (
            all(type(n) is int and 1 <= n <= 1 << 14 for n in whole)
            and 1 <= len(slices) <= 64
            and self.attention % (2 * self.heads) == 0
            and self.window % 2 == 1
            and self.window <= 63
            and max(self.encoder_blocks, self.decoder_blocks) <= 64
            and self.rate_anchors <= 256
            and 2 <= self.scale_count <= 4096
            and 0 < self.scale_low < self.scale_high < 1e6
        )


CONFIGS = {
    "small": MlicConfig(),
    "test": MlicConfig(
        luma=12,
        chroma=4,
        slices=(4, 8),
        z_channels=8,
        hyper=16,
        context=16,
        attention=8,
        hidden=16,
        encoder_blocks=1,
        decoder_blocks=1,
        rate_anchors=3,
    ),
}
