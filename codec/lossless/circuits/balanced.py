"""The paper's order of coding, counted: which units are evaluated again for each variable.

Liu, Mandt and Van den Broeck (ICLR 2022, section 3) make the circuit structured-decomposable, lay
the larger child left in every split, and code variables in depth-first order; for the k-th variable
they evaluate again the units on the path from its leaf up to the lowest node that holds all
variables sent so far. A balanced tree of D variables costs O(log D) evaluations of the circuit per
record, a path-like one up to O(D); the pre-order walk (``walk.py``) crosses each edge at most
twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.integer import plan
from laconic.codec.lossless.circuits.tree import children_of, subtree_sizes


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


def order(parents: NDArray[np.int64]) -> list[int]:
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
    for node in order(parents):
        if parents[node] >= 0:
            depth[node] = depth[int(parents[node])] + 1
    total = 0
    top: int | None = None
    for node in order(parents):
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
