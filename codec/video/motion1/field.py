"""Motion of a frame as decisions: modes and vectors of blocks, on lattices that are refined.

A pass codes the blocks of one lattice; those of the lattices before are known on all sides, and so
is what the references saw. `syntax` puts a whole frame together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion1.mixing import Coder, Model, code_numbers
from laconic.codec.video.motion1.order import Place
from laconic.codec.video.motion1.warp import BANDS

Ints = NDArray[np.int64]

BOTH, FIRST, SECOND, NONE = range(4)  # modes of blocks
FARTHEST = 1 << 12  # of a vector's difference, in quarters
COARSEST = 4  # blocks between those of the first lattice
MOST = 1 << 16  # of a mean
SPEED = 64  # units of a speed: quarters per frame / SPEED


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
    """The vectors of one frame, pass by pass; an encoder may look at guesses before each pass.

    ``modes`` and ``vectors`` ``[reference, 2, h w + 1]`` hold what is coded so far.
    """

    def __init__(
        self,
        models: MotionModels,
        traces: dict[int, Trace],
        coder: Coder,
        place: Place,
        given: FrameCode | None,
        grid: tuple[int, int],
    ) -> None:
        self.models, self.coder, self.place, self.given = models, coder, place, given
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
        """Code one pass."""
        blocks = lattices(self.h, self.w)[number][0]
        given = self.given
        counts, moved = self.contexts(number)
        layer = np.full_like(blocks, self.layer)
        mode = None if given is None else given.modes.reshape(-1)[blocks]
        two = self.place.refs[0] != self.place.refs[1]

        inter = self.coder.code(
            self.models.inter, None if mode is None else (mode != NONE).astype(np.int64),
            np.stack([layer, 5 * layer + counts[NONE]]),
        )  # fmt: skip
        found = np.full_like(blocks, NONE)
        active = np.flatnonzero(inter)
        if two:
            bidirectional = self.coder.code(
                self.models.both,
                None if mode is None else (mode[active] == BOTH).astype(np.int64),
                np.stack([layer, 5 * layer + counts[BOTH], 5 * counts[FIRST] + counts[SECOND]])[
                    :, active
                ],
            )
            found[active[bidirectional != 0]] = BOTH
            single = active[bidirectional == 0]
            second = self.coder.code(
                self.models.which,
                None if mode is None else (mode[single] == SECOND).astype(np.int64),
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
            wanted = None
            if given is not None:
                own = given.vectors[k][:, ::2, ::2].reshape(2, -1)[:, blocks]
                wanted = own[:, used] - expected[:, used]
            difference = self._differences(wanted, context, layer[used], moved[used])
            self.vectors[k][:, blocks[used]] = expected[:, used] + difference
            differs[used] |= (difference != 0).any(0)
            if k == 0:
                mirrored = self.vectors[0][:, blocks]
        self.moved[blocks] = differs

    def _differences(self, wanted: Ints | None, same: Ints, layer: Ints, moved: Ints) -> Ints:
        zero = self.coder.code(
            self.models.same, None if wanted is None else (wanted == 0).all(0).astype(np.int64),
            same,
        )  # fmt: skip
        out = np.zeros((2, zero.size), np.int64)
        rest = np.flatnonzero(zero == 0)
        if rest.size:
            around, layers = np.tile(moved[rest], 2), np.tile(layer[rest], 2)
            axis = np.repeat([0, 1], rest.size)
            context = np.stack([2 * around + axis, 2 * layers + axis])
            values = None if wanted is None else wanted[:, rest].reshape(-1)
            found = code_numbers(self.coder, self.models.vector, values, context, FARTHEST)
            out[:, rest] = found.reshape(2, -1)
        return out

    def finish(self, out: FrameCode) -> None:
        """Split blocks, and everything into ``out``."""
        h, w, given = self.h, self.w, self.given
        out.modes = self.modes[:-1].reshape(h, w).copy()
        for k in range(2):
            whole = self.vectors[k][:, :-1].reshape(2, h, w)
            out.vectors[k] = whole.repeat(2, 1).repeat(2, 2)
        blocks = np.flatnonzero(self.modes[:-1] != NONE)
        mode, moved = self.modes[blocks], self.moved[blocks]
        split = None
        if given is not None:
            grid = given.vectors.reshape(2, 2, h, 2, w, 2)
            uneven = (grid != grid[:, :, :, :1, :, :1]).any((3, 5)).any(1).reshape(2, -1)[:, blocks]
            first, second = mode != SECOND, mode != FIRST
            split = ((uneven[0] & first) | (uneven[1] & second)).astype(np.int64)
        found = self.coder.code(
            self.models.split, split,
            np.stack([3 * mode + self.layer, 2 * self.layer + moved]),
        )  # fmt: skip
        chosen = blocks[found != 0]
        for k in range(2):
            used = chosen[(self.modes[chosen] == BOTH) | (self.modes[chosen] == FIRST + k)]
            y, x = used // w, used % w
            if not used.size:
                continue
            cell = np.repeat([1, 2, 3], used.size)
            cy, cx = 2 * np.tile(y, 3) + cell // 2, 2 * np.tile(x, 3) + cell % 2
            base = np.tile(self.vectors[k][:, used], 3)
            wanted = None if given is None else given.vectors[k][:, cy, cx] - base
            out.vectors[k][:, cy, cx] = base + self._sub_differences(wanted, cell)

    def _sub_differences(self, wanted: Ints | None, cell: Ints) -> Ints:
        count = cell.size
        layer = np.full(count, self.layer)
        zero = self.coder.code(
            self.models.sub_same,
            None if wanted is None else (wanted == 0).all(0).astype(np.int64),
            np.stack([layer, cell]),
        )
        out = np.zeros((2, count), np.int64)
        rest = np.flatnonzero(zero == 0)
        if rest.size:
            axis = np.repeat([0, 1], rest.size)
            context = np.stack([axis, np.minimum(np.tile(layer[rest], 2), 1)])
            values = None if wanted is None else wanted[:, rest].reshape(-1)
            found = code_numbers(self.coder, self.models.sub_vector, values, context, FARTHEST)
            out[:, rest] = found.reshape(2, -1)
        return out
