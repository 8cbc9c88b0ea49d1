"""The video codecs' private header: its network and which frames each segment holds. Imports no
torch."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from laconic.codec.video.plan import KINDS
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.limits import DEFAULT_LIMITS, Limits
from laconic.formats.varint import read_varint, write_varint

CODEC_ID = 6
MOTION_ID = 9
CODEC_VERSION = 1


@dataclass(frozen=True)
class HnervHeader:
    """Kind of network, and the number of frames of each chunk in order of presentation.

    Symbols are equal on every machine. Frames of ``motion`` are too; those of other networks are
    synthesised in floating point and may differ by one level of one sample between machines.
    """

    network: str
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.network not in KINDS:
            raise ParameterError(
                f"there is no network {self.network!r}: choose one of {', '.join(KINDS)}"
            )

    @property
    def frames(self) -> int:
        """Number of frames of all chunks."""
        return sum(self.lengths)

    def starts(self) -> list[int]:
        """First frame of each chunk."""
        starts, at = [], 0
        for length in self.lengths:
            starts.append(at)
            at += length
        return starts

    def pack(self) -> bytes:
        """Network in a byte, then varint pairs (frames of a chunk, chunks in a row like it)."""
        runs = [(length, len(list(group))) for length, group in groupby(self.lengths)]
        return bytes([KINDS[self.network]]) + b"".join(
            write_varint(length) + write_varint(count) for length, count in runs
        )

    @classmethod
    def unpack(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> HnervHeader:
        """Inverse of :meth:`pack`; raises ``FormatError``, ``UnsupportedError``, ``LimitError``."""
        if not data:
            raise FormatError("the film codec's header is empty: the file is damaged")
        names = {number: name for name, number in KINDS.items()}
        if data[0] not in names:
            raise UnsupportedError(
                f"the film is coded by network {data[0]}, which this version lacks: install a newer"
                " Laconic"
            )
        offset, frames = 1, 0
        lengths: list[int] = []
        while offset < len(data):
            length, offset = read_varint(data, offset)
            count, offset = read_varint(data, offset)
            if not length or not count or (lengths and lengths[-1] == length):
                raise FormatError("the film codec's list of chunks is impossible: damaged file")
            frames += length * count
            limits.check("the number of frames", frames, limits.frames)
            limits.check("the number of segments", len(lengths) + count, limits.segments)
            lengths += [length] * count
        if not lengths:
            raise FormatError("the film codec's header lists no chunks: the file is damaged")
        return cls(names[data[0]], tuple(lengths))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        sizes = sorted(set(self.lengths))
        shown = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        return {
            "network": self.network,
            "chunks": len(self.lengths),
            "frames of a chunk": shown,
            "samples": "exact" if self.network == "motion" else "within one level between machines",
        }


def chunk_of(starts: list[int], frame: int) -> int:
    """The chunk that holds a frame, given the first frame of each."""
    return bisect_right(starts, frame) - 1
