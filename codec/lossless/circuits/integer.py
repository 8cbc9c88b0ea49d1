"""Circuits in integers: tables of exact totals, so that every machine computes the same mixtures.

    transitions   rows of exactly 2^16, every entry >= 1
    leaves        rows of exactly 2^18, every entry >= 1, with their cumulative sums

Mixture weights that sum to 2^14 (``walk.py``) then give distributions with a total of exactly 2^32.
All of it is stored in floats: integers below 2^53 in float64 and below 2^24 in float32 are exact,
products of matrices included, whatever the order of summation (``docs/design/records.md``).

:func:`cost` counts what the paper's order of coding would take. Liu, Mandt and Van den Broeck (ICLR
2022, section 3) make the circuit structured-decomposable, lay the larger child left in every split,
and code variables in depth-first order; for the k-th variable they evaluate again the units on the
path from its leaf up to the lowest node that holds all variables sent so far. A balanced tree of D
variables costs O(log D) evaluations of the circuit per record, a path-like one up to O(D); the
pre-order walk of :func:`plan` crosses each edge at most twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.tree import HCLT, children_of, pre_order, subtree_sizes

TRANSITION_BITS = 16
LEAF_BITS = 18
WEIGHT_BITS = 14
MAX_STATES = 1024
MAX_SYMBOLS = 1 << 14  # of one variable


@dataclass(frozen=True)
class Visit:
    """One stop of the walk: a variable, and what is sent up when subtrees end with it.

    Attributes:
        node, parent: variables; the parent is -1 at the root.
        keep: whether the likelihood of the node's own subtree will be sent up.
        ups: (child, parent, something follows below the parent, the parent sends up itself).
    """

    node: int
    parent: int
    keep: bool
    ups: tuple[tuple[int, int, bool, bool], ...]


@dataclass(frozen=True)
class IntegerCircuit:
    """Integer tables of an :class:`HCLT`.

    Attributes:
        parents: ``[D]``, -1 at the root.
        sizes: symbols of each variable.
        prior: weights of the root's states ``[M]``, float64 integers.
        transitions: ``[D, M, M]`` as [i, a, z], float32 integers;
            rows sum to 2^16.
        freqs: leaf frequencies ``[sum of sizes, M]``, float32 integers; per variable and state they
            sum to 2^18.
    """

    parents: NDArray[np.int64]
    sizes: tuple[int, ...]
    prior: NDArray[np.float64]
    transitions: NDArray[np.float32]
    freqs: NDArray[np.float32]

    @property
    def variables(self) -> int:
        """D."""
        return len(self.sizes)

    @property
    def states(self) -> int:
        """M."""
        return int(self.prior.shape[0])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First row of each variable in ``freqs``, and the end."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @cached_property
    def cumulative(self) -> NDArray[np.float32]:
        """Sum of the frequencies of smaller symbols, in the shape of ``freqs``."""
        result = np.empty_like(self.freqs)
        for first, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            part = self.freqs[first:end]
            np.cumsum(part[:-1], axis=0, out=result[first + 1 : end])
            result[first] = 0
        return result

    @cached_property
    def visits(self) -> tuple[Visit, ...]:
        """The variables in pre-order, small subtrees first, with the messages between them."""
        return plan(self.parents)

    def digest(self) -> bytes:
        """SHA-256 of all integers."""
        digest = hashlib.sha256(b"laconic.circuit.1")
        for array in (self.parents, np.array(self.sizes), self.prior, self.transitions, self.freqs):
            digest.update(np.ascontiguousarray(array, "<i4").tobytes())
        return digest.digest()

    def to_float(self) -> HCLT:
        """The same distribution for queries: probabilities in float32."""
        transitions = self.transitions / self.transitions.sum(axis=2, keepdims=True)
        return HCLT(
            self.parents,
            self.sizes,
            (self.prior / self.prior.sum()).astype(np.float32),
            transitions.astype(np.float32),
            (self.freqs / np.float32(1 << LEAF_BITS)).astype(np.float32),
        )


def from_weights(
    parents: NDArray[np.int64],
    sizes: tuple[int, ...],
    prior: NDArray[np.int64],
    transitions: NDArray[np.int64],
    leaves: NDArray[np.int64],
) -> IntegerCircuit:
    """Integer tables from integer weights (counts in any unit, >= 0) in the shapes of
    :class:`IntegerCircuit`. Integer arithmetic only, so equal weights give equal tables."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    freqs = np.empty(leaves.shape, np.float32)
    for size in sorted(set(sizes)):  # variables of one size at a time
        first = starts[:-1][np.array(sizes) == size]
        rows = first[:, None] + np.arange(size)  # [variables, size]
        chunk = max(1, 2**22 // (size * prior.size))
        for n in range(0, len(rows), chunk):
            part = rows[n : n + chunk]
            freqs[part] = np.moveaxis(
                apportion(np.moveaxis(leaves[part], 1, 2), 1 << LEAF_BITS), 2, 1
            )
    return IntegerCircuit(
        parents,
        sizes,
        apportion(prior[None], 1 << TRANSITION_BITS)[0].astype(np.float64),
        apportion(transitions, 1 << TRANSITION_BITS).astype(np.float32),
        freqs,
    )


def from_circuit(circuit: HCLT) -> IntegerCircuit:
    """Integer tables nearest to a circuit's probabilities."""

    def integers(values: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.rint(values.astype(np.float64) * (1 << 40)).astype(np.int64)

    return from_weights(
        circuit.parents,
        circuit.sizes,
        integers(circuit.prior),
        integers(circuit.transitions),
        integers(circuit.leaves),
    )


def apportion(weights: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Rows ``[..., N]`` of integers >= 1 that sum to ``total``, in proportion to the weights.

    Every entry gets 1 and its share of the rest, rounded down; what rounding leaves goes to the
    largest entry (the first of several). A row of zeros becomes even.

    >>> apportion(np.array([[3, 1, 0], [0, 0, 0]]), 16).tolist()
    [[11, 4, 1], [6, 5, 5]]
    """
    size = weights.shape[-1]
    sums = weights.sum(axis=-1, keepdims=True)
    # Products stay below 2^63: weights below 2^40 after the shift, times a total of at most 2^18.
    shift = np.maximum(0, np.frexp(sums.astype(np.float64))[1] - 44)
    weights = np.where(sums > 0, weights >> shift, 1)
    sums = weights.sum(axis=-1, keepdims=True)
    shares = 1 + weights * (total - size) // sums
    rest = total - shares.sum(axis=-1)
    largest = np.argmax(weights, axis=-1)
    flat = shares.reshape(-1, size)
    flat[np.arange(len(flat)), largest.reshape(-1)] += rest.reshape(-1)
    return flat.reshape(weights.shape)


def plan(parents: NDArray[np.int64]) -> tuple[Visit, ...]:
    """Pre-order with each edge crossed once down and at most once up.

    A finished subtree sends its likelihood up only if something follows below its parent, or if the
    parent itself has to send.
    """
    order = pre_order(parents)
    size = subtree_sizes(parents)
    last = {}
    for node, children in enumerate(children_of(parents)):
        if children:
            last[node] = max(children, key=lambda c: (size[c], c))
    keep: dict[int, bool] = {}
    for node in order:
        parent = int(parents[node])
        keep[node] = parent >= 0 and (last[parent] != node or keep[parent])
    visits = []
    for node in order:
        ups, child = [], node
        if node not in last:
            while (parent := int(parents[child])) >= 0:
                follows = last[parent] != child
                if keep[child]:
                    ups.append((child, parent, follows, keep[parent]))
                if follows:
                    break
                child = parent
        visits.append(Visit(node, int(parents[node]), keep[node], tuple(ups)))
    return tuple(visits)


@dataclass(frozen=True)
class Cost:
    """Products of a vector and an M x M table that one record takes."""

    edges: int  # one evaluation of the circuit
    balanced_encode: int
    balanced_decode: int  # eight bisection steps for each variable
    walk: int  # both directions

    @property
    def evaluations(self) -> tuple[float, float, float]:
        """Balanced encoding, balanced decoding and the walk, in evaluations of the circuit."""
        edges = max(1, self.edges)
        return self.balanced_encode / edges, self.balanced_decode / edges, self.walk / edges


def balanced_order(parents: NDArray[np.int64]) -> list[int]:
    """Depth-first, large subtrees first."""
    children, size = children_of(parents), subtree_sizes(parents)
    result, stack = [], [int(np.flatnonzero(parents < 0)[0])]
    while stack:
        node = stack.pop()
        result.append(node)
        stack += sorted(children[node], key=lambda c: (size[c], -c))
    return result


def cost(parents: NDArray[np.int64], bisections: int = 8) -> Cost:
    """Count the products of both orders for a tree of latents."""
    depth = {int(np.flatnonzero(parents < 0)[0]): 0}
    for node in balanced_order(parents):
        if parents[node] >= 0:
            depth[node] = depth[int(parents[node])] + 1
    total = 0
    top: int | None = None
    for node in balanced_order(parents):
        top = node if top is None else _meet(parents, depth, top, node)
        total += depth[node] - depth[top]  # edges on the path are evaluated again
    ups = sum(len(visit.ups) for visit in plan(parents))
    edges = len(parents) - 1
    return Cost(edges, total, total * bisections, edges + ups)


def _meet(parents: NDArray[np.int64], depth: dict[int, int], a: int, b: int) -> int:
    """Lowest common ancestor."""
    while a != b:
        if depth[a] >= depth[b]:
            a = int(parents[a])
        else:
            b = int(parents[b])
    return a
