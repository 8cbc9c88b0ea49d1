"""What the columns of a file are, as bytes: part of the model that travels with the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from laconic.codec.lossless.records.cells import MAX_PLACES, Style
from laconic.codec.lossless.records.columns import MAX_DICTIONARY, Column, Ints, Kind
from laconic.codec.lossless.records.wire import Cursor, write_blob, write_integers, write_signed
from laconic.formats.errors import FormatError
from laconic.formats.varint import write_varint

NUMBERS = Style(0)


@dataclass(frozen=True)
class Field:
    """A column and how its values are written; arrays have whole numbers only."""

    column: Column
    style: Style = NUMBERS


@dataclass(frozen=True)
class TextFrame:
    """What a delimited text has around its cells."""

    delimiter: bytes
    newline: bytes
    ends: bool
    header: list[bytes] | None
    odd: list[tuple[int, bytes]]

    def pack(self) -> bytes:
        """Flags, delimiter, header cells, odd lines."""
        flags = (self.newline == b"\r\n") | self.ends << 1 | (self.header is not None) << 2
        parts = [bytes([flags]), self.delimiter]
        if self.header is not None:
            parts.append(write_varint(len(self.header)))
            parts += [write_blob(cell) for cell in self.header]
        parts.append(write_varint(len(self.odd)))
        before = 0
        for place, line in self.odd:
            parts += [write_varint(place - before), write_blob(line)]
            before = place
        return b"".join(parts)

    @classmethod
    def read(cls, cursor: Cursor, columns: int, rows: int) -> TextFrame:
        """Inverse of :meth:`pack`, for a table of that size."""
        flags = cursor.byte()
        delimiter = cursor.take(1)
        header = None
        if flags & 4:
            count = cursor.varint()
            if count != columns:
                raise FormatError(f"a header of {count} cells over {columns} columns: damaged file")
            header = [cursor.blob() for _ in range(count)]
        odd, place = [], 0
        lines = cursor.varint()
        if lines > 2 + rows // 8:  # more than split() lets pass
            raise FormatError(f"{lines} odd lines beside {rows} rows: the file is damaged")
        for _ in range(lines):
            place += cursor.varint()
            odd.append((place, cursor.blob()))
        return cls(delimiter, b"\r\n" if flags & 1 else b"\n", bool(flags & 2), header, odd)


def pack_fields(fields: Sequence[Field]) -> bytes:
    """Bytes of all columns; equal neighbours are counted, as in arrays."""
    packed = [_bytes_of(field) for field in fields]
    return b"".join(write_varint(len(list(run))) + data for data, run in groupby(packed))


def read_fields(cursor: Cursor, columns: int) -> list[Field]:
    """Inverse of :func:`pack_fields`."""
    fields: list[Field] = []
    while len(fields) < columns:
        run = cursor.varint()
        if not 1 <= run <= columns - len(fields):
            raise FormatError("the list of columns is damaged")
        fields += [_read(cursor)] * run
    return fields


def _bytes_of(field: Field) -> bytes:
    column, style = field.column, field.style
    flags = column.kind | column.null << 2 | column.delta << 3 | style.quoted << 4
    parts = [bytes([flags | bool(column.words) << 5, style.places + 1])]
    if column.kind == Kind.PLAIN:
        parts += [write_signed(column.offset), write_varint(column.size)]
    elif column.words:
        parts.append(write_varint(len(column.words)))
        parts += [write_varint(len(word)) for word in column.words] + list(column.words)
    elif column.kind != Kind.TEXT:
        parts += [write_signed(column.offset), write_integers(np.diff(column.entries))]
        parts.append(write_integers(column.entries[:1]))
    return b"".join(parts)


def _read(cursor: Cursor) -> Field:
    flags, places = cursor.byte(), cursor.byte() - 1
    if flags >> 6 or places > MAX_PLACES:
        raise FormatError("a column's description is damaged")
    kind, null, delta = Kind(flags & 3), bool(flags & 4), bool(flags & 8)
    style = Style(places, bool(flags & 16))
    if kind == Kind.PLAIN:
        offset, size = cursor.signed(), cursor.varint()
        if size > 256:
            raise FormatError(f"a column has {size} plain symbols: the file is damaged")
        return Field(Column(kind, null, delta, offset, size), style)
    if kind == Kind.TEXT:
        return Field(Column(kind), style)
    if flags & 32:
        lengths = [cursor.varint() for _ in range(_count(cursor))]
        words = tuple(cursor.take(n) for n in lengths)
        return Field(Column(kind, null, delta, words=words), style)
    offset = cursor.signed()
    steps: Ints = cursor.integers()
    first: Ints = cursor.integers()
    entries = np.cumsum(np.concatenate([first, steps]))
    if first.size != 1 or steps.size > MAX_DICTIONARY or (steps < 1).any() or entries[0] < 0:
        raise FormatError("a column's list of values is damaged")
    if (entries < 0).any():
        raise FormatError("a column's list of values is damaged: it overflows")
    return Field(Column(kind, null, delta, offset, entries=entries), style)


def _count(cursor: Cursor) -> int:
    count = cursor.varint()
    if not 1 <= count <= min(MAX_DICTIONARY, cursor.left):
        raise FormatError(f"a dictionary has {count} words: the file is damaged")
    return count
