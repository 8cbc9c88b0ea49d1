"""What encoder and decoder share about a chunk's frames: order, references, steps, and buffers.

Frames come in a pyramid (hierarchical B): every ``gap`` frames one that is predicted from the past
alone, then the middle of two decoded frames from both sides, and so on. Deeper layers are referred
to less and have larger steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion import inter, residual
from laconic.codec.video.motion.filters import (
    CLASSES,
    TAPS,
    choose,
    classify,
    code_filter,
    deblock,
    smooth,
    widened,
)
from laconic.codec.video.motion.inter import FIELDS, LISTED, NEVER, PARAMETERS
from laconic.codec.video.motion.mix import FINE, INPUTS, WEIGHT_ONE, Coder, code_number
from laconic.codec.video.motion.rebuild import LONGEST_STEP, work

__all__ = ["Buffers", "Layout", "Place", "coding_order", "fresh_tables", "parameters"]

OFFSETS = (0, 8, 16, 24, 32, 36, 40, 40)  # of a layer's quantiser, in eighths; first: intra
PAST = FUTURE = 2  # references of each side


@dataclass(frozen=True)
class Layout:
    """Size and sampling of a video's planes.

    Attributes:
        width, height: luma samples.
        depth: bits of a sample, 8 or 10.
        sx, sy: log2 of the chroma's subsampling.
        gray: no chroma.
    """

    width: int
    height: int
    depth: int = 8
    sx: int = 1
    sy: int = 1
    gray: bool = False

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of luma in whole blocks of 8."""
        return -(-self.height // 8) * 8, -(-self.width // 8) * 8

    def shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each padded plane; gray videos have small chroma planes unused."""
        rows, columns = self.padded
        chroma = (8, 8) if self.gray else (rows >> self.sy, columns >> self.sx)
        return [(rows, columns), chroma, chroma]

    def sizes(self) -> list[tuple[int, int]]:
        """Rows and columns of each plane as shown."""
        chroma = (
            (self.height + (1 << self.sy) - 1) >> self.sy,
            (self.width + (1 << self.sx) - 1) >> self.sx,
        )
        return [(self.height, self.width)] + ([] if self.gray else [chroma, chroma])


@dataclass(frozen=True)
class Place:
    """A frame in coding order.

    Attributes:
        index: in order of presentation.
        layer: 0 for frame 0 (intra), 1 for those predicted from the past alone, then deeper.
        past, future: frames that it may refer to, the nearest first.
    """

    index: int
    layer: int
    past: tuple[int, ...]
    future: tuple[int, ...]

    @property
    def lists(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Both lists of references; without a future both are the past."""
        return self.past, self.future or self.past


def coding_order(count: int, gap: int) -> list[Place]:
    """All frames in the order in which they are coded."""
    places: list[Place] = []
    layers: dict[int, int] = {}

    def add(index: int, layer: int) -> None:
        known = [i for i, deep in layers.items() if deep < layer or deep <= 1]
        past = sorted((i for i in known if i < index), reverse=True)[:PAST]
        future = sorted(i for i in known if i > index)[:FUTURE]
        places.append(Place(index, layer, tuple(past), tuple(future)))
        layers[index] = layer

    def between(low: int, high: int, layer: int) -> None:
        if high - low > 1:
            middle = (low + high) // 2
            add(middle, layer)
            between(low, middle, layer + 1)
            between(middle, high, layer + 1)

    add(0, 0)
    for low in range(0, count - 1, gap):
        high = min(low + gap, count - 1)
        add(high, 1)
        between(low, high, 2)
    return places


def last_uses(places: list[Place]) -> dict[int, int]:
    """For each frame the position in coding order of the last frame that refers to it."""
    uses: dict[int, int] = {}
    for at, place in enumerate(places):
        for index in (*place.past, *place.future):
            uses[index] = at
    return uses


START = Path(__file__).with_name("start.npz")


def blank_tables() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Contexts and weights that know nothing."""
    chance = np.zeros(2 * residual.room(0), np.int32)
    chance[0::2] = 1 << (FINE - 1)
    weight = np.zeros((residual.sets(0), 8), np.int32)
    weight[:, :INPUTS] = WEIGHT_ONE * 3 // 10
    return chance, weight.reshape(-1)


@cache
def _start() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    chance, weight = blank_tables()
    if START.exists():
        with np.load(START, allow_pickle=False) as found:
            chance[0::2] = found["chance"].astype(np.int32) << 6
            chance[1::2] = found["visits"]
            weight[:] = found["weight"].astype(np.int32) << 4
    return chance, weight


def fresh_tables(screens: bool = False) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Contexts and weights at the beginning of a chunk (`benchmarks/video_start.py`).

    Chunks of ``screens`` have them twice: the second half serves their own tools.
    """
    chance, weight = _start()
    return np.tile(chance, 1 + screens), np.tile(weight, 1 + screens)


class Buffers:
    """Arrays of a chunk's frames: the one at hand, and those that others refer to."""

    def __init__(self, layout: Layout, places: list[Place]) -> None:
        self.layout, self.places, self.uses = layout, places, last_uses(places)
        shapes = layout.shapes()
        rows, columns = shapes[0]
        self.planes = np.zeros((3, rows, columns), np.int16)
        self.levels = np.zeros((3, rows, columns), np.int16)
        self.units = (rows >> 2, columns >> 2)
        self.info = np.zeros((*self.units, FIELDS), np.int32)
        self.scratch = np.zeros((160, 8), np.int32)
        self.size = np.zeros((40, 40), np.int32)
        self.work = work()
        self.bank = np.zeros((CLASSES, len(TAPS)), np.int32)
        self.ways = np.zeros(CLASSES, np.int32)
        self.weights = np.zeros((CLASSES, len(TAPS)), np.int32)
        self.kinds = np.zeros(self.units, np.int32)
        slots = self._slots()
        self.store = np.zeros((3, slots, rows, columns), np.int16)
        self.slot_of: dict[int, int] = {}
        self.fields: dict[int, NDArray[np.int32]] = {}

    def _slots(self) -> int:
        """How many references are alive at the same time."""
        alive: set[int] = set()
        most = 1
        for at, place in enumerate(self.places):
            if place.index in self.uses:
                alive.add(place.index)
            most = max(most, len(alive))
            alive = {i for i in alive if self.uses[i] > at}
        return most

    def filtered(
        self, coder: Coder, par: NDArray[np.int64], source: NDArray[np.uint16] | None, lam: float
    ) -> None:
        """Filter the decoded frame, and code how; a reader has no ``source``."""
        if par[inter.SCREEN]:
            self._deblocked(coder, par, source)
        else:
            deblock(self.info, par, self.planes)
        rows, columns = self.layout.padded
        depth = self.layout.depth
        wide = widened(self.planes[0])
        classify(wide, rows, columns, depth, self.kinds)
        if source is not None:
            self.ways[:], self.weights[:] = choose(source, wide, self.kinds, self.bank, lam)
        code_filter(coder, self.ways, self.weights, self.bank, int(par[inter.LAYER]))
        smooth(wide, self.planes[0], rows, columns, self.kinds, self.weights, (1 << depth) - 1)

    def _deblocked(
        self, coder: Coder, par: NDArray[np.int64], source: NDArray[np.uint16] | None
    ) -> None:
        """Deblock a screen if that brings its luma nearer to the source, and code whether."""
        before, better = self.planes.copy(), 1
        deblock(self.info, par, self.planes)
        if source is not None:
            after, plain = (p[0].astype(np.int64) - source for p in (self.planes, before))
            better = int(np.square(after).sum() < np.square(plain).sum())
        if not code_number(coder, better, 1):
            self.planes[:] = before

    def begin(self) -> None:
        """Forget the frame before."""
        self.info[:] = 0
        self.levels[:] = 0
        self.info[:, :, inter.ORDER] = NEVER

    def field(self, place: Place) -> NDArray[np.int32]:
        """Motion of the co-located frame."""
        nearest = (place.future or place.past)[:1]
        for index in nearest:
            if index in self.fields:
                return self.fields[index]
        return np.zeros((*self.units, 6), np.int32)

    def end(self, at: int, par: NDArray[np.int64]) -> int:
        """Store the frame if others refer to it; its slot, or -1."""
        place = self.places[at]
        for index in [i for i in self.slot_of if self.uses[i] <= at]:
            del self.slot_of[index]
            self.fields.pop(index, None)
        if self.uses.get(place.index, -1) <= at:
            return -1
        taken = set(self.slot_of.values())
        slot = next(i for i in range(self.store.shape[1]) if i not in taken)
        self.slot_of[place.index] = slot
        self.store[:, slot] = self.planes
        self.fields[place.index] = self._motion(par)
        return slot

    def _motion(self, par: NDArray[np.int64]) -> NDArray[np.int32]:
        """``[rows, columns, 6]``: distance and vector of each list; distance 0 for none."""
        info = self.info
        out = np.zeros((*self.units, 6), np.int32)
        moving = info[:, :, inter.TYPE] == inter.INTER
        for k, start in ((0, inter.DISTANCE0), (1, inter.DISTANCE1)):
            used = moving & (info[:, :, inter.DIR] != 1 - k)
            distance = par[start : start + LISTED][info[:, :, inter.REF0 + k] & (LISTED - 1)]
            out[:, :, 3 * k] = np.where(used, distance, 0)
            out[:, :, 3 * k + 1] = np.where(used, info[:, :, inter.MX0 + 2 * k], 0)
            out[:, :, 3 * k + 2] = np.where(used, info[:, :, inter.MX0 + 2 * k + 1], 0)
        return out


def parameters(
    layout: Layout, place: Place, slot_of: dict[int, int], base: int
) -> NDArray[np.int64]:
    """A frame's parameters; ``base`` is the chunk's quantiser in eighths."""
    par = np.zeros(PARAMETERS, np.int64)
    rows, columns = layout.padded
    par[inter.WIDTH], par[inter.HEIGHT] = columns, rows
    par[inter.SX], par[inter.SY], par[inter.DEPTH] = layout.sx, layout.sy, layout.depth
    quant = min(max(base + OFFSETS[min(place.layer, len(OFFSETS) - 1)], 0), LONGEST_STEP - 1)
    par[inter.QUANT] = quant
    par[inter.QCHROMA] = quant
    par[inter.LAYER] = max(place.layer - 1, 0)
    par[inter.KEY] = place.layer == 0
    par[inter.GRAY] = layout.gray
    for k, listed in enumerate(place.lists):
        par[inter.COUNT0 + k] = len(listed)
        for r, index in enumerate(listed):
            par[inter.DISTANCE0 + 4 * k + r] = place.index - index
            par[inter.SLOT0 + 4 * k + r] = slot_of[index]
    par[inter.TEMPORAL] = place.layer > 0
    return par


def padded(plane: NDArray[np.uint16], shape: tuple[int, int]) -> NDArray[np.uint16]:
    """A plane with its last row and column repeated up to ``shape``."""
    rows, columns = plane.shape
    return np.pad(plane, ((0, shape[0] - rows), (0, shape[1] - columns)), "edge")
