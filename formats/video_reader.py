"""Videos for a codec: what has to be known of all frames first, then the frames in order.

:class:`VideoFile` reads what FFmpeg reads and keeps one frame; videos of images are in
`video_images`. Damaged frames are left out and reported, as players do; decoding runs in one
thread, so that a second pass finds the same frames as the first.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from laconic.formats.audio_track import take_audio
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits, UnsupportedError
from laconic.formats.timing import MAX_TERM, Timing
from laconic.formats.video import UNSPECIFIED, VideoHeader, VideoInfo, frame_to_rgb, info_of_stream
from laconic.formats.video_extras import Chapter, chapters_of, light_of
from laconic.formats.video_planes import Planes, Sampling, planes_of, sampling_of

THUMB = (32, 18)  # frames are compared at this size to find cuts
LONGEST_GAP = 2**34  # between time stamps, in their units


@dataclass
class Scan:
    """What a first pass over a video finds.

    Attributes:
        header: everything but the audio.
        changes: mean difference of each frame's thumbnail from the one before, in levels; the
            first is 0.
        notices: sentences about what is changed or lost.
        sampling: of `Film.planes`.
    """

    header: VideoHeader
    changes: NDArray[np.float32]
    notices: list[str] = field(default_factory=list)
    sampling: Sampling = field(default_factory=Sampling)


class Film(Protocol):
    """A video to encode."""

    def scan(self, limits: Limits = DEFAULT_LIMITS) -> Scan:
        """Facts of all frames. Raises as ``formats.video.read_frames`` does."""
        ...

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The frames of the scan, ``[H, W, 3]`` RGB as stored (not turned upright)."""
        ...

    def planes(self) -> Iterator[Planes]:
        """The planes of the same frames, in the sampling of the scan."""
        ...

    def sound(self) -> tuple[BinaryIO | None, int, list[str]]:
        """As ``audio_track.take_audio``."""
        ...

    def digest(self) -> str:
        """What tells this video from others."""
        ...


class VideoFile:
    """The first video track of a file (a path or its bytes), with its audio tracks."""

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._source = source if isinstance(source, bytes) else os.fspath(source)
        self._info: VideoInfo | None = None
        self.damaged = 0

    def scan(self, limits: Limits = DEFAULT_LIMITS) -> Scan:
        notices: list[str] = []
        stamps: list[int | None] = []
        durations: list[int] = []
        thumbs: list[NDArray[Any]] = []
        tracks = _Tracks()
        interlaced = seen_through = False
        for frame in self._decoded(limits, tracks):
            interlaced = interlaced or frame.interlaced_frame
            seen_through = seen_through or _seen_through(frame)
            limits.check("the number of frames", len(stamps) + 1, limits.frames)
            stamps.append(frame.pts)
            durations.append(frame.duration or 0)
            small = frame.reformat(*THUMB, format="gray", interpolation="AREA").to_ndarray()
            thumbs.append(small)
            if not tracks.first:
                tracks.first = frame
        info, first, base = self._info, tracks.first, tracks.base
        if first is None or info is None:
            what = "every frame is damaged" if self.damaged else "it has no frames"
            raise FormatError(f"the video cannot be encoded: {what}")
        if self.damaged:
            plural = "places" if self.damaged > 1 else "place"
            notices.append(f"the video is damaged in {self.damaged} {plural}: frames are missing")
        timing = _timing(base, info.rate, stamps, durations, notices)
        notices += _losses(info, first, interlaced, seen_through or tracks.alpha)
        notices += [f"{', '.join(tracks.others)} are left out"] if tracks.others else []
        header = VideoHeader(
            info.width,
            info.height,
            timing,
            gray=first.format.name.startswith("gray"),
            turns=round(first.rotation / 90) % 4,
            color=_tags(tracks),
            aspect=tracks.aspect,
            chapters=tracks.chapters,
            light=light_of(first),
        )
        return Scan(header, changes(thumbs), notices, sampling_of(first, info))

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        for frame in self._decoded(Limits(pixels=2**48), _Tracks()):
            assert self._info is not None
            yield frame_to_rgb(frame, self._info)

    def planes(self) -> Iterator[Planes]:
        sampling: Sampling | None = None
        for frame in self._decoded(Limits(pixels=2**48), _Tracks()):
            assert self._info is not None
            sampling = sampling or sampling_of(frame, self._info)
            yield planes_of(frame, sampling)

    def sound(self) -> tuple[BinaryIO | None, int, list[str]]:
        return take_audio(self._source)

    def digest(self) -> str:
        if isinstance(self._source, bytes):
            return hashlib.sha256(self._source).hexdigest()
        found = hashlib.sha256()
        with open(self._source, "rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
        return found.hexdigest()

    def _decoded(self, limits: Limits, tracks: _Tracks) -> Iterator[Any]:
        """Frames in order of presentation; counts damaged places."""
        import av

        self.damaged = 0
        source: Any = BytesIO(self._source) if isinstance(self._source, bytes) else self._source
        try:
            container = av.open(source)
        except av.error.FFmpegError as error:
            if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
                raise
            raise UnsupportedError(
                "the input is no video that FFmpeg reads, or it is damaged at its beginning"
            ) from error
        with container:
            found = [s for s in container.streams.video if not s.disposition & _cover()]
            if not found or found[0].codec_context is None:
                raise UnsupportedError("the input holds no video track: expected a video")
            stream = found[0]
            context = stream.codec_context
            limits.check_pixels(context.width, context.height)
            context.thread_count = 1
            tracks.see(container, stream)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets)
                except StopIteration:
                    return
                except av.error.FFmpegError:
                    self.damaged += 1
                    return
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    self.damaged += 1
                    continue
                for frame in frames:
                    self.damaged += frame.is_corrupt
                    info = self._size_of(stream, frame, limits)
                    if (frame.width, frame.height) != (info.width, info.height):
                        raise UnsupportedError(
                            f"the frames change from {info.width} x {info.height} to"
                            f" {frame.width} x {frame.height}: expected one size; cut it there"
                        )
                    yield frame

    def _size_of(self, stream: Any, frame: Any, limits: Limits) -> VideoInfo:
        if self._info is None:
            limits.check_pixels(frame.width, frame.height)
            self._info = info_of_stream(stream)
        return self._info


class _Tracks:
    """Facts of the stream that only last while it is open."""

    def __init__(self) -> None:
        self.first: Any = None
        self.base = Fraction(1, 25)
        self.aspect = (1, 1)
        self.alpha = False  # that FFmpeg's own decoder of VP8 and VP9 does not show
        self.others: list[str] = []
        self.chapters: tuple[Chapter, ...] = ()
        self.context: Any = None

    def see(self, container: Any, stream: Any) -> None:
        self.alpha = stream.metadata.get("alpha_mode") == "1"
        self.others, self.chapters = _others(container), chapters_of(container)
        self.base = Fraction(stream.time_base)
        ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        if ratio:
            self.aspect = (ratio.numerator, ratio.denominator)
        self.context = stream.codec_context


def _cover() -> Any:
    """FFmpeg's mark of cover images, which are no videos."""
    from av.stream import Disposition

    return Disposition.attached_pic


def _tags(tracks: _Tracks) -> tuple[int, int, int, int]:
    """Colour tags of the first frame, as far as they say something."""
    frame = tracks.first
    rgb = frame.format.is_rgb
    tags = (frame.color_primaries, frame.color_trc, 0 if rgb else frame.colorspace)
    clean = tuple(int(t) if 0 <= int(t) < 256 else 2 for t in tags)
    span = 2 if rgb else int(frame.color_range)
    if rgb and clean[:2] == UNSPECIFIED[:2]:
        return UNSPECIFIED
    return (clean[0], clean[1], clean[2], span if span in (1, 2) else 0)


def _timing(
    base: Fraction,
    rate: Fraction,
    stamps: list[int | None],
    durations: list[int],
    notices: list[str],
) -> Timing:
    """Times made strictly increasing; says what had to be invented."""
    known = [s for s in stamps if s is not None]
    if len(stamps) > 1 and 2 * sum(a < b for a, b in pairwise(known)) < len(stamps) - 1:
        rate = rate.limit_denominator(1001) if 0 < rate <= 1000 else Fraction(25)
        notices.append(
            f"the video has no usable time stamps: it gets {float(rate):g} frames a second"
        )
        return Timing(1 / rate, tuple(range(len(stamps))), (1,) * len(stamps))
    missing, wrong = 0, 0
    usual = next((d for d in durations if d), 1)
    fixed: list[int] = []
    for stamp, duration in zip(stamps, [0, *durations], strict=False):
        if stamp is None:
            missing += 1
            stamp = fixed[-1] + (duration or usual) if fixed else 0
        if fixed and stamp <= fixed[-1]:
            wrong += 1
            stamp = fixed[-1] + 1
        if fixed and stamp - fixed[-1] > LONGEST_GAP:
            raise FormatError("the video's time stamps jump by hours: it is damaged")
        fixed.append(stamp)
    if missing:
        notices.append(f"{missing} frames have no time stamp: they follow the frame before")
    if wrong:
        notices.append(f"{wrong} frames are shown at or before the one before: moved behind it")
    if max(base.numerator, base.denominator) > MAX_TERM:
        raise FormatError(f"the video's time base is {base} s: impossible")
    steps = [b - a for a, b in pairwise(fixed)]
    guesses = [*steps, steps[-1] if steps else usual]
    lasting = [
        d if 0 < d <= LONGEST_GAP else guess for d, guess in zip(durations, guesses, strict=True)
    ]
    return Timing(base, tuple(fixed), tuple(lasting))


def _seen_through(frame: Any) -> bool:
    """Whether a frame has a pixel that is not opaque."""
    if not any(c.is_alpha for c in frame.format.components):
        return False
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


HDR = ("DYNAMIC_HDR_PLUS", "DOVI_METADATA", "DOVI_RPU_BUFFER")  # beyond HDR10


def _losses(info: VideoInfo, frame: Any, interlaced: bool, seen_through: bool) -> list[str]:
    losses = []
    if max(c.bits for c in frame.format.components) > 8:
        losses.append(f"the samples ({info.pixel_format}) are decoded to 8 bits")
    if {str(data.type.name) for data in frame.side_data.keys()} & {*HDR}:  # noqa: SIM118
        losses.append("what a display is told scene by scene (HDR10+, Dolby Vision) is left out")
    if interlaced:
        losses.append(
            "the video is interlaced: both fields of a frame are coded as one image, and players"
            " are not told"
        )
    if seen_through:
        losses.append("transparency is left out")
    return losses


def _others(container: Any) -> list[str]:
    """Subtitles and further videos of a file, in words."""
    found = []
    titles = list(container.streams.subtitles)
    if titles:
        spoken = [s.metadata.get("language", "") for s in titles]
        named = f" ({', '.join(filter(None, spoken))})" if any(spoken) else ""
        found.append(f"{len(titles)} subtitle track{'s' * (len(titles) > 1)}{named}")
    for count, noun in (
        (sum(not s.disposition & _cover() for s in container.streams.video) - 1, "further video"),
        (len(container.streams.attachments), "attached file"),
    ):
        if count > 0:
            found.append(f"{count} {noun}{'s' * (count > 1)}")
    return found


def changes(thumbs: list[NDArray[Any]]) -> NDArray[np.float32]:
    """Mean difference of each thumbnail from the one before, 0 for the first."""
    steps = [
        np.abs(b.astype(np.float32) - a.astype(np.float32)).mean() for a, b in pairwise(thumbs)
    ]
    return np.array([0.0, *steps], np.float32)
