"""Outputs of the network to integer cumulative frequencies: the sum node over logistic leaves.

A sample v of 2^B levels has the probability

    p(v) = sum_k w_k [S((v + 1/2 - mu_k) / sigma_k) - S((v - 1/2 - mu_k) / sigma_k)],

S the logistic function, the tails belonging to the first and the last level (Salimans et al.,
"PixelCNN++", ICLR 2017, equation 2). The coder sees C(v) = floor(c * sum_k W_k T(z_k(v))) + v with
integers W_k and a table T of integers, so that every level has at least 1 of 2^24 units. Functions
are looked up in the tables of `tables`, stored with the model, never computed; the rest is one IEEE
operation after the other or an exact sum of integers below 2^53 (`loops`).
`laconic.entropy.categorical` makes whole tables of frequencies for models of few distributions;
here every sample has its own and only log2(levels) points of it are ever computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import ModelError

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
