"""Sizes and number formats of the network of one colour plane.

All steps between numbers are powers of two, so that scaling never rounds and the network in float32
with rounded weights (training) and the network on integers (coding) are the same function.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from laconic.codec.lossless.photo.context import INPUTS, inputs_of
from laconic.formats.errors import ModelError

INPUT_BITS = 5  # inputs are multiples of 2^-5, -512 .. 511
HIDDEN_BITS = 6  # activations are multiples of 2^-6, 0 .. 1023
WEIGHT_BITS = 8  # weights are multiples of 2^-8, -511 .. 511
SKIP_BITS = HIDDEN_BITS + WEIGHT_BITS - INPUT_BITS  # weights from inputs to outputs: 2^-9
OUTPUT_BITS = HIDDEN_BITS + WEIGHT_BITS  # outputs are multiples of 2^-14
INTEGER_BITS = {
    "w1": WEIGHT_BITS, "b1": INPUT_BITS + WEIGHT_BITS, "w2": WEIGHT_BITS, "b2": OUTPUT_BITS,
    "w3": WEIGHT_BITS, "skip": SKIP_BITS, "b3": OUTPUT_BITS,
}  # fmt: skip
"""The integers of each tensor are multiples of 2^-n."""
WEIGHT_LIMIT = 511
HIDDEN_LIMIT = 1023
EXACT = 1 << 24  # float32 holds all integers below: no sum may reach it


@dataclass(frozen=True)
class PhotoConfig:
    """Widths of the two hidden layers for each plane, the number of logistics, and whether the
    networks see a lossy picture as well."""

    hidden: tuple[tuple[int, int], ...] = ((128, 96), (96, 64), (96, 64))
    components: int = 5
    based: bool = False

    @property
    def inputs(self) -> list[int]:
        """Inputs of the network of each plane."""
        return [inputs_of(plane, based=self.based) for plane in range(len(INPUTS))]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "hidden": [list(h) for h in self.hidden]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PhotoConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError``."""
        try:
            hidden = tuple((int(a), int(b)) for a, b in values["hidden"])
            components = int(values["components"])
            based = bool(values.get("based", False))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's configuration is damaged: {error}") from error
        if len(hidden) != len(INPUTS) or not 1 <= components <= 16:
            raise ModelError(
                f"the model has {len(hidden)} planes and {components} components: expected"
                f" {len(INPUTS)} and 1 to 16"
            )
        return cls(hidden, components, based)


CONFIGS = {"photo": PhotoConfig(), "photo-preview": PhotoConfig(based=True)}
