"""What the video codecs can be told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.options import option
from laconic.codec.video.plan import FITTED
from laconic.codec.video.settings import PRESETS


@dataclass(frozen=True)
class VideoOptions(EncodeSettings):
    """Options of every video encoder."""

    preset: str = option("medium", "How long a video is fitted.", choices=tuple(PRESETS))
    chunk: int | None = option(
        None, "Frames that are fitted together.", unit="frames", low=1,
        shown="by scenes and memory",
    )  # fmt: skip
    audio: bool = option(True, "Carry the audio tracks.")
    jobs: int = option(
        1, "Chunks fitted at a time; 1 lets each start from the one before.", low=1, flag=False
    )
    work: str | None = option(
        None, "Path of the work file that makes encoding resumable.", flag=False
    )
    fresh: bool = option(False, "Replace a work file that belongs to something else.", flag=False)


@dataclass(frozen=True)
class HnervOptions(VideoOptions):
    """Options of the encoder of fitted networks."""

    network: str | None = option(None, "What is fitted to it.", choices=FITTED, shown=FITTED[0])


@dataclass(frozen=True)
class VideoDecodeOptions(DecodeSettings):
    """Options of the decoder."""

    audio: bool = option(True, "Decode the audio tracks.")
