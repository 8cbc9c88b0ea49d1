"""Arrays and records, and their header in a container.

Media header of tables and arrays: all that is needed to say what a file holds.

Records: what the records codec takes, from an array, a table or a file.

:func:`read_records` reads files, :func:`write_records` writes them.
"""

from __future__ import annotations

import gzip
import io
import os
import tokenize
import zlib
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.atomic import read_file
from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    LaconicError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import Frame, read_varint, write_varint
from laconic.formats.table import DELIMITERS, CsvTable, Table

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
    IMAGES = 4  # a folder of gray images
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


SUFFIXES = {
    ".csv", ".tsv", ".npy", ".idx", ".idx1-ubyte", ".idx3-ubyte", ".parquet", ".feather", ".arrow",
    ".arrows",
}  # fmt: skip
_NPY = b"\x93NUMPY"
_PARQUET = b"PAR1"
_FEATHER, _FEATHER_1, _STREAM = b"ARROW1", b"FEA1", b"\xff\xff\xff\xff"
_IDX_TYPES = {8: "|u1", 9: "|i1", 11: "<i2", 12: "<i4"}


def looks_like_records(head: bytes) -> bool:
    """Whether a file that begins so is an array or a typed table. A stream of Arrow begins with -1
    and the length of a schema, a multiple of 8; texts and IDX have no such mark."""
    if head.startswith((_NPY, _PARQUET, _FEATHER, _FEATHER_1)):
        return True
    length = int.from_bytes(head[4:8], "little")
    return head.startswith(_STREAM) and len(head) >= 8 and 0 < length < 1 << 24 and not length % 8


@dataclass
class Records:
    """An array ``[N, D]`` of whole numbers or floats with the shape of a record, or a table.

    Attributes:
        header: kind, number, shape and type.
        array: the values, for all kinds but tables.
        parts, text: the cells, for tables; frame: for typed ones.
    """

    header: DataHeader
    array: NDArray[Any] | None = None
    parts: CsvTable | None = None
    text: bytes = b""
    frame: Frame | None = None

    def original(self) -> bytes:
        """The bytes that decoding must give back."""
        if self.frame is not None:
            return self.frame.pack()
        if self.array is None:
            return self.text
        return np.ascontiguousarray(self.array, DTYPES[self.header.dtype]).tobytes()


def from_array(array: NDArray[Any], kind: DataKind = DataKind.ARRAY) -> Records:
    """Records of an array ``[N, ...]``.

    Raises:
        ParameterError: not whole numbers or floats of 16, 32 or 64 bits, or no dimension.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise ParameterError("the array is masked: fill it first")
    array = np.asarray(array)
    if array.ndim == 0:
        raise ParameterError("the array has no dimension: expected records [N, ...]")
    plain = array.dtype.newbyteorder("<").str.replace("=", "<")
    if array.dtype.names:
        raise ParameterError(
            f"the array is structured: its fields {', '.join(array.dtype.names)} are columns of"
            " their own types; save each by itself, or the whole as Parquet"
        )
    if plain not in DTYPES or plain == "bytes":
        raise ParameterError(f"the array is {array.dtype}: expected whole numbers or floats")
    if array.dtype.str.startswith(">") and kind == DataKind.ARRAY:
        kind = DataKind.BIG_ENDIAN
    if array.ndim > 8:
        raise ParameterError(f"the array has {array.ndim} dimensions: at most 8 are stored")
    header = DataHeader(kind, array.shape[0], array.shape[1:], DTYPES.index(plain))
    return Records(header, array.reshape(array.shape[0], header.columns))


def from_table(table: Table, kind: DataKind = DataKind.TABLE) -> Records:
    """Records of a table."""
    parts = table.parts
    if parts.join() != table.text:
        raise FormatError("the table does not survive being taken apart: report this")
    header = DataHeader(kind, parts.rows, (len(parts.columns),), TEXT)
    return Records(header, None, parts, table.text)


def from_frame(frame: Frame, kind: DataKind = DataKind.TYPED_PARQUET) -> Records:
    """Records of a typed table."""
    header = DataHeader(kind, frame.rows, (len(frame.columns),), TEXT)
    return Records(header, frame=frame)


CELL = 128  # bytes of memory that coding a cell of a text may take
_FREE = 1 << 28  # bytes of memory that any compressed table may take


def read_records(
    source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS
) -> Records:
    """Read .npy, IDX, CSV or TSV (also compressed by gzip), Parquet, Feather, Arrow, or a folder
    of gray images.

    Raises:
        FormatError: damaged. UnsupportedError: of another kind. LimitError: too large.
    """
    if not isinstance(source, bytes):
        path = Path(source)
        if path.is_dir():
            from laconic.formats.atomic import read_folder

            return from_array(read_folder(path, limits), DataKind.IMAGES)
        source = read_file(path)
    packed = None
    if source[:2] == b"\x1f\x8b":
        packed = len(source)
        source = _gunzip(source, limits)
    if source[:6] == _NPY:
        return from_array(read_npy(source, limits))
    if len(source) > 4 and source[:2] == b"\0\0" and source[2] in _IDX_TYPES and source[3]:
        return from_array(read_idx(source, limits), DataKind.IDX)
    if source[:4] == _PARQUET:
        from laconic.formats.parquet import read_parquet

        return from_frame(read_parquet(source, limits))
    if source[:6] == _FEATHER or source[:4] == _FEATHER_1:
        from laconic.formats.parquet import read_feather

        return from_frame(read_feather(source, limits), DataKind.FEATHER)
    if source[:4] == _STREAM:
        from laconic.formats.parquet import read_stream

        return from_frame(read_stream(source, limits), DataKind.ARROW)
    if b"\0" in source[:4096]:
        raise UnsupportedError(
            "the input is neither a table nor an array: expected CSV, TSV, .npy, IDX or Parquet"
        )
    cells = source.count(b"\n") + max(source.count(d) for d in DELIMITERS)
    limits.check("the number of cells", cells, limits.cells)
    if packed is not None and CELL * cells > _FREE + limits.expansion * packed:
        raise LimitError(
            f"{packed:,} bytes of gzip hold {cells:,} cells, as a file made to fill memory would:"
            " unpack it first if you trust it, or raise Limits(expansion=...)"
        )
    return from_table(Table(source))


def write_records(kind: DataKind, value: NDArray[Any] | Table | Frame, format: str) -> bytes:
    """A file of decoded records; ``format`` is npy, idx, csv, tsv, parquet, feather or arrow."""
    if isinstance(value, Frame):
        from laconic.formats.parquet import write_frame

        return write_frame(value, format)
    if isinstance(value, Table):
        if format == "parquet":
            from laconic.formats.parquet import write_parquet

            return write_parquet(value)
        if format not in ("csv", "tsv", "txt"):
            raise ParameterError(f"a table cannot be written as {format}: use csv or parquet")
        return value.text
    if format == "idx":
        return write_idx(value)
    if format == "csv":
        rows = value.reshape(len(value), -1)
        write = repr if value.dtype.kind == "f" else str
        return "".join(",".join(write(v) for v in row) + "\n" for row in _plain(rows)).encode()
    if format != "npy":
        raise ParameterError(f"an array cannot be written as {format}: use npy, idx or csv")
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    return buffer.getvalue()


def default_format(kind: DataKind) -> str:
    """Extension of what decoding writes when no name is given; "" for a folder."""
    return {
        DataKind.ARRAY: "npy",
        DataKind.BIG_ENDIAN: "npy",
        DataKind.TABLE: "csv",
        DataKind.IDX: "idx",
        DataKind.IMAGES: "",
        DataKind.PARQUET: "parquet",
        DataKind.TYPED_PARQUET: "parquet",
        DataKind.FEATHER: "feather",
        DataKind.ARROW: "arrow",
    }[kind]


def _plain(rows: NDArray[Any]) -> list[list[Any]]:
    """Numbers of Python; booleans as 0 and 1. Floats keep the fewest digits that tell them."""
    if rows.dtype.kind == "f" and rows.dtype.itemsize < 8:
        return [[_Digits(str(v)) for v in row] for row in rows]
    found: list[list[Any]] = (rows.astype(np.int8) if rows.dtype.kind == "b" else rows).tolist()
    return found


class _Digits(str):
    def __repr__(self) -> str:
        return str(self)


def read_npy(data: bytes, limits: Limits = DEFAULT_LIMITS) -> NDArray[Any]:
    """An array of numbers from a .npy file, its size checked before it is allocated."""
    try:
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            reader = np.lib.format.read_array_header_2_0
        shape, _, kind = reader(stream)
        limits.check("the number of cells", int(np.prod(shape, dtype=object)), limits.cells)
        if kind.hasobject:
            raise ParameterError("the array holds Python objects: expected numbers")
        array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except LaconicError:
        raise
    except (
        ValueError, EOFError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError,
        tokenize.TokenError,
    ) as error:  # fmt: skip
        raise FormatError(f"the .npy file is damaged: {error}") from error
    return array


def read_idx(data: bytes, limits: Limits = DEFAULT_LIMITS) -> NDArray[Any]:
    """An array from an IDX file, the format of MNIST."""
    kind, dimensions = np.dtype(_IDX_TYPES[data[2]]), data[3]
    start = 4 + 4 * dimensions
    if dimensions > MAX_DIMENSIONS + 1:
        raise UnsupportedError(
            f"the IDX file has {dimensions} dimensions: at most {MAX_DIMENSIONS + 1} are read"
        )
    if len(data) < start:
        raise FormatError("the IDX file is truncated")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", dimensions, 4))
    count = int(np.prod(shape, dtype=object))
    limits.check("the number of cells", count, limits.cells)
    if len(data) != start + count * kind.itemsize:
        raise FormatError(
            f"the IDX file has {len(data)} bytes: its header {list(shape)} asks for"
            f" {start + count * kind.itemsize}"
        )
    return np.frombuffer(data, kind.newbyteorder(">"), offset=start).astype(kind).reshape(shape)


def write_idx(array: NDArray[Any]) -> bytes:
    """An IDX file; raises ``ParameterError`` for types that IDX lacks."""
    codes = {v: k for k, v in _IDX_TYPES.items()}
    plain = array.dtype.newbyteorder("<").str
    if plain not in codes or array.ndim > 255:
        raise ParameterError(f"IDX files do not hold {array.dtype}: write npy")
    head = bytes([0, 0, codes[plain], array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def _gunzip(data: bytes, limits: Limits) -> bytes:
    most = min(limits.segment_bytes, limits.free + limits.expansion * len(data))
    parts, size = [], 0
    try:
        with gzip.open(io.BytesIO(data)) as file:
            while part := file.read(1 << 20):
                size += len(part)
                limits.check("the size of the unpacked input", size, most)
                parts.append(part)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"the gzip file is damaged: {error}") from error
    return b"".join(parts)
