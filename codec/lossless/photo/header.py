"""The codec's private header (3 bytes), and the tiles it stands for. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from laconic.codec.image.tiles import Box
from laconic.entropy.profiles import NumericsProfile
from laconic.formats.errors import FormatError, UnsupportedError

CODEC_ID = 2
CODEC_VERSION = 1
TILE_UNIT = 64
DEFAULT_TILE = 512
MAX_TILE = 1024  # bounds the memory that a decoder needs
CIRCUIT, FILE = 0, 1  # how the samples are coded
_ALIGN = 8  # sides of tiles, so that most tiles have one shape


@dataclass(frozen=True)
class PhotoHeader:
    """How a picture was prepared and cut.

    Attributes:
        kind: CIRCUIT, or FILE for a picture file of another format inside.
        tile: largest side of a tile in pixels, a multiple of 64.
        bits: significant bits of a sample, 8 to 16.
        shift: a sample is the coded number times 2^shift ...
        replicated: ... or the coded number repeated to fill 16 bits.
        same: all channels are equal and one is coded.
        adapted: a segment before those of the tiles changes the model's weights.
        based: the first segment is a lossy picture that the circuit sees and that can be decoded
            alone.
    """

    kind: int = CIRCUIT
    tile: int = DEFAULT_TILE
    bits: int = 8
    shift: int = 0
    replicated: bool = False
    same: bool = False
    adapted: bool = False
    based: bool = False

    @property
    def numerics(self) -> NumericsProfile:
        """What a decoder of such files must compute exactly."""
        if self.based:
            return NumericsProfile.FLOAT64_GUARD
        return (
            NumericsProfile.INTEGER_NETWORK
            if self.kind == CIRCUIT
            else NumericsProfile.INTEGER_TABLES
        )

    def pack(self) -> bytes:
        """Flags, tile side / 64, bits - 8 and shift."""
        flags = self.kind | self.same << 1 | self.adapted << 2 | self.replicated << 3
        flags |= self.based << 4
        return bytes([flags, self.tile // TILE_UNIT, (self.bits - 8) << 4 | self.shift])

    @classmethod
    def unpack(cls, data: bytes) -> PhotoHeader:
        """Inverse of :meth:`pack`; raises ``FormatError``, ``UnsupportedError``."""
        if len(data) != 3:
            raise FormatError(f"the photo codec's header has {len(data)} bytes: expected 3")
        flags, tile, depth = data
        if flags >> 5:
            raise UnsupportedError("the photo codec's header uses features of a newer version")
        bits, shift = (depth >> 4) + 8, depth & 15
        if not 1 <= tile <= MAX_TILE // TILE_UNIT or bits + shift > 16:
            raise FormatError(
                f"the photo codec's header says tiles of {tile * TILE_UNIT} and {bits} bits shifted"
                f" by {shift}: the file is damaged"
            )
        return cls(
            kind=flags & 1,
            tile=tile * TILE_UNIT,
            bits=bits,
            shift=shift,
            same=bool(flags & 2),
            adapted=bool(flags & 4),
            replicated=bool(flags & 8),
            based=bool(flags & 16),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able facts for people."""
        known = {"lossless": True, **({"preview": True} if self.based else {})}
        if self.kind == FILE:
            return {**known, "coded as": "picture file"}
        return {
            **known,
            "coded as": "adapted circuit" if self.adapted else "circuit",
            "tile": self.tile,
            "bits": self.bits,
        }


class Tiles:
    """Tiles of a picture in row-major order: no larger than `tile`, nearly equal."""

    def __init__(self, width: int, height: int, tile: int) -> None:
        self.picture = Box(0, 0, width, height)
        self.columns, self.width = _divide(width, tile)
        self.rows, self.height = _divide(height, tile)

    def __len__(self) -> int:
        return self.columns * self.rows

    def box(self, number: int) -> Box:
        """Pixels of tile `number`."""
        row, column = divmod(number, self.columns)
        left, top = column * self.width, row * self.height
        return Box(left, top, left + self.width, top + self.height).cut(self.picture)

    def touching(self, area: Box) -> list[int]:
        """Numbers of the tiles that intersect `area`."""
        return [
            row * self.columns + column
            for row in range(area.top // self.height, (area.bottom - 1) // self.height + 1)
            for column in range(area.left // self.width, (area.right - 1) // self.width + 1)
        ]


def _divide(length: int, tile: int) -> tuple[int, int]:
    """Number of parts of at most `tile`, and the length of all but the last."""
    parts = math.ceil(length / tile)
    size = math.ceil(length / parts)
    return (parts, size) if parts == 1 else (parts, -(-size // _ALIGN) * _ALIGN)
