"""Outputs of the network to integer cumulative frequencies: the sum node over logistic leaves.

A sample v of 2^B levels has the probability

    p(v) = sum_k w_k [S((v + 1/2 - mu_k) / sigma_k) - S((v - 1/2 - mu_k) / sigma_k)],

S the logistic function, the tails belonging to the first and the last level (Salimans et al.,
"PixelCNN++", ICLR 2017, equation 2). The coder sees C(v) = floor(c * sum_k W_k T(z_k(v))) + v with
integers W_k and a table T of integers, so that every level has at least 1 of 2^24 units. Functions
are looked up in the tables of `tables`, stored with the model, never computed; the rest is one IEEE
operation per element or an exact sum of integers below 2^53.
`laconic.entropy.logistic` makes whole tables of frequencies for models with few distributions; here
every sample has its own and only log2(levels) points of it are ever computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.config import OUTPUT_BITS
from laconic.codec.lossless.photo.context import scale_table
from laconic.formats.errors import ModelError

Doubles = NDArray[np.float64]

PRECISION = 24
TOTAL = float(1 << PRECISION)
LOG_SCALE_LOW, LOG_SCALE_HIGH = -6.0, 5.0
_LOG_SCALE_STEPS = 16  # per unit of the natural logarithm
_WEIGHT_STEPS = 32
_WEIGHT_SIZE = 512
_WEIGHT_BITS = 16
_LEAF_BITS = 22
_LEAF_STEPS = 1024  # per unit of z
_LEAF_REACH = 12  # T covers -12 .. 12


def tables() -> dict[str, NDArray[np.int32]]:
    """The integer tables to store with a model: logistic function, weights, inverse scales."""
    z = np.arange(-_LEAF_REACH * _LEAF_STEPS, _LEAF_REACH * _LEAF_STEPS + 1) / _LEAF_STEPS
    leaf = (0.5 + 0.5 * np.tanh(z / 2)) * (1 << _LEAF_BITS)
    leaf[0], leaf[-1] = 0, 1 << _LEAF_BITS
    weight = np.exp(-np.arange(_WEIGHT_SIZE) / _WEIGHT_STEPS) * (1 << _WEIGHT_BITS)
    count = round((LOG_SCALE_HIGH - LOG_SCALE_LOW) * _LOG_SCALE_STEPS)
    inverse = np.exp(-LOG_SCALE_LOW - (np.arange(count) + 0.5) / _LOG_SCALE_STEPS) * (1 << 20)
    named = {"leaf": leaf, "weight": weight, "inverse_scale": inverse}
    return {name: np.rint(values).astype(np.int32) for name, values in named.items()}


@dataclass(frozen=True)
class Mixture:
    """Distributions of n samples, component arrays [K, n]."""

    weight: Doubles  # integers W_k; sum below 2^16
    gain: Doubles  # steps of T per level
    origin: Doubles  # place in T of the lower edge of level 0


class MixtureTables:
    """The tables of a model, and what is computed with them.

    Args:
        arrays: as made by :func:`tables`.

    Raises:
        ModelError: a table is missing or has another size or range.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        expected = tables()
        for name, table in expected.items():
            found = arrays.get(name)
            if found is None or found.shape != table.shape or found.dtype.kind != "i":
                raise ModelError(f"the model's table {name!r} is missing or has a wrong size")
        leaf = arrays["leaf"].astype(np.float64)
        if (np.diff(leaf) < 0).any() or leaf[0] != 0 or leaf[-1] != 1 << _LEAF_BITS:
            raise ModelError("the model's table 'leaf' is not a distribution function")
        self._leaf = leaf
        self._rise = np.append(np.diff(leaf), 0.0)
        self._weight = arrays["weight"].astype(np.float64)
        self._inverse = arrays["inverse_scale"].astype(np.float64)
        self._per_scale = _LEAF_STEPS * 2.0**-20 / scale_table()

    def mixture(self, out: NDArray[np.float32], base: NDArray[np.float32],
                scale: NDArray[np.int32]) -> Mixture:  # fmt: skip
        """Distributions from network outputs [3 * K, n] (logits, means, log scales), the centres
        `base` in half levels and the activities `scale`, [n]."""
        logit, mean, log_scale = out.reshape(3, -1, out.shape[1])
        below = logit.max(axis=0) - logit
        below *= np.float32(_WEIGHT_STEPS * 2.0**-OUTPUT_BITS)
        weight = self._weight.take(below.astype(np.int32), mode="clip")
        weight *= 1 << _WEIGHT_BITS
        weight /= weight.sum(axis=0) * 2.0**-_WEIGHT_BITS
        np.floor(weight, out=weight)

        step = log_scale * np.float32(_LOG_SCALE_STEPS * 2.0**-OUTPUT_BITS)
        step -= np.float32(LOG_SCALE_LOW * _LOG_SCALE_STEPS)
        gain = self._inverse.take(step.astype(np.int32), mode="clip")
        gain *= self._per_scale.take(scale)

        origin = mean * (scale_table().take(scale) * -(2.0**-OUTPUT_BITS))
        origin -= base * np.float64(0.5) + 0.5
        origin *= gain
        origin += _LEAF_REACH * _LEAF_STEPS
        return Mixture(weight, gain, origin)

    def cumulative(self, mixture: Mixture, level: Doubles, levels: int) -> Doubles:
        """C(level) for 0 < level < levels, integers [n] in float64."""
        place = mixture.gain * level
        place += mixture.origin
        if levels > 256:  # many levels lie between two entries of T
            np.maximum(place, 0.0, out=place)
            np.minimum(place, float(self._leaf.size - 1), out=place)
            index = place.astype(np.int64)
            place -= index
            place *= self._rise.take(index)
            place += self._leaf.take(index)
            np.floor(place, out=place)
        else:
            place += 0.5
            place = self._leaf.take(place.astype(np.int64), mode="clip")
        place *= mixture.weight
        total: Doubles = np.add.reduce(place, axis=0)
        total *= (TOTAL - levels) * 2.0 ** -(_LEAF_BITS + _WEIGHT_BITS)
        np.floor(total, out=total)
        total += level
        return total

    def interval(self, mixture: Mixture, value: Doubles, levels: int) -> tuple[Doubles, Doubles]:
        """Start and width in units of 2^-24 of the samples `value` [n]."""
        start = np.where(value > 0, self.cumulative(mixture, value, levels), 0.0)
        above = value + 1
        end = np.where(above < levels, self.cumulative(mixture, above, levels), TOTAL)
        return start, end - start

    def find(
        self, mixture: Mixture, slot: Doubles, levels: int
    ) -> tuple[Doubles, Doubles, Doubles]:
        """Samples whose intervals hold `slot` [n], and start and width of these, by bisection."""
        value = np.zeros(slot.size)
        start = np.zeros(slot.size)
        end = np.full(slot.size, TOTAL)
        half = levels >> 1
        while half:
            middle = value + half
            edge = self.cumulative(mixture, middle, levels)
            above = edge <= slot
            np.copyto(value, middle, where=above)
            np.copyto(start, edge, where=above)
            np.copyto(end, edge, where=~above)
            half >>= 1
        return value, start, end - start
