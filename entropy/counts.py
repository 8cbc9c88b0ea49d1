"""Adaptive counts over a base distribution: what a stream has just said is likely to come again.

For alphabets of hundreds to thousands of symbols, of which a stream shows a few. Three experts
predict each symbol: the base (a trained prior, or equal chances), the symbols seen so far in the
same place (context of order 0), and those seen after the same predecessor (order 1). An expert of
counts backs off to the base in the manner of Witten and Bell ("The zero-frequency problem", 1991):
with n symbols seen it gives weight n / (n + K) to their counts. The experts are mixed with weights
that follow their success (Bayes' rule with a fixed share, Herbster and Warmuth 1998). Everything
is integer arithmetic, every symbol keeps at least one count, so what one machine writes any other
reads.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.short import ShortDecoder, ShortEncoder

Weights = NDArray[np.int64]  # [V], any total: likelihoods of the symbols

SCALE = 20  # bits of the base distribution's total, and of probabilities in general
START = (49152, 8192, 8192)  # weights of base, order 0, order 1, in 2^-16
LEAST = 512  # no expert's weight falls below this
BACK_OFF = (12, 4)  # K of order 0 and order 1


class AdaptiveCounts:
    """Experts of one stream of tokens. Encoder and decoder feed it the same symbols.

    >>> import numpy as np
    >>> model, encoder = AdaptiveCounts(), ShortEncoder()
    >>> for symbol in [7] * 100:
    ...     model.encode(encoder, equal_chances(1000), "a place", 0, symbol)
    >>> len(encoder.finish())
    5
    """

    def __init__(self) -> None:
        self._weights: tuple[int, ...] = START
        self._seen: dict[Hashable, dict[int, int]] = {}

    def encode(
        self,
        coder: ShortEncoder,
        base: Weights,
        place: Hashable,
        before: Hashable,
        symbol: int,
    ) -> None:
        """Code ``symbol`` and learn it.

        Args:
            base: from :func:`normalised`.
            place: context of order 0.
            before: what came before in that place.
        """
        freqs = self._mixture(base, place, before)
        start = int(freqs[:symbol].sum())
        coder.push(start, int(freqs[symbol]), int(freqs.sum()))
        self._learn(base, place, before, symbol)

    def decode(self, coder: ShortDecoder, base: Weights, place: Hashable, before: Hashable) -> int:
        """Inverse of :meth:`encode`."""
        ends = np.cumsum(self._mixture(base, place, before))
        slot = coder.slot(int(ends[-1]))
        symbol = int(np.searchsorted(ends, slot, side="right"))
        start = int(ends[symbol - 1]) if symbol else 0
        coder.advance(start, int(ends[symbol]) - start)
        self._learn(base, place, before, symbol)
        return symbol

    def _mixture(self, base: Weights, place: Hashable, before: Hashable) -> Weights:
        """Frequencies ``[V]``, each at least 1, of total about 2^SCALE."""
        groups = self._groups(place, before)
        share = self._weights[0]
        parts = []
        for weight, counts, back_off in zip(self._weights[1:], groups, BACK_OFF, strict=True):
            total = sum(counts.values()) + back_off
            share += weight * back_off // total
            parts.append((counts, (weight << SCALE) // total))
        freqs = (base * share >> 16) + 1
        for counts, unit in parts:
            for symbol, count in counts.items():
                freqs[symbol] += count * unit >> 16
        return freqs

    def _groups(self, place: Hashable, before: Hashable) -> tuple[dict[int, int], dict[int, int]]:
        return self._seen.get(place, {}), self._seen.get((place, before), {})

    def _learn(self, base: Weights, place: Hashable, before: Hashable, symbol: int) -> None:
        own = int(base[symbol])
        success = [own + 1]
        for counts, back_off in zip(self._groups(place, before), BACK_OFF, strict=True):
            total = sum(counts.values()) + back_off
            success.append(((counts.get(symbol, 0) << SCALE) + own * back_off) // total + 1)
        posterior = [w * s for w, s in zip(self._weights, success, strict=True)]
        total = sum(posterior)
        spread = 65536 - LEAST * len(posterior)
        self._weights = tuple(LEAST + p * spread // total for p in posterior)
        for key in (place, (place, before)):
            counts = self._seen.setdefault(key, {})
            counts[symbol] = counts.get(symbol, 0) + 1


def normalised(weights: NDArray[np.integer]) -> Weights:
    """Non-negative integers ``[..., V]`` with totals of about 2^SCALE.

    The weights' totals must be positive and below 2^42.
    """
    wide = weights.astype(np.int64)
    return (wide << SCALE) // wide.sum(-1, keepdims=True)


def equal_chances(symbols: int) -> Weights:
    """The base distribution when nothing is known."""
    return np.full(symbols, (1 << SCALE) // symbols, np.int64)
