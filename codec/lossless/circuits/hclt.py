"""Hidden Chow-Liu trees: smooth, structured-decomposable circuits over discrete variables.

Every variable X_i hangs off a latent Z_i with M states, and the latents form a Chow-Liu tree:

    p(x) = sum over z of p(z_root) * prod_i p(z_i | z_parent(i)) * prod_i p(x_i | z_i)

As a circuit each (i, z) is a product unit of the leaf p(x_i | z) and of one sum unit per child
(Liu, Mandt and Van den Broeck, "Lossless Compression with Probabilistic Circuits", ICLR 2022; Liu
and Van den Broeck, "Tractable Regularization of Probabilistic Circuits", NeurIPS 2021). Any set of
variables can be marginalised in one pass: the leaf of a missing variable is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.tree import chow_liu_tree, downward, mutual_information
from laconic.formats.errors import ParameterError

Floats = NDArray[np.float32]
MISSING = -1


@dataclass(frozen=True)
class HCLT:
    """A circuit over D variables with M latent states each.

    Attributes:
        parents: tree of the variables ``[D]``, -1 at the root.
        sizes: number of symbols of each variable.
        prior: p(z_root) ``[M]``.
        transitions: p(z | parent's state a) as ``[D, M, M]``, indexed [i, a, z]; the root's is not
            used.
        leaves: p(x | z) of all variables one below the other, ``[sum of sizes, M]``; the rows
            ``starts[i] : starts[i + 1]`` belong to variable i, and each of their columns sums to 1.
    """

    parents: NDArray[np.int64]
    sizes: tuple[int, ...]
    prior: Floats
    transitions: Floats
    leaves: Floats

    @property
    def variables(self) -> int:
        """D."""
        return len(self.sizes)

    @property
    def states(self) -> int:
        """M."""
        return int(self.prior.shape[0])

    @property
    def parameters(self) -> int:
        """Number of probabilities, D M^2 + M sum of sizes."""
        return int(self.transitions.size - self.states**2 + self.prior.size + self.leaves.size)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First row of every variable in ``leaves``, and the end, ``[D + 1]``."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @cached_property
    def order(self) -> list[int]:
        """Variables level by level from the root."""
        return downward(self.parents)

    def leaf(self, variable: int) -> Floats:
        """p(x | z) of one variable, ``[symbols, M]``."""
        return self.leaves[self.starts[variable] : self.starts[variable + 1]]

    def check(self, data: NDArray[Any]) -> NDArray[np.int64]:
        """Records as int64 ``[N, D]``; raises ``ParameterError`` for anything outside the domain.

        ``MISSING`` (-1) marks a value that is not known; a masked array is filled with it, and in
        an array of floats NaN is.
        """
        if isinstance(data, np.ma.MaskedArray):
            data = np.where(np.ma.getmaskarray(data), MISSING, data.data.astype(np.int64))
        array = np.asarray(data)
        if array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or array.shape[1] != self.variables:
            raise ParameterError(
                f"the records have shape {list(np.shape(data))}: expected [N, {self.variables}]"
            )
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), MISSING, array)
            if not (array == np.floor(array)).all():
                raise ParameterError("the records hold fractions: expected integers, or NaN")
        elif array.dtype.kind not in "iub":
            raise ParameterError(f"the records are {array.dtype}: expected integers")
        outside = (array < MISSING) | (array >= np.array(self.sizes))
        if outside.any():
            row, column = (int(k) for k in np.argwhere(outside)[0])
            raise ParameterError(
                f"variable {column} of record {row} is {array[row, column]}: expected"
                f" 0..{self.sizes[column] - 1}, or -1 where it is missing"
            )
        return array.astype(np.int64)


def hclt(
    data: NDArray[np.integer],
    states: int,
    *,
    sizes: Sequence[int] | None = None,
    parents: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> HCLT:
    """A circuit with the Chow-Liu tree of the data and random parameters, to be learned.

    Args:
        data: symbols ``[N, D]``, -1 where missing.
        states: number M of latent states, 1 to 1024.
        sizes: symbols of each variable; by default the largest in the data + 1.
        parents: a tree to use instead of the data's.
        seed: of the random parameters.

    Raises:
        ParameterError: no records, or a number of states out of range.
    """
    if data.ndim != 2 or 0 in data.shape:
        raise ParameterError(f"the data has shape {list(data.shape)}: expected [N, D], both >= 1")
    if not 1 <= states <= 1024:
        raise ParameterError(f"{states} latent states: expected 1 to 1024")
    if sizes is None:
        sizes = [max(1, int(m) + 1) for m in data.max(axis=0)]
    if parents is None:
        parents = chow_liu_tree(mutual_information(data, sizes, seed=seed))
    return random_parameters(data, tuple(sizes), parents, states, seed)


def random_parameters(
    data: NDArray[np.integer],
    sizes: tuple[int, ...],
    parents: NDArray[np.int64],
    states: int,
    seed: int,
) -> HCLT:
    """Uniform(0.1, 1.1) weights, normalised; leaves start near the columns' distributions, so that
    no epoch is spent on learning those."""
    rng = np.random.default_rng(seed)
    shape = (len(sizes), states, states)
    transitions = rng.uniform(0.1, 1.1, shape).astype(np.float32)
    transitions /= transitions.sum(axis=2, keepdims=True)
    prior = rng.uniform(0.1, 1.1, states).astype(np.float32)
    leaves = []
    for i, size in enumerate(sizes):
        rows = (
            rng.uniform(0.1, 1.1, (size, states)) * column_distribution(data[:, i], size)[:, None]
        )
        leaves.append((rows / rows.sum(axis=0)).astype(np.float32))
    return HCLT(parents, sizes, prior / prior.sum(), transitions, np.concatenate(leaves))


def column_distribution(column: NDArray[np.integer], size: int) -> NDArray[np.float64]:
    """Smoothed frequencies of the symbols of one column, ``[size]``."""
    counts = np.bincount(column[column >= 0], minlength=size) + 0.05
    distribution: NDArray[np.float64] = counts / counts.sum()
    return distribution
