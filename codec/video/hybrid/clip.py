"""The frames of a chunk as planes, and the head of a chunk of kind ``motion``.

    varint  kind of network, see ``laconic.codec.video.plan.KINDS``
    byte    version of the decisions: 1, or 2 with the tools for screens
    byte    sampling: sx | sy << 1 | gray << 2 | full range << 3 | 10 bits << 4
    byte    matrix between RGB and planes (``formats.video.MATRICES``)
    varint  frames between those that are predicted from the past alone, 1 to 64
    varint  quantiser of frame 0, in eighths, 0 to 511

The decisions follow as one arithmetic-coded stream (`mix`), without trailing zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from laconic.codec.video.hybrid.frames import Layout
from laconic.codec.video.hybrid.transform import LONGEST_STEP
from laconic.codec.video.plan import KINDS
from laconic.formats.errors import FormatError, UnsupportedError
from laconic.formats.varint import read_varint, write_varint
from laconic.formats.video_planes import Planes, Sampling, check_sampling

CAMERA, SCREENS = 1, 2  # versions of the decisions
LONGEST_GAP = 64


@dataclass(frozen=True)
class Clip:
    """Frames of a film: the planes of each, all of one sampling."""

    frames: Sequence[Planes]
    sampling: Sampling

    def layout(self) -> Layout:
        """What the coder needs to know of the planes."""
        rows, columns = self.frames[0][0].shape
        return layout_of(self.sampling, columns, rows)


def layout_of(sampling: Sampling, width: int, height: int) -> Layout:
    """The coder's view of a sampling."""
    return Layout(width, height, sampling.depth, sampling.sx, sampling.sy, sampling.gray)


@dataclass(frozen=True)
class Head:
    """Numbers of a whole chunk.

    Attributes:
        gap: frames between those that are predicted from the past alone.
        base: quantiser of frame 0.
        screens: each frame says whether it is a screen, which has tools of its own.
    """

    sampling: Sampling
    gap: int
    base: int
    screens: bool = False

    def pack(self) -> bytes:
        """The head of the payload."""
        s = self.sampling
        flags = s.sx | s.sy << 1 | s.gray << 2 | s.full << 3 | (s.depth == 10) << 4
        return (
            write_varint(KINDS["motion"])
            + bytes([SCREENS if self.screens else CAMERA, flags, s.matrix])
            + write_varint(self.gap)
            + write_varint(self.base)
        )

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Head, int]:
        """Inverse of :meth:`pack`, and where the decisions start.

        Raises:
            FormatError: damaged. UnsupportedError: a newer version.
        """
        _, offset = read_varint(data, 0)
        if offset + 3 > len(data):
            raise FormatError("a film chunk ends in its head: the file is truncated")
        version, flags, matrix = data[offset : offset + 3]
        if version not in (CAMERA, SCREENS) or flags >> 5:
            raise UnsupportedError(
                f"a film chunk has version {version} and features {flags}: install a newer Laconic"
            )
        gap, offset = read_varint(data, offset + 3)
        base, offset = read_varint(data, offset)
        if not 1 <= gap <= LONGEST_GAP or base >= LONGEST_STEP:
            raise FormatError("the head of a film chunk is impossible: the file is damaged")
        sampling = Sampling(
            flags & 1, flags >> 1 & 1, 10 if flags & 16 else 8, bool(flags & 4), matrix,
            bool(flags & 8),
        )  # fmt: skip
        return cls(check_sampling(sampling), gap, base, version == SCREENS), offset
