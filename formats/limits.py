"""Limits a reader imposes before it allocates anything.

>>> Limits().pixels == 2**28
True
>>> Limits(pixels=1_000_000).check_pixels(4000, 3000)  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
laconic.formats.errors.LimitError: the image has 4000 x 3000 pixels: the limit is 1000000; ...
"""

from __future__ import annotations

from dataclasses import dataclass

from laconic.formats.errors import LimitError


@dataclass(frozen=True)
class Limits:
    """Largest values a reader accepts; the defaults are those of ``SPEC.md``."""

    header_bytes: int = 16 * 1024
    chunk_bytes: int = 16 * 1024 * 1024
    chunks: int = 256
    segments: int = 2**20
    segment_bytes: int = 2**30
    pixels: int = 2**28
    samples: int = 2**30  # of audio, all channels together
    frames: int = 2**24  # of video
    cells: int = 2**28  # of tables and arrays
    tile_pixels: int = 2**22  # of a part of an image that is decoded at once
    free: int = 2**24  # bytes that any file may unpack to, however small it is ...
    expansion: int = 2**12  # ... and that each of its bytes may add

    def check_pixels(self, width: int, height: int) -> None:
        """Raise ``LimitError`` for an image that is too large."""
        if width * height > self.pixels:
            raise LimitError(
                f"the image has {width} x {height} pixels: the limit is {self.pixels}; raise it"
                " with --limit-pixels or Limits(pixels=...) if you trust the file"
            )

    def check_tile(self, width: int, height: int) -> None:
        """Raise ``LimitError`` for a tile whose decoder would need too much memory."""
        if width * height > self.tile_pixels:
            raise LimitError(
                f"the image has tiles of {width} x {height} pixels: the limit is"
                f" {self.tile_pixels}; raise it with Limits(tile_pixels=...) if you trust the file"
            )

    def check_expansion(self, name: str, size: int, packed: int) -> None:
        """Raise ``LimitError`` if ``packed`` bytes claim to be ``size`` bytes of something."""
        if size > self.free + self.expansion * packed:
            raise LimitError(
                f"{name}: {packed} bytes claim to unpack to {size}, as a file made to fill memory"
                " would; raise Limits(free=..., expansion=...) if you trust it"
            )

    def check(self, name: str, value: int, limit: int) -> None:
        """Raise ``LimitError`` if a length or count from a file exceeds its limit."""
        if value > limit:
            raise LimitError(f"{name} is {value}: the limit is {limit}")


DEFAULT_LIMITS = Limits()
