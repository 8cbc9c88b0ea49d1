"""Adaptive binary models whose predictions are mixed, a whole array of decisions at a time.

Each decision has several contexts; each context has a probability that follows what it has seen.
Their logits are weighed, the weights follow the gradient of the cost, and everything is renewed
after each array: the decoder can do the same. All of it is integer arithmetic with tables from
decimal arithmetic, so every machine finds the same probabilities. `laconic.entropy.CdfTables` is
the choice where tables are known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError

Ints = NDArray[np.int64]

ONE = 1 << 16  # probabilities that are coded
FINE = 22  # bits of the probabilities of contexts
FEW = 12  # decisions that are handled one by one
LEAST = 24  # least probability, in 1 / ONE
LIMIT = 255  # observations after which a context forgets
REACH = 2047  # of a logit, in units of 1 / 256
WEIGHT = 16  # bits of a weight of one
PRIOR = 6 << 22  # evidence that initial weights stand for
_START = np.array([77], dtype=np.uint32)  # see laconic.entropy.coder
_ERRORS = (ValueError, AssertionError, RuntimeError)


@cache
def _stretch() -> Ints:
    """Logits of 4096 probabilities, in 1 / 256."""
    with localcontext(Context(prec=24)):
        odds = [(Decimal(2 * k + 1) / Decimal(8191 - 2 * k)).ln() for k in range(4096)]
        return np.array([int((256 * x).to_integral_value()) for x in odds], np.int64)


@cache
def _squash() -> Ints:
    """Probabilities in 1 / ONE of logits from -REACH to REACH."""
    with localcontext(Context(prec=24)):
        found = []
        for k in range(-REACH, REACH + 1):
            value = Decimal(ONE) / (1 + (-Decimal(k) / 256).exp())
            found.append(min(max(int(value.to_integral_value()), LEAST), ONE - LEAST))
        return np.array(found, np.int64)


@cache
def _trust() -> Ints:
    """Share of a logit, in 1 / 256, that a context contributes after n observations."""
    return np.array([256 * (2 * n + 1) // (2 * n + 4) for n in range(LIMIT + 1)], np.int64)


@cache
def _lists() -> tuple[list[int], list[int], list[int]]:
    return _stretch().tolist(), _trust().tolist(), _squash().tolist()


@dataclass(frozen=True)
class Prediction:
    """Chances of a one in 1 / ONE ``[n]``, places and logits ``[m, n]``; of few decisions lists."""

    chances: Ints
    places: Ints
    logits: Ints
    few: tuple[list[list[int]], list[list[int]], list[int]] | None = None


class Model:
    """Decisions of one kind.

    Args:
        sizes: number of contexts of each of the m sets.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        ends = np.cumsum(sizes)
        self._offsets = (ends - np.array(sizes))[:, None].astype(np.int64)
        self.chance = np.full(int(ends[-1]), 1 << (FINE - 1), np.int64)
        self.seen = np.zeros(int(ends[-1]), np.int64)
        self.weights = np.full(len(sizes), (3 << WEIGHT) // (2 * len(sizes)), np.int64)
        self.evidence = np.full(len(sizes), PRIOR, np.int64)

    def predict(self, contexts: Ints) -> Prediction:
        """Probabilities of a one, for contexts ``[m, n]``."""
        places = contexts + self._offsets
        if contexts.shape[1] <= FEW:
            return self._predict_few(places)
        logits = _stretch().take(self.chance.take(places) >> (FINE - 12))
        logits *= _trust().take(self.seen.take(places))
        logits >>= 8
        mixed = (self.weights @ logits) >> WEIGHT
        np.minimum(np.maximum(mixed, -REACH, out=mixed), REACH, out=mixed)
        mixed += REACH
        return Prediction(_squash().take(mixed), places, logits)

    def learn(self, bits: Ints, made: Prediction) -> None:
        """Renew contexts and weights after an array of decisions."""
        if made.few is not None:
            self._learn_few(bits.tolist(), made)
            return
        # Newton's step for each weight: d cost / d w = sum (p - bit) logit, curvature sum p (1 - p)
        # logit^2, gathered over all arrays so far.
        chances, logits = made.chances, made.logits
        error = (bits << 16) - chances
        spread = (chances * (ONE - chances)) >> 16
        self.evidence += (logits * logits) @ spread >> 8
        self.weights += ((logits @ error) << 8) // (self.evidence * len(self.sizes) >> 8)
        # Both counts at once: a decision is worth 1, a one 2^32 more.
        both = np.bincount(made.places.reshape(-1), np.tile((bits << 32) + 1, len(self.sizes)))
        touched = np.flatnonzero(both)
        counts = both[touched].astype(np.int64)
        count, ones = counts & 0xFFFFFFFF, counts >> 32
        seen = self.seen[touched]
        # The first observation counts as much as a prior of one half an observation.
        grown = 2 * seen + 1
        count += seen
        self.chance[touched] = (self.chance[touched] * grown + (ones << (FINE + 1))) // (
            2 * count + 1
        )
        self.seen[touched] = np.minimum(count, LIMIT)

    def _predict_few(self, places: Ints) -> Prediction:
        """As `predict`, number by number: arrays cost more than they save when they are short."""
        stretch, trust, squash = _lists()
        chance, seen, weights = self.chance.item, self.seen.item, self.weights.tolist()
        columns = places.T.tolist()
        logits = [
            [stretch[chance(i) >> (FINE - 12)] * trust[seen(i)] >> 8 for i in column]
            for column in columns
        ]
        chances = []
        for column in logits:
            mixed = sum(w * x for w, x in zip(weights, column, strict=True)) >> WEIGHT
            chances.append(squash[min(max(mixed, -REACH), REACH) + REACH])
        few = (columns, logits, chances)
        return Prediction(np.array(chances, np.int64), places, places, few)

    def _learn_few(self, bits: list[int], made: Prediction) -> None:
        assert made.few is not None
        columns, logits, chances = made.few
        m = len(self.sizes)
        gradient, curvature = [0] * m, [0] * m
        found: dict[int, list[int]] = {}
        for bit, column, row, chance in zip(bits, columns, logits, chances, strict=True):
            error, spread = (bit << 16) - chance, chance * (ONE - chance) >> 16
            for k, (i, x) in enumerate(zip(column, row, strict=True)):
                gradient[k] += x * error
                curvature[k] += x * x * spread
                entry = found.setdefault(i, [0, 0])
                entry[0] += 1
                entry[1] += bit
        for k in range(m):
            evidence = self.evidence.item(k) + (curvature[k] >> 8)
            self.evidence[k] = evidence
            self.weights[k] += (gradient[k] << 8) // (evidence * m >> 8)
        for i, (count, ones) in found.items():
            seen = self.seen.item(i)
            count += seen
            self.chance[i] = (self.chance.item(i) * (2 * seen + 1) + (ones << (FINE + 1))) // (
                2 * count + 1
            )
            self.seen[i] = min(count, LIMIT)


class Reader:
    """Decisions by a model, and equiprobable bits, from a stream without trailing zero bytes.

    Raises ``FormatError`` for data that no encoder made.
    """

    def __init__(self, data: bytes) -> None:
        if data.endswith(b"\0"):
            raise FormatError("a video chunk ends in a zero byte: the file is damaged")
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        try:
            self._stack = _stack(words if words.size else _START)
        except _ERRORS as error:
            raise FormatError(f"a video chunk is damaged: {error}") from None

    def code(self, model: Model, contexts: Ints) -> Ints:
        """Decisions ``[n]`` of 0 or 1 with contexts ``[m, n]``."""
        if not contexts.shape[1]:
            return np.zeros(0, np.int64)
        made = model.predict(contexts)
        bits = self._get(made.chances)
        model.learn(bits, made)
        return bits

    def plain(self, count: int) -> Ints:
        """``count`` bits of probability one half."""
        return self._get(np.full(count, ONE // 2, np.int64)) if count else np.zeros(0, np.int64)

    def _get(self, chances: Ints) -> Ints:
        try:
            bits: NDArray[np.int32] = self._stack.decode(_bernoulli(), chances / ONE)
        except _ERRORS as error:
            raise FormatError(f"a video chunk is damaged: {error}") from None
        return bits.astype(np.int64)

    def finish(self) -> None:
        """Check that the data ends here."""
        if not np.array_equal(self._stack.get_compressed(), _START):
            raise FormatError("a video chunk is longer or shorter than its symbols: damaged file")


@cache
def _bernoulli() -> Any:
    """Exact for probabilities k / 2^16: k (2^24 - 2) has 40 bits, which float64 holds."""
    import constriction

    return constriction.stream.model.Bernoulli(perfect=False)


def _stack(words: NDArray[np.uint32]) -> Any:
    import constriction

    return constriction.stream.stack.AnsCoder(words)


def read_numbers(reader: Reader, models: list[Model], contexts: Ints, most: int) -> Ints:
    """Signed integers ``[n]`` around zero: zero?, sign, then Exp-Golomb with adaptive prefix.

    Args:
        models: zero, sign, and one for each place of the prefix.
        contexts: ``[m, n]``, of all models.
        most: largest magnitude; ``FormatError`` beyond.
    """
    out = np.zeros(contexts.shape[1], np.int64)
    chosen = np.flatnonzero(reader.code(models[0], contexts))
    if chosen.size:
        inner = contexts[:, chosen]
        sign = reader.code(models[1], inner)
        found = read_sizes(reader, models[2:], inner, most)
        out[chosen] = np.where(sign != 0, -found, found)
    return out


def read_sizes(reader: Reader, models: list[Model], contexts: Ints, most: int) -> Ints:
    """Magnitudes ``[n]`` from 1 to ``most``: Exp-Golomb, one model for each place of the prefix."""
    n = contexts.shape[1]
    if not n:
        return np.zeros(0, np.int64)
    exponent = np.zeros(n, np.int64)
    active = np.arange(n)
    for place in range(most.bit_length()):
        if not active.size:
            break
        model = models[min(place, len(models) - 1)]
        active = active[reader.code(model, contexts[:, active]) != 0]
        exponent[active] += 1
    # All suffixes together, each from its highest bit.
    ends = np.cumsum(exponent)
    found = reader.plain(int(ends[-1]))
    out = np.ones(n, np.int64)
    for place in range(int(exponent.max())):
        active = np.flatnonzero(exponent > place)
        starts = ends[active] - exponent[active]
        out[active] = 2 * out[active] + found[starts + place]
    if int(out.max()) > most:
        raise FormatError("a number of a video chunk is out of range: the file is damaged")
    return out
