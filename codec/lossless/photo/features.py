"""The two ends of the network: what it sees of a sample, and the probabilities that it says.

Causal neighbours go in, normalised by the local activity. A plane may look at its own samples above
and to the left, within reach of the wavefront, and at all of the planes before it. The first plane
(green or gray) is predicted from W and N; red and blue as differences to green, which is the colour
transform of this codec: it needs no wider range, since only the model works on differences.
Differences are divided by an activity s measured on the neighbours, so that the network learns
shapes and not amplitudes; this is what lets a network of ten thousand weights compete (compare the
error energy of CALIC, Wu and Memon 1997). A neighbour outside the image is replaced by the nearest
sample already known, in the same way on both sides.

Its outputs become integer cumulative frequencies: the sum node over logistic leaves. A sample v of
2^B levels has the probability

    p(v) = sum_k w_k [S((v + 1/2 - mu_k) / sigma_k) - S((v - 1/2 - mu_k) / sigma_k)],

S the logistic function, the tails belonging to the first and the last level (Salimans et al.,
"PixelCNN++", ICLR 2017, equation 2). The coder sees C(v) = floor(c * sum_k W_k T(z_k(v))) + v with
integers W_k and a table T of integers, so that every level has at least 1 of 2^24 units. Functions
are looked up in the tables of `tables`, stored with the model, never computed; the rest is one IEEE
operation after the other or an exact sum of integers below 2^53.
`laconic.entropy.categorical` makes whole tables of frequencies for models of few distributions;
here every sample has its own and only log2(levels) points of it are ever computed.

What is here are the shapes and numbers of both ends; `loops` computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import ModelError

Offsets = tuple[tuple[int, int], ...]

SLOPE = 3  # the wavefront: sample (y, x) is coded at step x + SLOPE * y ...
LAG = 2 * SLOPE + 1  # ... and LAG steps later in the next plane, which looks two rows ahead
ROUND = 32  # inputs of the network are multiples of 1 / ROUND ...
LOW, HIGH = -512, 511  # ... and have ten bits
FLOOR = 11.0  # least activity, in sixteenths of a level
NEAR = 8  # neighbours that measure the activity

_OWN: Offsets = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, 2), (-1, -2),
    (-2, -1), (-2, 1), (0, -3), (-3, 0), (-2, 2), (-2, -2), (-1, -3), (-2, 3),
    (-2, -3), (-3, -1), (-3, 1), (-3, 2), (-3, -2), (0, -4), (-1, -4), (-3, 3),
)  # fmt: skip
AROUND: Offsets = (
    (0, 0), (0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1),
    (0, 2), (2, 0), (0, -2), (-2, 0),
)  # fmt: skip
OWN: tuple[Offsets, ...] = (_OWN, _OWN[:12], _OWN[:12])  # (dy, dx), W and N first
EARLIER: tuple[Offsets, ...] = ((), AROUND, AROUND)  # of every earlier plane, the sample first
INPUTS = (27, 28, 42)  # of the network of each plane
BASE_INPUTS = 15  # more, where the lossy image that a file begins with is known


def inputs_of(plane: int, *, based: bool) -> int:
    """Number of inputs of the network of a plane."""
    return INPUTS[plane] + BASE_INPUTS * based


SCALES = 160  # activities: eight steps an octave from 1/2 level


def scale_table() -> NDArray[np.float64]:
    """The activity s in levels that each index of an activity stands for, [SCALES]."""
    index = np.arange(SCALES)
    return np.ldexp(1 + (index % 8 + 0.5) / 8, index // 8 - 1)


LOG_SCALE_LOW, LOG_SCALE_HIGH = -6.0, 5.0
LOG_SCALE_STEPS = 16  # per unit of the natural logarithm
WEIGHT_STEPS = 32
_WEIGHT_SIZE = 512
MIXTURE_BITS = 16
LEAF_BITS = 22
LEAF_STEPS = 1024  # per unit of z
LEAF_REACH = 12  # T covers -12 .. 12


def tables() -> dict[str, NDArray[np.int32]]:
    """The integer tables to store with a model: logistic function, weights, inverse scales."""
    z = np.arange(-LEAF_REACH * LEAF_STEPS, LEAF_REACH * LEAF_STEPS + 1) / LEAF_STEPS
    leaf = (0.5 + 0.5 * np.tanh(z / 2)) * (1 << LEAF_BITS)
    leaf[0], leaf[-1] = 0, 1 << LEAF_BITS
    weight = np.exp(-np.arange(_WEIGHT_SIZE) / WEIGHT_STEPS) * (1 << MIXTURE_BITS)
    count = round((LOG_SCALE_HIGH - LOG_SCALE_LOW) * LOG_SCALE_STEPS)
    inverse = np.exp(-LOG_SCALE_LOW - (np.arange(count) + 0.5) / LOG_SCALE_STEPS) * (1 << 20)
    named = {"leaf": leaf, "weight": weight, "inverse_scale": inverse}
    return {name: np.rint(values).astype(np.int32) for name, values in named.items()}


class MixtureTables:
    """The tables of a model as `loops` computes with them.

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
        if (np.diff(leaf) < 0).any() or leaf[0] != 0 or leaf[-1] != 1 << LEAF_BITS:
            raise ModelError("the model's table 'leaf' is not a distribution function")
        weight, inverse = arrays["weight"], arrays["inverse_scale"]
        if weight.min() < 0 or weight[0] < 1 or inverse.min() < 1:
            raise ModelError("the model's tables have impossible numbers")
        self.leaf = leaf.astype(np.float32)  # integers up to 2^22
        self.rise = np.append(np.diff(self.leaf), np.float32(0))
        self.weight = weight.astype(np.float64)
        self.inverse = inverse.astype(np.float64)
