"""Reading ``.lac`` files from a pipe, segment by segment, while they are still being written.

Choose :class:`~laconic.formats.container_reader.ContainerReader` for files that can be searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from laconic.formats.container import SKIP, Chunk, Header, Layout, Segment, check_critical
from laconic.formats.container_reader import (
    ContainerReader,
    _check_header_crc,
    _check_order,
    _check_tail,
    _read_chunks,
    _read_header,
    _read_segment,
    _Source,
)
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits


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
