"""What encoders of images can be told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.devices import PROCESSOR, chosen
from laconic.codec.image.header import TILE_UNIT
from laconic.codec.image.tiles import DEFAULT_TILE
from laconic.codec.options import option
from laconic.formats.errors import ParameterError

MAX_EFFORT = 9  # `refine.STEPS` says what each costs


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


TUNED = {"visual": "mlic-visual", "psnr": "mlic-base"}  # models of the codec mlic


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
