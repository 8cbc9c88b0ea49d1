"""What fixes an image model besides its weights: the numbers of its tensors, and its coding order.

One family of MLIC models serves every size: a larger configuration is a change of numbers, not of
code.

The order in which a model of any family codes its channels is a salient core, then groups that need
only it. An order belongs to the configuration of a model (entry ``order``), so a model with an
order is another model with another id, and encoder and decoder cannot disagree about it. It is
written by ``laconic models order --write`` (``reorder.py`` says how it is found). Parts of the core
are coded one after the other; auxiliary groups know the core and nothing of each other, have a
stream each and are decoded side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from typing import Any, TypeVar

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
    global_attention: bool = True  # inter-slice, intra-slice and hyperprior-guided
    # (quality, lambda): log lambda is linear in the quality between these points
    rates: tuple[tuple[float, float], ...] = ((0.0, 0.0008), (100.0, 0.12))
    detail: int = 0  # width of the network of the detail layer (``model.py``), 0 for none
    detail_from: float = 100.0  # quality above which latents stay and the detail layer refines
    dense: bool = False  # blocks of the transforms mix all channels of a neighbourhood

    @property
    def features(self) -> int:
        """Channels at 1/8 resolution."""
        return self.luma + 2 * self.chroma

    @property
    def latent(self) -> int:
        """Channels of y."""
        return sum(self.slices)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; an entry that a model's first version lacked is left out at its default,
        so that the model keeps its identity."""
        found: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name not in LATER or value != entry.default:
                found[entry.name] = _plain(value)
        return found

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MlicConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError`` for unknown or missing entries."""
        names = {field.name for field in fields(cls)}
        wrong = sorted((set(values) ^ names) - LATER)
        if wrong:
            raise ModelError(
                f"the model's configuration differs in {wrong}: it is of another version of the"
                " image codec; install the version that the model names"
            )
        try:
            config = cls(**{name: _frozen(value) for name, value in values.items()})
            possible = config._possible()
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ModelError(f"the model's configuration is impossible: {error}") from error
        if not possible:
            raise ModelError(f"the model's configuration is impossible: {values}")
        return config

    def _possible(self) -> bool:
        others = {"scale_low", "scale_high", "slices"} | LATER
        counts = [getattr(self, f.name) for f in fields(self) if f.name not in others]
        (qualities, multipliers) = zip(*self.rates, strict=True)
        return (
            all(type(n) is int and 1 <= n <= 1 << 14 for n in (*counts, *self.slices))
            and 1 <= len(self.slices) <= 64
            and self.attention % (2 * self.heads) == 0
            and self.window % 2 == 1
            and self.window <= 63
            and max(self.encoder_blocks, self.decoder_blocks) <= 64
            and self.rate_anchors <= 256
            and 2 <= self.scale_count <= 4096
            and 0 < self.scale_low < self.scale_high < 1e6
            and type(self.global_attention) is bool
            and type(self.dense) is bool
            and type(self.detail) is int
            and 0 <= self.detail <= 1 << 14
            and 0 < self.detail_from <= 100
            and 2 <= len(self.rates) <= 64
            and qualities[0] == 0
            and qualities[-1] == 100
            and sorted(set(qualities)) == list(qualities)
            and sorted(set(multipliers)) == list(multipliers)
            and 1e-9 < multipliers[0] <= multipliers[-1] < 1e9
        )


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


# Entries that configurations of earlier models do not have.
LATER = {"global_attention", "rates", "detail", "detail_from", "dense"}


# Rates of the models with a detail layer: between 10 and 80 as the first model's.
WIDE = ((0.0, 0.00025), (10.0, 0.00132), (80.0, 0.044), (100.0, 2.0))

CONFIGS = {
    "small": MlicConfig(),
    "base": MlicConfig(
        encoder_blocks=4,
        decoder_blocks=6,
        rate_anchors=21,
        global_attention=False,
        rates=WIDE,
        detail=128,
        detail_from=85.0,
    ),
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
CONFIGS["dense"] = replace(CONFIGS["base"], dense=True)
CONFIGS["test-detail"] = replace(
    CONFIGS["test"], global_attention=False, rates=WIDE, detail=16, detail_from=85.0
)


KEY = "order"  # in the configuration of a model
Step = TypeVar("Step")
Result = TypeVar("Result")
# Runs tasks that do not depend on each other, each with a coding step of its own.
Parallel = Callable[[Sequence[Callable[[Step], Result]]], list[Result]]


@dataclass(frozen=True)
class ChannelOrder:
    """``permutation`` lists the channels of the core, then of the auxiliary groups; ``core`` and
    ``groups`` say how many belong to each part."""

    permutation: tuple[int, ...]
    core: tuple[int, ...]
    groups: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "permutation": list(self.permutation),
            "core": list(self.core),
            "groups": list(self.groups),
        }

    @classmethod
    def of(cls, config: Mapping[str, Any], channels: int) -> ChannelOrder | None:
        """The order in a model's configuration, None without one; raises ``ModelError``."""
        if KEY not in config:
            return None
        try:
            values = {k: tuple(int(i) for i in v) for k, v in dict(config[KEY]).items()}
            order = cls(**values)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model's order of channels cannot be read: {error}") from error
        sizes = (*order.core, *order.groups)
        if sorted(order.permutation) != list(range(channels)):
            raise ModelError(
                f"the model's order lists {len(order.permutation)} channels: expected each of"
                f" {channels} once"
            )
        if not order.core or min(sizes) < 1 or sum(sizes) != channels:
            raise ModelError(
                f"the parts of the model's order have {', '.join(map(str, sizes))} channels:"
                f" expected a core and {channels} channels in all"
            )
        return order

    def parts(self) -> tuple[list[list[int]], list[list[int]]]:
        """Channels of each part of the core, and of each group."""
        edges = list(accumulate((*self.core, *self.groups), initial=0))
        parts = [list(self.permutation[a:b]) for a, b in pairwise(edges)]
        return parts[: len(self.core)], parts[len(self.core) :]

    def plan(self, slices: Sequence[int]) -> Plan:
        """The same for a model that codes ``slices`` of channels as wholes.

        Raises ``ModelError`` when a part is not made of whole slices.
        """
        edges = list(accumulate(slices, initial=0))
        owner = [s for s, size in enumerate(slices) for _ in range(size)]

        def whole(part: list[int]) -> tuple[int, ...]:
            found = sorted({owner[c] for c in part})
            if sorted(part) != [c for s in found for c in range(edges[s], edges[s + 1])]:
                raise ModelError(
                    "the model's order cuts through its slices of"
                    f" {', '.join(map(str, slices))} channels, which are coded as wholes"
                )
            return tuple(found)

        core, groups = self.parts()
        return Plan(tuple(s for part in core for s in whole(part)), tuple(map(whole, groups)))


@dataclass(frozen=True)
class Plan:
    """Slices of the core in coding order, and of each auxiliary group."""

    core: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...] = ()
