"""Chow-Liu trees: which variables should be neighbours in a circuit.

The maximum spanning tree of the pairwise mutual informations is the tree-shaped distribution
closest to the data (Chow and Liu, "Approximating discrete probability distributions with dependence
trees", IEEE Trans. Information Theory 14, 1968). It is rooted at its centre, which halves its
depth.

Hidden Chow-Liu trees: smooth, structured-decomposable circuits over discrete variables.

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

from laconic.formats.errors import ParameterError

MAX_SAMPLES = 20_000
MAX_BINS = 16
BLOCK = 1 << 18  # counts of pairs of bins that are looked at together


def mutual_information(
    data: NDArray[np.integer],
    sizes: Sequence[int],
    *,
    bins: int = MAX_BINS,
    samples: int = MAX_SAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Mutual information of every pair of columns in nats.

    Args:
        data: symbols ``[N, D]``, column i in 0..sizes[i]-1; negative symbols are missing.
        sizes: number of symbols of each column.
        bins: columns with more symbols are grouped: frequent symbols stay alone, the others share
            bins of about equal probability in their order.
        samples: at most so many records are used, drawn without replacement.
        seed: of that drawing.

    Returns:
        symmetric matrix ``[D, D]``; records in which either column is missing do not count.
    """
    if data.shape[0] > samples:
        rows = np.random.default_rng(seed).permutation(data.shape[0])[:samples]
        data = data[np.sort(rows)]
    columns, widths = [], []
    for i, size in enumerate(sizes):
        groups, count = _groups(data[:, i], size, bins)
        hot = np.zeros((data.shape[0], count), np.float32)
        present = data[:, i] >= 0
        hot[np.flatnonzero(present), groups[data[present, i]]] = 1
        columns.append(hot)
        widths.append(count)
    one_hot = np.concatenate(columns, axis=1)  # [N, sum of bins]
    starts = np.concatenate([[0], np.cumsum(widths)])
    counts = np.arange(len(one_hot) + 1, dtype=np.float64)
    logarithms = counts * np.log(np.maximum(counts, 1))  # n log n of every count
    marginal = np.empty((len(sizes), len(sizes)))
    joint_entropy = np.empty_like(marginal)
    step = max(1, BLOCK // max(1, one_hot.shape[1] * max(widths)))
    for first in range(0, len(sizes), step):  # a few variables against all: little memory
        end = min(first + step, len(sizes))
        inside = starts[first:end] - starts[first]
        joint = one_hot[:, starts[first] : starts[end]].T @ one_hot  # counts of pairs of bins
        rows_of = np.add.reduceat(joint, starts[:-1], axis=1)  # bin b of X where Y is present
        safe = np.maximum(np.add.reduceat(rows_of, inside, axis=0), 1).astype(np.float64)
        of_pairs = np.add.reduceat(logarithms[joint.astype(np.int32)], inside, axis=0)
        of_pairs = np.add.reduceat(of_pairs, starts[:-1], axis=1)
        of_bins = np.add.reduceat(logarithms[rows_of.astype(np.int32)], inside, axis=0)
        joint_entropy[first:end] = np.log(safe) - of_pairs / safe
        marginal[first:end] = np.log(safe) - of_bins / safe
    # I(X; Y) = H(X) + H(Y) - H(X, Y), each from the records in which both are present.
    information: NDArray[np.float64] = marginal + marginal.T - joint_entropy
    return np.maximum(information, 0)


def chow_liu_tree(information: NDArray[np.float64]) -> NDArray[np.int64]:
    """Parent of every variable in the maximum spanning tree, rooted at its centre.

    Args:
        information: symmetric weights ``[D, D]``.

    Returns:
        parents ``[D]``, -1 at the root.

    >>> chow_liu_tree(np.array([[0, 3, 1.0], [3, 0, 2.0], [1, 2, 0]])).tolist()
    [1, -1, 1]
    """
    count = information.shape[0]
    neighbours: list[list[int]] = [[] for _ in range(count)]
    best = information[0].copy()  # Prim: weight of the best edge into the tree
    via = np.zeros(count, np.int64)
    outside = np.ones(count, bool)
    outside[0] = False
    for _ in range(count - 1):
        new = int(np.argmax(np.where(outside, best, -np.inf)))
        old = int(via[new])
        neighbours[new].append(old)
        neighbours[old].append(new)
        outside[new] = False
        better = outside & (information[new] > best)
        best[better], via[better] = information[new][better], new
    far, _ = _farthest(neighbours, 0)
    end, before = _farthest(neighbours, far)
    path = [end]
    while path[-1] != far:
        path.append(before[path[-1]])
    return _rooted(neighbours, path[len(path) // 2])


def pre_order(parents: NDArray[np.int64]) -> list[int]:
    """Variables so that parents come first; small subtrees before large ones (ties: by number).

    With the largest subtree last, the coder sends the fewest messages up the tree.
    """
    children = children_of(parents)
    size = subtree_sizes(parents)
    order, stack = [], [int(np.flatnonzero(parents < 0)[0])]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += sorted(children[node], key=lambda c: (-size[c], -c))
    return order


def children_of(parents: NDArray[np.int64]) -> list[list[int]]:
    """Children of every variable."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents.tolist()):
        if parent >= 0:
            children[parent].append(node)
    return children


def subtree_sizes(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of variables below and at every variable."""
    size = np.ones(len(parents), np.int64)
    for node in reversed(downward(parents)):
        if parents[node] >= 0:
            size[parents[node]] += size[node]
    return size


def downward(parents: NDArray[np.int64]) -> list[int]:
    """Variables level by level from the root; raises ``ValueError`` unless they form one tree."""
    children = children_of(parents)
    order = np.flatnonzero(parents < 0).tolist()
    if len(order) != 1:
        raise ValueError(f"the tree has {len(order)} roots: expected one")
    for node in order:
        order += children[node]
        if len(order) > len(parents):
            break
    if len(order) != len(parents):
        raise ValueError("the parents do not form a tree")
    return order


def _groups(column: NDArray[np.integer], size: int, bins: int) -> tuple[NDArray[np.int64], int]:
    """Bin of every symbol, and the number of bins."""
    if size <= bins:
        return np.arange(size), size
    counts = np.bincount(column[column >= 0], minlength=size)
    middle = np.cumsum(counts) - counts / 2
    groups = np.minimum(middle * bins // max(1, counts.sum()), bins - 1).astype(np.int64)
    return groups, bins


def _farthest(neighbours: list[list[int]], start: int) -> tuple[int, dict[int, int]]:
    """The last variable reached from ``start``, and the predecessor of each on the way."""
    before, reached = {start: start}, [start]
    for node in reached:
        for other in neighbours[node]:
            if other not in before:
                before[other] = node
                reached.append(other)
    return reached[-1], before


def _rooted(neighbours: list[list[int]], root: int) -> NDArray[np.int64]:
    _, before = _farthest(neighbours, root)
    parents = np.array([before[node] for node in range(len(neighbours))], np.int64)
    parents[root] = -1
    return parents


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

    @cached_property
    def children(self) -> list[NDArray[np.int64]]:
        """Children of every variable."""
        return [np.array(c, np.int64) for c in children_of(self.parents)]

    def with_parameters(self, prior: Floats, transitions: Floats, leaves: Floats) -> HCLT:
        """The same tree with other probabilities; what is known of the tree is kept."""
        made = HCLT(self.parents, self.sizes, prior, transitions, leaves)
        shared = ("starts", "order", "children")
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k in shared})
        return made

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
