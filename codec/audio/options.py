"""What the audio codecs can be told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.codec.audio.header import MAX_SEED, MAX_STEPS
from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.options import option

STEREO = ("joint", "dual")


@dataclass(frozen=True)
class AudioOptions(EncodeSettings):
    """Options of the encoder."""

    steps: int | None = option(
        None, "Steps of the refiner that the decoder should make; 0 is fast and without noise.",
        low=0, high=MAX_STEPS, shown="what the model advises",
    )  # fmt: skip
    seed: int | None = option(
        None, "Of the noise that the decoder draws.", low=0, high=MAX_SEED, shown="0"
    )
    stereo: str | None = option(
        None, "One set of tokens for both channels, or one for each.", choices=STEREO, shown="joint"
    )
    strip: bool = option(False, "Leave out the tags.")


@dataclass(frozen=True)
class AudioDecodeOptions(DecodeSettings):
    """Options of the decoder."""

    steps: int | None = option(
        None, "Steps of the refiner; 0 is fast.", low=0, high=MAX_STEPS, shown="the file's"
    )
    seed: int | None = option(
        None, "Of the noise that is drawn.", low=0, high=MAX_SEED, shown="the file's"
    )
