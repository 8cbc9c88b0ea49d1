"""Tiles of an image, and the alpha plane of a tile.

Lossless coding of alpha planes, tile by tile, with the smaller of two well-kept formats.

Alpha is mostly flat or anti-aliased edges, which WebP lossless and PNG code well; a constant plane
takes three bytes. First byte: 0 constant (uint16 value follows), 1 WebP lossless, 2 PNG.

Tiles: images of any size in bounded memory, without seams.

Latents are partitioned, never duplicated: a tile's analysis sees its neighbours' pixels and its
synthesis its neighbours' decoded latents as far as the transforms reach. The joint image is what
an untiled codec would have made of the same latents, so there is no seam to hide and no bit is
spent twice. Only the entropy model stops at a tile's border.

Coordinates of pixels are in the padded image, whose sides are multiples of 64.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.codec.image.config import MlicConfig
from laconic.codec.image.header import TILE_UNIT
from laconic.formats.errors import FormatError, ParameterError

CONSTANT, WEBP, PNG = 0, 1, 2
LATENT = 16  # pixels per latent


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
