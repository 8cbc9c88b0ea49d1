"""Encoding a chunk: one pass over its frames, each chosen, coded and decoded before the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.hybrid import inter, repeats
from laconic.codec.video.hybrid.frames import (
    Buffers,
    Layout,
    Place,
    coding_order,
    fresh_tables,
    padded,
    parameters,
)
from laconic.codec.video.hybrid.mix import code_number, writer, written
from laconic.codec.video.hybrid.search import node
from laconic.codec.video.hybrid.syntax import code_tree
from laconic.codec.video.hybrid.trial import Encoder
from laconic.codec.video.hybrid.vectors import REACH, interpolate

Planes = Sequence[NDArray[np.uint16]]
# rounds, intra kept, merge kept, halves, sines, references, stop at skip, next order
EFFORTS = {
    "fast": (1, 2, 2, 1, 1, 2, 1),
    "medium": (2, 3, 3, 2, 2, 2, 0),
}
GAP = 16


# Of lambda, by layer; from layer 2 on times (QP - 12) / 6 between 2 and 4, as in HM's reference
# configurations: frames that few others refer to may lose more.
FACTORS = (0.30, 0.45, 0.35, 0.35, 0.40, 0.60)


def _lambda(quant: int, layer: int) -> float:
    """Squared error that a bit is worth."""
    factor = FACTORS[min(layer, len(FACTORS) - 1)]
    if layer > 1:
        factor *= min(max((quant / 8 - 12) / 6, 2), 4)
    return float(factor * 2 ** ((quant / 8 - 12) / 3))


class ChunkEncoder:
    """Encodes a chunk of frames with one quantiser.

    Args:
        base: quantiser in eighths of a unit, 0..511; six units double the step.
        effort: a key of EFFORTS.
        screens: look for screens among the frames, see `clip.Head`.
    """

    def __init__(
        self, layout: Layout, count: int, base: int, effort: str, gap: int = GAP,
        screens: bool = False,
    ) -> None:  # fmt: skip
        self.layout, self.base, self.screens = layout, base, screens
        self.places = coding_order(count, gap)
        self.buffers = Buffers(layout, self.places)
        rows, columns = layout.padded
        room = 4096 + 4 * count * rows * columns
        self.coder = writer(*fresh_tables(screens), room)
        slots = self.buffers.store.shape[1]
        self.phases = np.zeros((slots, 16, rows + 2 * REACH, columns + 2 * REACH), np.int16)
        self.strip = np.zeros((rows + 8, columns + 2 * REACH), np.int32)
        self.effort = np.array([*EFFORTS[effort], 0], np.int64)
        self.at = 0
        self.lam = np.zeros(2)
        self.cands = np.zeros((138, 8), np.int32)
        self.kept_info = np.zeros((10, 16, 16, inter.FIELDS), np.int32)
        self.kept = np.zeros((10, 6, 64, 64), np.int32)
        high, wide = rows >> 3, columns >> 3
        self.hints = np.zeros((2, 2, high, wide, 2), np.int32)
        self.copies = np.zeros((repeats.COPIES, high, wide, 2), np.int32)
        self.seen: dict[int, repeats.Frame] = {}  # frames that others refer to
        self.bits: list[int] = []

    def advance(self, planes: Planes) -> None:
        """Code the next frame of the coding order; ``planes`` are its samples."""
        buffers, layout = self.buffers, self.layout
        place = self.places[self.at]
        par = parameters(layout, place, buffers.slot_of, self.base)
        buffers.begin()
        shapes = layout.shapes()
        rows, columns = layout.padded
        source = np.zeros((3, rows, columns), np.int16)
        for target, plane, shape in zip(source, planes, shapes, strict=False):
            target[: shape[0], : shape[1]] = padded(plane, shape)
        self._look_for_repeats(place, par, source[0])
        lam = _lambda(int(par[inter.QUANT]), place.layer) * 4.0 ** (layout.depth - 8)
        self.lam[:] = lam / 256, np.sqrt(lam) / 256
        self.cands[:] = 0
        field = buffers.field(place)
        s14 = (source[0].astype(np.int32) << (14 - layout.depth)).astype(np.int16)
        state = Encoder(
            source, s14, buffers.planes, buffers.levels, buffers.info, field,
            np.concatenate([par, self.effort]), self.phases, self.lam, self.cands,
            self.kept_info, self.kept, self.hints, self.copies,
        )  # fmt: skip
        before = int(self.coder.state[3])
        order = 0
        for y in range(0, rows, 64):
            for x in range(0, columns, 64):
                node(state, self.coder.chance, buffers.store, x, y, 6, buffers.work)
                order = code_tree(
                    self.coder, buffers.info, field, par, buffers.levels, x, y, order,
                    buffers.scratch, buffers.size,
                )  # fmt: skip
        self.bits.append(8 * (int(self.coder.state[3]) - before))
        buffers.filtered(self.coder, par, source[0], lam)
        slot = buffers.end(self.at, par)
        if slot >= 0:
            interpolate(buffers.store[0, slot], self.phases[slot], layout.depth, self.strip)
        self.at += 1

    def _look_for_repeats(
        self, place: Place, par: NDArray[np.int64], luma: repeats.Samples
    ) -> None:
        """What `repeats` finds out about a frame, coded as far as decoders need it."""
        self.hints[:], self.copies[:] = repeats.NONE, repeats.NONE
        if not self.screens:
            return
        par[inter.SCREEN] = repeats.is_screen(luma)
        code_number(self.coder, int(par[inter.SCREEN]), 1)
        self.seen = {i: f for i, f in self.seen.items() if i in self.buffers.slot_of}
        if not par[inter.SCREEN]:
            return
        frame = repeats.Frame(luma)
        self.copies[:] = repeats.copied(frame)
        for k, listed in enumerate(place.lists):
            for r, index in enumerate(listed):
                if index in self.seen:
                    self.hints[k, r] = repeats.moved(frame, self.seen[index])
        self.seen[place.index] = frame

    def shown(self) -> list[NDArray[np.uint16]]:
        """The decoded planes of the frame coded last."""
        sizes = self.layout.sizes()
        return [
            p[:r, :c].astype(np.uint16)
            for p, (r, c) in zip(self.buffers.planes, sizes, strict=False)
        ]

    def data(self) -> bytes:
        """The stream so far."""
        return written(self.coder)


def encode(
    frames: Sequence[Planes], layout: Layout, base: int, effort: str, gap: int = GAP,
    screens: bool = False, progress: Callable[[int, int], None] | None = None,
) -> tuple[bytes, list[list[NDArray[np.uint16]]]]:  # fmt: skip
    """All frames, and what a decoder shows of them."""
    encoder = ChunkEncoder(layout, len(frames), base, effort, gap, screens)
    shown: list[list[NDArray[np.uint16]]] = [[] for _ in frames]
    for at, place in enumerate(encoder.places):
        encoder.advance(frames[place.index])
        shown[place.index] = encoder.shown()
        if progress is not None:
            progress(at + 1, len(frames))
    return encoder.data(), shown
