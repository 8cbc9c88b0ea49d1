"""Configuration of the published MLIC models, and its recognition from a checkpoint's shapes.

``MLICPP`` is the current architecture (83.5 M parameters), ``MLICPP_2023`` the one of the
checkpoints from before 2024 (116.7 M), ``MLICV2`` its successor (arXiv 2504.19119) with the same
widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laconic.codec.building import from_values, to_values
from laconic.formats.errors import ModelError

MAX_WIDTH, MAX_SLICES = 4096, 64


@dataclass(frozen=True)
class ReferenceConfig:
    """Numbers that fix the tensors of a published model."""

    transform_channels: int = 192  # N
    latent_channels: int = 320  # M
    slices: int = 10  # equal slices of y
    window: int = 5  # local attention
    heads: int = 2  # of local attention
    parameter_widths: tuple[int, ...] = (320, 256, 128)  # hidden layers of the parameter nets
    channel_widths: tuple[int, int] = (192, 128)  # hidden layers of the channel context
    residual_widths: tuple[int, ...] = (224, 128)  # hidden layers of LRP; () derives them
    narrow_synthesis: bool = False  # first block of g_s goes to N channels at once
    second: bool = False  # MLICv2: token mixing, guided slice 0, reweighting, rotary positions
    selective: bool = False  # MLICv2: leave out elements that a network expects to be zero

    def __post_init__(self) -> None:
        widths = (self.transform_channels, self.latent_channels, *self.parameter_widths)
        widths += (*self.channel_widths, *self.residual_widths)
        sensible = (
            all(isinstance(w, int) and 1 <= w <= MAX_WIDTH for w in widths)
            and len(self.channel_widths) == 2
            and len(widths) <= 16
            and 1 <= self.slices <= MAX_SLICES
            and self.latent_channels % self.slices == 0
            and self.window % 2 == 1
            and 3 <= self.window <= 15
            and 1 <= self.heads <= self.slice_channels
            and self.slice_channels % self.heads == 0
        )
        if not sensible:
            raise ModelError(
                f"no model of the MLIC family has {self.latent_channels} latent channels in"
                f" {self.slices} slices, a window of {self.window}, {self.heads} heads and layers"
                f" of {', '.join(map(str, widths[:8]))} channels"
            )

    @property
    def slice_channels(self) -> int:
        return self.latent_channels // self.slices

    def to_dict(self) -> dict[str, Any]:
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReferenceConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError`` for unknown or missing entries."""
        return from_values(cls, values, "; import its checkpoint again")


SECOND_HEADS = 2  # of MLICv2's local attention: rotary positions leave no tensor that tells
MLICPP = ReferenceConfig()
MLICPP_2023 = ReferenceConfig(residual_widths=(), narrow_synthesis=True)
MLICV2 = ReferenceConfig(second=True, selective=True)

Shapes = Mapping[str, tuple[int, ...]]


def recognise(shapes: Shapes) -> ReferenceConfig:
    """The configuration whose tensors have these shapes.

    Raises ``ModelError`` naming the first key that an MLIC++ checkpoint must have and this one
    lacks. Whether *all* shapes agree is for ``load_state_dict`` to say.
    """

    def shape(key: str, rank: int) -> tuple[int, ...]:
        found = shapes.get(key)
        if found is None or len(found) != rank:
            raise ModelError(
                f"the checkpoint is no MLIC++: {key} is {found or 'missing'}, expected a tensor of"
                f" {rank} dimensions"
            )
        return found

    transform = shape("entropy_bottleneck.quantiles", 3)[0]
    latent = shape("g_a.analysis_transform.6.weight", 4)[0]
    second = "guided.merge.weight" in shapes
    heads = SECOND_HEADS if second else shape("local_context.0.relative_position_table", 2)[1]
    window = shape("local_context.0.fusion.weight", 4)[2]
    channels = shape("local_context.0.norm1.weight", 1)[0]
    if channels == 0 or latent % channels:
        raise ModelError(
            f"the checkpoint is no MLIC++: {latent} latent channels are not whole slices of"
            f" {channels}"
        )
    net = "entropy_parameters_anchor.0.fusion."
    old = "lrp_anchor.0.lrp_transform.6.weight" in shapes
    lrp = "lrp_anchor.0.lrp_transform."
    slices = latent // channels
    return ReferenceConfig(
        transform_channels=transform,
        latent_channels=latent,
        slices=slices,
        window=window,
        heads=heads,
        parameter_widths=tuple(shape(f"{net}{i}.weight", 4)[0] for i in (0, 2, 4)),
        channel_widths=(
            (
                shape("channel_context.1.fushion.0.weight", 4)[0],
                shape("channel_context.1.fushion.2.weight", 4)[0],
            )
            if slices > 1
            else (192, 128)
        ),
        residual_widths=(() if old else tuple(shape(f"{lrp}{i}.weight", 4)[0] for i in (0, 2))),
        narrow_synthesis=(
            latent != transform
            and not second
            and shape("g_s.synthesis_transform.0.conv1.weight", 4)[0] == transform
        ),
        second=second,
        selective="keep_anchor.0.inner.weight" in shapes,
    )
