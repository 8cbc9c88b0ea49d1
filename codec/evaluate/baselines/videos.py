"""Videos through FFmpeg (PyAV): x264, x265, SVT-AV1, VP9, written as MP4 in memory.

Frames go to the encoder as the source stores them, and what it decodes is compared as it is; the
sample layout is converted where an encoder does not take it, and nothing else. Encoding time
therefore includes decoding the source. Thread counts are fixed, since they change the bytes of some
encoders.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from laconic.codec.evaluate.subject import Item
from laconic.formats import video
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError, UnsupportedError
from laconic.formats.video_planes import PlanarFrame, frame_of, planes_of, sampling_of

media = Media.VIDEO
THREADS = 2


@dataclass(frozen=True)
class Row:
    """An encoder: how its preset is called and what it takes."""

    encoder: str
    presets: Sequence[str]
    preset_key: str
    default: str
    qualities: Sequence[float | None]
    options: dict[str, str]
    range: tuple[float, float]
    formats: Sequence[str] = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le",
                              "yuv444p10le")  # fmt: skip


X26X = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
        "veryslow", "placebo")  # fmt: skip
TABLE: dict[str, Row] = {
    "x264": Row("libx264", X26X, "preset", "medium", (17, 22, 27, 32, 37, 42), {}, (0, 51)),
    "x265": Row("libx265", X26X, "preset", "medium", (17, 22, 27, 32, 37, 42),
                {"x265-params": f"log-level=none:pools={THREADS}:frame-threads=1"}, (0, 51)),
    "svt-av1": Row("libsvtav1", tuple(map(str, range(14))), "preset", "8", (22, 30, 38, 46, 54, 62),
                   {"svtav1-params": f"lp={THREADS}"}, (0, 63), ("yuv420p", "yuv420p10le")),
    "vp9": Row("libvpx-vp9", tuple(map(str, range(9))), "cpu-used", "2", (22, 30, 38, 46, 54, 62),
               {"b": "0", "row-mt": "0", "deadline": "good"}, (0, 63)),
}  # fmt: skip


def names() -> list[str]:
    """Names of the rows."""
    return list(TABLE)


def make(name: str, variant: str | None) -> FfmpegVideo:
    """The baseline of that name; the variant is a preset."""
    return FfmpegVideo(name, variant)


class FfmpegVideo:
    """One encoder at constant quality (CRF), one pass."""

    media = Media.VIDEO
    suffix = ".mp4"
    scale = "CRF, smaller is better"

    def __init__(self, name: str, variant: str | None) -> None:
        import av

        os.environ.setdefault("SVT_LOG", "1")  # errors alone
        self.row = row = TABLE[name]
        self.preset = variant or row.default
        if self.preset not in row.presets:
            raise ParameterError(
                f"{name} has no preset {variant!r}: expected one of {', '.join(row.presets)}"
            )
        try:
            av.Codec(row.encoder, "w")
        except av.codec.codec.UnknownCodecError as error:
            raise UnsupportedError(
                f"this FFmpeg has no {row.encoder}: install another build of PyAV to measure {name}"
            ) from error
        self.label = name if variant is None else f"{name}@{variant}"
        self.qualities, self.range = row.qualities, row.range

    def prepare(self) -> None:
        """Nothing to load."""

    def describe(self) -> dict[str, Any]:
        import av

        row = self.row
        return {"encoder": row.encoder, "pyav": av.__version__, "preset": self.preset,
                "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
                "options": row.options, "threads": THREADS, "container": "mp4",
                "pixel_formats": list(row.formats), "scale": self.scale}  # fmt: skip

    def encode(self, item: Item, quality: float | None) -> bytes:
        with _scheduling_kept():
            return self._encoded(item, quality)

    def _encoded(self, item: Item, quality: float | None) -> bytes:
        import av

        row, clip = self.row, item.original
        pixel_format = clip.pixel_format.replace("yuvj", "yuv")
        if pixel_format not in row.formats:
            pixel_format = "yuv420p"
        buffer = io.BytesIO()
        try:
            with av.open(buffer, "w", format="mp4") as container:
                options = {**row.options, row.preset_key: self.preset, "crf": f"{quality:g}"}
                stream: Any = container.add_stream(row.encoder, rate=clip.rate, options=options)
                stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, pixel_format
                stream.codec_context.thread_count = THREADS
                stream.codec_context.colorspace = clip.matrix
                stream.codec_context.color_range = 2 if clip.full_range else 1
                for index, frame in enumerate(video.read_frames(item.path, item.limits)):
                    converted = _as_taken(frame, clip, pixel_format)
                    converted.pts, converted.time_base = index, 1 / clip.rate
                    # An encoder would repeat the source's frame types: all intra for FFV1.
                    converted.pict_type = av.video.frame.PictureType.NONE
                    container.mux(stream.encode(converted))
                container.mux(stream.encode(None))
        except av.error.FFmpegError as error:
            raise UnsupportedError(
                f"{self.label} cannot encode {clip.width} x {clip.height} {clip.pixel_format}:"
                f" {error.strerror}"
            ) from error
        return buffer.getvalue()

    def decode(self, data: bytes, item: Item) -> Iterator[PlanarFrame]:
        for frame in video.read_frames(data, item.limits, THREADS):
            sampling = sampling_of(frame, item.original)
            yield PlanarFrame(planes_of(frame, sampling), sampling)


@contextmanager
def _scheduling_kept() -> Iterator[None]:
    """Gives the calling thread its scheduling back: SVT-AV1, where root runs it, makes a real-time
    thread of the one that opens it, which then starves all others of its core."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def _as_taken(frame: Any, clip: video.VideoInfo, pixel_format: str) -> Any:
    """A frame for an encoder that takes ``pixel_format``; samples are those of the source where it
    has this layout."""
    if frame.format.name.replace("yuvj", "yuv") == pixel_format:
        sampling = sampling_of(frame, clip)
        return frame_of(planes_of(frame, sampling), sampling)
    return frame.reformat(
        format=pixel_format, dst_colorspace=clip.matrix,
        dst_color_range=2 if clip.full_range else 1, interpolation=video.EXACT,
    )  # fmt: skip
