"""Videos to files, frame by frame: FFmpeg's formats, or a folder of PNG images.

``.mkv`` is lossless (FFV1 of the RGB or gray samples), ``.mp4``, ``.mov``, ``.m4v`` (x264, CRF 12)
and ``.webm`` (VP9, CRF 16) are made for players and lose a little, ``.y4m`` is raw YUV 4:4:4.
Time stamps are exact but in Matroska and WebM, which store milliseconds, and in Y4M, which stores a
rate. Audio packets are written as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from laconic.formats.atomic import REASONS, atomic_write, check_target
from laconic.formats.audio_track import AudioTracks, Packet, add_track, to_ffmpeg
from laconic.formats.errors import OutputError, ParameterError, UnsupportedError
from laconic.formats.image import Image, write_image
from laconic.formats.timing import Timing
from laconic.formats.video import BT601, BT709, MATRICES, STAMPS, VideoHeader
from laconic.formats.video_extras import for_ffmpeg

RGB_TAG, LIMITED, FULL = 0, 1, 2


@dataclass(frozen=True)
class Target:
    """How a format is written: FFmpeg's names, and whether it keeps samples, audio and times."""

    container: str
    encoder: str
    options: dict[str, str]
    exact: bool = False
    audio: bool = True
    timed: bool = True
    chapters: bool = True


X264 = {"crf": "12", "preset": "medium"}
TARGETS = {
    "mkv": Target("matroska", "ffv1", {"level": "3", "slicecrc": "1"}, exact=True),
    "mp4": Target("mp4", "libx264", X264),
    "m4v": Target("mp4", "libx264", X264),
    "mov": Target("mov", "libx264", X264),
    "webm": Target(
        "webm", "libvpx-vp9", {"crf": "16", "b": "0", "deadline": "good", "cpu-used": "4"}
    ),
    "y4m": Target("yuv4mpegpipe", "wrapped_avframe", {}, audio=False, timed=False, chapters=False),
}
FOLDER = "png"


@dataclass
class Output:
    """A video to write: upright frames ``[H, W, C]`` of uint8 one after the other, their times,
    what the source said of colours, and audio. ``cut`` is true for a part of a video, whose clock
    then begins at 0 and whose audio is that of its frames."""

    frames: Iterable[NDArray[np.uint8]]
    timing: Timing
    header: VideoHeader
    audio: AudioTracks | None = None
    cut: bool = False

    @property
    def start(self) -> Fraction:
        """Seconds taken off all time stamps."""
        return self.timing.stamps[0] * self.timing.base if self.cut else Fraction(0)

    @property
    def end(self) -> Fraction:
        """When the last frame has been shown, in seconds."""
        timing = self.timing
        return (timing.stamps[-1] + max(1, timing.durations[-1])) * timing.base

    @property
    def chapters(self) -> list[dict[str, Any]]:
        """Chapters of the frames, for FFmpeg."""
        header = self.header
        last = max([self.end, *(Fraction(c.end, 1000) for c in header.chapters)])
        return for_ffmpeg(header.chapters, self.start, self.end if self.cut else last)


def format_of(target: str, format: str | None = None) -> str:
    """Key of :data:`TARGETS`, or "png" for a folder; raises ``ParameterError``."""
    suffix = Path(target).suffix.lower().lstrip(".")
    name = (format or suffix or FOLDER).lower()
    if Path(target).is_dir() and format is None:
        name = FOLDER
    if name not in TARGETS and name != FOLDER:
        known = ", ".join("." + n for n in TARGETS)
        raise ParameterError(
            f"videos are not written as {name!r}: expected {known}, or a folder for PNG images"
        )
    return name


def write_video(
    video: Output, target: str | Path | BinaryIO, format: str, *, overwrite: bool = False
) -> list[str]:
    """Write a video to a path (atomically) or a binary file that need not be seekable.

    Returns:
        sentences about what the format does not hold.

    Raises:
        ParameterError: the format cannot hold the audio.
        OutputError: the target exists or cannot be written.
    """
    if format == FOLDER:
        if not isinstance(target, str | Path):
            raise ParameterError("PNG images of a video are written to a folder: name one")
        return _write_folder(video, Path(target), overwrite)
    if not isinstance(target, str | Path):
        return _write_stream(video, _Pipe(target), TARGETS[format])
    with atomic_write(target, overwrite) as file:
        return _write_stream(video, file, TARGETS[format])


class _Pipe:
    """A file without seek, as FFmpeg asks for."""

    def __init__(self, fp: BinaryIO) -> None:
        self._fp = fp

    def write(self, data: bytes) -> int:
        return self._fp.write(data)


def _write_stream(video: Output, file: Any, target: Target) -> list[str]:
    import av

    lost = []
    audio = video.audio
    if audio is not None and not target.audio:
        lost.append(f"{target.container} holds no audio: it is left out")
        audio = None
    timing = video.timing
    steps = {b - a for a, b in zip(timing.stamps, timing.stamps[1:], strict=False)}
    if not target.timed and max(steps, default=1) - min(steps, default=1) > 1:
        lost.append(f"{target.container} holds no time stamps: frames get a constant rate")
    if video.chapters and not target.chapters:
        lost.append(f"{target.container} holds no chapters: they are left out")
    if video.header.light is not None and target.encoder != "libx264":
        lost.append(
            f"what a display is told of HDR is not in {target.container} as written here: choose"
            " .mp4 or .mov to keep it"
        )
    across, down = video.header.aspect
    if across != down and target.encoder != "libx264":  # whose own headers hold it
        lost.append(
            f"the shape of a pixel, {across}:{down}, is not in {target.container} as written here:"
            " players show square ones; choose .mp4 or .mov to keep it"
        )
    try:
        with ExitStack() as stack:
            container = stack.enter_context(av.open(file, "w", format=target.container))
            _fill(container, video, audio, target)
    except av.error.FFmpegError as error:
        if getattr(error, "errno", None) in REASONS:
            raise OutputError(f"the video cannot be written: {error.strerror}") from error
        raise UnsupportedError(
            f"FFmpeg cannot write this video as {target.container}: {error.strerror}"
        ) from error
    return lost


def _fill(container: Any, video: Output, audio: AudioTracks | None, target: Target) -> None:
    frames = iter(video.frames)
    first = next(frames, None)
    if first is None:
        raise ParameterError("a video without frames cannot be written")
    layout, matrix, span = _samples(video.header, first, target)
    rate = video.timing.rate.limit_denominator(1_000_000)
    options = dict(target.options)
    if video.header.light is not None and target.encoder == "libx264":
        options["x264-params"] = video.header.light.for_x264()
    stream = container.add_stream(target.encoder, rate=rate, options=options)
    if target.chapters and video.chapters:
        container.set_chapters(video.chapters)
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], layout
    base = video.timing.base if target.timed else 1 / rate
    context.time_base = stream.time_base = base  # before the first frame, else 1 / rate
    context.color_primaries, context.color_trc = video.header.color[:2]
    context.colorspace, context.color_range = matrix, span
    across, down = video.header.aspect[:: -1 if video.header.turns & 1 else 1]
    context.sample_aspect_ratio = Fraction(across, down)
    tracks = [] if audio is None else [add_track(container, t) for t in audio.tracks]
    packets = _heard(video, audio)
    waiting = next(packets, None)
    for index, frame in enumerate(_chain(first, frames)):
        start = video.timing.stamps[index] * video.timing.base
        while waiting is not None and audio is not None and _begins(audio, waiting) <= start:
            track = audio.tracks[waiting.track]
            container.mux(to_ffmpeg(track, waiting, tracks[waiting.track], video.start))
            waiting = next(packets, None)
        made = _to_ffmpeg(frame, layout, matrix, span)
        made.time_base = base
        made.pts = round((start - video.start) / base) if target.timed else index
        made.duration = video.timing.durations[index] if target.timed else 1
        container.mux(stream.encode(made))
    container.mux(stream.encode(None))
    while waiting is not None and audio is not None:
        track = audio.tracks[waiting.track]
        container.mux(to_ffmpeg(track, waiting, tracks[waiting.track], video.start))
        waiting = next(packets, None)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _heard(video: Output, audio: AudioTracks | None) -> Iterator[Packet]:
    """The packets that belong to the frames."""
    if audio is None:
        return iter(())
    if not video.cut:
        return iter(audio)
    return audio.between(video.start, video.end)


def _begins(audio: AudioTracks, packet: Packet) -> Fraction:
    track = audio.tracks[packet.track]
    return track.starts[packet.index] * track.base


def _samples(header: VideoHeader, frame: NDArray[Any], target: Target) -> tuple[str, int, int]:
    """FFmpeg's pixel format, tag of the matrix, tag of the range."""
    height, width, channels = frame.shape
    if target.exact:
        return ("gray", 2, FULL) if channels == 1 else ("bgr0", RGB_TAG, FULL)
    assumed = BT709 if header.height >= 720 else 6
    tag = header.color[2] if header.color[2] in MATRICES else assumed
    span = FULL if header.color[3] == FULL else LIMITED
    if target.container == "yuv4mpegpipe":
        return ("gray" if channels == 1 else "yuv444p"), tag, span
    return ("yuv444p" if width % 2 or height % 2 else "yuv420p"), tag, span


def _to_ffmpeg(frame: NDArray[np.uint8], layout: str, tag: int, span: int) -> Any:
    """A frame of FFmpeg's in the layout to write."""
    import av

    gray = frame.shape[2] == 1
    array = np.ascontiguousarray(frame[..., 0] if gray else frame)
    made = av.VideoFrame.from_ndarray(array, format="gray" if gray else "rgb24")
    made.color_range = FULL
    if layout == made.format.name:
        return made
    if layout == "bgr0":
        return made.reformat(format=layout)
    return made.reformat(
        format=layout,
        dst_colorspace=MATRICES.get(tag, BT601),
        src_color_range=FULL,
        dst_color_range=span,
        interpolation="BICUBIC",
    )


def _write_folder(video: Output, folder: Path, overwrite: bool) -> list[str]:
    """00000.png, 00001.png, ... and their times."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
        raise OutputError(f"{folder} exists already: choose another folder or add -f")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {os.strerror(error.errno or 0)}") from error
    check_target(folder / STAMPS, overwrite)
    digits = max(5, len(str(len(video.timing) - 1)))
    for index, frame in enumerate(video.frames):
        path = folder / f"{index:0{digits}}.png"
        write_image(Image(np.ascontiguousarray(frame)), path, overwrite=overwrite)
    base = video.timing.base
    lines = ["# timestamp format v2"]
    lines += [f"{float((s * base - video.start) * 1000):.6f}" for s in video.timing.stamps]
    with atomic_write(folder / STAMPS, overwrite) as file:
        file.write(("\n".join(lines) + "\n").encode())
    lost = ["audio"] if video.audio is not None else []
    lost += ["chapters"] if video.chapters else []
    lost += ["what a display is told of HDR"] if video.header.light is not None else []
    return [f"images hold no {' nor '.join(lost)}: left out"] if lost else []
