"""Decoding a chunk of kind ``motion-1``: its head, all numbers at once, frames on demand.

Numbers are the same on every machine; images are computed in float32 and may differ by a level. A
decoder keeps the numbers of each frame without their zeros. A chunk says before its decisions

    varint  kind of network, see ``laconic.codec.video.plan.KINDS``
    varint  frames between key frames, 1 to 255
    varint  step of frame 0, in 1/32 octaves from 2^-16 on
    varint  number of offsets, then one varint each: steps of the layers, in 1/8 octaves
    4 bytes shifts of reconstructed codes
    6 bytes two axes of colour, signed

and the decisions follow, in coding order (`field`), as one ANS stream (`mixing`). Contexts are
whatever is known at that point; what they know before the first frame was counted in other videos
and is part of the format: ``start.npz``. Of a frame, motion comes first, on lattices that are
refined, so that a vector has known vectors on all sides; then the coefficients of all cells, from
low bands to high ones, in `residual`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion1.field import (
    BOTH,
    FIRST,
    MOST,
    NONE,
    SPEED,
    FrameCode,
    MotionModels,
    MotionPass,
    Place,
    Trace,
    coding_order,
    lattices,
    needed,
    still_used,
)
from laconic.codec.video.motion1.mixing import FINE, Model, Reader, read_numbers
from laconic.codec.video.motion1.rebuild import (
    SHIFTS,
    STEPS_PER_OCTAVE,
    Scale,
    decoded,
    read_shares,
)
from laconic.codec.video.motion1.residual import Residual, ResidualModels
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

Ints = NDArray[np.int64]
CHANCE_BITS = 16
_FILE = Path(__file__).with_name("start.npz")
LOWEST = -16 * STEPS_PER_OCTAVE  # step index
HIGHEST = 4 * STEPS_PER_OCTAVE
LONGEST_GAP = 255
MOST_OFFSETS, LARGEST_OFFSET = 8, 64
KEPT = 16  # decoded frames
DISPLACED = 4  # of these, with their displaced images


@cache
def _arrays() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    with np.load(_FILE) as arrays:
        chance, seen, weights = (arrays[n].astype(np.int64) for n in ("chance", "seen", "weights"))
    return chance << (FINE - CHANCE_BITS), seen, weights


def begin(models: Iterable[Model]) -> None:
    """Put all models of a syntax, in order, where other videos left them."""
    chance, seen, weights = _arrays()
    at = first = 0
    for model in models:
        end, last = at + model.chance.size, first + model.weights.size
        model.chance, model.seen = chance[at:end].copy(), seen[at:end].copy()
        model.weights = weights[first:last].copy()
        at, first = end, last
    assert (at, first) == (chance.size, weights.size)


class FrameSyntax:
    """Reads frames in coding order; keeps models, and traces of references.

    Args:
        h, w: blocks of a frame.
    """

    def __init__(self, h: int, w: int) -> None:
        self.h, self.w = h, w
        self.motion, self.residual = MotionModels(), ResidualModels()
        begin((*self.motion.all(), *self.residual.all()))
        self.traces: dict[int, Trace] = {}

    def keep(self, places: set[int]) -> None:
        """Forget the traces of all other frames."""
        self.traces = {k: v for k, v in self.traces.items() if k in places}

    def read(self, reader: Reader, place: Place) -> FrameCode:
        """Numbers of one frame; renews models and traces."""
        out = FrameCode.blank(self.h, self.w)
        if place.refs:
            coded = MotionPass(self.motion, self.traces, reader, place, (self.h, self.w))
            for index in range(len(lattices(self.h, self.w))):
                coded.run(index)
            coded.finish(out)
        self._read_means(reader, out)
        refs = [self.traces[r] for r in set(place.refs) if r in self.traces]
        before = None
        if refs:
            before = (
                np.minimum(sum(t.luma for t in refs), 2),
                np.minimum(sum(t.chroma for t in refs), 2),
            )
        residual = Residual(self.residual, self.h, self.w, min(place.layer, 3), out.modes)
        out.quarters, out.luma, out.chroma = residual.read(reader, before)
        if not place.last:
            self.traces[place.index] = self._trace(place, out)
        return out

    def _trace(self, place: Place, code: FrameCode) -> Trace:
        speed = np.zeros((2, self.h, self.w), np.int64)
        known = np.zeros((self.h, self.w), np.int64)
        for k in (1, 0) if place.refs else ():
            used = (code.modes == BOTH) | (code.modes == FIRST + k)
            own = code.vectors[k][:, ::2, ::2]
            found = SPEED * own // (place.refs[k] - place.index)
            speed, known = np.where(used, found, speed), known | used
        luma, chroma = (
            np.minimum(np.abs(x), 2 if place.refs else 0).astype(np.uint8)
            for x in (code.luma, code.chroma)
        )
        return Trace(speed, known, luma, chroma)

    def _read_means(self, reader: Reader, out: FrameCode) -> None:
        """Means of the blocks without references, from those around and the plane before."""
        h, w = self.h, self.w
        wanted = np.concatenate([(out.modes == NONE).reshape(-1), [False]])
        values = np.zeros((3, h * w + 1), np.int64)
        size = np.zeros(h * w + 1, np.int64)  # of the differences so far
        for number, (blocks, around) in enumerate(lattices(h, w)):
            blocks, around = blocks[wanted[blocks]], around[:, wanted[blocks]]
            if not blocks.size:
                continue
            valid = wanted[around]
            count = np.maximum(valid.sum(0), 1)
            for plane in range(3):
                expected = (values[plane][around] * valid).sum(0) // count
                spread = np.minimum((size[around] * valid).sum(0) // count, 7)
                own = np.minimum(size[blocks], 7) if plane else np.zeros_like(blocks)
                contexts = np.stack([
                    np.full_like(blocks, 3 * min(number, 7) + plane),
                    np.full_like(blocks, plane),
                    3 * np.minimum(spread, 2) + np.minimum(own, 2),
                ])  # fmt: skip
                found = read_numbers(reader, self.motion.means, contexts, MOST)
                values[plane][blocks] = found + expected
                size[blocks] = np.maximum(size[blocks], np.abs(found))
            values[:, h * w] = 0
        out.means = values[:, :-1].reshape(3, h, w)


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
    """Decode the numbers of a payload; arguments and errors as for `chunk.decode`."""
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
