"""Frames of video files, one at a time, read through FFmpeg (PyAV).

Films do not fit into memory, so frames are yielded and never collected here. Choose
:mod:`laconic.formats.image` for single pictures and :mod:`laconic.formats.audio` for sound.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError, UnsupportedError
from laconic.formats.limits import DEFAULT_LIMITS, Limits

SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".y4m", ".m4v", ".mpg", ".ts", ".ivf"}
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
    """Decoded ``av.VideoFrame`` objects in order of presentation. A codec takes its films from
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
            raise UnsupportedError("the input holds no video track: expected a film")
        stream = self._container.streams.video[0]
        self._limits.check_pixels(stream.codec_context.width, stream.codec_context.height)
        return self._container, stream

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import av

        self._container.close()
        if isinstance(error, av.error.FFmpegError):
            raise FormatError(f"the video cannot be decoded: {error.strerror}") from error
