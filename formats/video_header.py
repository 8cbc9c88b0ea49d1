"""Media header of films: all that is needed to show the frames at the right time and in the right
colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from laconic.formats.container import TIME, Chunk
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.image_header import MAX_SIDE
from laconic.formats.limits import DEFAULT_LIMITS, Limits
from laconic.formats.timing import Timing
from laconic.formats.varint import read_varint, write_varint

UNSPECIFIED = (2, 2, 2, 0)
MAX_TRACKS = 64


@dataclass(frozen=True)
class VideoHeader:
    """What every codec of films says of its frames.

    Attributes:
        width, height: pixels of a frame as stored, before ``turns``.
        timing: when frames are shown; its length is their number.
        gray: one channel instead of RGB.
        turns: quarter turns counter-clockwise that make the frames upright, 0 to 3.
        color: primaries, transfer characteristics, matrix (ITU-T H.273) and range (0 not said,
            1 limited, 2 full) of the source; the coded samples are full-range RGB or gray.
        aspect: shape of a pixel, width : height.
        tracks: number of audio tracks.
    """

    width: int
    height: int
    timing: Timing
    gray: bool = False
    turns: int = 0
    color: tuple[int, int, int, int] = UNSPECIFIED
    aspect: tuple[int, int] = (1, 1)
    tracks: int = 0
    bit_depth: int = field(default=8, init=False)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.timing)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 1 if self.gray else 3

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the upright frames."""
        return (self.height, self.width) if self.turns & 1 else (self.width, self.height)

    def pack(self) -> tuple[bytes, list[Chunk]]:
        """Bytes as in SPEC.md, section 5, and the critical chunks that belong to them."""
        sides = (self.width, self.height)
        if min(sides) < 1 or max(sides) > MAX_SIDE:
            raise ParameterError(f"frames of {self.width} x {self.height} cannot be stored")
        if self.tracks > MAX_TRACKS:
            raise ParameterError(f"{self.tracks} audio tracks cannot be stored: at most 64")
        tagged, stretched = self.color != UNSPECIFIED, self.aspect[0] != self.aspect[1]
        flags = self.gray | self.turns << 1 | tagged << 3 | stretched << 4
        times, listed = self.timing.pack()
        data = (
            write_varint(self.width)
            + write_varint(self.height)
            + write_varint(self.frames)
            + bytes([flags, *(self.color if tagged else ())])
            + (b"".join(map(write_varint, self.aspect)) if stretched else b"")
            + times
            + write_varint(self.tracks)
        )
        return data, [Chunk(TIME, listed)] if listed else []

    @classmethod
    def unpack(
        cls, data: bytes, chunks: Sequence[Chunk], limits: Limits = DEFAULT_LIMITS
    ) -> VideoHeader:
        """Inverse of :meth:`pack`; ``LimitError`` for films beyond the limits."""
        width, offset = read_varint(data, 0)
        height, offset = read_varint(data, offset)
        frames, offset = read_varint(data, offset)
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or frames == 0:
            raise FormatError(
                f"the film's header says {frames} frames of {width} x {height}: damaged file"
            )
        limits.check_pixels(width, height)
        limits.check("the number of frames", frames, limits.frames)
        if offset >= len(data):
            raise FormatError("the film's header is truncated")
        flags, offset = data[offset], offset + 1
        if flags >> 5:
            raise UnsupportedError("the film's header uses features of a newer version")
        color, aspect = UNSPECIFIED, (1, 1)
        if flags & 8:
            if offset + 4 > len(data):
                raise FormatError("the film's header is truncated")
            color = (data[offset], data[offset + 1], data[offset + 2], data[offset + 3])
            offset += 4
        if flags & 16:
            across, offset = read_varint(data, offset)
            down, offset = read_varint(data, offset)
            aspect = (across, down)
        if color[3] > 2 or 0 in aspect:
            raise FormatError("the film's header says an impossible range or shape of pixels")
        listed = next((c.data for c in chunks if c.type == TIME), None)
        timing, offset = Timing.unpack(data, offset, frames, listed)
        tracks, offset = read_varint(data, offset)
        if offset != len(data) or tracks > MAX_TRACKS:
            raise FormatError("the film's header has a wrong length: the file is damaged")
        return cls(
            width,
            height,
            timing,
            gray=bool(flags & 1),
            turns=flags >> 1 & 3,
            color=color,
            aspect=aspect,
            tracks=tracks,
        )
