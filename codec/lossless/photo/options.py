"""What the codec ``photo`` can be told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.lossless.photo.header import DEFAULT_TILE, MAX_TILE, TILE_UNIT
from laconic.codec.options import option


@dataclass(frozen=True)
class PhotoOptions(EncodeSettings):
    """Options of the encoder."""

    effort: int = option(
        0, "Above 0 the model is adapted to the picture; Ctrl-C keeps the best so far.",
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
        False, "Begin a lossless file with a lossy picture of --quality, 10 if it is not given."
    )


@dataclass(frozen=True)
class PhotoDecodeOptions(DecodeSettings):
    """Options of the decoder."""

    preview: bool = option(False, "Only the lossy picture that a lossless file begins with.")
