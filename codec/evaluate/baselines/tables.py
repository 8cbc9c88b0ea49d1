"""Tables and arrays through general-purpose compressors: gzip, bzip2, xz, over the whole file."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Sequence
from typing import Any

from laconic.codec.evaluate.subject import Item
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError

media = Media.DATA
TABLE: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (lambda data: gzip.compress(data, 9, mtime=0), gzip.decompress),
    "bzip2": (lambda data: bz2.compress(data, 9), bz2.decompress),
    "xz": (lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME), lzma.decompress),
}


def names() -> list[str]:
    """Names of the rows."""
    return list(TABLE)


def make(name: str, variant: str | None) -> Squeezer:
    """The baseline of that name; there are no variants."""
    if variant is not None:
        raise ParameterError(f"{name} has no variant {variant!r}: expected none")
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
        return {"library": f"Python's {self.label}", "level": "best", "scale": self.scale}

    def encode(self, item: Item, quality: float | None) -> bytes:
        return self._squeeze(item.original.original())

    def decode(self, data: bytes, item: Item) -> bytes:
        return self._expand(data)
