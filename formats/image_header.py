"""Media header of pictures: all that is needed to show the samples correctly."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.image import Image
from laconic.formats.limits import DEFAULT_LIMITS, Limits
from laconic.formats.varint import read_varint, write_varint

MAX_SIDE = 2**24


@dataclass(frozen=True)
class ImageHeader:
    """Size in pixels, 1 or 3 colour channels, 8 or 16 bits, alpha, colour space.

    ``color`` is a CICP triple (primaries, transfer, matrix; ITU-T H.273) or None; ``icc`` tells
    that an ICC chunk describes the colours. Neither means sRGB. Orientation has been applied
    already.
    """

    width: int
    height: int
    channels: int = 3
    bit_depth: int = 8
    alpha: bool = False
    color: tuple[int, int, int] | None = None
    icc: bool = False

    @classmethod
    def of(cls, image: Image) -> ImageHeader:
        """The header of a picture."""
        return cls(
            image.width,
            image.height,
            image.channels,
            image.bit_depth,
            alpha=image.alpha is not None,
            color=image.color,
            icc=image.icc is not None,
        )

    def pack(self) -> bytes:
        """Bytes as in SPEC.md, section 5."""
        sides = (self.width, self.height)
        if min(sides) < 1 or max(sides) > MAX_SIDE:
            raise ParameterError(f"a picture of {self.width} x {self.height} cannot be stored")
        if self.channels not in (1, 3) or self.bit_depth not in (8, 16):
            raise ParameterError(
                f"a picture of {self.channels} channels of {self.bit_depth} bits cannot be stored:"
                " expected 1 or 3 channels of 8 or 16 bits"
            )
        flags = (
            (self.channels == 1)
            | self.alpha << 1
            | self.icc << 2
            | (self.color is not None) << 3
            | (self.bit_depth == 16) << 4
        )
        return (
            write_varint(self.width)
            + write_varint(self.height)
            + bytes([flags])
            + bytes(self.color or ())
        )

    @classmethod
    def unpack(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> ImageHeader:
        """Inverse of :meth:`pack`; raises ``LimitError`` for pictures beyond the limits."""
        width, offset = read_varint(data, 0)
        height, offset = read_varint(data, offset)
        if offset >= len(data):
            raise FormatError("the picture's header is truncated")
        flags = data[offset]
        color = data[offset + 1 :]
        if flags >> 5:
            raise UnsupportedError("the picture's header uses features of a newer version")
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise FormatError(f"the picture's header says {width} x {height} pixels: damaged file")
        if len(color) != (3 if flags & 8 else 0):
            raise FormatError("the picture's header has a wrong length: the file is damaged")
        limits.check_pixels(width, height)
        return cls(
            width,
            height,
            channels=1 if flags & 1 else 3,
            bit_depth=16 if flags & 16 else 8,
            alpha=bool(flags & 2),
            color=(color[0], color[1], color[2]) if color else None,
            icc=bool(flags & 4),
        )
