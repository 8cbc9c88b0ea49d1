"""The order in which a model codes its channels: a salient core, then groups that need only it.

An order belongs to the configuration of a model (entry ``order``), so a model with an order is
another model with another id, and encoder and decoder cannot disagree about it. It is written by
``laconic models order --write`` (``reorder.py`` says how it is found). Parts of the core are coded
one after the other; auxiliary groups know the core and nothing of each other, have a stream each
and are decoded side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeVar

from laconic.formats.errors import ModelError

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
