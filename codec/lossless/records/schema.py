"""What a file says about its records, as bytes: header, columns, and pieces of data.

The codec's private header; small pieces (numbers, arrays, blobs, Arrow's schema) written and read
back; what the columns are, which is part of the model that travels with the records. Reading never
trusts a length: everything is checked against what is left before it is taken.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.records.columns import (
    MAX_DICTIONARY,
    MAX_PLACES,
    Column,
    Ints,
    Kind,
    Style,
)
from laconic.entropy.lanes import MAX_LANES
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits, UnsupportedError
from laconic.formats.frame import read_varint, write_varint
from laconic.formats.records import FLOATS, DataHeader, DataKind

CODEC_ID = 3
CODEC_VERSION = 1
TYPED_VERSION = 2  # of files with typed tables, floats, or the other byte order
_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 24}]
SAMPLE = 1 << 16  # bytes
_QUICK = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 24}]


def write_blob(data: bytes) -> bytes:
    """Length and data."""
    return write_varint(len(data)) + data


def write_integers(values: NDArray[np.int64]) -> bytes:
    """Count; unless it is 0, the bytes of an item (1, 2, 4, 8) and the items, little-endian."""
    if values.size == 0:
        return write_varint(0)
    low, high = int(values.min()), int(values.max())
    for kind in ("<i1", "<i2", "<i4", "<i8"):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            break
    return write_varint(values.size) + bytes([int(kind[2])]) + values.astype(kind).tobytes()


def write_signed(value: int) -> bytes:
    """A signed 64-bit integer, 8 bytes little-endian."""
    return struct.pack("<q", value)


class Cursor:
    """Reads pieces from the front of untrusted data; raises ``FormatError`` at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.left:
            raise FormatError("the data of the records is truncated")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """The next varint."""
        value, self._at = read_varint(self._data, self._at)
        return value

    def blob(self) -> bytes:
        """A length and so many bytes."""
        return self.take(self.varint())

    def signed(self) -> int:
        """A signed 64-bit integer."""
        value: int = struct.unpack("<q", self.take(8))[0]
        return value

    def integers(self) -> NDArray[np.int64]:
        """What :func:`write_integers` wrote."""
        count = self.varint()
        if count == 0:
            return np.zeros(0, np.int64)
        size = self.byte()
        if size not in (1, 2, 4, 8):
            raise FormatError(f"a list of the records has items of {size} bytes: damaged file")
        return np.frombuffer(self.take(count * size), f"<i{size}").astype(np.int64)

    def end(self) -> None:
        """Check that nothing is left."""
        if self.left:
            raise FormatError(f"{self.left} bytes are left after the records' data: damaged file")


def squeeze(data: bytes, beaten: int | None = None) -> bytes:
    """The smallest of the data as it is, zlib, bzip2 and LZMA2: method, size, compressed data.

    Where something is ``beaten`` already, what is far from that is left out: LZMA2, which takes ten
    times as long as the others together, where a quick pass of it has over 2.5 times those bytes
    (it is larger by two thirds at most on what was tried), and zlib and bzip2 where samples of
    much data have over 1.25 times their share in bzip2.
    """
    found = {0: data}
    if not (beaten and _estimate(data) > 1.25 * beaten):
        found |= {1: zlib.compress(data, 9), 2: bz2.compress(data, 9)}
    if len(data) > 64 and not (beaten and _packed(data, _QUICK) > 2.5 * beaten):
        found[3] = lzma.compress(data, lzma.FORMAT_RAW, filters=_LZMA)
    method = min(found, key=lambda k: len(found[k]))
    return bytes([method]) + write_varint(len(data)) + found[method]


def _estimate(data: bytes) -> float:
    """About the bytes that bzip2 makes of much data; 0 for little, or for what repeats itself."""
    if len(data) < 8 * SAMPLE:
        return 0.0
    middle = len(data) // 2
    sample = data[:SAMPLE] + data[middle : middle + SAMPLE] + data[-SAMPLE:]
    packed = len(bz2.compress(sample, 9))
    return packed * len(data) / len(sample) if packed > len(sample) >> 6 else 0.0


def _packed(data: bytes, filters: list[dict[str, int]]) -> int:
    return len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters))


class Budget:
    """What all parts of a file may unpack to together, checked before a part is unpacked."""

    def __init__(self, packed: int, limits: Limits = DEFAULT_LIMITS) -> None:
        self._packed, self._limits, self._spent = packed, limits, 0

    def spend(self, name: str, size: int) -> None:
        """Raise ``LimitError`` if ``size`` bytes more are too many for the file."""
        self._spent += size
        self._limits.check_expansion(name, self._spent, self._packed)


def unsqueeze(
    data: bytes, budget: Budget, what: str = "a part of the records", size: int | None = None
) -> bytes:
    """Inverse of :func:`squeeze`; ``size`` is the length that is expected, if that is known.

    Raises ``FormatError``, or ``LimitError`` beyond the budget.
    """
    cursor = Cursor(data)
    method, claimed = cursor.byte(), cursor.varint()
    body = cursor.take(cursor.left)
    if size not in (None, claimed):
        raise FormatError(f"{what} has {claimed} bytes: expected {size}; the file is damaged")
    budget.spend(what, claimed)
    try:
        if method == 0:
            result = body
        elif method == 1:
            result = zlib.decompressobj().decompress(body, claimed + 1)
        elif method == 2:
            result = bz2.BZ2Decompressor().decompress(body, claimed + 1)
        elif method == 3:
            result = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA).decompress(
                body, claimed + 1
            )
        else:
            raise FormatError(f"{what} has the unknown method {method}: the file is damaged")
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{what} is damaged: {error}") from error
    if len(result) != claimed:
        raise FormatError(f"{what} has a wrong length: the file is damaged")
    return result


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


def version_of(header: DataHeader) -> int:
    """The first codec version that codes such records."""
    newer = header.kind.typed or header.kind == DataKind.BIG_ENDIAN or header.dtype in FLOATS
    return TYPED_VERSION if newer else CODEC_VERSION


class Method(IntEnum):
    """Where the model of the records is."""

    STORED = 0  # none: a general-purpose method was smaller
    OWN = 1  # a circuit in the file
    NAMED = 2  # a circuit named by the model id


@dataclass(frozen=True)
class RecordsHeader:
    """``block`` rows a segment, ``lanes`` records decoded at a time, CRC-32 of the original."""

    method: Method
    block: int
    lanes: int
    crc: int

    def pack(self) -> bytes:
        """Method, varints of block and lanes, CRC big-endian."""
        return (
            bytes([self.method])
            + write_varint(self.block)
            + write_varint(self.lanes)
            + self.crc.to_bytes(4, "big")
        )

    @classmethod
    def unpack(cls, data: bytes) -> RecordsHeader:
        """Inverse of :meth:`pack`; raises ``FormatError`` for impossible values."""
        cursor = Cursor(data)
        method = cursor.byte()
        if method not in Method._value2member_map_:
            raise UnsupportedError(f"the records are coded by method {method}: unknown here")
        block, lanes = cursor.varint(), cursor.varint()
        crc = int.from_bytes(cursor.take(4), "big")
        cursor.end()
        if block < 1 or not 1 <= lanes <= MAX_LANES:
            raise FormatError(f"the records' header says blocks of {block}, {lanes} lanes: damaged")
        return cls(Method(method), block, lanes, crc)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "method": self.method.name.lower(), "crc": f"{self.crc:08x}"}
