"""What a photo file says about itself, and what its encoder can be told.

Sizes and number formats of the network of one colour plane.

All steps between numbers are powers of two, so that scaling never rounds and the network in float32
with rounded weights (training) and the network on integers (coding) are the same function.

The codec's private header (3 bytes), and the tiles it stands for. Imports no torch.

What the codec ``photo`` can be told. Imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.image.header import Box
from laconic.codec.lossless.photo.features import INPUTS, inputs_of
from laconic.codec.options import option
from laconic.entropy.quantize import NumericsProfile
from laconic.formats.errors import FormatError, ModelError, UnsupportedError

INPUT_BITS = 5  # inputs are multiples of 2^-5, -512 .. 511
HIDDEN_BITS = 6  # activations are multiples of 2^-6, 0 .. 1023
WEIGHT_BITS = 8  # weights are multiples of 2^-8, -511 .. 511
SKIP_BITS = HIDDEN_BITS + WEIGHT_BITS - INPUT_BITS  # weights from inputs to outputs: 2^-9
OUTPUT_BITS = HIDDEN_BITS + WEIGHT_BITS  # outputs are multiples of 2^-14
INTEGER_BITS = {
    "w1": WEIGHT_BITS, "b1": INPUT_BITS + WEIGHT_BITS, "w2": WEIGHT_BITS, "b2": OUTPUT_BITS,
    "w3": WEIGHT_BITS, "skip": SKIP_BITS, "b3": OUTPUT_BITS,
}  # fmt: skip
"""The integers of each tensor are multiples of 2^-n."""
WEIGHT_LIMIT = 511
HIDDEN_LIMIT = 1023
EXACT = 1 << 24  # float32 holds all integers below: no sum may reach it


@dataclass(frozen=True)
class PhotoConfig:
    """Widths of the two hidden layers for each plane, the number of logistics, and whether the
    networks see a lossy image as well."""

    hidden: tuple[tuple[int, int], ...] = ((128, 96), (96, 64), (96, 64))
    components: int = 5
    based: bool = False

    @property
    def inputs(self) -> list[int]:
        """Inputs of the network of each plane."""
        return [inputs_of(plane, based=self.based) for plane in range(len(INPUTS))]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "hidden": [list(h) for h in self.hidden]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PhotoConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError``."""
        try:
            hidden = tuple((int(a), int(b)) for a, b in values["hidden"])
            components = int(values["components"])
            based = bool(values.get("based", False))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's configuration is damaged: {error}") from error
        if len(hidden) != len(INPUTS) or not 1 <= components <= 16:
            raise ModelError(
                f"the model has {len(hidden)} planes and {components} components: expected"
                f" {len(INPUTS)} and 1 to 16"
            )
        return cls(hidden, components, based)


CONFIGS = {"photo": PhotoConfig(), "photo-preview": PhotoConfig(based=True)}


CODEC_ID = 2
CODEC_VERSION = 1
TILE_UNIT = 64
DEFAULT_TILE = 512
MAX_TILE = 1024  # bounds the memory that a decoder needs
CIRCUIT, FILE = 0, 1  # how the samples are coded
_ALIGN = 8  # sides of tiles, so that most tiles have one shape


@dataclass(frozen=True)
class PhotoHeader:
    """How an image was prepared and cut.

    Attributes:
        kind: CIRCUIT, or FILE for an image file of another format inside.
        tile: largest side of a tile in pixels, a multiple of 64.
        bits: significant bits of a sample, 8 to 16.
        shift: a sample is the coded number times 2^shift ...
        replicated: ... or the coded number repeated to fill 16 bits.
        same: all channels are equal and one is coded.
        adapted: a segment before those of the tiles changes the model's weights.
        based: the first segment is a lossy image that the circuit sees and that can be decoded
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
            return {**known, "coded as": "image file"}
        return {
            **known,
            "coded as": "adapted circuit" if self.adapted else "circuit",
            "tile": self.tile,
            "bits": self.bits,
        }


class Tiles:
    """Tiles of an image in row-major order: no larger than `tile`, nearly equal."""

    def __init__(self, width: int, height: int, tile: int) -> None:
        self.whole = Box(0, 0, width, height)
        self.columns, self.width = _divide(width, tile)
        self.rows, self.height = _divide(height, tile)

    def __len__(self) -> int:
        return self.columns * self.rows

    def box(self, number: int) -> Box:
        """Pixels of tile `number`."""
        row, column = divmod(number, self.columns)
        left, top = column * self.width, row * self.height
        return Box(left, top, left + self.width, top + self.height).cut(self.whole)

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


@dataclass(frozen=True)
class PhotoOptions(EncodeSettings):
    """Options of the encoder."""

    effort: int = option(
        0, "Above 0 the model is adapted to the image; Ctrl-C keeps the best so far.",
        low=0, high=9,
    )  # fmt: skip
    tile: int | None = option(
        None, "Side of the tiles.", unit="pixels", low=TILE_UNIT, high=MAX_TILE, step=TILE_UNIT,
        shown=str(DEFAULT_TILE),
    )  # fmt: skip
    strip: bool = option(False, "Leave out EXIF and XMP.")
    allow_conversion: bool = option(
        False,
        "Encode the first frame or page of several, and without loss samples that had to be"
        " converted; both are refused otherwise.",
    )
    preview: bool = option(
        False, "Begin a lossless file with a lossy image of --quality, 10 if it is not given."
    )


@dataclass(frozen=True)
class PhotoDecodeOptions(DecodeSettings):
    """Options of the decoder."""

    preview: bool = option(False, "Only the lossy image that a lossless file begins with.")
