"""Writing ``.lac`` files front to back, without ever seeking."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from laconic.formats.container import (
    READER_VERSION,
    SIGNATURE,
    Chunk,
    Container,
    Header,
    Layout,
    Segment,
)
from laconic.formats.errors import ParameterError
from laconic.formats.frame import write_varint

SKIP = 16  # the index holds the place of every 16th segment


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
