"""What the codec ``records`` can be told. Imports no torch.

The records codec's private header. Imports no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from laconic.codec.base import EncodeSettings
from laconic.codec.lossless.records.schema import Cursor
from laconic.codec.options import option
from laconic.entropy.lanes import MAX_LANES
from laconic.formats.errors import FormatError, UnsupportedError
from laconic.formats.frame import write_varint
from laconic.formats.records import FLOATS, DataHeader, DataKind


@dataclass(frozen=True)
class RecordsOptions(EncodeSettings):
    """Options of the encoder."""

    effort: int = option(0, "More records looked at, more often, for fewer bits.", low=0, high=9)
    states: int | None = option(
        None, "Latent states of the circuit that is learned.", low=1, high=1024, shown="chosen"
    )
    block: int | None = option(
        None, "Rows that decode on their own.", unit="rows", low=1, shown="chosen"
    )


CODEC_ID = 3
CODEC_VERSION = 1
TYPED_VERSION = 2  # of files with typed tables, floats, or the other byte order


def version_of(header: DataHeader) -> int:
    """The first codec version that codes such records."""
    newer = header.kind.typed or header.kind == DataKind.BIG_ENDIAN or header.dtype in FLOATS
    return TYPED_VERSION if newer else CODEC_VERSION


class Method(IntEnum):
    """Where the model of the records is."""

    STORED = 0  # none: a general-purpose method was smaller
    OWN = 1  # a circuit in the file
    NAMED = 2  # a circuit named by the model id


@dataclass(frozen=True)
class RecordsHeader:
    """``block`` rows a segment, ``lanes`` records decoded at a time, CRC-32 of the original."""

    method: Method
    block: int
    lanes: int
    crc: int

    def pack(self) -> bytes:
        """Method, varints of block and lanes, CRC big-endian."""
        return (
            bytes([self.method])
            + write_varint(self.block)
            + write_varint(self.lanes)
            + self.crc.to_bytes(4, "big")
        )

    @classmethod
    def unpack(cls, data: bytes) -> RecordsHeader:
        """Inverse of :meth:`pack`; raises ``FormatError`` for impossible values."""
        cursor = Cursor(data)
        method = cursor.byte()
        if method not in Method._value2member_map_:
            raise UnsupportedError(f"the records are coded by method {method}: unknown here")
        block, lanes = cursor.varint(), cursor.varint()
        crc = int.from_bytes(cursor.take(4), "big")
        cursor.end()
        if block < 1 or not 1 <= lanes <= MAX_LANES:
            raise FormatError(f"the records' header says blocks of {block}, {lanes} lanes: damaged")
        return cls(Method(method), block, lanes, crc)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "method": self.method.name.lower(), "crc": f"{self.crc:08x}"}
