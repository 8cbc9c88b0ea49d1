"""Videos: ``formats.video_reader.Film`` in, a sequence of frames out.

What a codec decodes to is iterated over for its upright frames (uint8 ``[H, W, 1 or 3]``) and has
``header``, ``timing`` (of these frames), ``audio`` and ``notices``; those that keep a file open
have ``keep``. :class:`Frames` is the simplest such object, for codecs that hold a video in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import BPP, QUALITY, TARGET, DecodeSettings
from laconic.codec.media.base import Medium, Saved, Source, Target
from laconic.formats import video
from laconic.formats.audio_track import AudioTracks
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits, ParameterError
from laconic.formats.timing import Timing
from laconic.formats.video import VideoHeader
from laconic.formats.video_images import VideoArray, VideoImages
from laconic.formats.video_planes import PlanarFrame, Planes, planes_of, planes_of_rgb, sampling_of
from laconic.formats.video_reader import Film, VideoFile

if TYPE_CHECKING:
    from laconic.codec.evaluate.subject import Item


class Frames(Sequence[NDArray[np.uint8]]):
    """Decoded frames in memory.

    Args:
        frames: uint8 ``[N, H, W, 1 or 3]``, as the source stored them.
        header: of the file.
        first: number of the first of them in the file.
        audio: tracks of the whole video, or None.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        header: VideoHeader,
        first: int = 0,
        audio: AudioTracks | None = None,
    ) -> None:
        self._frames, self.header, self.audio = frames, header, audio
        self.timing: Timing = header.timing.cut(first, first + len(frames))
        self.notices: list[str] = []

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return self.header.shown[0]

    @property
    def height(self) -> int:
        """Rows."""
        return self.header.shown[1]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: Any) -> Any:
        return np.rot90(self._frames[index], self.header.turns, (-3, -2))

    def stored(self) -> Iterator[NDArray[np.uint8]]:
        """The frames as the source stored them, not turned upright."""
        return iter(self._frames)


class VideoMedium(Medium):
    """Frames with times, and audio beside them."""

    kind = Media.VIDEO
    noun, plural = "video", "videos"
    suffixes = frozenset(video.SUFFIXES)
    is_lazy = True
    part = "frames"
    formats = ("mkv", "mp4", "mov", "webm", "y4m")
    encode_columns = (
        ("frames", "frames", ","),
        ("bpp", "bpp", ".4f"),
        ("psnr", "PSNR dB", ".2f"),
    )
    decode_columns = (
        ("width", "width", ""),
        ("height", "height", ""),
        ("frames", "frames", ","),
    )
    rates = (QUALITY, BPP, TARGET)
    second_rate = "kbps"
    metrics = ("psnr-y", "psnr-yuv", "ms-ssim-y", "psnr", "ms-ssim")
    baselines = "laconic.codec.evaluate.baselines.videos"

    def is_one(self, value: Any) -> bool:
        return hasattr(value, "scan") or (isinstance(value, np.ndarray) and value.ndim == 4)

    def looks_like(self, head: bytes) -> bool:
        mp4 = head[4:8] == b"ftyp" and head[8:12] not in (
            b"avif", b"avis", b"heic", b"mif1", b"M4A ",
        )  # fmt: skip
        return mp4 or head.startswith((b"\x1aE\xdf\xa3", b"YUV4MPEG2"))

    def read(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> Film:
        value = source.value
        if isinstance(value, np.ndarray):
            return VideoArray(value)
        if hasattr(value, "scan"):
            return value  # type: ignore[no-any-return]
        if source.is_object:
            raise ParameterError(
                f"{type(value).__name__} is no video: leave the codec out, or choose one for it"
            )
        if isinstance(value, Path) and self.folder(value):
            return VideoImages(value, limits)
        animated = source.head.startswith(b"RIFF") and source.head[8:12] == b"WEBP"
        return VideoImages(source.file(), limits) if animated else VideoFile(source.file())

    def folder(self, path: Path) -> bool:
        """Images and no videos lie in it."""
        return (
            path.is_dir()
            and bool(VideoImages.paths(path))
            and not any(p.suffix.lower() in self.suffixes for p in path.rglob("*"))
        )

    def facts(self, reader: ContainerReader, limits: Limits) -> dict[str, Any]:
        header = VideoHeader.unpack(reader.header.media_header, reader.chunks, limits)
        width, height = header.shown
        return {
            "width": width,
            "height": height,
            "channels": header.channels,
            "bit_depth": header.bit_depth,
            "frames": header.frames,
            "rate": f"{float(header.timing.rate):g}",
            "time_base": str(header.timing.base),
            "seconds": round(header.timing.seconds, 3),
            "audio_tracks": header.tracks,
            **({"chapters": len(header.chapters)} if header.chapters else {}),
            **({"hdr10": header.light.for_x264()} if header.light is not None else {}),
            "bpp": 8 * reader.file_bytes / (width * height * header.frames),
        }

    def title(self, facts: dict[str, Any]) -> str:
        return f"{facts['width']} x {facts['height']}, {facts['frames']} frames"

    def suffix(self, header: bytes, format: str | None) -> str:
        name = (format or "mkv").lower()
        return "" if name == "png" else f".{name}"

    def check_format(self, target: str, format: str | None) -> None:
        from laconic.formats.video_writer import format_of

        format_of(target, format or (None if target else "mkv"))

    def save(
        self,
        decoded: Any,
        target: Target,
        format: str | None,
        *,
        header: bytes,
        settings: DecodeSettings,
        overwrite: bool = False,
    ) -> Saved:
        from laconic.formats.video_writer import Output, format_of, write_video

        notices = list(decoded.notices)
        try:
            audio = decoded.audio
        except FormatError:
            if not settings.partial:
                raise
            audio = None
            notices.append("the audio is lost")
        named = not hasattr(target, "write")
        chosen = format_of(str(target) if named else "", format or (None if named else "mkv"))
        whole = len(decoded) == decoded.header.frames
        output = Output(
            _counted(decoded, settings),
            decoded.timing,
            decoded.header,
            audio,
            cut=settings.frames is not None and not whole,
        )
        where: Any = Path(target) if named else target  # type: ignore[arg-type]
        notes = write_video(output, where, chosen, overwrite=overwrite)
        width, height = decoded.header.shown
        facts = {"width": width, "height": height, "bit_depth": 8, "frames": len(decoded)}
        return Saved(facts, notes, notices)

    def sample(self) -> Film:
        return VideoArray(np.full((2, 16, 16, 3), 128, np.uint8))

    def load(self, item: Item) -> video.VideoInfo:
        """Facts alone: frames are read one by one when they are compared."""
        return video.read_info(item.path, item.limits)

    def shown(self, decoded: Any, row: Mapping[str, Any]) -> Any:
        """The middle frame."""
        return _rgb(next(islice(decoded, row["frames"] // 2, None)))

    def shown_original(self, item: Item) -> Any:
        count = sum(1 for _ in video.read_frames(item.path, item.limits))
        frame = next(islice(video.read_frames(item.path, item.limits), count // 2, None))
        return video.frame_to_rgb(frame, item.original)

    def for_evaluation(self, decoded: Any) -> Iterator[PlanarFrame | NDArray[np.uint8]]:
        if hasattr(decoded, "unconverted"):
            yield from decoded.unconverted()
            return
        frames = decoded.stored() if hasattr(decoded, "stored") else iter(decoded)
        for frame in frames:
            yield np.broadcast_to(frame, (*frame.shape[:2], 3))

    def compare(
        self, item: Item, decode: Callable[[], Any], size: int, metrics: Sequence[Any]
    ) -> dict[str, Any]:
        """Means over frames of each metric, as papers on video codecs report them.

        Measures of planes take the source's own; decoded planes of its layout are compared as they
        are.
        """
        clip: video.VideoInfo = item.original
        decoded: Iterator[PlanarFrame | NDArray[np.uint8]] = iter(decode())
        values: dict[str, list[float | None]] = {m.name: [] for m in metrics}
        decode_s, count, exact = 0.0, 0, True
        with ExitStack() as stack:
            watching = {m.name: stack.enter_context(m.compute()) for m in metrics if m.whole}
            for original in video.read_frames(item.path, item.limits):
                start = time.perf_counter()
                frame = next(decoded, None)
                decode_s += time.perf_counter() - start
                if frame is None:
                    raise FormatError(f"the codec decoded {count} frames; the source has more")
                count += 1
                pair = _Pair(original, frame, clip)
                exact = exact and pair.equal()
                for metric in metrics:
                    sides = pair.planes(metric.planes) if metric.planes else pair.rgb
                    if metric.whole:
                        watching[metric.name].add(*sides, pair.depth, pair.full)
                    else:
                        depth = pair.depth if metric.planes else 8
                        values[metric.name].append(metric.of(*sides, depth))
            if next(decoded, None) is not None:
                raise FormatError(f"the codec decoded more than the {count} frames of the source")
            if count == 0:
                raise FormatError("the video has no frames")
            for name, watcher in watching.items():
                with suppress(ParameterError):
                    values[name] = [watcher.score()]
        means = {
            name: None if not found or None in found else float(np.mean(found))  # type: ignore[arg-type]
            for name, found in values.items()
        }
        return {
            "decode_s": decode_s,
            "frames": count,
            "bpp": 8 * size / (clip.width * clip.height * count),
            "kbps": 8 * size / float(count / clip.rate) / 1000,
            "bits_per_sample": 8 * size / (3 * clip.width * clip.height * count),
            "exact": exact,
            **means,
        }


class _Pair:
    """A frame of the source and the decoded one, in whatever form a metric wants them."""

    def __init__(self, original: Any, decoded: PlanarFrame | NDArray[np.uint8], clip: Any) -> None:
        self._original, self._decoded, self._clip = original, decoded, clip
        self.sampling = sampling_of(original, clip)
        self.depth, self.full = self.sampling.depth, self.sampling.full

    @cached_property
    def rgb(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Both as ``[H, W, 3]``."""
        return video.frame_to_rgb(self._original, self._clip), _rgb(self._decoded)

    @cached_property
    def _planes(self) -> tuple[Planes, Planes]:
        source, shown = planes_of(self._original, self.sampling), self._decoded
        if isinstance(shown, PlanarFrame):
            return source, shown.sampled(self.sampling)
        return source, planes_of_rgb(shown, self.sampling)

    def planes(self, which: str) -> tuple[Any, Any]:
        """Luma ("y") or all planes ("yuv") of both."""
        source, shown = self._planes
        return (source[0], shown[0]) if which == "y" else (source, shown)

    def equal(self) -> bool:
        """Whether nothing was lost: no sample of the planes, or of RGB where that was decoded."""
        if isinstance(self._decoded, PlanarFrame):
            return all(np.array_equal(a, b) for a, b in zip(*self._planes, strict=False))
        return np.array_equal(*self.rgb)


def _rgb(frame: PlanarFrame | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return frame.rgb() if isinstance(frame, PlanarFrame) else frame


def _counted(decoded: Any, settings: DecodeSettings) -> Iterator[NDArray[np.uint8]]:
    for done, frame in enumerate(decoded, 1):
        yield frame
        if settings.progress is not None:
            settings.progress(done, len(decoded))
