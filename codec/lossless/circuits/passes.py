"""The two passes over a circuit that everything else is made of: likelihoods up, posteriors down.

Records are processed in blocks. Within a block every tree edge is one matrix product up and two
down, ``[B, M] x [M, M]``, in float32 with each message scaled to a largest entry of 1 and the
logarithms of the scales added up. A block of one variable then stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.hclt import HCLT, Floats
from laconic.codec.lossless.circuits.tree import children_of

TINY = np.float32(1e-30)


def blocks(count: int, states: int, variables: int) -> Iterator[slice]:
    """Slices of records of which one variable's states fit in the cache."""
    length = int(np.clip(2**15 // states, 64, max(64, 2**24 // (states * variables))))
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))


@dataclass
class Upward:
    """Likelihoods of one block: ``states[i]`` ~ p(evidence below i | z_i) and ``messages[i]`` ~
    p(evidence below i | parent's state), both ``[B, M]`` scaled to a maximum of 1 per record;
    ``root`` is the prior times the root's likelihood."""

    states: list[Floats]
    messages: list[Floats]
    root: Floats
    log_likelihood: NDArray[np.float64]  # [B], nats


def upward(circuit: HCLT, block: NDArray[np.integer]) -> Upward:
    """Likelihood of the evidence in ``block`` ``[B, D]``; negative symbols are missing."""
    children = children_of(circuit.parents)
    count = block.shape[0]
    none = np.empty((0, 0), np.float32)
    states, messages = [none] * circuit.variables, [none] * circuit.variables
    log = np.zeros(count)
    any_missing = bool((block < 0).any())
    for node in reversed(circuit.order):
        symbols = block[:, node]
        value = circuit.leaf(node).take(symbols, axis=0, mode="wrap")
        if any_missing:
            value[symbols < 0] = 1
        for n, child in enumerate(children[node]):
            value *= messages[child]
            if n % 3 == 2:
                _rescale(value, log)
        _rescale(value, log)
        states[node] = value
        if circuit.parents[node] >= 0:
            messages[node] = value @ circuit.transitions[node].T
    top = circuit.order[0]
    root = states[top] * circuit.prior
    log += np.log(np.maximum(root.sum(axis=1, dtype=np.float64), 1e-300))
    return Upward(states, messages, root, log)


def _rescale(value: Floats, log: NDArray[np.float64]) -> None:
    scale = np.maximum(value.max(axis=1), TINY)
    value /= scale[:, None]
    log += np.log(scale, dtype=np.float64)


def downward_posteriors(circuit: HCLT, up: Upward) -> Iterator[tuple[int, Floats, Floats | None]]:
    """``(variable, p(z_i | evidence), ratio)`` from the root down, each ``[B, M]``.

    ``ratio`` is the parent's posterior over the message received, so that the posterior of an edge
    is ratio[a] * T[a, z] * states[i][z]; None at the root.
    """
    posteriors: dict[int, Floats] = {}
    top = circuit.order[0]
    left = [len(c) for c in children_of(circuit.parents)]
    for node in circuit.order:
        ratio: NDArray[Any] | None = None
        if node == top:
            posterior = up.root / np.maximum(up.root.sum(axis=1, keepdims=True), TINY)
        else:
            parent = int(circuit.parents[node])
            ratio = posteriors[parent] / np.maximum(up.messages[node], TINY)
            posterior = ratio @ circuit.transitions[node]
            posterior *= up.states[node]
            left[parent] -= 1
            if left[parent] == 0:
                del posteriors[parent]
        if left[node]:
            posteriors[node] = posterior
        yield node, posterior, ratio
