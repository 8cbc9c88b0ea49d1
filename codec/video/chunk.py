"""Chunks of film: what the stream around them needs to know.

`Fit` turns frames into a payload, `decode` a payload into a `Decoder` that evaluates any frame.
"""

from laconic.codec.video.decoder import Decoder, decode
from laconic.codec.video.fit import Fit
from laconic.codec.video.settings import FitSettings

__all__ = ["Decoder", "Fit", "FitSettings", "decode"]
