"""The parts of a ``.lac`` file (header, segments, chunks), and writing them front to back without
ever seeking. The format is specified in ``SPEC.md``.

:class:`Container` holds a whole file in memory; :class:`ContainerWriter` is for output that grows
segment by segment. Files are read by ``container_reader.ContainerReader``, from pipes by its
``ContainerStream``.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import BinaryIO

from laconic.formats.errors import DEFAULT_LIMITS, Limits, ParameterError, UnsupportedError
from laconic.formats.frame import write_varint

SIGNATURE = b"\x8fLAC\r\n"
READER_VERSION = 1
MODEL_BYTES = 6
MAX_CODEC = 2**32 - 1  # numbers and versions of codecs
SKIP = 16  # the index holds the place of every 16th segment
WIDE_CHECK_ABOVE = 65536  # payloads beyond this many bytes carry a 32-bit symbol check
ICC = b"ICCp"
EXIF = b"eXIf"
XMP = b"xMPd"
IPTC = b"iPTc"
DENSITY = b"dPIs"
TAGS = b"tAGs"
TIME = b"TIME"
PROMPT = b"PRMT"
KNOWN_CRITICAL = frozenset({ICC, PROMPT, TIME})


class Media(IntEnum):
    """What a file holds."""

    IMAGE = 1
    AUDIO = 2
    VIDEO = 3
    DATA = 4


class Layout(IntEnum):
    """How segments are stored."""

    SINGLE = 0  # one segment, one checksum over everything
    COUNTED = 1  # a known number of segments
    STREAMED = 2  # the number of segments is at the end


@dataclass(frozen=True)
class Header:
    """Everything needed before the first segment.

    ``codec`` and ``codec_version`` are below 2^32, and cost a byte together up to 15; ``model`` is
    empty or 6 bytes; ``numerics`` is a profile 0..15; ``segment_count`` is None while unknown.
    """

    media: Media
    codec: int
    codec_version: int
    model: bytes
    numerics: int
    media_header: bytes
    codec_header: bytes
    segment_count: int | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("codec", self.codec, 1, MAX_CODEC),
            ("codec version", self.codec_version, 0, MAX_CODEC),
            ("numerics profile", self.numerics, 0, 15),
        ):
            if not low <= value <= high:
                raise ParameterError(f"the {name} is {value}: expected {low}..{high}")
        if len(self.model) not in (0, MODEL_BYTES):
            raise ParameterError(f"the model id has {len(self.model)} bytes: expected 0 or 6")


@dataclass(frozen=True)
class Segment:
    """An independently decodable part: coded bytes and the check over the symbols they stand for.

    Only the low 16 bits of ``check`` are stored for payloads of up to 64 KiB, else 32.
    """

    payload: bytes
    check: int

    @property
    def check_bytes(self) -> int:
        """Width of the stored check."""
        return check_width(len(self.payload))

    def stored_check(self) -> bytes:
        """The check as stored, big-endian."""
        width = self.check_bytes
        return (self.check & ((1 << 8 * width) - 1)).to_bytes(width, "big")

    def matches(self, check: int) -> bool:
        """Whether a decoder's check agrees in the bits that are stored."""
        mask = (1 << 8 * self.check_bytes) - 1
        return (check ^ self.check) & mask == 0


def check_width(payload_bytes: int) -> int:
    """Bytes of the symbol check of a payload."""
    return 4 if payload_bytes > WIDE_CHECK_ABOVE else 2


@dataclass(frozen=True)
class Chunk:
    """A typed blob. As in PNG, a lower-case first letter marks it ancillary (skipped when unknown)
    and a lower-case last letter safe to copy into an edited file."""

    type: bytes
    data: bytes

    def __post_init__(self) -> None:
        if len(self.type) != 4 or not self.type.isalpha() or not self.type.isascii():
            raise ParameterError(f"the chunk type is {self.type!r}: expected four ASCII letters")

    @property
    def critical(self) -> bool:
        """Whether a reader that does not know the type must refuse the file."""
        return self.type[:1].isupper()


def check_critical(chunks: Sequence[Chunk]) -> None:
    """Raise ``UnsupportedError`` for a critical chunk of unknown type."""
    for chunk in chunks:
        if chunk.critical and chunk.type not in KNOWN_CRITICAL:
            raise UnsupportedError(
                f"the file needs the feature {chunk.type.decode()!r}, which this version does not"
                " know: install a newer Laconic"
            )


@dataclass(frozen=True)
class Container:
    """A whole file in memory."""

    header: Header
    segments: Sequence[Segment]
    chunks: Sequence[Chunk] = field(default_factory=tuple)

    def to_bytes(self) -> bytes:
        """The file's bytes: layout SINGLE for one segment, COUNTED otherwise."""
        buffer = io.BytesIO()
        self.write(buffer)
        return buffer.getvalue()

    def write(self, fp: BinaryIO) -> None:
        """Write the file to a binary stream, which need not be seekable."""

        write_container(fp, self)

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> Container:
        """Parse and check a whole file. Raises ``FormatError``, ``LimitError``,
        ``UnsupportedError``."""
        from laconic.formats.container_reader import ContainerReader

        reader = ContainerReader(data, limits)
        return cls(reader.header, list(reader), reader.chunks)

    @classmethod
    def read(cls, fp: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> Container:
        """Parse a file from a pipe, strictly in order."""
        from laconic.formats.container_reader import read_sequential

        return read_sequential(fp, limits)


def header_bytes(header: Header, layout: Layout, chunks: Sequence[Chunk]) -> bytes:
    """Everything before the first segment, without a checksum (SPEC.md, section 2)."""
    flags = layout | (bool(header.model) << 2) | (bool(chunks) << 3) | header.numerics << 4
    parts = [
        SIGNATURE,
        bytes([READER_VERSION << 4 | header.media, flags]),
        codec_bytes(header.codec, header.codec_version),
        header.model,
    ]
    media, private = len(header.media_header), len(header.codec_header)
    parts.append(bytes([min(media, 15) << 4 | min(private, 15)]))
    parts += [write_varint(n - 15) for n in (media, private) if n >= 15]
    parts += [header.media_header, header.codec_header]
    if layout == Layout.COUNTED:
        assert header.segment_count is not None
        parts.append(write_varint(header.segment_count))
    if chunks:
        parts.append(chunk_list(chunks))
    return b"".join(parts)


def codec_bytes(number: int, version: int) -> bytes:
    """Number and version of the codec: one byte where they fit, else 0 and two varints."""
    if 1 <= number <= 15 and version <= 15:
        return bytes([number << 4 | version])
    return b"\0" + write_varint(number) + write_varint(version)


def chunk_list(chunks: Sequence[Chunk]) -> bytes:
    """Number of chunks, then type, length and data of each."""
    parts = [write_varint(len(chunks))]
    for chunk in chunks:
        parts += [chunk.type, write_varint(len(chunk.data)), chunk.data]
    return b"".join(parts)


def segment_crc(base: int, number: int, body: bytes) -> int:
    """Checksum of a segment, bound to its file (the header's checksum) and its place."""
    return zlib.crc32(body, zlib.crc32(struct.pack(">II", base, number)))


def write_container(fp: BinaryIO, container: Container) -> None:
    """Write a whole container in the layout that fits its number of segments."""
    header, segments = container.header, container.segments
    if len(segments) == 1:
        body = (
            header_bytes(header, Layout.SINGLE, container.chunks)
            + segments[0].stored_check()
            + segments[0].payload
        )
        fp.write(body + struct.pack(">I", zlib.crc32(body)))
        return
    critical = [c for c in container.chunks if c.critical]
    counted = Header(**{**header.__dict__, "segment_count": len(segments)})
    writer = ContainerWriter(fp, counted, critical)
    for segment in segments:
        writer.add(segment)
    writer.finish([c for c in container.chunks if not c.critical])


class ContainerWriter:
    """Writes header, then one segment after the other, then ancillary chunks and the index.

    With ``header.segment_count`` None the file is streamed: its number of segments is at the end.
    """

    def __init__(self, fp: BinaryIO, header: Header, critical: Sequence[Chunk] = ()) -> None:
        for chunk in critical:
            if not chunk.critical:
                raise ParameterError(f"chunk {chunk.type!r} is ancillary: give it to finish()")
        layout = Layout.STREAMED if header.segment_count is None else Layout.COUNTED
        head = header_bytes(header, layout, critical)
        self._fp = fp
        self._header = header
        self._base = zlib.crc32(head)
        self._count = 0
        self._offset = len(head) + 4
        self._index: list[int] = []
        self._fp.write(head + struct.pack(">I", self._base))

    def add(self, segment: Segment) -> None:
        """Append a segment."""
        if self._count and self._count % SKIP == 0:
            self._index.append(self._offset)
        body = segment.stored_check() + segment.payload
        crc = struct.pack(">I", segment_crc(self._base, self._count, body))
        record = write_varint(len(segment.payload) + 1) + body + crc
        self._fp.write(record)
        self._offset += len(record)
        self._count += 1

    def finish(self, ancillary: Sequence[Chunk] = ()) -> None:
        """Write the end of the file."""
        if self._header.segment_count not in (None, self._count):
            raise ParameterError(
                f"{self._count} segments were written but {self._header.segment_count} announced"
            )
        for chunk in ancillary:
            if chunk.critical:
                raise ParameterError(f"chunk {chunk.type!r} is critical: it belongs to the header")
        parts = [b"\0", write_varint(self._count), chunk_list(ancillary)]
        before = 0
        for offset in self._index:
            parts.append(write_varint(offset - before))
            before = offset
        tail = b"".join(parts)
        length = struct.pack(">I", len(tail))
        crc = zlib.crc32(length, zlib.crc32(tail, zlib.crc32(struct.pack(">I", self._base))))
        self._fp.write(tail + length + struct.pack(">I", crc))
