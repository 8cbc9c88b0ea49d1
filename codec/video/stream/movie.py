"""Videos read back: a lazy sequence of frames that reads and evaluates only what is asked for.

The chunk of a frame is found in the header; its segment is read and its symbols are decoded and
checked when one of its frames is first wanted. Two decoded chunks are kept, so that going through a
video decodes each once and memory stays bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import VerifyReport
from laconic.codec.info import Info, info_of
from laconic.codec.video.plan import CODEC_VERSION, HnervHeader, chunk_of
from laconic.codec.video.settings import VideoDecodeOptions
from laconic.entropy.quantize import NumericsProfile, SymbolCheck
from laconic.formats.audio_track import PART_BYTES, AudioTracks
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DesyncError, FormatError, ParameterError, UnsupportedError
from laconic.formats.timing import Timing
from laconic.formats.video import VideoHeader
from laconic.formats.video_planes import PlanarFrame, Planes

KEPT = 2  # decoded chunks
BATCH = 4  # frames evaluated at a time when going through a video
Frame = NDArray[np.uint8]


class MovieFile:
    """An open stream: header, chunks on demand, audio.

    Raises ``UnsupportedError``, ``FormatError``, ``LimitError`` for files that are not as they
    should be. With ``settings.partial`` missing segments are no error; ``intact`` tells the chunks
    that can be read.
    """

    def __init__(self, reader: ContainerReader, settings: VideoDecodeOptions) -> None:
        head = reader.header
        if head.media != Media.VIDEO or head.codec_version != CODEC_VERSION:
            raise UnsupportedError(
                f"the video is of codec version {head.codec_version}: this is {CODEC_VERSION};"
                " install a newer Laconic"
            )
        if head.numerics != NumericsProfile.INTEGER_TABLES:
            raise UnsupportedError(f"the video uses numerics profile {head.numerics}: unknown")
        self.reader, self.settings = reader, settings
        self.header = VideoHeader.unpack(head.media_header, reader.chunks, settings.limits)
        self.private = HnervHeader.unpack(head.codec_header, settings.limits)
        self.starts = self.private.starts()
        chunks = len(self.starts)
        if self.private.frames != self.header.frames:
            raise FormatError(
                f"the video's chunks hold {self.private.frames} frames but its header announces"
                f" {self.header.frames}: damaged file"
            )
        expected = chunks + bool(self.header.tracks)
        enough = len(reader) >= expected if self.header.tracks else len(reader) == expected
        if not enough and not settings.partial:
            raise FormatError(
                f"the file has {len(reader)} segments but the header announces {expected}: damaged"
            )
        self.intact = list(range(chunks))
        self.notices: list[str] = []
        if settings.partial:
            self._find_intact()
        self._decoders: OrderedDict[int, Any] = OrderedDict()
        self._parts: OrderedDict[int, bytes] = OrderedDict()

    def _find_intact(self) -> None:
        self.intact, lost = [], 0
        for number, length in enumerate(self.private.lengths):
            try:
                self.reader[number]
                self.intact.append(number)
            except (FormatError, IndexError):
                lost += length
        if lost:
            self.notices.append(f"{lost} of {self.header.frames} frames are lost")
        if not self.intact:
            raise FormatError("no chunk of the video is intact: nothing can be decoded")

    def decoder(self, number: int) -> Any:
        """The decoder of a chunk. Raises ``DesyncError`` if its symbols are not the encoded
        ones."""
        if number in self._decoders:
            self._decoders.move_to_end(number)
            return self._decoders[number]
        from laconic.codec.video import chunk

        segment = self.reader[number]
        decoder = chunk.decode(
            segment.payload,
            self.private.lengths[number],
            self.header.width,
            self.header.height,
            self.settings.limits,
            getattr(self.settings, "device", None),
        )
        if not segment.matches(decoder.symbols_check):
            raise DesyncError(
                f"the symbols of chunk {number} are not those that were encoded: damaged file"
            )
        self._decoders[number] = decoder
        while len(self._decoders) > KEPT:
            self._decoders.popitem(last=False)
        return decoder

    def frames(self, first: int, end: int, *, stored: bool = False) -> NDArray[np.uint8]:
        """Frames of one chunk, ``[N, H, W, C]``, upright unless ``stored``."""
        number = chunk_of(self.starts, first)
        start = self.starts[number]
        batch: NDArray[np.uint8] = self.decoder(number).batch(first - start, end - start)
        if self.header.gray:
            total = batch.sum(3, dtype=np.uint16, keepdims=True)
            batch = ((total + 1) // 3).astype(np.uint8)
        return batch if stored else np.rot90(batch, self.header.turns, (1, 2))

    def planes(self, index: int) -> Planes:
        """The planes of a frame as coded; ``ParameterError`` for networks that code RGB."""
        if self.private.network != "motion":
            raise ParameterError(f"{self.private.network} codes RGB: it has no planes of YCbCr")
        number = chunk_of(self.starts, index)
        found: Planes = self.decoder(number).planes(index - self.starts[number])
        return found

    def audio(self) -> AudioTracks | None:
        """The audio tracks; raises ``FormatError`` where they are damaged."""
        chunks = len(self.starts)
        parts = len(self.reader) - chunks
        if not self.header.tracks or parts <= 0:
            return None
        size = (parts - 1) * PART_BYTES + len(self._part(chunks + parts - 1))
        audio = AudioTracks.parse(size, self._read_audio)
        if len(audio.tracks) != self.header.tracks:
            raise FormatError("the video's header announces another number of audio tracks")
        return audio

    def _read_audio(self, offset: int, size: int) -> bytes:
        found = []
        while size:
            number, at = divmod(offset, PART_BYTES)
            piece = self._part(len(self.starts) + number)[at : at + size]
            if not piece:
                raise FormatError("the video's audio ends early: the file is damaged")
            found.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return b"".join(found)

    def _part(self, number: int) -> bytes:
        if number in self._parts:
            return self._parts[number]
        segment = self.reader[number]
        check = SymbolCheck()
        check.update(np.frombuffer(segment.payload, np.uint8))
        if not segment.matches(check.value32()):
            raise DesyncError("the video's audio is not what was encoded: damaged file")
        last = number == len(self.reader) - 1
        if len(segment.payload) != PART_BYTES and not (last and segment.payload):
            raise FormatError("a part of the video's audio has a wrong length: damaged file")
        self._parts[number] = segment.payload
        while len(self._parts) > KEPT:
            self._parts.popitem(last=False)
        return segment.payload

    def verify(self) -> VerifyReport:
        """Decode all symbols, read all audio."""
        symbols = 0
        for number in range(len(self.starts)):
            symbols += self.decoder(number).symbols
            if self.settings.progress is not None:
                self.settings.progress(number + 1, len(self.starts))
        audio = self.audio()
        if audio is not None:
            symbols += sum(len(packet.data) for packet in audio)
        return VerifyReport(len(self.reader), symbols, self.reader.header.numerics)


class Video(Sequence[Frame]):
    """A decoded video, or some of its frames: a sequence that evaluates a frame when it is asked.

    ``video[12]`` is a frame, uint8 ``[H, W, C]``, C = 1 (gray) or 3 (RGB), upright;
    ``video[10:20]`` and ``video[::5]`` are again videos; ``numpy.asarray(video)`` is ``[N, H, W,
    C]``.

    Attributes:
        notices: sentences about what a damaged file lost.
    """

    def __init__(
        self, file: MovieFile, chosen: Sequence[int], close: Callable[[], None] | None = None
    ) -> None:
        self._file, self._chosen, self._close = file, chosen, close
        self.notices = file.notices

    @classmethod
    def of(cls, reader: ContainerReader, settings: VideoDecodeOptions) -> Video:
        """The video of an open file, or the frames that the settings name."""
        file = MovieFile(reader, settings)
        total = file.header.frames
        chosen: Sequence[int] = range(total)
        if settings.frames is not None:
            first, end = settings.frames
            if not 0 <= first < min(end, total):
                raise ParameterError(
                    f"frames {first}:{end} of {total}: expected a range inside, not empty"
                )
            chosen = range(first, min(end, total))
        if len(file.intact) < len(file.starts):
            intact = {*file.intact}
            chosen = [n for n in chosen if chunk_of(file.starts, n) in intact]
            if not chosen:
                raise FormatError("none of these frames is intact: nothing can be decoded")
        return cls(file, chosen)

    @property
    def header(self) -> VideoHeader:
        """Colours, pixel shape, size as stored."""
        return self._file.header

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return self.header.shown[0]

    @property
    def height(self) -> int:
        """Rows."""
        return self.header.shown[1]

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB."""
        return self.header.channels

    @property
    def rate(self) -> Fraction:
        """Mean number of frames a second of the whole video."""
        return self.header.timing.rate

    @property
    def timing(self) -> Timing:
        """Exact time stamps and durations of these frames."""
        whole = self.header.timing
        if isinstance(self._chosen, range) and self._chosen.step == 1:
            return whole.cut(self._chosen.start, self._chosen.stop)
        stamps = tuple(whole.stamps[n] for n in self._chosen)
        durations = tuple(whole.durations[n] for n in self._chosen)
        if stamps and stamps[0] > stamps[-1]:
            raise ParameterError("a video that runs backwards has no times: turn it round")
        return Timing(whole.base, stamps, durations)

    @property
    def timestamps(self) -> list[float]:
        """Seconds at which these frames appear, on the clock of the source."""
        whole = self.header.timing
        return [float(whole.stamps[n] * whole.base) for n in self._chosen]

    @property
    def indexes(self) -> Sequence[int]:
        """Numbers of these frames in the whole video."""
        return self._chosen

    @property
    def audio(self) -> AudioTracks | None:
        """The audio tracks of the whole video, None without or where they are not wanted."""
        return self._file.audio() if self._file.settings.audio else None

    @property
    def info(self) -> Info:
        """What the header of the file says."""
        return info_of(self._file.reader, self._file.settings.limits)

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> Video: ...

    def __getitem__(self, index: int | slice) -> Frame | Video:
        if isinstance(index, slice):
            return Video(self._file, self._chosen[index], None)
        number = self._chosen[index]
        return self._file.frames(number, number + 1)[0]

    def __iter__(self) -> Iterator[Frame]:
        return self._walk(stored=False)

    def stored(self) -> Iterator[Frame]:
        """The frames as the source stored them, not turned upright."""
        return self._walk(stored=True)

    def planes(self) -> Iterator[Planes]:
        """Luma and chroma as decoded, before any conversion; network ``motion`` alone."""
        for index in self._chosen:
            yield self._file.planes(index)

    def unconverted(self) -> Iterator[PlanarFrame | Frame]:
        """Frames as decoded, before any conversion: planes, or RGB as stored of networks that
        code it."""
        if self._chosen and not hasattr(self._decoder(self._chosen[0]), "sampling"):
            yield from self.stored()
            return
        for index in self._chosen:
            yield PlanarFrame(self._file.planes(index), self._decoder(index).sampling)

    def _decoder(self, index: int) -> Any:
        return self._file.decoder(chunk_of(self._file.starts, index))

    def _walk(self, *, stored: bool) -> Iterator[Frame]:
        at = 0
        while at < len(self._chosen):
            first = self._chosen[at]
            number = chunk_of(self._file.starts, first)
            end = self._file.starts[number] + self._file.private.lengths[number]
            count = 1
            while (
                count < BATCH
                and at + count < len(self._chosen)
                and self._chosen[at + count] == first + count < end
            ):
                count += 1
            yield from self._file.frames(first, first + count, stored=stored)
            at += count

    def at(self, seconds: float | Fraction) -> Frame:
        """The frame shown ``seconds`` after the video's first; ``ParameterError`` outside."""
        number = self.header.timing.at(seconds)
        if number not in self._chosen:
            raise ParameterError(f"the frame at {float(seconds):g} s is not among these frames")
        return self._file.frames(number, number + 1)[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        frames = np.stack([*self]) if len(self) else np.empty((0, 0, 0, self.channels), np.uint8)
        return frames if dtype is None else frames.astype(dtype)

    def keep(self, close: Callable[[], None]) -> None:
        """Take over a file that ``close()`` closes."""
        self._close = close

    def close(self) -> None:
        """Close the file; only the video that was opened does, not its slices."""
        if self._close is not None:
            self._close()
            self._close = None

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
