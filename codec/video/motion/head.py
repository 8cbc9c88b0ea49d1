"""What a chunk of kind ``motion-1`` says before its decisions.

    varint  kind of network, see ``laconic.codec.video.plan.KINDS``
    varint  frames between key frames, 1 to 255
    varint  step of frame 0, in 1/32 octaves from 2^-16 on
    varint  number of offsets, then one varint each: steps of the layers, in 1/8 octaves
    4 bytes shifts of reconstructed codes
    6 bytes two axes of colour, signed

The decisions follow, in coding order (`order`), as one ANS stream (`mixing`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.blocks import valid_units
from laconic.codec.video.motion.picture import SHIFTS, STEPS_PER_OCTAVE, Scale
from laconic.codec.video.plan import KINDS
from laconic.formats.errors import FormatError
from laconic.formats.varint import read_varint, write_varint

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
            raise FormatError("a film chunk ends in its head: the file is truncated")
        a, b, c, d = raw[:4]
        for value in (a, b, c, d):
            _check("shift", value, 0, SHIFTS // 2)
        units = np.frombuffer(raw, np.int8, 6, 4).astype(np.int64).reshape(2, 3)
        if not valid_units(units):
            raise FormatError("the colours of a film chunk have no axes: the file is damaged")
        scale = Scale(step + LOWEST, tuple(offsets), (a, b, c, d))
        return cls(gap, scale, units), offset + 10


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise FormatError(
            f"the {name} of a film chunk is {value}; expected {low} to {high}: the file is damaged"
        )
