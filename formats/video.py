"""Video in memory, and its header in a container.

Frames of video files, one at a time, read through FFmpeg (PyAV).

Videos do not fit into memory, so frames are yielded and never collected here. Choose
:mod:`laconic.formats.image` for single images and :mod:`laconic.formats.audio` for audio.

Media header of videos: all that is needed to show the frames at the right time and in the right
colours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.container import TIME, Chunk
from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import read_varint, write_varint
from laconic.formats.image_reader import MAX_SIDE
from laconic.formats.timing import Timing
from laconic.formats.video_extras import Chapter, Light, pack_extras, unpack_extras

SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".y4m", ".m4v", ".mpg", ".ts", ".ivf"}
STAMPS = "timestamps.txt"  # beside images of a video: a line of milliseconds for each
BT709, BT601 = 1, 5  # FFmpeg's numbers of the two matrices
EXACT = 4 | 0x2000 | 0x40000  # FFmpeg's bicubic + full_chroma_int + accurate_rnd: no bias
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # tags (H.273) -> what the scaler knows


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of its first video track.

    Attributes:
        width, height: pixels of a frame.
        rate: frames per second.
        pixel_format: FFmpeg's name of the sample layout, such as "yuv420p".
        matrix: matrix from RGB to YUV as FFmpeg's scaler numbers it, such as 1 (BT.709), 5
            (BT.601) or 9 (BT.2020); files that do not say are BT.709 from 720 rows on and BT.601
            below, as players assume.
        full_range: whether samples span 0..255 and not 16..235.
    """

    width: int
    height: int
    rate: Fraction
    pixel_format: str
    matrix: int
    full_range: bool


def read_info(source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS) -> VideoInfo:
    """Facts of the first video track; raises as :func:`read_frames` does."""
    with _opened(source, limits) as (_, stream):
        return info_of_stream(stream)


def read_frames(
    source: str | os.PathLike[str] | bytes,
    limits: Limits = DEFAULT_LIMITS,
    threads: int = 0,
) -> Iterator[Any]:
    """Decoded ``av.VideoFrame`` objects in order of presentation. A codec takes its videos from
    ``video_reader``, which also survives damage.

    Raises:
        UnsupportedError: no video that FFmpeg knows.
        FormatError: damaged or truncated.
        LimitError: frames too large or too many.
    """
    with _opened(source, limits) as (container, stream):
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        for count, frame in enumerate(container.decode(stream), 1):
            limits.check("the number of frames", count, limits.frames)
            limits.check_pixels(frame.width, frame.height)
            yield frame


def frame_to_rgb(frame: Any, info: VideoInfo) -> NDArray[np.uint8]:
    """RGB samples ``[H, W, 3]`` of a frame, by the matrix and range in ``info``.

    Both sides of a comparison take the ``info`` of the original, so that a file that lost its
    colour tags is not punished for it.
    """
    if frame.format.name in ("rgb24", "gbrp", "bgr0", "bgra", "rgba", "gray"):
        array: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
        return array
    array = frame.reformat(
        format="rgb24",
        src_colorspace=info.matrix,
        src_color_range=2 if info.full_range else 1,
        dst_color_range=2,
        interpolation=EXACT,
    ).to_ndarray()
    return array


def info_of_stream(stream: Any) -> VideoInfo:
    """Facts of an open stream of FFmpeg's."""
    context = stream.codec_context
    assumed = BT709 if context.height >= 720 else BT601
    matrix = MATRICES.get(int(context.colorspace), assumed)
    return VideoInfo(
        width=context.width,
        height=context.height,
        rate=Fraction(stream.average_rate or stream.guessed_rate or 25),
        pixel_format=context.pix_fmt or "",
        matrix=matrix,
        full_range=context.color_range == 2,
    )


class _opened:  # noqa: N801 - a context manager, read as a verb
    """Opens the first video track and turns FFmpeg's errors into ours."""

    def __init__(self, source: str | os.PathLike[str] | bytes, limits: Limits) -> None:
        self._source: Any = BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
        self._limits = limits
        self._container: Any = None

    def __enter__(self) -> tuple[Any, Any]:
        import av

        try:
            self._container = av.open(self._source)
        except av.error.InvalidDataError as error:
            raise UnsupportedError(
                "the input is no video that FFmpeg reads, or it is damaged at its beginning"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise UnsupportedError("the input holds no video track: expected a video")
        stream = self._container.streams.video[0]
        self._limits.check_pixels(stream.codec_context.width, stream.codec_context.height)
        return self._container, stream

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import av

        self._container.close()
        if isinstance(error, av.error.FFmpegError):
            raise FormatError(f"the video cannot be decoded: {error.strerror}") from error


UNSPECIFIED = (2, 2, 2, 0)
MAX_TRACKS = 64


@dataclass(frozen=True)
class VideoHeader:
    """What every codec of videos says of its frames.

    Attributes:
        width, height: pixels of a frame as stored, before ``turns``.
        timing: when frames are shown; its length is their number.
        gray: one channel instead of RGB.
        turns: quarter turns counter-clockwise that make the frames upright, 0 to 3.
        color: primaries, transfer characteristics, matrix (ITU-T H.273) and range (0 not said,
            1 limited, 2 full) of the source; the coded samples are full-range RGB or gray.
        aspect: shape of a pixel, width : height.
        tracks: number of audio tracks.
        chapters, light: of the source, see ``video_extras``.
    """

    width: int
    height: int
    timing: Timing
    gray: bool = False
    turns: int = 0
    color: tuple[int, int, int, int] = UNSPECIFIED
    aspect: tuple[int, int] = (1, 1)
    tracks: int = 0
    chapters: tuple[Chapter, ...] = ()
    light: Light | None = None
    bit_depth: int = field(default=8, init=False)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.timing)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 1 if self.gray else 3

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the upright frames."""
        return (self.height, self.width) if self.turns & 1 else (self.width, self.height)

    def pack(self) -> tuple[bytes, list[Chunk]]:
        """Bytes as in SPEC.md, section 5, and the chunks that belong to them."""
        sides = (self.width, self.height)
        if min(sides) < 1 or max(sides) > MAX_SIDE:
            raise ParameterError(f"frames of {self.width} x {self.height} cannot be stored")
        if self.tracks > MAX_TRACKS:
            raise ParameterError(f"{self.tracks} audio tracks cannot be stored: at most 64")
        tagged, stretched = self.color != UNSPECIFIED, self.aspect[0] != self.aspect[1]
        flags = self.gray | self.turns << 1 | tagged << 3 | stretched << 4
        times, listed = self.timing.pack()
        data = (
            write_varint(self.width)
            + write_varint(self.height)
            + write_varint(self.frames)
            + bytes([flags, *(self.color if tagged else ())])
            + (b"".join(map(write_varint, self.aspect)) if stretched else b"")
            + times
            + write_varint(self.tracks)
        )
        extras = pack_extras(self.chapters, self.light)
        return data, [*([Chunk(TIME, listed)] if listed else []), *extras]

    @classmethod
    def unpack(
        cls, data: bytes, chunks: Sequence[Chunk], limits: Limits = DEFAULT_LIMITS
    ) -> VideoHeader:
        """Inverse of :meth:`pack`; ``LimitError`` for videos beyond the limits."""
        width, offset = read_varint(data, 0)
        height, offset = read_varint(data, offset)
        frames, offset = read_varint(data, offset)
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or frames == 0:
            raise FormatError(
                f"the video's header says {frames} frames of {width} x {height}: damaged file"
            )
        limits.check_pixels(width, height)
        limits.check("the number of frames", frames, limits.frames)
        if offset >= len(data):
            raise FormatError("the video's header is truncated")
        flags, offset = data[offset], offset + 1
        if flags >> 5:
            raise UnsupportedError("the video's header uses features of a newer version")
        color, aspect = UNSPECIFIED, (1, 1)
        if flags & 8:
            if offset + 4 > len(data):
                raise FormatError("the video's header is truncated")
            color = (data[offset], data[offset + 1], data[offset + 2], data[offset + 3])
            offset += 4
        if flags & 16:
            across, offset = read_varint(data, offset)
            down, offset = read_varint(data, offset)
            aspect = (across, down)
        if color[3] > 2 or 0 in aspect:
            raise FormatError("the video's header says an impossible range or shape of pixels")
        listed = next((c.data for c in chunks if c.type == TIME), None)
        timing, offset = Timing.unpack(data, offset, frames, listed)
        tracks, offset = read_varint(data, offset)
        if offset != len(data) or tracks > MAX_TRACKS:
            raise FormatError("the video's header has a wrong length: the file is damaged")
        chapters, light = unpack_extras(chunks)
        return cls(
            width,
            height,
            timing,
            gray=bool(flags & 1),
            turns=flags >> 1 & 3,
            color=color,
            aspect=aspect,
            tracks=tracks,
            chapters=chapters,
            light=light,
        )
