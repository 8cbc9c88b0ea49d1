"""Arrays and tables -> blocks of symbols, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.records.blocks import Layout, Rows, symbol_of
from laconic.codec.lossless.records.columns import (
    LARGEST,
    MAX_DICTIONARY,
    Column,
    Ints,
    Kind,
    Style,
    differences,
    distinct,
    first_base,
    join_digits,
    plan_numbers,
    plan_words,
    split_digits,
    style_of,
    unquote,
    write_numbers,
    write_words,
)
from laconic.codec.lossless.records.schema import (
    Budget,
    Cursor,
    Field,
    squeeze,
    unsqueeze,
    write_blob,
    write_signed,
)
from laconic.formats.errors import FormatError, ParameterError
from laconic.formats.frame import write_varint


@dataclass
class Prepared:
    """All rows in symbols.

    Attributes:
        fields: what the columns are.
        rows: symbols ``[N, variables]`` and places inside bins.
        values: of columns whose differences are coded, for the base of each block.
        texts: cells of TEXT columns, quotes of the style removed.
    """

    fields: list[Field]
    rows: Rows
    values: dict[int, Ints]
    texts: dict[int, list[bytes]]

    @property
    def layout(self) -> Layout:
        """Variables of the columns."""
        return Layout(tuple(field.column for field in self.fields))

    def side(self, first: int, end: int) -> bytes:
        """What a block needs beside its coded symbols: bases of differences and texts."""
        parts = []
        for values in self.values.values():
            parts.append(write_signed(first_base(values) if first == 0 else int(values[first - 1])))
        for cells in self.texts.values():
            part = cells[first:end]
            lengths = b"".join(write_varint(len(cell)) for cell in part)
            parts.append(write_blob(squeeze(write_blob(lengths) + b"".join(part))))
        return b"".join(parts)

    def block(self, first: int, end: int) -> Rows:
        """Rows first..end-1."""
        return Rows(self.rows.symbols[first:end], self.rows.rests[first:end])


class _Builder:
    def __init__(self, count: int) -> None:
        self.count = count
        self.fields: list[Field] = []
        self.digits: list[NDArray[np.uint16]] = []
        self.rests: list[Ints] = []
        self.values: dict[int, Ints] = {}
        self.texts: dict[int, list[bytes]] = {}

    def numbers(self, values: Ints, empty: NDArray[np.bool_] | None, style: Style) -> None:
        """Add a column of numbers."""
        column = plan_numbers(values, empty)
        if column.delta:
            self.values[len(self.fields)] = values
            values = differences(values, first_base(values))
        blank = np.zeros(len(values), bool) if empty is None else empty
        symbols, rest = column.encode(values, blank)
        self._add(Field(column, style), symbols, rest)

    def words(self, codes: Ints, words: Sequence[bytes], style: Style) -> None:
        """Add a column of texts."""
        if len(words) > MAX_DICTIONARY or len(words) > 64 + self.count // 2:
            self.texts[len(self.fields)] = [words[k] for k in codes]
            self.fields.append(Field(Column(Kind.TEXT), style))
            return
        column, ranked = plan_words(codes, words)
        self._add(Field(column, style), ranked, np.zeros_like(ranked))

    def _add(self, field: Field, symbols: Ints, rest: Ints) -> None:
        self.fields.append(field)
        self.digits += [d.astype(np.uint16) for d in split_digits(field.column, symbols)]
        if field.column.widths.max(initial=1) > 1:
            self.rests.append(rest)

    def finish(self) -> Prepared:
        """Everything together."""

        def stack(parts: Sequence[NDArray[np.integer]], kind: type) -> NDArray[np.integer]:
            if parts:
                return np.stack(parts, axis=1)
            return np.zeros((self.count, 0), kind)

        rows = Rows(stack(self.digits, np.uint16), stack(self.rests, np.int64).astype(np.int64))
        return Prepared(self.fields, rows, self.values, self.texts)


def prepare_array(array: NDArray[np.integer]) -> Prepared:
    """Plan and convert whole numbers ``[N, D]``.

    Raises:
        ParameterError: a value is beyond +-2^60.
    """
    builder = _Builder(len(array))
    for column in array.T:
        if column.dtype == np.uint64 and column.max(initial=0) > LARGEST:
            raise ParameterError("a value of the array is beyond 2^60: no circuit codes it")
        values = column.astype(np.int64)
        if values.size and max(-int(values.min()), int(values.max())) > LARGEST:
            raise ParameterError("a value of the array is beyond 2^60: no circuit codes it")
        builder.numbers(values, None, Style(0))
    return builder.finish()


def prepare_cells(columns: Sequence[Sequence[bytes]], count: int) -> Prepared:
    """Plan and convert columns of cells."""
    builder = _Builder(count)
    for cells in columns:
        found = distinct(cells)
        style, numbers = style_of(found.words)
        if numbers is None:
            builder.words(found.codes, unquote(style, found.words), style)
        else:
            blank = np.array([not w for w in unquote(style, found.words)], bool)
            builder.numbers(numbers[found.codes], blank[found.codes], style)
    return builder.finish()


def plain_rows(array: NDArray[np.integer]) -> Rows:
    """Symbols that are the values themselves, for circuits with a fixed domain."""
    return Rows(array, np.zeros((len(array), 0), np.int64))


@dataclass
class Side:
    """What stands beside a block's coded symbols."""

    bases: dict[int, int]
    texts: dict[int, list[bytes]]


def read_side(cursor: Cursor, fields: Sequence[Field], count: int, budget: Budget) -> Side:
    """Inverse of :meth:`Prepared.side`."""
    side = Side({}, {})
    for n, field in enumerate(fields):
        if field.column.delta:
            side.bases[n] = cursor.signed()
    for n, field in enumerate(fields):
        if field.column.kind == Kind.TEXT:
            inner = Cursor(unsqueeze(cursor.blob(), budget, "a column of texts"))
            lengths = Cursor(inner.blob())
            side.texts[n] = [inner.take(lengths.varint()) for _ in range(count)]
            lengths.end()
            inner.end()
    return side


def restore(
    fields: Sequence[Field], rows: Rows, side: Side
) -> list[tuple[Ints, NDArray[np.bool_]] | list[bytes]]:
    """Columns of a block: numbers with a mask of empty cells, or texts."""
    layout = Layout(tuple(field.column for field in fields))
    count = len(rows.symbols)
    result: list[tuple[Ints, NDArray[np.bool_]] | list[bytes]] = []
    bins = 0
    for n, (column, where) in enumerate(layout.slots()):
        if column.kind == Kind.TEXT:
            quoted = write_words(fields[n].style, side.texts[n], np.arange(len(side.texts[n])))
            result.append(quoted[:count])
            continue
        digits = rows.symbols[:, where].astype(np.int64)
        symbols = join_digits(column, list(digits.T), count)
        if symbols.max(initial=0) >= max(1, column.symbols):
            raise FormatError(f"column {n} holds a symbol that it does not have: damaged file")
        if column.words:
            result.append(write_words(fields[n].style, column.words, symbols))
            continue
        rest = np.zeros(count, np.int64)
        if column.widths.max(initial=1) > 1:
            rest = rows.rests[:, bins]
            bins += 1
        values, empty = column.decode(symbols, rest)
        if column.delta:
            values = side.bases[n] + np.cumsum(values)
        result.append((values, empty))
    return result


def restore_cells(
    fields: Sequence[Field], columns: Sequence[tuple[Ints, NDArray[np.bool_]] | list[bytes]]
) -> list[list[bytes]]:
    """Cells as written."""
    return [
        column if isinstance(column, list) else write_numbers(field.style, *column)
        for field, column in zip(fields, columns, strict=True)
    ]


def check_symbols(rows: Rows) -> list[NDArray[np.int32]]:
    """Integers over which a block's symbol check runs."""
    return [rows.symbols.astype(np.int32), np.ascontiguousarray(rows.rests).view(np.int32)]


__all__ = [
    "Prepared",
    "Side",
    "check_symbols",
    "plain_rows",
    "prepare_array",
    "prepare_cells",
    "read_side",
    "restore",
    "restore_cells",
    "symbol_of",
]
