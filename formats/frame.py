"""Values as bytes that say where they end: varints, named texts, typed tables.

Varints are unsigned integers: 7 bits a byte, least significant first, minimal, at most 5 bytes.
Tags (title, artist, ...) are texts in UTF-8, names and values in turn, each ended by a zero byte.

Typed tables (Parquet, Feather, Arrow) are columns of cells with the Arrow types they came from.
Every value becomes a cell that gives it back to the bit: whole numbers, times and decimals as
digits; floats as digits where few decimal places tell them, else as the integers of their bits, in
an order that follows their size; texts and bytes as they are. A :class:`Frame` needs no library;
``pyarrow`` is imported where Arrow tables are made or taken apart (``formats/parquet.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from laconic.formats.errors import FormatError, ParameterError

MAX_BYTES = 5
MOST_TAGS = 1 << 16  # bytes of tags


def write_varint(value: int) -> bytes:
    """Bytes of ``value`` in 0..2^35 - 1.

    >>> write_varint(768).hex()
    '8006'
    """
    if not 0 <= value < 1 << 7 * MAX_BYTES:
        raise ParameterError(f"{value} does not fit a varint of {MAX_BYTES} bytes")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """``(value, next offset)``; raises ``FormatError`` when truncated, too long or not minimal.

    >>> read_varint(bytes.fromhex('8006'), 0)
    (768, 2)
    """
    value = 0
    for i in range(MAX_BYTES):
        if offset + i >= len(data):
            raise FormatError("the file ends inside a number: it is truncated")
        byte = data[offset + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if byte == 0 and i:
                raise FormatError(
                    "a number is not written in its shortest form: the file is damaged"
                )
            return value, offset + i + 1
    raise FormatError("a number is longer than 5 bytes: the file is damaged")


class Code(IntEnum):
    """How a column of a frame is written in cells; an empty cell is a null unless said."""

    WHOLE = 0  # digits of an integer; of its storage for times
    SCALED = 1  # digits of a float times a power of ten
    BITS = 2  # digits of a float's bits, ordered, at most 32 of them
    WIDE_BITS = 3  # two columns: the upper and the lower 32 bits
    BYTES = 4  # as they are, without nulls
    NULL_BYTES = 5  # as they are after a byte 1; an empty cell is a null
    DICTIONARY = 6  # digits of an index; the values stand beside the columns
    NOTHING = 7  # no cells: a column of nulls


def pack_tags(tags: Mapping[str, str]) -> bytes:
    """The chunk; b"" for no tags. Of more than 64 KiB the last ones are left out."""
    data = b""
    for name, value in tags.items():
        pair = name.encode("utf-8", "replace") + b"\0" + value.encode("utf-8", "replace") + b"\0"
        if len(data) + len(pair) <= MOST_TAGS:
            data += pair
    return data


def read_tags(data: bytes) -> dict[str, str]:
    """Inverse of :func:`pack_tags`.

    >>> read_tags(pack_tags({"title": "Wind", "artist": "Élise"}))
    {'title': 'Wind', 'artist': 'Élise'}
    """
    parts = data.split(b"\0")
    if parts.pop() != b"" or len(parts) % 2:
        raise FormatError("the audio's tags are damaged")
    try:
        texts = [part.decode("utf-8") for part in parts]
    except UnicodeDecodeError as error:
        raise FormatError("the audio's tags are no UTF-8: the file is damaged") from error
    return dict(zip(texts[::2], texts[1::2], strict=True))


@dataclass(frozen=True)
class Plan:
    """How one column is coded; ``places`` of SCALED, ``values`` of DICTIONARY (an Arrow stream)."""

    code: Code
    places: int = 0
    values: bytes = b""

    @property
    def cells(self) -> int:
        """Columns of cells."""
        return {Code.WIDE_BITS: 2, Code.NOTHING: 0}.get(self.code, 1)


@dataclass
class Frame:
    """A typed table.

    Attributes:
        schema: of Arrow, serialised: names, types, nullability, metadata.
        plans: of every column.
        columns: cells ``[columns of cells][rows]``.
        rows: number of rows.
    """

    schema: bytes
    plans: list[Plan]
    columns: list[list[bytes]]
    rows: int

    def head(self) -> bytes:
        """Schema and plans as bytes."""
        parts = [_blob(self.schema), write_varint(len(self.plans))]
        for plan in self.plans:
            parts += [bytes([plan.code, plan.places]), _blob(plan.values)]
        return b"".join(parts)

    def pack(self) -> bytes:
        """Everything as bytes."""
        parts = [_blob(self.head()), write_varint(self.rows)]
        for cells in self.columns:
            parts += [b"".join(write_varint(len(cell)) for cell in cells), *cells]
        return b"".join(parts)

    def slice(self, first: int, end: int) -> Frame:
        """Rows first..end-1."""
        rows = len(range(self.rows)[first:end])
        return Frame(self.schema, self.plans, [c[first:end] for c in self.columns], rows)

    def __len__(self) -> int:
        """Number of rows."""
        return self.rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self.pack() == other.pack()

    __hash__ = None  # type: ignore[assignment]


def read_head(data: bytes) -> tuple[bytes, list[Plan]]:
    """Inverse of :meth:`Frame.head`. Raises ``FormatError``."""
    schema, at = _read_blob(data, 0)
    count, at = read_varint(data, at)
    plans = []
    for _ in range(count):
        if at + 2 > len(data) or data[at] not in Code._value2member_map_:
            raise FormatError("the description of the typed columns is damaged")
        code, places = Code(data[at]), data[at + 1]
        values, at = _read_blob(data, at + 2)
        plans.append(Plan(code, places, values))
    if at != len(data):
        raise FormatError("the description of the typed columns has a wrong length: damaged file")
    return schema, plans


def unpack(data: bytes, rows: int) -> Frame:
    """Inverse of :meth:`Frame.pack` for a frame of that many rows. Raises ``FormatError``."""
    head, at = _read_blob(data, 0)
    schema, plans = read_head(head)
    found, at = read_varint(data, at)
    width = sum(plan.cells for plan in plans)
    if found != rows or rows * width > len(data) - at:
        raise FormatError(f"the typed table has {found} rows: expected {rows}; damaged file")
    columns = []
    for _ in range(width):
        lengths = []
        for _ in range(rows):
            length, at = read_varint(data, at)
            lengths.append(length)
        if sum(lengths) > len(data) - at:
            raise FormatError("the cells of the typed table are truncated")
        cells = []
        for length in lengths:
            cells.append(data[at : at + length])
            at += length
        columns.append(cells)
    if at != len(data):
        raise FormatError("the typed table has a wrong length: the file is damaged")
    return Frame(schema, plans, columns, rows)


def _blob(data: bytes) -> bytes:
    return write_varint(len(data)) + data


def _read_blob(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = read_varint(data, at)
    if length > len(data) - at:
        raise FormatError("the typed table is truncated")
    return data[at : at + length], at + length
