"""The audio of a video, carried through untouched: the packets of its audio tracks as they are.

Neither decoded nor put into another container, since Matroska rounds time stamps to milliseconds
and NUT and Matroska shift the priming samples of AAC and Opus: here every packet keeps its bytes
and its exact times. A *blob* is a table of the packets, then their bytes in the order of the source
(SPEC.md, section 7).
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from typing import Any, BinaryIO

from laconic.formats.errors import DEFAULT_LIMITS, FormatError, LimitError, Limits, ParameterError
from laconic.formats.frame import read_varint, write_varint

PART_BYTES = 2**20  # a blob is stored in parts of this many bytes
SPOOL_BYTES = 2**25  # above this the blob waits on the disk
TABLE_BYTES = 2**26  # of an unpacked table
MAX_TRACKS = 64


@dataclass
class Track:
    """An audio track: what FFmpeg needs to know of it, and its packets.

    Attributes:
        codec: FFmpeg's name of the format, such as "aac".
        rate: samples per second.
        layout: FFmpeg's name of the channels, such as "stereo".
        base: unit of all times, in seconds.
        setup: the codec's own header ("extradata").
        language: three letters, or empty.
        sizes, starts, orders, durations, keys: for each packet its bytes, pts, dts - pts, duration
            and whether decoding can begin there.
    """

    codec: str
    rate: int
    layout: str
    base: Fraction
    setup: bytes = b""
    language: str = ""
    sizes: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)

    def add(self, packet: Any) -> None:
        """Note a packet of FFmpeg's."""
        start = packet.dts if packet.pts is None else packet.pts
        self.sizes.append(packet.size)
        self.starts.append(start)
        self.orders.append((start if packet.dts is None else packet.dts) - start)
        self.durations.append(packet.duration or 0)
        self.keys.append(int(packet.is_keyframe))


@dataclass(frozen=True)
class Packet:
    """A packet of track number ``track``: its place among the track's, and its bytes."""

    track: int
    index: int
    data: bytes


class AudioTracks:
    """The audio tracks of a video. ``read(offset, size)`` gives bytes of the blob.

    Packets are read one at a time, so that long videos need little memory.
    """

    def __init__(
        self, tracks: list[Track], order: list[int], data: int, read: Callable[[int, int], bytes]
    ) -> None:
        self.tracks = tracks
        self._order, self._data, self._read = order, data, read

    @property
    def packets(self) -> int:
        """Number of packets of all tracks."""
        return len(self._order)

    def __iter__(self) -> Iterator[Packet]:
        """All packets in the order of the source."""
        return self.between(None, None)

    def between(self, start: Fraction | None, end: Fraction | None) -> Iterator[Packet]:
        """The packets heard from ``start`` to ``end``, in seconds; None is the beginning or end."""
        at, places = self._data, [0] * len(self.tracks)
        for number in self._order:
            track, index = self.tracks[number], places[number]
            size = track.sizes[index]
            first = track.starts[index] * track.base
            last = first + track.durations[index] * track.base
            if (start is None or last > start or first >= start) and (end is None or first < end):
                yield Packet(number, index, self._read(at, size))
            at += size
            places[number] += 1

    @classmethod
    def parse(cls, size: int, read: Callable[[int, int], bytes]) -> AudioTracks:
        """Read the table of a blob of ``size`` bytes; raises ``FormatError``, ``LimitError``."""
        head = read(0, min(size, 5))
        length, offset = read_varint(head, 0)
        if offset + length > size:
            raise FormatError("the table of the audio's packets is truncated")
        tracks, order = _unpack_table(read(offset, length))
        total = sum(sum(track.sizes) for track in tracks)
        if offset + length + total != size:
            raise FormatError("the audio's packets do not add up to its size: damaged file")
        return cls(tracks, order, offset + length, read)

    def audio(self, track: int = 0, limits: Limits = DEFAULT_LIMITS) -> Any:
        """Decode a track into a ``formats.audio.Audio``. For long videos use the packets."""
        from laconic.formats.audio import read_audio

        if not 0 <= track < len(self.tracks):
            raise ParameterError(
                f"there is no audio track {track}: the video has {len(self.tracks)}"
            )
        import av

        buffer = BytesIO()
        with av.open(buffer, "w", format="matroska") as container:
            stream = add_track(container, self.tracks[track])
            for packet in self:
                if packet.track == track:
                    container.mux(to_ffmpeg(self.tracks[track], packet, stream))
        return read_audio(buffer.getvalue(), limits)


def take_audio(
    source: str | os.PathLike[str] | bytes | BinaryIO,
) -> tuple[BinaryIO | None, int, list[str]]:
    """Collect the audio tracks of a video.

    Returns:
        ``(blob, tracks, notices)``: a temporary file at its beginning (None without audio), the
        number of tracks, and sentences about tracks that cannot be carried.
    """
    import av

    spool: BinaryIO = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # type: ignore[assignment]  # noqa: SIM115
    handle: Any = BytesIO(source) if isinstance(source, bytes) else source
    if isinstance(handle, os.PathLike):
        handle = os.fspath(handle)
    notices: list[str] = []
    found: dict[int, tuple[int, Track]] = {}
    order: list[int] = []
    with av.open(handle) as container:
        for number, stream in enumerate(container.streams.audio):
            track = _describe(stream)
            if track is None or len(found) == MAX_TRACKS:
                name = stream.codec_context.name if stream.codec_context else "unknown"
                notices.append(f"audio track {number} ({name}) cannot be carried: it is left out")
            else:
                found[stream.index] = (len(found), track)
        if found:
            streams = [container.streams[index] for index in found]
            try:
                for packet in container.demux(streams):
                    if packet.size and packet.dts is not None:
                        number, track = found[packet.stream.index]
                        track.add(packet)
                        order.append(number)
                        spool.write(bytes(packet))
            except av.error.FFmpegError as error:
                notices.append(f"the audio is damaged and ends early: {error.strerror}")
    if not order:
        return None, 0, notices
    tracks = [track for _, track in found.values()]
    table = _pack_table(tracks, order)
    blob: BinaryIO = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # type: ignore[assignment]  # noqa: SIM115
    blob.write(write_varint(len(table)) + table)
    spool.seek(0)
    while block := spool.read(PART_BYTES):
        blob.write(block)
    blob.seek(0)
    return blob, len(tracks), notices


def add_track(container: Any, track: Track) -> Any:
    """A stream for a track in an FFmpeg container that is written.

    Raises ``ParameterError`` where the container cannot hold it.
    """
    import av

    try:
        stream = container.add_stream(track.codec, rate=track.rate)
        context = stream.codec_context
        context.layout = track.layout
        if track.setup:
            context.extradata = track.setup
        context.time_base = stream.time_base = track.base
        if track.language:
            stream.metadata["language"] = track.language
    except (ValueError, av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        raise ParameterError(
            f"{container.format.name} cannot hold {track.codec} audio: write .mkv, or leave the"
            " audio out with --no-audio"
        ) from error
    return stream


def to_ffmpeg(track: Track, packet: Packet, stream: Any, shift: Fraction = Fraction(0)) -> Any:
    """FFmpeg's packet, ``shift`` seconds earlier."""
    import av

    made = av.Packet(packet.data)
    late = round(shift / track.base)
    made.pts = track.starts[packet.index] - late
    made.dts = made.pts + track.orders[packet.index]
    made.duration = track.durations[packet.index]
    made.time_base = track.base
    made.is_keyframe = bool(track.keys[packet.index])
    made.stream = stream
    return made


def _describe(stream: Any) -> Track | None:
    """A track without packets, None for one that FFmpeg cannot write."""
    import av

    context = stream.codec_context
    if context is None or not stream.rate:
        return None
    name = context.codec.canonical_name
    try:
        av.Codec(name, "w")
    except (ValueError, av.error.FFmpegError, av.codec.codec.UnknownCodecError):
        return None
    layout = context.layout.name
    if layout.endswith(" channels"):  # not said; FFmpeg writes only layouts it has names for
        layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(
            len(context.layout.channels), layout
        )
    return Track(
        codec=name,
        rate=stream.rate,
        layout=layout,
        base=Fraction(stream.time_base),
        setup=bytes(context.extradata or b""),
        language=(stream.metadata.get("language") or "")[:8],
    )


def _fold(value: int) -> bytes:
    folded = value << 1 if value >= 0 else (-value << 1) - 1
    return write_varint(folded & 0xFFFFFFFF) + write_varint(folded >> 32)


def _pack_table(tracks: list[Track], order: list[int]) -> bytes:
    parts = [write_varint(len(tracks))]
    for track in tracks:
        for text in (track.codec.encode(), track.layout.encode(), track.language.encode()):
            parts += [write_varint(len(text)), text]
        parts += [write_varint(len(track.setup)), track.setup, write_varint(track.rate)]
        parts += [write_varint(track.base.numerator), write_varint(track.base.denominator)]
        parts.append(write_varint(len(track.sizes)))
        parts += map(write_varint, track.sizes)
        before = 0
        for start, duration in zip(track.starts, [0, *track.durations], strict=False):
            parts.append(_fold(start - before - duration))
            before = start
        parts += map(_fold, track.orders)
        parts += map(write_varint, track.durations)
        parts.append(bytes(track.keys))
    if len(tracks) > 1:
        parts.append(bytes(order))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(b"".join(parts)) + packer.flush()


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def varint(self) -> int:
        value, self.at = read_varint(self.data, self.at)
        return value

    def folded(self) -> int:
        folded = self.varint() | self.varint() << 32
        return -(folded + 1 >> 1) if folded & 1 else folded >> 1

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise FormatError("the table of the audio's packets is truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def text(self) -> str:
        data = self.take(self.varint())
        if len(data) > 64 or not data.isascii():
            raise FormatError("a name in the table of the audio's packets is impossible")
        return data.decode("ascii")


def _unpack_table(packed: bytes) -> tuple[list[Track], list[int]]:
    unpacker = zlib.decompressobj(-15)
    try:
        data = unpacker.decompress(packed, TABLE_BYTES)
    except zlib.error as error:
        raise FormatError("the table of the audio's packets is damaged") from error
    if unpacker.unconsumed_tail:
        raise LimitError(f"the table of the audio's packets exceeds {TABLE_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise FormatError("the table of the audio's packets has a wrong length")
    cursor = _Cursor(data)
    count = cursor.varint()
    if not 1 <= count <= MAX_TRACKS:
        raise FormatError(f"the table of the audio's packets names {count} tracks: damaged file")
    tracks = [_unpack_track(cursor) for _ in range(count)]
    total = sum(len(track.sizes) for track in tracks)
    order = list(cursor.take(total)) if count > 1 else [0] * total
    if cursor.at != len(data) or any(
        order.count(n) != len(track.sizes) for n, track in enumerate(tracks)
    ):
        raise FormatError("the table of the audio's packets has a wrong length")
    return tracks, order


def _unpack_track(cursor: _Cursor) -> Track:
    codec, layout, language = cursor.text(), cursor.text(), cursor.text()
    setup = cursor.take(cursor.varint())
    rate, numerator, denominator = cursor.varint(), cursor.varint(), cursor.varint()
    if not rate or not (0 < numerator < 2**31 and 0 < denominator < 2**31):
        raise FormatError("the rate of an audio track is impossible: the file is damaged")
    track = Track(codec, rate, layout, Fraction(numerator, denominator), setup, language)
    count = cursor.varint()
    if count > len(cursor.data) - cursor.at:
        raise FormatError("the table of the audio's packets is truncated")
    track.sizes = [cursor.varint() for _ in range(count)]
    gaps = [cursor.folded() for _ in range(count)]
    track.orders = [cursor.folded() for _ in range(count)]
    track.durations = [cursor.varint() for _ in range(count)]
    track.keys = list(cursor.take(count))
    before = 0
    for gap, duration in zip(gaps, [0, *track.durations], strict=False):
        before += gap + duration
        track.starts.append(before)
    return track
