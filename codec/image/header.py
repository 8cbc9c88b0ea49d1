"""What an image file says about itself, how it is cut, what its encoder is told. Imports no torch.

Private headers of the codecs hold quality and tile side, or the tile side alone.

Tiles are for images of any size in bounded memory, without seams. Latents are partitioned, never
duplicated: a tile's analysis sees its neighbours' pixels and its synthesis its neighbours' decoded
latents as far as the transforms reach. The joint image is what an untiled codec would have made of
the same latents, so there is no seam to hide and no bit is spent twice. Only the entropy model
stops at a tile's border. Coordinates of pixels are in the padded image, whose sides are multiples
of 64.

A tile's alpha plane is coded without loss by the smaller of two well-kept formats: it is mostly
flat or anti-aliased edges, which WebP lossless and PNG code well; a constant plane takes three
bytes. First byte: 0 constant (uint16 value follows), 1 WebP lossless, 2 PNG.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.devices import PROCESSOR, chosen
from laconic.codec.image.config import MlicConfig
from laconic.codec.options import option
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError

TILE_UNIT = 64  # z lives at 1/64 of the resolution
DEFAULT_TILE = 1024
QUALITY_STEPS = 1000  # tenths of a quality point
CODEC_ID = 1
CODEC_VERSION = 1
LAYERED_VERSION, MIXING_VERSION, FILTER_VERSION = 2, 3, 4  # of the codec mlic
NEUTRAL, MIXING, FILTERED = 1, 2, 4  # flags
MAX_EFFORT = 9  # `refine.STEPS` says what each costs
TUNED = {"visual": "mlic-visual", "psnr": "mlic-base"}  # models of the codec mlic
CONSTANT, WEBP, PNG = 0, 1, 2
LATENT = 16  # pixels per latent


@dataclass(frozen=True)
class MlicHeader:
    """``quality`` in 0..100 (stored in tenths) and ``tile`` in pixels (64..16320, stored / 64).

    Version 2 has ``layered`` tiles, parts of which are coded as screens, and says whether the
    image is ``neutral``: red, green and blue are equal everywhere. Version 3 has context
    ``mixing`` too, version 4 tiles whose synthesis is ``filtered``.
    """

    quality: float
    tile: int
    layered: bool = False
    neutral: bool = False
    mixing: bool = False
    filtered: bool = False

    @property
    def version(self) -> int:
        """Version of the codec whose files have this header."""
        if self.filtered:
            return FILTER_VERSION
        if self.mixing:
            return MIXING_VERSION
        return LAYERED_VERSION if self.layered else CODEC_VERSION

    def pack(self) -> bytes:
        """Big-endian uint16 tenths of quality, uint8 tile side / 64; from version 2 on uint8
        flags."""
        plain = struct.pack(">HB", round(self.quality * 10), self.tile // TILE_UNIT)
        flags = NEUTRAL * self.neutral | MIXING * self.mixing | FILTERED * self.filtered
        return plain + bytes([flags]) if self.layered else plain

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
        flags = int.from_bytes(data[3:], "big")
        if flags & ~(NEUTRAL | MIXING | FILTERED):
            raise UnsupportedError("the image codec's header uses features of a newer version")
        if flags & FILTERED and not flags & MIXING:
            raise FormatError("the image codec's header has flags of no version: it is damaged")
        asked = (bool(flags & flag) for flag in (NEUTRAL, MIXING, FILTERED))
        return cls(tenths / 10, tile * TILE_UNIT, len(data) == 4, *asked)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"quality": self.quality, "tile": self.tile}


@dataclass(frozen=True)
class TileHeader:
    """Header of codecs whose models have one rate each: ``tile`` in pixels, stored / 64."""

    tile: int
    layered = neutral = mixing = filtered = False
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


def encode_alpha(plane: NDArray[Any]) -> bytes:
    """uint8 or uint16 ``[H, W]`` -> bytes."""
    if (plane == plane[0, 0]).all():
        return struct.pack(">BH", CONSTANT, int(plane[0, 0]))
    pil = Pillow.fromarray(np.ascontiguousarray(plane))
    png = io.BytesIO()
    pil.save(png, "PNG", optimize=True)
    best = bytes([PNG]) + png.getvalue()
    if plane.dtype == np.uint8:
        webp = io.BytesIO()
        pil.convert("RGB").save(webp, "WEBP", lossless=True, quality=100, method=4)
        if len(webp.getvalue()) + 1 < len(best):
            best = bytes([WEBP]) + webp.getvalue()
    return best


def decode_alpha(data: bytes, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Inverse of :func:`encode_alpha` for a plane of that shape; raises ``FormatError``."""
    if len(data) == 3 and data[0] == CONSTANT:
        return np.full(shape, struct.unpack(">H", data[1:])[0], dtype=dtype)
    if not data or data[0] not in (WEBP, PNG):
        raise FormatError("a tile's alpha plane is of an unknown kind: the file is damaged")
    expected = "WEBP" if data[0] == WEBP else "PNG"
    try:
        with Pillow.open(io.BytesIO(data[1:]), formats=[expected]) as pil:
            if pil.size != (shape[1], shape[0]):
                raise FormatError("a tile's alpha plane has the wrong size: the file is damaged")
            plane = np.asarray(pil)
    except (OSError, SyntaxError, ValueError) as error:
        raise FormatError(f"a tile's alpha plane is damaged: {error}") from error
    plane = plane[..., 0] if plane.ndim == 3 else plane
    return plane.astype(dtype)


@dataclass(frozen=True)
class Box:
    """A rectangle ``left <= x < right``, ``top <= y < bottom``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def grown(self, margin: int, bounds: Box) -> Box:
        """Larger by ``margin`` on each side, within ``bounds``."""
        return Box(
            max(bounds.left, self.left - margin),
            max(bounds.top, self.top - margin),
            min(bounds.right, self.right + margin),
            min(bounds.bottom, self.bottom + margin),
        )

    def cut(self, other: Box) -> Box:
        """Intersection; may be empty."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def within(self, outer: Box, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns of this box in an array that covers ``outer``, one sample per
        ``scale``."""
        return (
            slice((self.top - outer.top) // scale, (self.bottom - outer.top) // scale),
            slice((self.left - outer.left) // scale, (self.right - outer.left) // scale),
        )

    def aligned(self, unit: int) -> Box:
        """Smallest enclosing box on multiples of ``unit``."""
        return Box(
            self.left // unit * unit,
            self.top // unit * unit,
            -(-self.right // unit) * unit,
            -(-self.bottom // unit) * unit,
        )


@dataclass(frozen=True)
class Grid:
    """Tiles of an image in row-major order."""

    width: int
    height: int
    tile: int

    @property
    def padded(self) -> Box:
        """The image rounded up to multiples of 64."""
        up = TILE_UNIT
        return Box(0, 0, -(-self.width // up) * up, -(-self.height // up) * up)

    @property
    def columns(self) -> int:
        return math.ceil(self.width / self.tile)

    @property
    def rows(self) -> int:
        return math.ceil(self.height / self.tile)

    def __len__(self) -> int:
        return self.columns * self.rows

    def box(self, number: int) -> Box:
        """Padded pixels of tile ``number``."""
        row, column = divmod(number, self.columns)
        left, top = column * self.tile, row * self.tile
        return Box(left, top, left + self.tile, top + self.tile).cut(self.padded)

    def touching(self, area: Box) -> list[int]:
        """Numbers of the tiles that intersect ``area``."""
        first_row, last_row = area.top // self.tile, (area.bottom - 1) // self.tile
        first, last = area.left // self.tile, (area.right - 1) // self.tile
        return [
            row * self.columns + column
            for row in range(first_row, min(last_row, self.rows - 1) + 1)
            for column in range(first, min(last, self.columns - 1) + 1)
        ]


def analysis_margin(config: MlicConfig) -> int:
    """Pixels around a tile that its latents depend on: one feature of 8 pixels per block at 1/8,
    one latent for the block at 1/16, rounded up to whole latents."""
    return LATENT * (math.ceil(config.encoder_blocks / 2) + 1)


def synthesis_margin(config: MlicConfig) -> int:
    """Pixels around a region whose latents it depends on."""
    return LATENT * (math.ceil(config.decoder_blocks / 2) + 1)


def region_of(region: tuple[int, int, int, int] | None, whole: Box) -> Box:
    """The box of ``(x, y, width, height)`` within ``whole``, all of it for None.

    Raises ``ParameterError`` for a region that is empty or reaches outside.
    """
    if region is None:
        return whole
    x, y, width, height = region
    box = Box(x, y, x + width, y + height)
    if width < 1 or height < 1 or box.cut(whole) != box:
        raise ParameterError(
            f"the region {x},{y},{width},{height} does not lie within the image of"
            f" {whole.width} x {whole.height} pixels"
        )
    return box
