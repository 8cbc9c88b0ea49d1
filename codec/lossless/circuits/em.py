"""Learning the parameters of a circuit by expectation-maximisation, level by level.

Learning by expectation maximisation: online on sufficient statistics, then over all records.

Online EM (Cappe and Moulines, "On-line expectation-maximization algorithm for latent data models",
JRSS B 71, 2009) keeps a running average S of the expected counts and sets the parameters from it
after each batch, S <- (1 - g) S + g N / B counts. That needs far fewer passes over the data than
EM over all records, which only polishes the end. Averages of counts do better than averages of
parameters: a row that a batch does not visit keeps its evidence.

Small integers coded in the context of what is expected of them, with tables that adapt.

The rows of a circuit's counts are nearly multinomial: once the total of a row and the popularity of
its columns are known, each entry has an expectation given by what is left of the row. The bucket of
that expectation and the entry before select one of a few dozen adaptive tables. Encoder and decoder
run the same code; whole columns of rows are coded at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.queries import Scratch, blocks, downward_posteriors, upward
from laconic.codec.lossless.circuits.tree import HCLT, Floats, column_distribution
from laconic.entropy import CdfTables, SymbolDecoder, SymbolEncoder
from laconic.entropy.jit import jit
from laconic.formats.errors import FormatError

SMALL_BATCH = 50
UPDATES = 16  # in one epoch, at least, unless batches would become too small


@dataclass
class Counts:
    """Expected counts of a set of records, in the shapes of the parameters."""

    prior: Floats  # [M]
    transitions: Floats  # [D, M, M]
    leaves: Floats  # [sum of sizes, M]
    records: float
    log_likelihood: float  # nats, of all records

    def blend(self, other: Counts, step: float, total: float) -> None:
        """Move towards ``other``, scaled to ``total`` records, by ``step``, in place."""
        factor = step * total / other.records
        for mine, theirs in (
            (self.prior, other.prior),
            (self.transitions, other.transitions),
            (self.leaves, other.leaves),
        ):
            mine *= np.float32(1 - step)
            theirs *= np.float32(factor)
            mine += theirs


@dataclass(frozen=True)
class Smoothing:
    """Counts that are added before normalising.

    Attributes:
        transition: spread evenly over the states of a row.
        marginal: spread over the symbols of a leaf like the column's own distribution.
        uniform: spread evenly over the symbols of a leaf.
    """

    transition: float = 0.1
    marginal: float = 1.0
    uniform: float = 0.02


@dataclass(frozen=True)
class Schedule:
    """Online EM: passes over the data, records per update, and the steps g of the updates."""

    epochs: int = 14
    batch: int = 1000  # at most; fewer when the data are few
    first: float = 0.7  # the first ``warm`` steps
    start: float = 0.25
    end: float = 0.02
    warm: int = 3
    final: int = 2  # passes of EM over all records at the end

    def step(self, update: int, updates: int) -> float:
        """g of one update, counted from 0."""
        if update < self.warm:
            return self.first
        return self.start + (self.end - self.start) * update / max(1, updates - 1)


def expected_counts(
    circuit: HCLT, data: NDArray[np.integer], scratch: Scratch | None = None
) -> Counts:
    """E-step: how often each parameter is used in ``data`` ``[N, D]``, in expectation."""
    scratch = scratch or Scratch()
    counts = Counts(
        np.zeros_like(circuit.prior),
        np.zeros_like(circuit.transitions),
        np.zeros_like(circuit.leaves),
        float(data.shape[0]),
        0.0,
    )
    top = circuit.order[0]
    starts = circuit.starts
    for part in blocks(data.shape[0], circuit.states, circuit.variables):
        block = np.asfortranarray(data[part])
        up = upward(circuit, block, scratch)
        counts.log_likelihood += float(up.log_likelihood.sum())
        for node, posterior, ratio in downward_posteriors(circuit, up):
            if node == top:
                counts.prior += np.ascontiguousarray(posterior).sum(axis=0)
            else:
                assert ratio is not None
                counts.transitions[node] += ratio.T @ up.states[node]
            _add(counts.leaves[starts[node] : starts[node + 1]], up.symbols[node], posterior.T)
    counts.transitions *= circuit.transitions
    return counts


@jit
def _add(target: NDArray[Any], symbols: NDArray[Any], values: NDArray[Any]) -> None:
    """target[symbols[n]] += values[:, n] for every n with a symbol.

    The values of a symbol, ``[M, B]``, are summed in the order of NumPy's ``add.reduceat``: the
    first, and to it the others in pairs of halves, which loses less than one after the other."""
    ends = np.zeros(target.shape[0] + 1, np.int64)
    for n in range(symbols.size):
        if symbols[n] >= 0:
            ends[symbols[n] + 1] += 1
    for symbol in range(target.shape[0]):
        ends[symbol + 1] += ends[symbol]
    known = ends[-1]
    order = np.empty(known, np.int64)  # records sorted by symbol
    places = ends[:-1].copy()
    for n in range(symbols.size):
        if symbols[n] >= 0:
            order[places[symbols[n]]] = n
            places[symbols[n]] += 1
    column = np.empty(known, np.float32)
    for k in range(values.shape[0]):
        for n in range(known):
            column[n] = values[k, order[n]]
        for symbol in range(target.shape[0]):
            begin, count = ends[symbol], ends[symbol + 1] - ends[symbol]
            if count > 0:
                found = column[begin]
                if count > 1:
                    found += _pairwise(column, begin + 1, count - 1)
                target[symbol, k] += found


@jit
def _pairwise(values: NDArray[Any], begin: int, count: int) -> Any:
    """Sum of ``count`` values from ``begin`` on, halves first, each of at most 128 in eight."""
    if count < 8:
        some = values[begin] + np.float32(-0.0)
        for n in range(1, count):
            some += values[begin + n]
        return some
    if count > 128:
        half = count // 2
        half -= half % 8
        return _pairwise(values, begin, half) + _pairwise(values, begin + half, count - half)
    end = begin + count - count % 8
    a, b, c, d = values[begin], values[begin + 1], values[begin + 2], values[begin + 3]
    e, f, g, h = values[begin + 4], values[begin + 5], values[begin + 6], values[begin + 7]
    for n in range(begin + 8, end, 8):
        a, b, c, d = a + values[n], b + values[n + 1], c + values[n + 2], d + values[n + 3]
        e, f, g, h = e + values[n + 4], f + values[n + 5], g + values[n + 6], h + values[n + 7]
    found = (a + b + (c + d)) + (e + f + (g + h))
    for n in range(end, begin + count):
        found += values[n]
    return found


class Learner:
    """Online EM on one data set; ``run`` does the whole schedule, ``epoch`` one pass.

    Args:
        circuit: where to start.
        data: symbols ``[N, D]``, -1 where missing.
        schedule, smoothing, seed: see the classes; the seed shuffles the records.
    """

    def __init__(
        self,
        circuit: HCLT,
        data: NDArray[np.integer],
        schedule: Schedule | None = None,
        smoothing: Smoothing | None = None,
        seed: int = 0,
    ) -> None:
        self.circuit = circuit
        self.schedule = schedule or Schedule()
        self.smoothing = smoothing or Smoothing()
        self.done = 0  # epochs
        self.counts: Counts | None = None
        self._data = data
        self._scratch = Scratch()
        self._seed = seed
        batch = min(self.schedule.batch, max(SMALL_BATCH, data.shape[0] // UPDATES))
        self._updates = -(-data.shape[0] // batch)
        marginals = [column_distribution(data[:, i], s) for i, s in enumerate(circuit.sizes)]
        evened = [np.full(s, self.smoothing.uniform / s) for s in circuit.sizes]
        self._leaf_prior = (
            np.concatenate(marginals) * self.smoothing.marginal + np.concatenate(evened)
        ).astype(np.float32)[:, None]

    def epoch(self) -> float:
        """One pass of online EM; returns the mean log-likelihood on the way, nats per record."""
        rng = np.random.default_rng([self._seed, self.done])
        order = rng.permutation(self._data.shape[0])
        total = self._updates * self.schedule.epochs
        likelihood = 0.0
        for n, rows in enumerate(np.array_split(order, self._updates)):
            batch = expected_counts(self.circuit, self._data[np.sort(rows)], self._scratch)
            likelihood += batch.log_likelihood
            update = self.done * self._updates + n
            if self.counts is None:
                self.counts = batch
                scale = np.float32(len(order) / batch.records)
                for array in (batch.prior, batch.transitions, batch.leaves):
                    array *= scale
            else:
                step = self.schedule.step(update, total)
                self.counts.blend(batch, step, float(len(order)))
            self.circuit = self.maximise(self.counts)
        self.done += 1
        return likelihood / len(order)

    def full(self) -> float:
        """One pass of EM over all records; returns the mean log-likelihood before it."""
        self.counts = expected_counts(self.circuit, self._data, self._scratch)
        self.circuit = self.maximise(self.counts)
        return self.counts.log_likelihood / self.counts.records

    def maximise(self, counts: Counts) -> HCLT:
        """M-step: parameters from smoothed counts."""
        return maximise(self.circuit, counts, self.smoothing, self._leaf_prior)

    def run(self, report: Callable[[int, float], None] | None = None) -> HCLT:
        """The rest of the schedule; ``report`` gets (pass, mean log-likelihood in nats)."""
        while self.done < self.schedule.epochs:
            likelihood = self.epoch()
            if report:
                report(self.done, likelihood)
        for n in range(self.schedule.final):
            likelihood = self.full()
            if report:
                report(self.done + n + 1, likelihood)
        return self.circuit


def maximise(circuit: HCLT, counts: Counts, smoothing: Smoothing, leaf_prior: Floats) -> HCLT:
    """Normalised counts; ``leaf_prior`` ``[sum of sizes, 1]`` is added to every leaf."""
    states = circuit.states
    prior = counts.prior + np.float32(smoothing.transition / states)
    transitions = counts.transitions + np.float32(smoothing.transition / states)
    transitions /= transitions.sum(axis=2, keepdims=True)
    leaves = counts.leaves + leaf_prior
    sums = np.add.reduceat(leaves, circuit.starts[:-1], axis=0)  # [D, M]
    leaves /= np.repeat(sums, circuit.sizes, axis=0)
    return circuit.with_parameters(prior / prior.sum(), transitions, leaves)


def learn(
    circuit: HCLT,
    data: NDArray[np.integer],
    schedule: Schedule | None = None,
    smoothing: Smoothing | None = None,
    seed: int = 0,
) -> HCLT:
    """Fit a circuit to data ``[N, D]``; see :class:`Learner`."""
    return Learner(circuit, circuit.check(data), schedule, smoothing, seed).run()


Ints = NDArray[np.int64]

COUNT = 64  # units of one count
ALPHABET = 48  # levels with an entry of their own; larger ones are escaped
MAX_LEVEL = 1 << 14
_PRECISION = 16
# Bucket edges of an expected count in units of 1/64: factors of 2 below one count, 1.5 above.
_EDGES = np.array(
    [1, 2, 4, 8, 16, 32, 64, 96, 144, 216, 324, 486, 729, 1093, 1640, 2460, 3690, 5535, 8303,
     12454, 18681, 28022, 42033, 63050, 94575, 141863, 212795, 319193, 478790]
)  # fmt: skip
_BEFORE = 3  # classes of the entry before: smaller than expected, about, larger
CONTEXTS = (len(_EDGES) + 1) * _BEFORE


class LevelCoder:
    """Codes levels (integers >= 0) with adaptive tables; writes, or reads when given data.

    Args:
        data: a stream to read; None writes one.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self._encoder = SymbolEncoder() if data is None else None
        self._decoder = None if data is None else SymbolDecoder(data)
        self.bits = 0.0

    def finish(self) -> bytes:
        """The stream written, or b"" after checking the end of the one read."""
        if self._decoder is not None:
            self._decoder.finish()
            return b""
        assert self._encoder is not None
        return self._encoder.finish()

    def rows(self, levels: Ints, weights: Ints, totals: Ints, unit: int) -> Ints:
        """Code levels ``[D, R, n]`` column by column.

        Args:
            levels: to write; ignored when reading, but of the right shape.
            weights: popularity of the columns ``[D, n]``; a column of weight 0 holds zeros only.
            totals: expected sum of each row's counts ``[D, R]`` in units of 1/64.
            unit: a level l stands for the count (l * unit / 8)^2.

        Returns:
            the levels.
        """
        adaptive = _Adaptive(unit)
        result = np.zeros_like(levels)
        left = totals.astype(np.int64).copy()  # [D, R]
        rest = weights.sum(axis=1)  # [D]
        trend = np.ones(left.shape, np.int8)
        for column in range(levels.shape[2]):
            active = np.flatnonzero(weights[:, column] > 0)
            if not active.size:
                continue
            share = weights[active, column] / np.maximum(rest[active], 1)
            expected = np.floor(left[active] * share[:, None])  # two exact IEEE operations
            context = np.searchsorted(_EDGES, expected.reshape(-1), side="right") * _BEFORE
            context += trend[active].reshape(-1)
            values = self._code(levels[active, :, column].reshape(-1), context, adaptive)
            values = values.reshape(len(active), -1)
            result[active, :, column] = values
            counts = (values * unit) ** 2
            left[active] = np.maximum(left[active] - counts, 0)
            rest[active] -= weights[active, column]
            trend[active] = np.where(
                counts * 2 < expected, 0, np.where(counts > expected * 2, 2, 1)
            )
        return result

    def _code(self, values: Ints, contexts: Ints, adaptive: _Adaptive) -> Ints:
        tables = adaptive.tables()
        keys = contexts.astype(np.uint8)
        if self._decoder is not None:
            values = self._decoder.pull(keys, tables).astype(np.int64)
            if values.size and (values.min() < 0 or values.max() > MAX_LEVEL):
                raise FormatError("a circuit's table is impossible; the data is damaged")
        else:
            assert self._encoder is not None
            self._encoder.push(values, keys, tables)
        adaptive.update(values, contexts)
        return values


class _Adaptive:
    """Counts of levels in every context, and the tables made of them from time to time."""

    def __init__(self, unit: int) -> None:
        level = np.arange(ALPHABET + 1)
        middle = np.concatenate([[0], np.sqrt(_EDGES / COUNT) * 8 / unit])  # expected levels
        distance = np.abs(level[None] - np.rint(np.minimum(middle, ALPHABET))[:, None])
        start = 32 >> np.minimum(distance, 5).astype(np.int64)
        self._counts = np.repeat(start, _BEFORE, axis=0).astype(np.int64)
        self._seen, self._due = 0, 0
        self._tables: CdfTables | None = None

    def tables(self) -> CdfTables:
        """Tables of the present counts, rebuilt when an eighth more has been seen."""
        if self._tables is None or self._seen >= self._due:
            scaled = self._counts * 8 + 1
            total = scaled.sum(axis=1, keepdims=True)
            size = scaled.shape[1]
            freqs = 1 + scaled * ((1 << _PRECISION) - size) // total
            freqs[np.arange(len(freqs)), freqs.argmax(axis=1)] += (1 << _PRECISION) - freqs.sum(
                axis=1
            )
            shape = [0] * CONTEXTS, [size] * CONTEXTS
            self._tables = CdfTables(_PRECISION, *shape, freqs.reshape(-1))
            self._due = self._seen + self._seen // 8 + 64
        return self._tables

    def update(self, values: Ints, contexts: Ints) -> None:
        """Count levels just coded."""
        size = ALPHABET + 1
        flat = contexts * size + np.minimum(values, ALPHABET)
        self._counts += np.bincount(flat, minlength=CONTEXTS * size).reshape(CONTEXTS, size)
        self._seen += len(values)
