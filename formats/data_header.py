"""Media header of tables and arrays: all that is needed to say what a file holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import prod

from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.limits import DEFAULT_LIMITS, Limits
from laconic.formats.varint import read_varint, write_varint

DTYPES = (
    "|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8", "|b1", "bytes", "<f2", "<f4", "<f8",
)  # fmt: skip
TEXT = DTYPES.index("bytes")
FLOATS = {DTYPES.index(kind): int(kind[2]) for kind in ("<f2", "<f4", "<f8")}  # bytes of each
MAX_DIMENSIONS = 8


class DataKind(IntEnum):
    """Where the records came from, and so what decoding writes by default."""

    ARRAY = 1  # .npy
    TABLE = 2  # delimited text
    IDX = 3  # the format of MNIST
    IMAGES = 4  # a folder of gray pictures
    PARQUET = 5  # Parquet as text, written by codec version 1
    TYPED_PARQUET = 6
    FEATHER = 7
    ARROW = 8  # a stream
    BIG_ENDIAN = 9  # .npy of the other byte order

    @property
    def typed(self) -> bool:
        """Whether the table has types: columns of cells and a schema of Arrow."""
        return self in (DataKind.TYPED_PARQUET, DataKind.FEATHER, DataKind.ARROW)


@dataclass(frozen=True)
class DataHeader:
    """``rows`` records of shape ``shape``; the type of their values is ``DTYPES[dtype]``.

    A table has the shape (columns,) and the type "bytes"; a typed one counts columns of cells.
    """

    kind: DataKind
    rows: int
    shape: tuple[int, ...]
    dtype: int

    @property
    def columns(self) -> int:
        """Values of one record."""
        return prod(self.shape)

    @property
    def coded_columns(self) -> int:
        """Columns of whole numbers that are coded: floats of 64 bits are two of 32."""
        return self.columns * (2 if FLOATS.get(self.dtype) == 8 else 1)

    def pack(self) -> bytes:
        """Bytes as in SPEC.md, section 5."""
        if len(self.shape) > MAX_DIMENSIONS:
            raise ParameterError(
                f"records of {len(self.shape)} dimensions cannot be stored: at most"
                f" {MAX_DIMENSIONS}"
            )
        head = bytes([self.kind | self.dtype << 4]) + write_varint(self.rows)
        return head + b"".join(write_varint(n) for n in self.shape)

    @classmethod
    def unpack(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> DataHeader:
        """Inverse of :meth:`pack`; raises ``LimitError`` for tables beyond the limits."""
        if not data:
            raise FormatError("the header of the records is empty: the file is damaged")
        if data[0] & 15 not in DataKind._value2member_map_ or data[0] >> 4 >= len(DTYPES):
            raise UnsupportedError("the file holds records of a kind that this version lacks")
        if DataKind(data[0] & 15).typed and data[0] >> 4 != TEXT:
            raise FormatError("a typed table of numbers alone: the file is damaged")
        rows, offset = read_varint(data, 1)
        shape: list[int] = []
        while offset < len(data) and len(shape) <= MAX_DIMENSIONS:
            side, offset = read_varint(data, offset)
            shape.append(side)
        if offset != len(data) or len(shape) > MAX_DIMENSIONS:
            raise FormatError("the header of the records has a wrong length: damaged file")
        header = cls(DataKind(data[0] & 15), rows, tuple(shape), data[0] >> 4)
        limits.check("the number of cells", max(1, header.columns) * rows, limits.cells)
        return header
