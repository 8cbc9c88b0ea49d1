"""A decoded chunk of kind ``motion``: planes, the same on every machine, and RGB when asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.hybrid.clip import Head, layout_of
from laconic.codec.video.hybrid.decode import decode
from laconic.entropy.check import SymbolCheck
from laconic.formats.limits import Limits
from laconic.formats.video_planes import Planes, Sampling, to_rgb


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
