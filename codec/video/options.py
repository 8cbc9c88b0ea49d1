"""What the video codec can be told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.options import option
from laconic.codec.video.plan import ENCODED
from laconic.codec.video.settings import PRESETS


@dataclass(frozen=True)
class VideoOptions(EncodeSettings):
    """Options of the encoder."""

    preset: str = option("medium", "How long a video is fitted.", choices=tuple(PRESETS))
    network: str | None = option(
        None, "What is fitted to it.", choices=ENCODED[::-1], shown="motion"
    )
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
class VideoDecodeOptions(DecodeSettings):
    """Options of the decoder."""

    audio: bool = option(True, "Decode the audio tracks.")
