"""A circuit for the records at hand, chosen by description length: model bytes plus data bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.compact import (
    CompactCircuit,
    Rounding,
    column_counts,
    compact,
)
from laconic.codec.lossless.circuits.em import Learner, Schedule, expected_counts
from laconic.codec.lossless.circuits.hclt import HCLT, random_parameters
from laconic.codec.lossless.circuits.passes import blocks, upward
from laconic.codec.lossless.circuits.tree import chow_liu_tree, mutual_information

TRAIN_CELLS = 1 << 22  # cells looked at when learning, doubled by each step of effort
FEW = 32  # records that cannot pay for latent states, however many columns they have
ROUNDING = Rounding(transition_step=14, leaf_step=14, transition_backoff=32, leaf_backoff=48)

Note = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """A circuit, its bytes, and the estimated size of all records with it in bits."""

    compact: CompactCircuit
    data: bytes
    bits: float

    @property
    def total(self) -> float:
        """Bits of model and records together."""
        return 8 * len(self.data) + self.bits


def fit(
    symbols: NDArray[np.integer],
    sizes: tuple[int, ...],
    *,
    states: int | None = None,
    effort: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Fitted:
    """Learn a circuit for symbols ``[N, D]``.

    Args:
        states: number of latent states; None tries 8, then more or fewer until the size grows,
            and 1 alone for very few records.
        effort: 0..9; looks at more records and passes over them more often.
        progress: called with (states tried, states that may be tried).
    """
    rng = np.random.default_rng(seed)
    wanted = max(2000, (TRAIN_CELLS << effort) // max(1, len(sizes)))
    rows = np.arange(len(symbols))
    if len(rows) > wanted:
        rows = np.sort(rng.permutation(len(rows))[:wanted])
    sample = np.ascontiguousarray(symbols[rows])
    seen = column_counts(symbols, sizes)
    parents = tree_of(sample, sizes, seed)
    best: Fitted | None = None
    tried = 0

    def attempt(number: int) -> bool:
        """Whether that many states make the total smaller than before."""
        nonlocal best, tried
        fitted = _fit_states(sample, sizes, parents, number, seen, len(symbols), effort, seed)
        tried += 1
        if progress:
            progress(min(tried, 4), 5)
        better = best is None or fitted.total < best.total
        best = fitted if better else best
        return better

    if states is not None:
        attempt(states)
    elif len(symbols) < FEW:
        attempt(1)
    else:
        attempt(8)
        for number in (16, 32, 64) if attempt(16) else (4, 2, 1):
            if number != 16 and not attempt(number):
                break
    if progress:
        progress(5, 5)
    assert best is not None
    return best


def tree_of(
    sample: NDArray[np.integer], sizes: tuple[int, ...], seed: int = 0
) -> NDArray[np.int64]:
    """Chow-Liu tree, with fewer bins for many variables and a chain beyond 4096 of them."""
    count = len(sizes)
    if count > 4096:
        return np.arange(-1, count - 1)
    bins = int(np.clip(6400 // count, 2, 16))
    return chow_liu_tree(mutual_information(sample, sizes, bins=bins, seed=seed))


def _fit_states(
    sample: NDArray[np.integer],
    sizes: tuple[int, ...],
    parents: NDArray[np.int64],
    states: int,
    seen: NDArray[np.int64],
    records: int,
    effort: int,
    seed: int,
) -> Fitted:
    epochs = 1 if states == 1 else 12 + 4 * effort
    circuit = random_parameters(sample, sizes, parents, states, seed)
    learner = Learner(circuit, sample, Schedule(epochs=epochs), seed=seed)
    circuit = learner.run()
    counts = expected_counts(circuit, sample)
    scale = np.float32(records / len(sample))
    for array in (counts.prior, counts.transitions, counts.leaves):
        array *= scale
    model = compact(circuit, counts, ROUNDING, seen)
    bits = mean_bits(model.to_integer().to_float(), sample) * records
    return Fitted(model, model.pack(), bits)


def mean_bits(circuit: HCLT, data: NDArray[np.integer]) -> float:
    """Bits per record of data ``[N, D]`` under a circuit."""
    total = 0.0
    for part in blocks(len(data), circuit.states, circuit.variables):
        total -= float(upward(circuit, np.asfortranarray(data[part])).log_likelihood.sum())
    return total / len(data) / float(np.log(2))
