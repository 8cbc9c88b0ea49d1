"""What is refused, and in which words: exceptions, limits of readers, names safe to print.

There is one class of exception for each thing a caller can do about it:

    LaconicError                1  anything else
    |- ParameterError           2  an argument is out of range or contradicts another
    |- FormatError              3  a file is damaged or truncated
    |   `- DesyncError          3  decoded symbols are not the encoded ones
    |- ModelError               4  the model is missing or is not the one a stream names
    |- LimitError               5  a header claims more than the limits allow
    |- UnsupportedError         6  valid, but newer than this version or of an unknown kind
    `- OutputError              1  the target exists, cannot be written, or the disk is full

The number is the exit code of the command line. :class:`Limits` are checked before anything is
allocated.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

# Control characters, surrogates, private use, and everything that changes the order or the place
# of what stands around it.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class LaconicError(Exception):
    """Base of every error that the toolkit raises on purpose."""

    exit_code = 1


class ParameterError(LaconicError, ValueError):
    """An argument is out of range or contradicts another; change the call."""

    exit_code = 2


class FormatError(LaconicError, ValueError):
    """The file is damaged or truncated; fetch it again."""

    exit_code = 3


class DesyncError(FormatError):
    """The bytes are intact but the decoded symbols differ from the encoded ones."""


class ModelError(LaconicError):
    """The model is missing or is not the one that the stream names; install it."""

    exit_code = 4


class LimitError(LaconicError, ValueError):
    """The header claims more than the limits allow; raise the limits if you trust the file."""

    exit_code = 5


class UnsupportedError(LaconicError, ValueError):
    """The file is valid but nothing here reads it; install a newer version or the codec."""

    exit_code = 6


class OutputError(LaconicError, OSError):
    """The output cannot be written; nothing was changed."""


@dataclass(frozen=True)
class Limits:
    """Largest values a reader accepts; the defaults are those of ``SPEC.md``.

    >>> Limits().pixels == 2**28
    True
    >>> Limits(pixels=1_000_000).check_pixels(4000, 3000)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    laconic.formats.errors.LimitError: the image has 4000 x 3000 pixels: the limit is 1000000; ...
    """

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


def printable(text: str, limit: int | None = None) -> str:
    """``text`` with terminal escapes, newlines, marks of direction and other characters without a
    glyph shown as escapes, cut to ``limit`` characters.

    >>> printable("a\\x1b[31mred\\n\\u202etxt.exe")
    'a\\\\x1b[31mred\\\\n\\\\u202etxt.exe'
    """
    shown = "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN else c for c in text)
    if limit is not None and len(shown) > limit:
        return shown[: max(0, limit - 1)] + "…"
    return shown


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
