"""Which frames a frame is predicted from, and its motion: modes and vectors of blocks.

Frame 0 stands alone. Key frames, ``gap`` apart (the last frame ends the last gap), are predicted
from the key frames before; the frame in the middle of two coded frames is predicted from both, then
the middles of the halves, and so on. Lower layers are better images, since others come from them.

Motion is read as decisions on lattices that are refined. A pass reads the blocks of one lattice;
those of the lattices before are known on all sides, and so is what the references saw. `decoder`
puts a whole frame together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion1.mixing import Model, Reader, read_numbers
from laconic.codec.video.motion1.warp import BANDS

Ints = NDArray[np.int64]
BOTH, FIRST, SECOND, NONE = range(4)  # modes of blocks
FARTHEST = 1 << 12  # of a vector's difference, in quarters
COARSEST = 4  # blocks between those of the first lattice
MOST = 1 << 16  # of a mean
SPEED = 64  # units of a speed: quarters per frame / SPEED


@dataclass(frozen=True)
class Place:
    """One frame in coding order.

    Attributes:
        index: of the frame in order of presentation.
        refs: frames it is predicted from: none, or two (equal if there is one only).
        layer: 0 for frame 0, 1 for key frames, then the depth in the pyramid.
        last: no frame is predicted from it.
    """

    index: int
    refs: tuple[int, ...]
    layer: int
    last: bool


def coding_order(frames: int, gap: int) -> list[Place]:
    """All frames of a chunk, each after its references.

    >>> [(p.index, p.refs, p.layer) for p in coding_order(4, 8)]
    [(0, (), 0), (3, (0, 0), 1), (1, (0, 3), 2), (2, (1, 3), 3)]
    """
    keys = list(range(0, frames, gap))
    if keys[-1] != frames - 1:
        keys.append(frames - 1)
    found: list[tuple[int, tuple[int, ...], int]] = [(0, (), 0)]
    for n, key in enumerate(keys[1:], 1):
        found.append((key, (keys[n - 1], keys[max(n - 2, 0)]), 1))
        spans = [(keys[n - 1], key, 2)]
        while spans:  # a layer at a time, so that references are few at any moment
            first, end, layer = spans.pop(0)
            middle = (first + end) // 2
            if middle > first:
                found.append((middle, (first, end), layer))
                spans += [(first, middle, layer + 1), (middle, end, layer + 1)]
    used = {r for _, refs, _ in found for r in refs}
    return [Place(i, refs, layer, i not in used) for i, refs, layer in found]


def still_used(order: list[Place]) -> list[set[int]]:
    """After each frame in coding order, the frames that a later one is predicted from."""
    found: list[set[int]] = []
    used: set[int] = set()
    for place in reversed(order):
        found.append(used)
        used = used | set(place.refs)
    return found[::-1]


def needed(order: list[Place], wanted: Set[int], present: Set[int]) -> list[Place]:
    """The frames to decode for those wanted, in coding order, where some are present."""
    kept, asked = [], set(wanted)
    for place in reversed(order):
        if place.index in asked and place.index not in present:
            kept.append(place)
            asked |= set(place.refs)
    return kept[::-1]


@dataclass
class FrameCode:
    """All numbers of a frame of h x w blocks.

    Attributes:
        modes: of blocks ``[h, w]``.
        vectors: in quarters ``[2 references, 2, 2 h, 2 w]``, one a cell; unused ones are guesses.
        means: codes of the means of blocks without references ``[3, h, w]``.
        quarters: whether the first plane of a block is transformed by quarters ``[h, w]``.
        luma: codes ``[2 h, 2 w, 64]``.
        chroma: codes ``[2, h, w, 64]``.
    """

    modes: Ints
    vectors: Ints
    means: Ints
    quarters: Ints
    luma: Ints
    chroma: Ints

    @classmethod
    def blank(cls, h: int, w: int) -> FrameCode:
        """A frame without references, means and coefficients."""
        return cls(
            np.full((h, w), NONE), np.zeros((2, 2, 2 * h, 2 * w), np.int64),
            np.zeros((3, h, w), np.int64), np.zeros((h, w), np.int64),
            np.zeros((2 * h, 2 * w, BANDS), np.int64), np.zeros((2, h, w, BANDS), np.int64),
        )  # fmt: skip


@dataclass
class Trace:
    """What later frames see of a coded frame: speeds ``[2, h, w]`` where known ``[h, w]``."""

    speed: Ints
    known: Ints
    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]


def speeds(traces: Mapping[int, Trace], place: Place, h: int, w: int) -> tuple[Ints, Ints]:
    """Speeds ``[2, h, w]`` that the references of a frame saw, where known ``[h, w]``."""
    speed, known = np.zeros((2, h, w), np.int64), np.zeros((h, w), np.int64)
    for ref in place.refs:  # the second one last: it looks back over this frame
        trace = traces[ref]
        speed = np.where(trace.known != 0, trace.speed, speed)
        known = known | trace.known
    return speed, known


@cache
def lattices(h: int, w: int) -> list[tuple[Ints, Ints]]:
    """Passes over blocks: their flat places ``[n]``, and four neighbours coded before ``[4, n]``,
    h w where there is none."""
    y, x = (a.reshape(-1) for a in np.mgrid[0:h, 0:w])
    on = (y % COARSEST == 0) & (x % COARSEST == 0)
    nothing = np.full((4, int(on.sum())), h * w)
    passes = [(np.flatnonzero(on), nothing)]
    step = COARSEST
    while step > 1:
        half = step // 2
        diagonal = (y % step == half) & (x % step == half)
        cross = ((y % step == half) & (x % step == 0)) | ((y % step == 0) & (x % step == half))
        for chosen, steps in (
            (diagonal, [(-half, -half), (-half, half), (half, -half), (half, half)]),
            (cross, [(-half, 0), (0, -half), (0, half), (half, 0)]),
        ):
            place = np.flatnonzero(chosen)
            found = []
            for dy, dx in steps:
                ny, nx = y[place] + dy, x[place] + dx
                inside = (ny >= 0) & (ny < h) & (nx >= 0) & (nx < w)
                found.append(np.where(inside, ny * w + nx, h * w))
            if place.size:
                passes.append((place, np.stack(found)))
        step = half
    return passes


def guess(known: list[tuple[Ints, Ints]]) -> Ints:
    """Lower medians ``[2, n]`` of the candidates (values ``[2, n]``, valid ``[n]``); zero without
    any."""
    values = np.empty((len(known), *known[0][0].shape), np.int64)
    count = np.zeros(values.shape[2], np.int64)
    for k, (candidate, valid) in enumerate(known):
        values[k] = np.where(valid, candidate, 1 << 40)
        count += valid
    values.sort(axis=0)
    middle = np.maximum(count - 1, 0) // 2
    found: Ints = np.take_along_axis(values, middle[None, None], 0)[0]
    return np.where(count > 0, found, 0)


def _numbers(sizes: tuple[int, ...], prefix: int = 8) -> list[Model]:
    return [Model(sizes) for _ in range(2 + prefix)]


@dataclass
class MotionModels:
    """Models of modes, vectors and means; ``layer`` classes are 0..2 (key, second, deeper)."""

    inter: Model = field(default_factory=lambda: Model((3, 15)))
    both: Model = field(default_factory=lambda: Model((3, 15, 25)))
    which: Model = field(default_factory=lambda: Model((3, 25)))
    same: Model = field(default_factory=lambda: Model((24, 30, 18)))
    vector: list[Model] = field(default_factory=lambda: _numbers((10, 6)))
    split: Model = field(default_factory=lambda: Model((9, 6)))
    sub_same: Model = field(default_factory=lambda: Model((3, 4)))
    sub_vector: list[Model] = field(default_factory=lambda: _numbers((2, 2)))
    means: list[Model] = field(default_factory=lambda: _numbers((24, 3, 9), 14))

    def all(self) -> Iterator[Model]:
        """Every model, in a fixed order."""
        yield from (self.inter, self.both, self.which, self.same, *self.vector, self.split)
        yield from (self.sub_same, *self.sub_vector, *self.means)


class MotionPass:
    """The modes and vectors of one frame, pass by pass.

    ``modes`` and ``vectors`` ``[reference, 2, h w + 1]`` hold what is coded so far.
    """

    def __init__(
        self,
        models: MotionModels,
        traces: dict[int, Trace],
        reader: Reader,
        place: Place,
        grid: tuple[int, int],
    ) -> None:
        self.models, self.reader, self.place = models, reader, place
        self.h, self.w = grid
        count = self.h * self.w
        self.modes = np.full(count + 1, -1)
        self.vectors = np.zeros((2, 2, count + 1), np.int64)
        self.moved = np.zeros(count + 1, np.int64)  # whether a block needed a difference
        self.layer = min(place.layer - 1, 2)
        speed, known = speeds(traces, place, self.h, self.w)
        self.speed = np.concatenate([speed.reshape(2, -1), np.zeros((2, 1), np.int64)], 1)
        self.known = np.concatenate([known.reshape(-1), [0]])

    def guesses(self, number: int, k: int, mirrored: Ints | None = None) -> Ints:
        """Expected vectors ``[2, n]`` of a pass for reference k.

        Args:
            mirrored: vectors of the same blocks for the other reference, where they are coded.
        """
        blocks, around = lattices(self.h, self.w)[number]
        distance = self.place.refs[k] - self.place.index
        other = self.place.refs[1 - k] - self.place.index
        known: list[tuple[Ints, Ints]] = [
            (self.vectors[k][:, n], self.modes[n] >= 0) for n in around
        ]
        scaled = self.speed[:, blocks] * distance // SPEED
        known.append((scaled, self.known[blocks] != 0))
        if mirrored is not None:
            known += [(mirrored * distance // other, np.ones(blocks.size, np.bool_))] * 2
        return guess(known)

    def contexts(self, number: int) -> tuple[Ints, Ints]:
        """Of a pass: how many neighbours are of each mode ``[4, n]``, and how many moved."""
        _, around = lattices(self.h, self.w)[number]
        modes = np.concatenate([self.modes[:-1], [-1]])[around]
        counts = np.stack([(modes == m).sum(0) for m in range(4)])
        return counts, self.moved[around].sum(0)

    def run(self, number: int) -> None:
        """Read one pass."""
        blocks = lattices(self.h, self.w)[number][0]
        counts, moved = self.contexts(number)
        layer = np.full_like(blocks, self.layer)
        two = self.place.refs[0] != self.place.refs[1]

        inter = self.reader.code(self.models.inter, np.stack([layer, 5 * layer + counts[NONE]]))
        found = np.full_like(blocks, NONE)
        active = np.flatnonzero(inter)
        if two:
            bidirectional = self.reader.code(
                self.models.both,
                np.stack([layer, 5 * layer + counts[BOTH], 5 * counts[FIRST] + counts[SECOND]])[
                    :, active
                ],
            )
            found[active[bidirectional != 0]] = BOTH
            single = active[bidirectional == 0]
            second = self.reader.code(
                self.models.which,
                np.stack([layer, 5 * counts[FIRST] + counts[SECOND]])[:, single],
            )
            found[single] = FIRST + second
        else:
            found[active] = FIRST
        self.modes[blocks] = found
        differs = np.zeros_like(blocks)
        mirrored = None
        for k in range(2):
            expected = self.guesses(number, k, mirrored)
            used = np.flatnonzero((found == BOTH) | (found == FIRST + k))
            self.vectors[k][:, blocks] = expected
            context = np.stack([
                (2 * layer + k) * 4 + found, (5 * layer + moved) * 2 + k,
                (3 * layer + np.minimum(counts[BOTH], 2)) * 2 + differs,
            ])[:, used]  # fmt: skip
            difference = self._differences(context, layer[used], moved[used])
            self.vectors[k][:, blocks[used]] = expected[:, used] + difference
            differs[used] |= (difference != 0).any(0)
            if k == 0:
                mirrored = self.vectors[0][:, blocks]
        self.moved[blocks] = differs

    def _differences(self, same: Ints, layer: Ints, moved: Ints) -> Ints:
        zero = self.reader.code(self.models.same, same)
        out = np.zeros((2, zero.size), np.int64)
        rest = np.flatnonzero(zero == 0)
        if rest.size:
            around, layers = np.tile(moved[rest], 2), np.tile(layer[rest], 2)
            axis = np.repeat([0, 1], rest.size)
            context = np.stack([2 * around + axis, 2 * layers + axis])
            found = read_numbers(self.reader, self.models.vector, context, FARTHEST)
            out[:, rest] = found.reshape(2, -1)
        return out

    def finish(self, out: FrameCode) -> None:
        """Split blocks, and everything into ``out``."""
        h, w = self.h, self.w
        out.modes = self.modes[:-1].reshape(h, w).copy()
        for k in range(2):
            whole = self.vectors[k][:, :-1].reshape(2, h, w)
            out.vectors[k] = whole.repeat(2, 1).repeat(2, 2)
        blocks = np.flatnonzero(self.modes[:-1] != NONE)
        mode, moved = self.modes[blocks], self.moved[blocks]
        found = self.reader.code(
            self.models.split, np.stack([3 * mode + self.layer, 2 * self.layer + moved])
        )
        chosen = blocks[found != 0]
        for k in range(2):
            used = chosen[(self.modes[chosen] == BOTH) | (self.modes[chosen] == FIRST + k)]
            y, x = used // w, used % w
            if not used.size:
                continue
            cell = np.repeat([1, 2, 3], used.size)
            cy, cx = 2 * np.tile(y, 3) + cell // 2, 2 * np.tile(x, 3) + cell % 2
            base = np.tile(self.vectors[k][:, used], 3)
            out.vectors[k][:, cy, cx] = base + self._sub_differences(cell)

    def _sub_differences(self, cell: Ints) -> Ints:
        count = cell.size
        layer = np.full(count, self.layer)
        zero = self.reader.code(self.models.sub_same, np.stack([layer, cell]))
        out = np.zeros((2, count), np.int64)
        rest = np.flatnonzero(zero == 0)
        if rest.size:
            axis = np.repeat([0, 1], rest.size)
            context = np.stack([axis, np.minimum(np.tile(layer[rest], 2), 1)])
            found = read_numbers(self.reader, self.models.sub_vector, context, FARTHEST)
            out[:, rest] = found.reshape(2, -1)
        return out
