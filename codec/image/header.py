"""Private headers of the image codecs: quality and tile side, or tile side alone. Imports no
torch."""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from typing import Any

from laconic.formats.errors import FormatError, UnsupportedError

TILE_UNIT = 64  # z lives at 1/64 of the resolution
QUALITY_STEPS = 1000  # tenths of a quality point
CODEC_ID = 1
CODEC_VERSION = 1
LAYERED_VERSION = 2  # of the codec mlic


@dataclass(frozen=True)
class MlicHeader:
    """``quality`` in 0..100 (stored in tenths) and ``tile`` in pixels (64..16320, stored / 64).

    Version 2 has ``layered`` tiles, parts of which are coded as screens, and says whether the
    image is ``neutral``: red, green and blue are equal everywhere.
    """

    quality: float
    tile: int
    layered: bool = False
    neutral: bool = False

    @property
    def version(self) -> int:
        """Version of the codec whose files have this header."""
        return LAYERED_VERSION if self.layered else CODEC_VERSION

    def pack(self) -> bytes:
        """Big-endian uint16 tenths of quality, uint8 tile side / 64; in version 2 uint8 flags."""
        plain = struct.pack(">HB", round(self.quality * 10), self.tile // TILE_UNIT)
        return plain + bytes([self.neutral]) if self.layered else plain

    @classmethod
    def unpack(cls, data: bytes) -> MlicHeader:
        """Inverse of :meth:`pack`; raises ``FormatError`` for impossible values,
        ``UnsupportedError`` for flags of a newer version."""
        if len(data) not in (3, 4):
            raise FormatError(f"the image codec's header has {len(data)} bytes: expected 3 or 4")
        tenths, tile = struct.unpack(">HB", data[:3])
        if tenths > QUALITY_STEPS or tile == 0:
            raise FormatError(
                f"the image codec's header says quality {tenths / 10} and tile {tile * TILE_UNIT}:"
                " expected 0..100 and at least 64"
            )
        if data[3:] > b"\1":
            raise UnsupportedError("the image codec's header uses features of a newer version")
        return cls(tenths / 10, tile * TILE_UNIT, len(data) == 4, data[3:] == b"\1")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"quality": self.quality, "tile": self.tile}


@dataclass(frozen=True)
class TileHeader:
    """Header of codecs whose models have one rate each: ``tile`` in pixels, stored / 64."""

    tile: int
    layered = neutral = False
    version = CODEC_VERSION

    @property
    def quality(self) -> None:
        """There is no choice of quality."""
        return

    def pack(self) -> bytes:
        """uint8 tile side / 64."""
        return bytes([self.tile // TILE_UNIT])

    @classmethod
    def unpack(cls, data: bytes) -> TileHeader:
        """Inverse of :meth:`pack`; raises ``FormatError`` for impossible values."""
        if len(data) != 1 or data[0] == 0:
            raise FormatError(
                f"the image codec's header is {data.hex() or 'empty'}: expected one byte, not 0"
            )
        return cls(data[0] * TILE_UNIT)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


class ZooHeader:
    """Header of a codec with models of one rate and of variable rate, told apart by length."""

    @staticmethod
    def unpack(data: bytes) -> MlicHeader | TileHeader:
        """Either header; raises ``FormatError`` for impossible values."""
        return MlicHeader.unpack(data) if len(data) == 3 else TileHeader.unpack(data)
