"""The parts of a ``.lac`` file: header, segments, chunks. The format is specified in ``SPEC.md``.

:class:`Container` holds a whole file in memory. For random access choose
``container_reader.ContainerReader``, for output that grows segment by segment
``container_writer.ContainerWriter``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import BinaryIO

from laconic.formats.errors import ParameterError, UnsupportedError
from laconic.formats.limits import DEFAULT_LIMITS, Limits

SIGNATURE = b"\x8fLAC\r\n"
READER_VERSION = 1
MODEL_BYTES = 6
MAX_CODEC = 2**32 - 1  # numbers and versions of codecs
WIDE_CHECK_ABOVE = 65536  # payloads beyond this many bytes carry a 32-bit symbol check


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


ICC = b"ICCp"
EXIF = b"eXIf"
XMP = b"xMPd"
IPTC = b"iPTc"
DENSITY = b"dPIs"
TAGS = b"tAGs"
TIME = b"TIME"
PROMPT = b"PRMT"
KNOWN_CRITICAL = frozenset({ICC, PROMPT, TIME})


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
        from laconic.formats.container_writer import write_container

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
