"""Decoding of a chunk: its head, its planes, its frames.

Decoding a chunk: every frame's decisions and levels, then its samples.

The frames of a chunk as planes, and the head of a chunk of kind ``motion``.

    varint  kind of network, see ``laconic.codec.video.plan.KINDS``
    byte    version of the decisions: 1, or 2 with the tools for screens
    byte    sampling: sx | sy << 1 | gray << 2 | full range << 3 | 10 bits << 4
    byte    matrix between RGB and planes (``formats.video.MATRICES``)
    varint  frames between those that are predicted from the past alone, 1 to 64
    varint  quantiser of frame 0, in eighths, 0 to 511

The decisions follow as one arithmetic-coded stream (`mix`), without trailing zeros.

A decoded chunk of kind ``motion``: planes, the same on every machine, and RGB when asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.frames import (
    Buffers,
    Layout,
    coding_order,
    fresh_tables,
    parameters,
)
from laconic.codec.video.motion.inter import SCREEN
from laconic.codec.video.motion.mix import code_number, overrun, reader
from laconic.codec.video.motion.rebuild import LONGEST_STEP, rebuild_frame
from laconic.codec.video.motion.syntax import code_tree
from laconic.codec.video.plan import KINDS
from laconic.entropy.quantize import SymbolCheck
from laconic.formats.errors import FormatError, Limits, UnsupportedError
from laconic.formats.frame import read_varint, write_varint
from laconic.formats.video_planes import Planes, Sampling, check_sampling, to_rgb


def decode(
    data: bytes, layout: Layout, count: int, base: int, gap: int, screens: bool = False
) -> Iterator[tuple[int, list[NDArray[np.uint16]]]]:
    """Frames in coding order: index, planes as shown."""
    places = coding_order(count, gap)
    buffers = Buffers(layout, places)
    coder = reader(data, *fresh_tables(screens))
    rows, columns = layout.padded
    for at, place in enumerate(places):
        par = parameters(layout, place, buffers.slot_of, base)
        if screens:
            par[SCREEN] = code_number(coder, 0, 1)
        buffers.begin()
        field = buffers.field(place)
        order = 0
        for y in range(0, rows, 64):
            for x in range(0, columns, 64):
                order = code_tree(
                    coder, buffers.info, field, par, buffers.levels, x, y, order, buffers.scratch,
                    buffers.size,
                )  # fmt: skip
                if overrun(coder) > 8:
                    raise FormatError("a video chunk ends too early: the file is damaged")
        rebuild_frame(
            buffers.info, par, buffers.store, buffers.levels, buffers.planes, buffers.work
        )
        buffers.filtered(coder, par, None, 0.0)
        buffers.end(at, par)
        planes = zip(buffers.planes, layout.sizes(), strict=False)
        yield place.index, [p[:r, :c].astype(np.uint16) for p, (r, c) in planes]


CAMERA, SCREENS = 1, 2  # versions of the decisions
LONGEST_GAP = 64


@dataclass(frozen=True)
class Clip:
    """Frames of a video: the planes of each, all of one sampling."""

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
            raise FormatError("a video chunk ends in its head: the file is truncated")
        version, flags, matrix = data[offset : offset + 3]
        if version not in (CAMERA, SCREENS) or flags >> 5:
            raise UnsupportedError(
                f"a video chunk has version {version} and features {flags}: install a newer Laconic"
            )
        gap, offset = read_varint(data, offset + 3)
        base, offset = read_varint(data, offset)
        if not 1 <= gap <= LONGEST_GAP or base >= LONGEST_STEP:
            raise FormatError("the head of a video chunk is impossible: the file is damaged")
        sampling = Sampling(
            flags & 1, flags >> 1 & 1, 10 if flags & 16 else 8, bool(flags & 4), matrix,
            bool(flags & 8),
        )  # fmt: skip
        return cls(check_sampling(sampling), gap, base, version == SCREENS), offset


class HybridDecoder:
    """A chunk whose frames are decoded.

    Attributes:
        sampling: of the planes.
        symbols_check: CRC-32 over all samples, see ``entropy.SymbolCheck``.
        symbols: how many samples these are.
    """

    def __init__(self, frames: list[Planes], sampling: Sampling) -> None:
        self._frames, self.sampling = frames, sampling
        check = SymbolCheck()
        for planes in frames:
            for plane in planes:
                check.update(plane)
        self.symbols = sum(plane.size for planes in frames for plane in planes)
        self.symbols_check = check.value32()

    def planes(self, index: int) -> Planes:
        """The planes of a frame; IndexError outside 0..N - 1."""
        if not 0 <= index < len(self._frames):
            raise IndexError(f"frame {index} of {len(self._frames)}")
        return self._frames[index]

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, ``[H, W, 3]`` RGB."""
        return to_rgb(self.planes(index), self.sampling)

    def batch(self, first: int, end: int) -> NDArray[np.uint8]:
        """Frames ``first`` to ``end`` - 1, ``[B, H, W, 3]`` RGB."""
        if not 0 <= first < end <= len(self._frames):
            raise IndexError(f"frames {first} to {end} of {len(self._frames)}")
        return np.stack([self.frame(index) for index in range(first, end)])


def decode_hybrid(
    payload: bytes, frames: int, width: int, height: int, limits: Limits
) -> HybridDecoder:
    """Decode a payload; arguments and errors as for `laconic.codec.video.chunk.decode`."""
    head, offset = Head.unpack(payload)
    limits.check("a quarter of the samples", 3 * frames * width * height // 4, limits.cells)
    layout = layout_of(head.sampling, width, height)
    found: list[Planes] = [[] for _ in range(frames)]
    for index, planes in decode(payload[offset:], layout, frames, head.base, head.gap,
                                head.screens):  # fmt: skip
        found[index] = planes
    return HybridDecoder(found, head.sampling)
