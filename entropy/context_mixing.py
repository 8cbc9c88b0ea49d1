"""Integers on a grid whose scales a model predicted, coded by what their neighbours came out as.

A trained entropy model gives every integer a table; what it misses shows in the integers already
coded. Here each is binarised ("more than 0?", "more than 1?", ..., sign), and the chance of each
decision is the table's, moved by five contexts that have learned how far such tables were off: for
neighbours of the same channel that were larger or smaller than expected, for other channels of the
same cell, for both together, and for the channel itself. Their corrections are mixed in the
logistic domain with weights that follow the gradient of the code length, and the decision is coded
with a binary arithmetic coder (Mahoney, "Adaptive Weighing of Context Models for Lossless Data
Compression", 2005). Signs have the signs of their neighbours as a context.

Choose this where a few per cent of the bytes are worth 0.1 microseconds a symbol, and a
`SymbolEncoder` otherwise. Integers whose table leaves next to nothing to learn (`plain`) are not
coded here: they belong into a `SymbolEncoder`, and serve as contexts only.

Everything is integers, so every machine finds the same chances. Logits are in 1/256 of a factor of
two, chances in 2^-16. What the two tables of `mixing_loops` round lies so far from where the
rounding changes that no machine's library can round it otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.mixing_loops import (
    CODE,
    DAMAGED,
    DECISIONS,
    FIRST,
    GROUPS,
    HIGH,
    KINDS,
    LEVELS,
    LOGARITHM,
    LOW,
    MODE,
    OVERRUN,
    PLAIN,
    POSITION,
    REACH,
    READ,
    SIGNS,
    SIZE,
    START,
    UNIT,
    WIDEST,
    WRITE,
    code_part,
)
from laconic.entropy.tables import CdfTables
from laconic.formats.errors import FormatError, ParameterError

Ints = NDArray[np.int64]


class Binary(NamedTuple):
    """How the symbols of each of T tables become decisions."""

    plain: NDArray[np.bool_]  # [T]
    shift: Ints  # [T], low bits of a magnitude, which are coded as they are
    group: Ints  # [T]
    expected: Ints  # [T], mean magnitude in 1/256
    logits: Ints  # [T, DECISIONS], of a magnitude beyond k when it is not below


@lru_cache(maxsize=8)
def binary(tables: CdfTables) -> Binary:
    """The binarisation that fits ``tables``: those about 0; others, and very wide ones, count as
    plain."""
    count = len(tables)
    plain, shift = np.zeros(count, bool), np.zeros(count, np.int64)
    expected, logits = np.zeros(count, np.int64), np.zeros((count, DECISIONS), np.int64)
    for t in range(count):
        freqs, low = tables.frequencies(t).astype(np.int64), int(tables.lows[t])
        plain[t] = not -WIDEST <= low <= 0 <= low + freqs.size - 2 <= WIDEST
        if plain[t]:
            continue
        values = np.abs(low + np.arange(freqs.size))
        mass = np.bincount(values, freqs).astype(np.int64)
        total = 1 << tables.precision
        plain[t] = (total - mass[0]) * PLAIN < total
        expected[t] = int((mass * np.arange(mass.size)).sum()) * UNIT >> tables.precision
        while expected[t] >> shift[t] > 4 * UNIT:
            shift[t] += 1
        beyond = total - np.concatenate(([0], np.cumsum(mass)))  # magnitudes >= m
        at = np.minimum(np.arange(DECISIONS + 1) << shift[t], mass.size)
        more = np.maximum(beyond[at], 1)
        less = np.maximum(more[:-1] - more[1:], 1)
        logits[t] = np.clip(_logarithm(more[1:]) - _logarithm(less), -REACH, REACH)
    return Binary(plain, shift, np.arange(count) * GROUPS // count, expected, logits)


def _logarithm(values: Ints) -> Ints:
    """256 log2 of positive integers, as :func:`_log` finds it."""
    found, rest = np.zeros(values.size, np.int64), values.copy()
    while (large := rest >= LOGARITHM.size).any():
        rest[large] >>= 1
        found[large] += UNIT
    return found + LOGARITHM[rest]


@dataclass(frozen=True)
class Layout:
    """What the channels of a grid's cells have to do with each other.

    Attributes:
        band: of each channel, channels of one band are alike; 0, 1, ...
        near: of each channel, those coded before it in its cell that say most of it, -1 for none.
    """

    band: Ints  # [C]
    near: Ints  # [C, any]

    @property
    def channels(self) -> int:
        """Channels of a cell."""
        return int(self.band.size)

    @property
    def bands(self) -> int:
        """How many bands there are."""
        return int(self.band.max()) + 1


class Learned(NamedTuple):
    """What contexts have learned; a copy is where another grid of the kind may start from.

    The corrections of a context are a logit in 2^-16 of a factor of two, and its visits.
    """

    common: Ints  # [contexts, 2]
    channel: Ints  # [C * KINDS, 2]
    sign: Ints  # [C * SIGNS, 2]
    weight: Ints  # [bands * KINDS, INPUTS], in 2^-16

    @classmethod
    def nothing(cls, layout: Layout) -> Learned:
        """Before anything was coded."""
        single = GROUPS * KINDS * LEVELS

        def fresh(count: int) -> Ints:
            return np.repeat(np.array([[0, FIRST]], np.int64), count, axis=0)

        return cls(
            fresh(3 * single + KINDS * LEVELS * LEVELS),
            fresh(layout.channels * KINDS),
            fresh(layout.channels * SIGNS),
            np.repeat(np.array([START], np.int64), layout.bands * KINDS, axis=0),
        )


class Seen(NamedTuple):
    """What was coded of a grid."""

    level: NDArray[np.int32]  # [cells, C], symbols
    mean: NDArray[np.int32]  # [cells, C], expected magnitudes
    total: Ints  # [cells, bands, 2], sums of magnitudes, 1/256, and of what was expected


class GridContexts:
    """The contexts of one grid of ``height`` x ``width`` cells."""

    def __init__(
        self, layout: Layout, height: int, width: int, start: Learned | None = None
    ) -> None:
        self.layout, self.height, self.width = layout, height, width
        self.learned = Learned(*(part.copy() for part in start or Learned.nothing(layout)))
        cells, channels = height * width, layout.channels
        self.seen = Seen(
            np.zeros((cells, channels), np.int32),
            np.zeros((cells, channels), np.int32),
            np.zeros((cells, layout.bands, 2), np.int64),
        )


@dataclass(frozen=True)
class Part:
    """Some of a grid, coded in one step: ``cells`` one after the other, of each the channels from
    ``first`` to before ``last``. ``reach`` are the neighbours that serve as contexts, as rows,
    columns and weights: those coded before."""

    cells: Ints
    first: int
    last: int
    reach: Ints  # [any, 3]


class _Coder:
    def __init__(self, mode: int) -> None:
        self.state = np.zeros(8, np.int64)
        self.state[HIGH], self.state[MODE] = 0xFFFFFFFF, mode

    def _run(
        self, data: NDArray[np.uint8], grid: GridContexts, part: Part, tables: CdfTables,
        indexes: NDArray[Any], symbols: Ints,
    ) -> None:  # fmt: skip
        if symbols.size != indexes.size or symbols.size != part.cells.size * (
            part.last - part.first
        ):
            raise ParameterError(
                f"{symbols.size} symbols, {indexes.size} indexes and {part.cells.size} cells of"
                f" {part.last - part.first} channels; expected one of each"
            )
        code_part(
            self.state, data, symbols, np.ascontiguousarray(indexes, np.int64),
            np.ascontiguousarray(part.cells, np.int64), part.first, part.last,
            np.array((grid.height, grid.width), np.int64), part.reach, grid.layout.near,
            grid.layout.band, grid.seen, grid.learned, binary(tables),
        )  # fmt: skip

    def _ended(self, data: bytes) -> bytes:
        """``data`` and the shortest number in the interval that is left, without trailing zeros:
        a reader goes on with zeros."""
        low, high = int(self.state[LOW]), int(self.state[HIGH])
        for count in range(4):
            step = 1 << (32 - 8 * count)
            value = -(-low // step) * step
            if value <= high:
                return (data + value.to_bytes(4, "big")).rstrip(b"\0")
        return (data + low.to_bytes(4, "big")).rstrip(b"\0")


class MixingEncoder(_Coder):
    """Writes parts of grids as one stream."""

    ROOM = 40  # bytes that a symbol may take at most: 14 decisions, sign and an Exp-Golomb code

    def __init__(self) -> None:
        super().__init__(WRITE)
        self._parts: list[bytes] = []

    def push(
        self, grid: GridContexts, part: Part, symbols: NDArray[Any], indexes: NDArray[Any],
        tables: CdfTables,
    ) -> None:  # fmt: skip
        """Code the symbols of a part but those of plain tables, and learn from all."""
        values = np.ascontiguousarray(symbols, np.int64).copy()
        coded = values.size - int(binary(tables).plain[indexes].sum())
        data = np.empty(self.ROOM * coded + 8, np.uint8)
        self.state[POSITION], self.state[SIZE] = 0, data.size
        self._run(data, grid, part, tables, indexes, values)
        self._parts.append(data[: int(self.state[POSITION])].tobytes())

    def finish(self) -> bytes:
        """The stream."""
        return self._ended(b"".join(self._parts))


class MixingDecoder(_Coder):
    """Reads what a :class:`MixingEncoder` wrote."""

    def __init__(self, data: bytes) -> None:
        super().__init__(READ)
        self._data = np.frombuffer(data + b"\0", np.uint8).copy()
        self.state[SIZE], self.state[POSITION] = len(data), 4
        self.state[CODE] = int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def pull(
        self, grid: GridContexts, part: Part, symbols: NDArray[Any], indexes: NDArray[Any],
        tables: CdfTables,
    ) -> NDArray[np.int32]:  # fmt: skip
        """The symbols of a part; ``symbols`` holds those of plain tables.

        Raises ``FormatError`` for what no encoder writes.
        """
        values = np.ascontiguousarray(symbols, np.int64).copy()
        self._run(self._data, grid, part, tables, indexes, values)
        if self.state[DAMAGED] or self.state[OVERRUN] > 3:
            raise FormatError("the data ends before its symbols do; it is damaged")
        return values.astype(np.int32)

    def finish(self) -> None:
        """Raise ``FormatError`` unless the data ends as an encoder ends it."""
        data = self._data[: int(self.state[SIZE])].tobytes()
        if self._ended(data[: max(int(self.state[POSITION]) - 4, 0)]) != data:
            raise FormatError("the data does not end where its symbols do; it is damaged")


def joined(layout: Layout, parts: Sequence[NDArray[Any]]) -> Learned:
    """What was learned, from its arrays as they are stored; raises ``FormatError``."""
    fresh = Learned.nothing(layout)
    if [p.shape for p in parts] != [p.shape for p in fresh]:
        raise FormatError("the stored contexts are not those of this layout")
    return Learned(*(np.ascontiguousarray(part, np.int64) for part in parts))
