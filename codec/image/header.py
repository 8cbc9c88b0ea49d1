"""What an image file says about itself and what its encoder can be told. Imports no torch.

Private headers of the codecs hold quality and tile side, or the tile side alone.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from typing import Any

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.devices import PROCESSOR, chosen
from laconic.codec.options import option
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError

TILE_UNIT = 64  # z lives at 1/64 of the resolution
DEFAULT_TILE = 1024
QUALITY_STEPS = 1000  # tenths of a quality point
CODEC_ID = 1
CODEC_VERSION = 1
LAYERED_VERSION = 2  # of the codec mlic
MAX_EFFORT = 9  # `refine.STEPS` says what each costs
TUNED = {"visual": "mlic-visual", "psnr": "mlic-base"}  # models of the codec mlic


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


@dataclass(frozen=True)
class ImageOptions(EncodeSettings):
    """Options of the lossy image codecs."""

    effort: int = option(
        0, "More time for fewer bits; Ctrl-C keeps the best so far.", low=0, high=MAX_EFFORT
    )
    tile: int | None = option(
        None, "Side of the tiles.", unit="pixels", low=TILE_UNIT, high=255 * TILE_UNIT,
        step=TILE_UNIT, shown=str(DEFAULT_TILE),
    )  # fmt: skip
    strip: bool = option(False, "Leave out EXIF and XMP, or a recording's tags.")
    allow_conversion: bool = option(
        False,
        "Encode the first frame or page of several, and without loss samples that had to be"
        " converted; both are refused otherwise.",
    )
    device: str | None = chosen(PROCESSOR)

    def wanted(self) -> str | None:
        """Name, id or path of the model to encode with; None is the default."""
        return self.model


@dataclass(frozen=True)
class ImageDecodeOptions(DecodeSettings):
    """Options of their decoders."""

    device: str | None = chosen(PROCESSOR)


@dataclass(frozen=True)
class MlicOptions(ImageOptions):
    """Options of the codec whose models ship."""

    tune: str | None = option(
        None, "What files are good at: what people see, or the squared error.",
        choices=tuple(TUNED), shown="visual",
    )  # fmt: skip

    def wanted(self) -> str | None:
        """As for every image codec, or the model of the tune; raises ``ParameterError`` where
        both are given."""
        if self.tune is None:
            return self.model
        if self.model is not None:
            raise ParameterError(
                f"tune {self.tune} and the model {self.model} were both asked for: leave one out"
            )
        return TUNED[self.tune]
