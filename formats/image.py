"""Images as arrays, and the files that hold them.

:func:`read_image` (``image_reader.py``) reads whatever Pillow or FFmpeg read, :func:`write_image`
(``image_writer.py``) writes by extension.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import DEFAULT_LIMITS, Limits, ParameterError

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm",
    ".jp2", ".jxl",
}  # fmt: skip
"""Extensions by which images are found in folders."""


@dataclass
class Image:
    """An image, upright.

    Attributes:
        pixels: uint8 or uint16 ``[H, W, C]``, C = 1 (gray) or 3 (RGB).
        alpha: ``[H, W]`` of the same type, or None.
        bit_depth: 8 or 16.
        icc, exif, xmp, iptc: colour profile and metadata as stored in files, or None.
        texts: of PNG files, and the comments of others, by name.
        density: dots per inch across and down, or None.
        color: CICP triple, or None for sRGB.
        notices: sentences about what reading or decoding changed.
        changes: those of the notices that say how the samples differ from the file's; frames:
            images in the file, of which this is the first.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    bit_depth: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)
    density: tuple[float, float] | None = None
    color: tuple[int, int, int] | None = None
    notices: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    frames: int = 1

    def __post_init__(self) -> None:
        expected = np.uint8 if self.bit_depth == 8 else np.uint16
        shape = self.pixels.shape
        if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
            raise ParameterError(
                f"pixels have shape {list(shape)}: expected [H, W, 1] or [H, W, 3]"
            )
        if self.bit_depth not in (8, 16) or self.pixels.dtype != expected:
            raise ParameterError(
                f"pixels are {self.pixels.dtype} with a bit depth of {self.bit_depth}: expected"
                " uint8 with 8 or uint16 with 16"
            )
        alpha = self.alpha
        if alpha is not None and (alpha.shape != shape[:2] or alpha.dtype != expected):
            raise ParameterError("alpha must have the size and type of the pixels")

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB."""
        return int(self.pixels.shape[2])


def check_whole(image: Image, *, lossless: bool) -> None:
    """Raise ``ParameterError`` where encoding would lose what nobody agreed to lose: all frames or
    pages but the first, and, for ``lossless``, the exact values of the samples."""
    way = "add allow_conversion (--allow-conversion) to encode it nevertheless"
    if image.frames > 1:
        raise ParameterError(
            f"the file holds {image.frames} frames or pages, and an image has one: encode"
            f" animations as video (--codec motion), take pages apart, or {way}"
        )
    if lossless and image.changes:
        raise ParameterError(f"lossless would not be exact: {image.changes[0]}; {way}")


def read_image(
    source: str | os.PathLike[str] | bytes | BinaryIO, limits: Limits = DEFAULT_LIMITS
) -> Image:
    """Read an image from a path, bytes or a binary file; see ``image_reader.py``."""
    from laconic.formats.image_reader import read

    return read(source, limits)


def write_image(
    image: Image,
    target: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,
    *,
    overwrite: bool = False,
) -> list[str]:
    """Write an image to a path (atomically) or a binary file; returns notices of what was lost.

    ``format`` is a name such as "png"; by default the path's extension decides.
    """
    from laconic.formats.image_writer import write

    return write(image, target, format, overwrite)
