"""Reading ``.lac`` files: random access by segment, or strictly in order from a pipe.

Every length is checked against what remains of the file and against the limits before anything is
allocated. :class:`ContainerReader` touches the header of a seekable file, the end, and the segments
asked for; :class:`ContainerStream` reads a file while it is still being written.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from laconic.formats.container import (
    MAX_CODEC,
    MODEL_BYTES,
    READER_VERSION,
    SIGNATURE,
    SKIP,
    Chunk,
    Container,
    Header,
    Layout,
    Media,
    Segment,
    check_critical,
    check_width,
    codec_bytes,
    segment_crc,
)
from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import MAX_BYTES, read_varint

TRUNCATED = "the file is truncated: it ends inside {}"


class _Source:
    """A binary stream read in order, with what was read kept for the checksum."""

    def __init__(self, fp: BinaryIO) -> None:
        self.fp = fp
        self.seen = bytearray()

    def take(self, count: int, what: str) -> bytes:
        parts = []
        left = count
        while left:
            part = self.fp.read(left)
            if not part:
                raise FormatError(TRUNCATED.format(what))
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
        self.seen += data
        return data

    def varint(self, what: str) -> int:
        data = b""
        while not data or (data[-1] & 0x80 and len(data) < MAX_BYTES):
            data += self.take(1, what)
        return read_varint(data, 0)[0]


def check_signature(signature: bytes) -> None:
    """Raises ``FormatError`` unless these first bytes of a file are a container's."""
    if signature == SIGNATURE:
        return
    if len(signature) < len(SIGNATURE) and SIGNATURE.startswith(signature) and signature:
        raise FormatError(TRUNCATED.format("its signature"))
    if signature[:4] == SIGNATURE[:4]:
        raise FormatError(
            "the file's signature is damaged, as by a transfer in text mode: fetch it in binary"
        )
    raise FormatError("this is not a .lac file: its signature is missing")


def _read_header(source: _Source, limits: Limits) -> tuple[Header, Layout, list[Chunk]]:
    signature = source.fp.read(len(SIGNATURE))
    while len(signature) < len(SIGNATURE):
        more = source.fp.read(len(SIGNATURE) - len(signature))
        if not more:
            break
        signature += more
    source.seen += signature
    check_signature(signature)
    kind, flags = source.take(2, "its header")
    if kind >> 4 != READER_VERSION:
        raise UnsupportedError(
            f"the file needs a reader of format version {kind >> 4}: this one reads version"
            f" {READER_VERSION}; install a newer Laconic"
        )
    if kind & 15 not in Media._value2member_map_:
        raise UnsupportedError(f"the file holds media of the unknown kind {kind & 15}")
    if flags & 3 == 3:
        raise UnsupportedError("the file's segments are laid out in a way that this version lacks")
    layout = Layout(flags & 3)
    number, version = _read_codec(source)
    model = source.take(MODEL_BYTES, "its header") if flags & 4 else b""
    lengths = source.take(1, "its header")[0]
    media, private = lengths >> 4, lengths & 15
    if media == 15:
        media += source.varint("its header")
    if private == 15:
        private += source.varint("its header")
    limits.check("the size of the header", media + private, limits.header_bytes)
    media_header = source.take(media, "its header")
    codec_header = source.take(private, "its header")
    count = None
    if layout == Layout.SINGLE:
        count = 1
    elif layout == Layout.COUNTED:
        count = source.varint("its header")
        limits.check("the number of segments", count, limits.segments)
    chunks = _read_chunks(source, limits) if flags & 8 else []
    header = Header(
        Media(kind & 15),
        number,
        version,
        model,
        flags >> 4,
        media_header,
        codec_header,
        count,
    )
    return header, layout, chunks


def _read_codec(source: _Source) -> tuple[int, int]:
    """Number and version of the codec."""
    short = source.take(1, "its header")[0]
    if short >> 4:
        return short >> 4, short & 15
    if short:
        raise UnsupportedError("the file names its codec in a way that this version lacks")
    number, version = source.varint("its header"), source.varint("its header")
    if codec_bytes(number, version)[0] or not 1 <= number <= MAX_CODEC or version > MAX_CODEC:
        raise FormatError("the file's codec number is impossible or not in its shortest form")
    return number, version


def _read_chunks(source: _Source, limits: Limits) -> list[Chunk]:
    count = source.varint("its chunks")
    limits.check("the number of chunks", count, limits.chunks)
    chunks = []
    for _ in range(count):
        kind = source.take(4, "a chunk")
        length = source.varint("a chunk")
        limits.check("the size of a chunk", length, limits.chunk_bytes)
        try:
            chunks.append(Chunk(kind, source.take(length, "a chunk")))
        except ParameterError as error:
            raise FormatError(f"{error}: the file is damaged") from error
    return chunks


def _check_header_crc(source: _Source) -> int:
    base = zlib.crc32(source.seen)
    if struct.unpack(">I", source.take(4, "its header"))[0] != base:
        raise FormatError("the file's header is damaged: its checksum does not match")
    return base


def _read_segment(source: _Source, base: int, number: int, limits: Limits) -> Segment | None:
    """The next segment, or None at the end mark."""
    what = f"segment {number}"
    length = source.varint(what)
    if length == 0:
        return None
    length -= 1
    limits.check("the size of a segment", length, limits.segment_bytes)
    body = source.take(check_width(length) + length, what)
    if struct.unpack(">I", source.take(4, what))[0] != segment_crc(base, number, body):
        raise FormatError(f"segment {number} is damaged: its checksum does not match")
    width = check_width(length)
    return Segment(body[width:], int.from_bytes(body[:width], "big"))


def _check_tail(tail: bytes, end: bytes, base: int) -> None:
    length, crc = struct.unpack(">II", end)
    state = zlib.crc32(tail, zlib.crc32(struct.pack(">I", base)))
    if length != len(tail) or zlib.crc32(end[:4], state) != crc:
        raise FormatError("the end of the file is damaged: its checksum does not match")


def _check_order(segments: int, chunks: list[Chunk]) -> None:
    if any(c.critical for c in chunks):
        raise FormatError(f"a critical chunk stands after the {segments} segments: damaged file")


def read_sequential(fp: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> Container:
    """Parse a file from a stream that cannot seek; the same checks as :class:`ContainerReader`."""
    source = _Source(fp)
    header, layout, chunks = _read_header(source, limits)
    if layout == Layout.SINGLE:
        parts = [bytes(source.seen)]
        size = 0
        while block := fp.read(1 << 20):
            size += len(block)
            limits.check("the size of a segment", size, limits.segment_bytes)
            parts.append(block)
        return Container.from_bytes(b"".join(parts), limits)
    check_critical(chunks)
    base = _check_header_crc(source)
    segments: list[Segment] = []
    while True:
        source.seen.clear()
        segment = _read_segment(source, base, len(segments), limits)
        if segment is None:
            break
        segments.append(segment)
        limits.check("the number of segments", len(segments), limits.segments)
    count = source.varint("its end")
    ancillary = _read_chunks(source, limits)
    for _ in range(max(0, (len(segments) - 1) // SKIP)):
        source.varint("its end")
    tail = bytes(source.seen)
    _check_tail(tail, source.take(8, "its end"), base)
    if fp.read(1):
        raise FormatError("there are bytes after the end of the file: it is damaged")
    if count != len(segments) or header.segment_count not in (None, count):
        raise FormatError(f"the file has {len(segments)} segments but announces {count}")
    _check_order(count, ancillary)
    counted = Header(**{**header.__dict__, "segment_count": count})
    return Container(counted, segments, chunks + ancillary)


class ContainerReader:
    """Random access to the segments of a file given as bytes or as a seekable binary stream.

    With ``partial`` a damaged or truncated end is tolerated: segments are then found by walking
    from the front, and those that cannot be read raise ``FormatError`` one by one.

    Attributes:
        header: with ``segment_count`` filled in where it is known.
        chunks: critical and ancillary.
        file_bytes: size of the file.
        limits, partial: as given.
    """

    def __init__(
        self, source: bytes | BinaryIO, limits: Limits = DEFAULT_LIMITS, *, partial: bool = False
    ) -> None:
        self._fp: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
        self.limits, self.partial = limits, partial
        self.file_bytes = self._fp.seek(0, io.SEEK_END)
        self._fp.seek(0)
        reader = _Source(self._fp)
        self.header, layout, self.chunks = _read_header(reader, limits)
        check_critical(self.chunks)
        self._single: Segment | None = None
        self._anchors: dict[int, int] = {}
        self._end: int | None = None  # where the segments end
        if layout == Layout.SINGLE:
            self._open_single(reader)
            self._count = 1
            return
        self._base = _check_header_crc(reader)
        self._anchors[0] = self._fp.tell()
        try:
            self._count = self._open_end()
        except FormatError:
            if not partial:
                raise
            self._anchors = {0: self._anchors[0]}
            self._count = self.header.segment_count or self._walk()
        if self._count == 0 and self._end not in (None, self._anchors[0]):
            raise FormatError("there are bytes between the header and the end: damaged file")
        self.header = Header(**{**self.header.__dict__, "segment_count": self._count})

    def _open_single(self, reader: _Source) -> None:
        start = len(reader.seen)
        rest = self.file_bytes - start - 4
        self.limits.check("the size of a segment", rest, self.limits.segment_bytes)
        if rest < 2:
            raise FormatError(TRUNCATED.format("its only segment"))
        body = reader.take(rest, "its only segment")
        if struct.unpack(">I", self._fp.read(4))[0] != zlib.crc32(reader.seen):
            raise FormatError("the file is damaged or truncated: its checksum does not match")
        width = 4 if len(body) - 4 > 65536 else 2
        if len(body) - width > 65536 and width == 2:
            raise FormatError("the length of the only segment is impossible: the file is damaged")
        self._single = Segment(body[width:], int.from_bytes(body[:width], "big"))

    def _open_end(self) -> int:
        first = self._anchors[0]
        if self.file_bytes - first < 11:
            raise FormatError(TRUNCATED.format("its end"))
        self._fp.seek(self.file_bytes - 8)
        end = self._fp.read(8)
        length = struct.unpack(">II", end)[0]
        if not 3 <= length <= self.file_bytes - 8 - first:
            raise FormatError("the file is damaged or truncated: its end is missing")
        bound = self.limits.chunk_bytes + 5 * self.limits.segments
        if length > bound:
            raise LimitError(f"the end of the file has {length} bytes: the limit is {bound}")
        self._fp.seek(self.file_bytes - 8 - length)
        tail = self._fp.read(length)
        _check_tail(tail, end, self._base)
        source = _Source(io.BytesIO(tail))
        if source.take(1, "its end") != b"\0":
            raise FormatError("the end of the file is damaged: its mark is missing")
        count = source.varint("its end")
        self.limits.check("the number of segments", count, self.limits.segments)
        if self.header.segment_count not in (None, count):
            raise FormatError(
                f"the file announces {self.header.segment_count} segments but holds {count}"
            )
        ancillary = _read_chunks(source, self.limits)
        _check_order(count, ancillary)
        place = 0
        for number in range(SKIP, count, SKIP):
            place += source.varint("its end")
            self._anchors[number] = place
        if len(source.seen) != length:
            raise FormatError("the end of the file is damaged: it is longer than its contents")
        self.chunks += ancillary
        self._end = self.file_bytes - 8 - length
        return count

    def _walk(self) -> int:
        """Number of intact segments from the front, of a file without an end."""
        self._fp.seek(self._anchors[0])
        count = 0
        try:
            while _read_segment(_Source(self._fp), self._base, count, self.limits) is not None:
                count += 1
        except FormatError:
            pass
        return count

    def __len__(self) -> int:
        """Number of segments."""
        return self._count

    def __iter__(self) -> Iterator[Segment]:
        for number in range(self._count):
            yield self[number]

    def __getitem__(self, number: int) -> Segment:
        """Segment ``number``, checked. Raises ``FormatError`` if it is damaged."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        if self._single is not None:
            return self._single
        at = number - number % SKIP
        while at not in self._anchors:
            at -= SKIP
        self._fp.seek(self._anchors[at])
        while at < number:
            length = _Source(self._fp).varint(f"segment {at}") - 1
            if length < 0:
                raise FormatError(f"segment {number} is missing: the file ends early")
            self.limits.check("the size of a segment", length, self.limits.segment_bytes)
            self._fp.seek(check_width(length) + length + 4, io.SEEK_CUR)
            at += 1
        segment = _read_segment(_Source(self._fp), self._base, number, self.limits)
        if segment is None:
            raise FormatError(f"segment {number} is missing: the file ends early")
        if number == self._count - 1 and self._end not in (None, self._fp.tell()):
            raise FormatError("there are bytes between the last segment and the end: damaged file")
        return segment


class ContainerStream:
    """Header at once, then segments in order; the checks are those of ``ContainerReader``.

    Attributes:
        header: with ``segment_count`` None where only the end tells it.
        chunks: critical ones; those at the end of the file are added when it has been read.
    """

    def __init__(self, fp: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> None:
        self._source, self._limits = _Source(fp), limits
        self.header, self._layout, self.chunks = _read_header(self._source, limits)
        check_critical(self.chunks)
        self._whole: ContainerReader | None = None
        if self._layout == Layout.SINGLE:
            parts = [bytes(self._source.seen)]
            size = 0
            while block := fp.read(1 << 20):
                size += len(block)
                limits.check("the size of a segment", size, limits.segment_bytes)
                parts.append(block)
            self._whole = ContainerReader(b"".join(parts), limits)
        else:
            self._base = _check_header_crc(self._source)

    def __iter__(self) -> Iterator[Segment]:
        """Segments, each checked; can be used once. Raises ``FormatError`` for damage, also to the
        end of the file."""
        if self._whole is not None:
            yield self._whole[0]
            return
        count = 0
        while True:
            self._source.seen.clear()
            segment = _read_segment(self._source, self._base, count, self._limits)
            if segment is None:
                break
            count += 1
            self._limits.check("the number of segments", count, self._limits.segments)
            yield segment
        self._finish(count)

    def _finish(self, count: int) -> None:
        source = self._source
        announced = source.varint("its end")
        ancillary: list[Chunk] = _read_chunks(source, self._limits)
        for _ in range(max(0, (count - 1) // SKIP)):
            source.varint("its end")
        tail = bytes(source.seen)
        _check_tail(tail, source.take(8, "its end"), self._base)
        if source.fp.read(1):
            raise FormatError("there are bytes after the end of the file: it is damaged")
        if announced != count or self.header.segment_count not in (None, count):
            raise FormatError(f"the file has {count} segments but announces {announced}")
        _check_order(count, ancillary)
        self.header = Header(**{**self.header.__dict__, "segment_count": count})
        self.chunks += ancillary
