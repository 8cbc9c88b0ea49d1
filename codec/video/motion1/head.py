"""What a chunk of kind ``motion-1`` says before its decisions.

    varint  kind of network, see ``laconic.codec.video.plan.KINDS``
    varint  frames between key frames, 1 to 255
    varint  step of frame 0, in 1/32 octaves from 2^-16 on
    varint  number of offsets, then one varint each: steps of the layers, in 1/8 octaves
    4 bytes shifts of reconstructed codes
    6 bytes two axes of colour, signed

The decisions follow, in coding order (`order`), as one ANS stream (`mixing`).

What contexts know before the first frame of a chunk: counted in other videos, part of the format.

``benchmarks/video_start.py`` made ``start.npz`` and says from what.

The numbers of a frame without their zeros: what a decoder keeps of each frame of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion1.field import FrameCode
from laconic.codec.video.motion1.mixing import FINE, Model
from laconic.codec.video.motion1.rebuild import SHIFTS, STEPS_PER_OCTAVE, Scale
from laconic.codec.video.motion1.warp import valid_units
from laconic.codec.video.plan import KINDS
from laconic.entropy.quantize import SymbolCheck
from laconic.formats.errors import FormatError
from laconic.formats.frame import read_varint, write_varint

LOWEST = -16 * STEPS_PER_OCTAVE  # step index
HIGHEST = 4 * STEPS_PER_OCTAVE
LONGEST_GAP = 255
MOST_OFFSETS, LARGEST_OFFSET = 8, 64


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

    def pack(self) -> bytes:
        """The head of the payload."""
        scale = self.scale
        numbers = [KINDS["motion-1"], self.gap, scale.step - LOWEST, len(scale.offsets)]
        data = b"".join(map(write_varint, [*numbers, *scale.offsets]))
        return data + bytes(scale.shifts) + self.units.astype(np.int8).tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Head, int]:
        """Inverse of :meth:`pack`, and where the decisions start; ``FormatError`` if damaged."""
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


CHANCE_BITS = 16
_FILE = Path(__file__).with_name("start.npz")


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
