"""Small integers coded in the context of what is expected of them, with tables that adapt.

The rows of a circuit's counts are nearly multinomial: once the total of a row and the popularity of
its columns are known, each entry has an expectation given by what is left of the row. The bucket of
that expectation and the entry before select one of a few dozen adaptive tables. Encoder and decoder
run the same code; whole columns of rows are coded at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from laconic.entropy import CdfTables, SymbolDecoder, SymbolEncoder
from laconic.formats.errors import FormatError

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
