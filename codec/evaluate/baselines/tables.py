"""Tables and arrays through other compressors: gzip, bzip2 and xz over the whole file, OpenZL over
the columns of a table.

OpenZL (https://github.com/facebook/openzl) is told what its own tools would find out by training:
that a CSV file is columns of strings. Each column is given to its generic backend, as it is and
with its values numbered, and the smaller result counts.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from laconic.codec.evaluate.subject import Item
from laconic.codec.options import need
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError

media = Media.DATA
LEVEL = 9  # of OpenZL; higher ones gain nothing on columns


@cache
def _graphs() -> tuple[Any, list[Any]]:
    """OpenZL's module and its compressors: generic, then with values numbered in sorted order."""
    openzl = need("openzl.ext", "eval")
    generic, numbered = openzl.Compressor(), openzl.Compressor()
    backend = openzl.graphs.Compress
    generic.select_starting_graph(backend()(generic))
    tokens = openzl.nodes.TokenizeString(sort=True)
    numbered.select_starting_graph(tokens(numbered, backend(), backend()))
    return openzl, [generic, numbered]


def _columns(data: bytes) -> list[list[bytes]]:
    """The cells of each column of a CSV file, or everything as one cell if lines differ."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    if rows[-1] != [b""] or len({len(row) for row in rows[:-1]}) != 1:
        return [[data]]
    return [list(column) for column in zip(*rows[:-1], strict=True)]


def openzl_compress(data: bytes) -> bytes:
    """The frames of all columns, each after its length."""
    openzl, compressors = _graphs()
    frames = []
    for cells in _columns(data):
        joined = np.frombuffer(b"".join(cells) or b"\0", np.uint8)[: sum(map(len, cells))]
        lengths = np.array([len(cell) for cell in cells], np.uint32)
        found = []
        for compressor in compressors:
            context = openzl.CCtx()
            context.ref_compressor(compressor)
            context.set_parameter(openzl.CParam.FormatVersion, openzl.MAX_FORMAT_VERSION)
            context.set_parameter(openzl.CParam.CompressionLevel, LEVEL)
            found.append(context.compress([openzl.Input(openzl.Type.String, joined, lengths)]))
        frame = min(found, key=len)
        frames.append(struct.pack("<I", len(frame)) + frame)
    return b"".join(frames)


def openzl_decompress(data: bytes) -> bytes:
    """Inverse of :func:`openzl_compress`."""
    openzl, _ = _graphs()
    columns, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        (column,) = openzl.DCtx().decompress(data[at + 4 : at + 4 + size])
        content = column.content.as_bytes()
        ends = np.cumsum(column.string_lens.as_nparray(), dtype=np.int64).tolist()
        columns.append([content[a:b] for a, b in zip([0, *ends], ends, strict=False)])
        at += 4 + size
    if len(columns) == 1 and len(columns[0]) == 1:
        return columns[0][0]
    return b"".join(b",".join(row) + b"\n" for row in zip(*columns, strict=True))


TABLE: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (lambda data: gzip.compress(data, 9, mtime=0), gzip.decompress),
    "bzip2": (lambda data: bz2.compress(data, 9), bz2.decompress),
    "xz": (lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME), lzma.decompress),
    "openzl": (openzl_compress, openzl_decompress),
}


def names() -> list[str]:
    """Names of the rows."""
    return list(TABLE)


def make(name: str, variant: str | None) -> Squeezer:
    """The baseline of that name; there are no variants. Raises ``UnsupportedError`` where its
    library is missing."""
    if variant is not None:
        raise ParameterError(f"{name} has no variant {variant!r}: expected none")
    if name == "openzl":
        _graphs()
    return Squeezer(name)


class Squeezer:
    """One compressor at its best setting, over the bytes that decoding must give back."""

    media = Media.DATA
    qualities: Sequence[float | None] = (None,)
    scale = "lossless"
    range = None

    def __init__(self, name: str) -> None:
        self.label = name
        self.suffix = f".{name}"
        self._squeeze, self._expand = TABLE[name]

    def prepare(self) -> None:
        """Nothing to load."""

    def describe(self) -> dict[str, Any]:
        library = f"Python's {self.label}"
        if self.label == "openzl":
            found = _graphs()[0]
            parts = (found.LIBRARY_VERSION_MAJOR, found.LIBRARY_VERSION_MINOR)
            library = f"OpenZL {'.'.join(map(str, parts))}, a frame for each column"
        return {"library": library, "level": "best", "scale": self.scale}

    def encode(self, item: Item, quality: float | None) -> bytes:
        return self._squeeze(item.original.original())

    def decode(self, data: bytes, item: Item) -> bytes:
        return self._expand(data)
