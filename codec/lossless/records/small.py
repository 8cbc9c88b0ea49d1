"""The preset `small`: a causal network for sets of small gray images, in exact integers.

A network of about 65,000 weights reads the 60 pixels before the present one within five rows and
columns, and its place, and gives a distribution over all 256 values. It models digits and icons
better than any published circuit and than ``mnist-hclt``; the circuit answers questions, knows
missing values and learns from a few thousand records, the network does none of that.

Exact everywhere: activations and weights are integers of at most 11 and 10 bits, so that sums stay
below 2^24 and float32 products are exact integers in any order; logits index a table of
exponentials made by decimal arithmetic, and frequencies come from two IEEE operations on exact
integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError

Ints = NDArray[np.int64]

RADIUS = 5
NEIGHBOURS = tuple(
    (dy, dx) for dy in range(-RADIUS, 1) for dx in range(-RADIUS, RADIUS + 1) if dy < 0 or dx < 0
)  # 60 offsets before the pixel in raster order
VALUES = 256
ACTIVATION_BITS = 6  # fraction of activations; inputs are value / 255 in these units
WEIGHT_BITS = 6  # fraction of weights
MAX_ACTIVATION = 2**11 - 1
MAX_WEIGHT = 2**9 - 1
LOGIT_STEPS = 64  # in one nat
RANGE = 18 * LOGIT_STEPS  # smaller exponentials count as the last of the table
TOTAL = float(1 << 32)


@lru_cache(maxsize=1)
def exponentials() -> NDArray[np.float64]:
    """round(2^30 exp(-k / 64)) for k in 0..1152, from decimal arithmetic of 40 places."""
    with localcontext() as context:
        context.prec = 40
        values = [
            int((Decimal(2**30) * (-Decimal(k) / LOGIT_STEPS).exp()).to_integral_value())
            for k in range(RANGE + 1)
        ]
    return np.array(values, np.float64)


@dataclass(frozen=True)
class SmallNetwork:
    """Integer weights of a network for images of one size.

    Attributes:
        height, width: of the images.
        tensors: "place_y" ``[H, h]``, "place_x" ``[W, h]``, "w1" ``[60, h]``, "w2" ``[h, h]``, "b2"
            ``[h]``, "w3" ``[h, 256]``, "b3" ``[256]``; int16 weights with 6 bits of fraction,
            biases (and places) int32 with 12.
    """

    height: int
    width: int
    tensors: Mapping[str, NDArray[Any]]

    @property
    def variables(self) -> int:
        """Pixels."""
        return self.height * self.width

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of every pixel."""
        return (VALUES,) * self.variables

    @cached_property
    def _floats(self) -> dict[str, NDArray[np.float32]]:
        return {name: array.astype(np.float32) for name, array in self.tensors.items()}

    def check(self) -> SmallNetwork:
        """This network; raises ``FormatError`` unless shapes fit and no sum can reach 2^24."""
        hidden = self.tensors["b2"].shape[0]
        shapes = {
            "place_y": (self.height, hidden), "place_x": (self.width, hidden),
            "w1": (len(NEIGHBOURS), hidden), "w2": (hidden, hidden), "b2": (hidden,),
            "w3": (hidden, VALUES), "b3": (VALUES,),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = self.tensors.get(name)
            if array is None or array.shape != shape or array.dtype.kind != "i":
                raise FormatError(f"the network's tensor {name} is missing or misshapen")
        if 0 in (self.height, self.width, hidden):
            raise FormatError("the network has no pixels or no width")
        wide = {k: np.abs(v.astype(np.int64)) for k, v in self.tensors.items()}
        inputs = 1 << ACTIVATION_BITS
        bounds = (
            inputs * wide["w1"].sum(axis=0) + wide["place_y"].max(0) + wide["place_x"].max(0),
            MAX_ACTIVATION * wide["w2"].sum(axis=0) + wide["b2"],
            MAX_ACTIVATION * wide["w3"].sum(axis=0) + wide["b3"],
        )
        if max(int(b.max()) for b in bounds) >= 1 << 24:
            raise FormatError("the network's sums may reach 2^24: they would not be exact")
        return self

    def frequencies(self, padded: NDArray[np.float32], y: int, x: int) -> NDArray[np.float64]:
        """Frequencies ``[N, 256]`` of one pixel, integers >= 1 that sum to 2^32.

        ``padded`` ``[N, H + 5, W + 10]`` holds the pixels so far in units of 1/64, 0 outside.
        """
        rows, columns = RADIUS + y, RADIUS + x
        net = self._floats
        seen = np.stack([padded[:, rows + dy, columns + dx] for dy, dx in NEIGHBOURS], axis=1)
        hidden = seen @ net["w1"] + (net["place_y"][y] + net["place_x"][x])
        hidden = _activate(hidden) @ net["w2"] + net["b2"]
        logits = np.floor((_activate(hidden) @ net["w3"] + net["b3"]) * _LOGIT_SCALE)
        below = np.minimum(logits.max(axis=1, keepdims=True) - logits, RANGE).astype(np.int64)
        weights = exponentials()[below]  # [N, 256]
        scale = (TOTAL - VALUES) / weights.sum(axis=1)
        freqs = np.floor(weights * scale[:, None]) + 1
        rows_ = np.arange(len(freqs))
        freqs[rows_, weights.argmax(axis=1)] += TOTAL - freqs.sum(axis=1)
        return freqs

    def walk(self, count: int, code: Callable[[int, NDArray[np.float64]], Ints]) -> None:
        """Visit all pixels of ``count`` images in raster order.

        ``code(pixel, freqs [N, 256])`` returns the values ``[N]``, written or read.
        """
        shape = (count, self.height + RADIUS, self.width + 2 * RADIUS)
        padded = np.zeros(shape, np.float32)
        for y in range(self.height):
            for x in range(self.width):
                values = code(y * self.width + x, self.frequencies(padded, y, x))
                padded[:, RADIUS + y, RADIUS + x] = _input(values)


_LOGIT_SCALE = np.float32(LOGIT_STEPS / 2 ** (ACTIVATION_BITS + WEIGHT_BITS))


def _input(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Pixels 0..255 in units of 1/64, 0..64."""
    return (values + 2) >> 2


def _activate(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """ReLU, rounded down to 6 bits of fraction and clipped to 11 bits."""
    result: NDArray[np.float32] = np.clip(
        np.floor(sums * np.float32(2.0**-WEIGHT_BITS)), 0, MAX_ACTIVATION
    )
    return result


def interval(freqs: NDArray[np.float64], values: Ints) -> tuple[Any, Any]:
    """``(starts, widths)`` of values under frequencies ``[N, 256]``."""
    rows = np.arange(len(freqs))
    ends = np.cumsum(freqs, axis=1)
    widths = freqs[rows, values]
    return ends[rows, values] - widths, widths


def locate(freqs: NDArray[np.float64], slots: NDArray[np.float64]) -> tuple[Ints, Any, Any]:
    """``(values, starts, widths)`` of the intervals that hold the slots ``[N]``."""
    ends = np.cumsum(freqs, axis=1)
    values = (ends <= slots[:, None]).sum(axis=1)
    rows = np.arange(len(freqs))
    widths = freqs[rows, values]
    return values, ends[rows, values] - widths, widths
