"""Decoding a chunk of kind ``motion``: all numbers at once, frames with their references on demand.

Numbers are the same on every machine; images are computed in float32 and may differ by a level.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion1.head import Head, PackedFrame
from laconic.codec.video.motion1.mixing import Reader
from laconic.codec.video.motion1.order import Place, coding_order, needed, still_used
from laconic.codec.video.motion1.rebuild import code_shares, decoded
from laconic.codec.video.motion1.syntax import FrameSyntax
from laconic.codec.video.motion1.warp import Reference, block_grid, colour_axes, frame_of
from laconic.entropy.quantize import SymbolCheck
from laconic.formats.errors import Limits

KEPT = 16  # decoded frames
DISPLACED = 4  # of these, with their displaced images


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
    shares = code_shares(reader, None)
    packed = []
    for place, used in zip(order, still_used(order), strict=True):
        packed.append(PackedFrame.of(syntax.code(reader, place, None)))
        syntax.keep(used)
    reader.finish()
    return MotionDecoder(head, shares, packed, height, width)
