"""Decoding a chunk of kind ``motion-1``: its head, all numbers at once, frames on demand.

Numbers are the same on every machine; images are computed in float32 and may differ by a level. A
decoder keeps the numbers of each frame without their zeros. A chunk says before its decisions

    varint  kind of network, see ``laconic.codec.video.plan.KINDS``
    varint  frames between key frames, 1 to 255
    varint  step of frame 0, in 1/32 octaves from 2^-16 on
    varint  number of offsets, then one varint each: steps of the layers, in 1/8 octaves
    4 bytes shifts of reconstructed codes
    6 bytes two axes of colour, signed

and the decisions follow, in coding order (`field`), as one ANS stream (`mixing`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion1.field import FrameCode, Place, coding_order, needed, still_used
from laconic.codec.video.motion1.mixing import Reader
from laconic.codec.video.motion1.rebuild import (
    SHIFTS,
    STEPS_PER_OCTAVE,
    Scale,
    decoded,
    read_shares,
)
from laconic.codec.video.motion1.syntax import FrameSyntax
from laconic.codec.video.motion1.warp import (
    Reference,
    block_grid,
    colour_axes,
    frame_of,
    valid_units,
)
from laconic.entropy.quantize import SymbolCheck
from laconic.formats.errors import FormatError, Limits
from laconic.formats.frame import read_varint

LOWEST = -16 * STEPS_PER_OCTAVE  # step index
HIGHEST = 4 * STEPS_PER_OCTAVE
LONGEST_GAP = 255
MOST_OFFSETS, LARGEST_OFFSET = 8, 64
KEPT = 16  # decoded frames
DISPLACED = 4  # of these, with their displaced images


@dataclass(frozen=True)
class Head:
    """Numbers of a whole chunk.

    Attributes:
        gap: frames between key frames.
        scale: steps.
        units: axes of colour ``[2, 3]``, -127 to 127.
    """

    gap: int
    scale: Scale
    units: NDArray[np.int64]

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Head, int]:
        """The head of a payload, and where the decisions start; ``FormatError`` if damaged."""
        _, offset = read_varint(data, 0)
        gap, offset = read_varint(data, offset)
        step, offset = read_varint(data, offset)
        count, offset = read_varint(data, offset)
        _check("gap", gap, 1, LONGEST_GAP)
        _check("step", step, 0, HIGHEST - LOWEST)
        _check("number of layers", count, 1, MOST_OFFSETS)
        offsets = []
        for _ in range(count):
            value, offset = read_varint(data, offset)
            _check("step of a layer", value, 0, LARGEST_OFFSET)
            offsets.append(value)
        raw = data[offset : offset + 10]
        if len(raw) < 10:
            raise FormatError("a video chunk ends in its head: the file is truncated")
        a, b, c, d = raw[:4]
        for value in (a, b, c, d):
            _check("shift", value, 0, SHIFTS // 2)
        units = np.frombuffer(raw, np.int8, 6, 4).astype(np.int64).reshape(2, 3)
        if not valid_units(units):
            raise FormatError("the colours of a video chunk have no axes: the file is damaged")
        scale = Scale(step + LOWEST, tuple(offsets), (a, b, c, d))
        return cls(gap, scale, units), offset + 10


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise FormatError(
            f"the {name} of a video chunk is {value}; expected {low} to {high}: the file is damaged"
        )


@dataclass(frozen=True)
class PackedFrame:
    """A `FrameCode`; ``places`` and ``codes`` are those of coefficients that are not zero."""

    modes: NDArray[np.uint8]
    vectors: NDArray[np.int32]
    means: NDArray[np.int32]
    quarters: NDArray[np.uint8]
    places: NDArray[np.int32]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, code: FrameCode) -> PackedFrame:
        """Pack a frame."""
        flat = np.concatenate([code.luma.reshape(-1), code.chroma.reshape(-1)])
        places = np.flatnonzero(flat)
        return cls(
            code.modes.astype(np.uint8), code.vectors.astype(np.int32),
            code.means.astype(np.int32), code.quarters.astype(np.uint8),
            places.astype(np.int32), flat[places].astype(np.int32),
        )  # fmt: skip

    def unpack(self) -> FrameCode:
        """The frame again."""
        h, w = self.modes.shape
        flat = np.zeros(6 * h * w * 64, np.int64)
        flat[self.places] = self.codes
        luma, chroma = flat[: 4 * h * w * 64], flat[4 * h * w * 64 :]
        return FrameCode(
            self.modes.astype(np.int64), self.vectors.astype(np.int64),
            self.means.astype(np.int64), self.quarters.astype(np.int64),
            luma.reshape(2 * h, 2 * w, 64), chroma.reshape(2, h, w, 64),
        )  # fmt: skip

    def check(self, check: SymbolCheck) -> int:
        """Add all numbers to a check; returns how many coefficients there are."""
        for array in self.arrays():
            check.update(array)
        return self.codes.size

    def arrays(self) -> tuple[Any, ...]:
        """All arrays, in a fixed order."""
        parts = (self.modes, self.vectors, self.means, self.quarters, self.places, self.codes)
        return parts


class MotionDecoder:
    """A chunk whose numbers are decoded.

    Attributes:
        symbols_check: CRC-32 over all numbers, see ``entropy.SymbolCheck``.
        symbols: how many coefficients are not zero, and blocks, in all frames.
        packed: numbers of the frames in coding order.
    """

    def __init__(
        self, head: Head, shares: NDArray[np.int64], packed: list[PackedFrame], rows: int,
        columns: int,
    ) -> None:  # fmt: skip
        self.head, self.shares, self.packed = head, shares, packed
        self.rows, self.columns = rows, columns
        self.order = coding_order(len(packed), head.gap)
        self.axes = colour_axes(head.units)
        check = SymbolCheck()
        check.update(shares)
        self.symbols = sum(p.check(check) + p.modes.size for p in packed)
        self.symbols_check = check.value32()
        self._coded = {p.index: n for n, p in enumerate(self.order)}
        self._kept: OrderedDict[int, Reference] = OrderedDict()

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, ``[H, W, 3]`` RGB; IndexError outside 0..N - 1."""
        return self.batch(index, index + 1)[0]

    def batch(self, first: int, end: int) -> NDArray[np.uint8]:
        """Frames ``first`` to ``end`` - 1, ``[B, H, W, 3]`` RGB."""
        if not 0 <= first < end <= len(self.packed):
            raise IndexError(f"frames {first} to {end} of {len(self.packed)}")
        out = np.empty((end - first, self.rows, self.columns, 3), np.uint8)
        wanted = set(range(first, end))
        with torch.inference_mode():
            for index in wanted & self._kept.keys():
                out[index - first] = self._shown(self._kept[index].planes)
            for place in needed(self.order, wanted, self._kept.keys()):
                reference = Reference(self._planes(place))
                if place.index in wanted:
                    out[place.index - first] = self._shown(reference.planes)
                if not place.last:
                    self._keep(place.index, reference)
        return out

    def _shown(self, planes: Tensor) -> NDArray[np.uint8]:
        array: NDArray[np.uint8] = frame_of(planes, self.axes, self.rows, self.columns).numpy()
        return array

    def _keep(self, index: int, reference: Reference) -> None:
        self._kept[index] = reference
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        for reference in list(self._kept.values())[:-DISPLACED]:
            reference.release()

    def _planes(self, place: Place) -> Tensor:
        code = self.packed[self._coded[place.index]].unpack()
        refs = []
        for index in place.refs:
            if index not in self._kept:  # dropped between a long way there and its use
                self._keep(index, Reference(self._planes(self.order[self._coded[index]])))
            self._kept.move_to_end(index)
            refs.append(self._kept[index])
        return decoded(code, refs, self.head.scale, place.layer, self.shares)


def decode_motion(
    payload: bytes, frames: int, width: int, height: int, limits: Limits
) -> MotionDecoder:
    """Decode the numbers of a payload; arguments and errors as for `laconic.codec.video.decode`."""
    head, offset = Head.unpack(payload)
    h, w = block_grid(height, width)
    limits.check("the number of blocks", 24 * frames * h * w, limits.cells)
    reader, syntax = Reader(payload[offset:]), FrameSyntax(h, w)
    order = coding_order(frames, head.gap)
    shares = read_shares(reader)
    packed = []
    for place, used in zip(order, still_used(order), strict=True):
        packed.append(PackedFrame.of(syntax.read(reader, place)))
        syntax.keep(used)
    reader.finish()
    return MotionDecoder(head, shares, packed, height, width)
