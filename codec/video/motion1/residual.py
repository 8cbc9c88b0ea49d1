"""Coefficients of a frame as decisions: blocks that have any, then cells from low to high bands.

The 64 bands of a cell form eight groups of diagonals. For each group, first the cells that have
anything left say so, then which coefficients are not zero, then how large these are. Cells are
coded in two passes, so that those of the second see the same bands of the cells around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion1.mixing import Model, Reader, read_sizes
from laconic.codec.video.motion1.warp import BANDS, zigzag

Ints = NDArray[np.int64]
Small = NDArray[np.uint8]

GROUPS = ((0, 1), (1, 3), (3, 6), (6, 10), (10, 15), (15, 28), (28, 43), (43, 64))
LARGEST = 1 << 15  # of a code
GROUP_OF = np.repeat(np.arange(len(GROUPS)), [end - first for first, end in GROUPS])
_AROUND = np.minimum(np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4] + [5] * 60), 5)
_OWN = np.array([0, 1, 2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6] + [7] * 60)


@cache
def _lower_bands() -> Ints:
    """For each band (in order) five bands next to it towards the lowest, BANDS where none is."""
    order = zigzag()
    place = {(int(p) // 8, int(p) % 8): n for n, p in enumerate(order)}
    steps = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
    return np.array(
        [[place.get((int(p) // 8 - dy, int(p) % 8 - dx), BANDS) for dy, dx in steps] for p in order]
    ).T


@dataclass
class GroupModels:
    """Models of one group of bands."""

    more: Model
    zero: Model
    above: Model
    size: list[Model]

    @classmethod
    def of(cls, bands: int) -> GroupModels:
        """For a group of so many bands."""
        return cls(
            Model((32, 48, 30, 48)),
            Model((32 * bands, 7 * bands, 12 * bands, 27, 48 * 2, 105)),
            Model((2 * bands, 48, 14, 12, 8)),
            [Model((2, 8)) for _ in range(8)],
        )

    def all(self) -> Iterator[Model]:
        """Every model, in a fixed order."""
        yield from (self.more, self.zero, self.above, *self.size)


def _groups() -> list[GroupModels]:
    return [GroupModels.of(end - first) for first, end in GROUPS]


@dataclass
class ResidualModels:
    """Models of all coefficients."""

    coded: Model = field(default_factory=lambda: Model((16, 45, 12)))
    quarters: Model = field(default_factory=lambda: Model((16, 9)))
    luma: list[GroupModels] = field(default_factory=_groups)
    chroma: list[GroupModels] = field(default_factory=_groups)

    def all(self) -> Iterator[Model]:
        """Every model, in a fixed order."""
        yield self.coded
        yield self.quarters
        for group in (*self.luma, *self.chroma):
            yield from group.all()


@dataclass(frozen=True)
class Lattice:
    """Cells as a flat list, the dummy cell behind them last.

    Attributes:
        around: eight neighbours of each cell, side neighbours first ``[8, n + 1]``.
        passes: cells of each pass, and for each the cells whose same bands they see ``[4, m]``.
        block: of each cell.
    """

    around: Ints
    passes: tuple[tuple[Ints, Ints], ...]
    block: Ints


def _neighbours(h: int, w: int, copies: int) -> Ints:
    y, x = (a.reshape(-1) for a in np.mgrid[0:h, 0:w])
    steps = [(0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    count = copies * h * w
    found = []
    for dy, dx in steps:
        inside = (y + dy >= 0) & (y + dy < h) & (x + dx >= 0) & (x + dx < w)
        one = np.where(inside, (y + dy) * w + x + dx, count)
        own = [np.where(one < count, one + c * h * w, count) for c in range(copies)]
        found.append(np.concatenate([*own, [count]]))
    return np.stack(found)


@cache
def luma_lattice(h: int, w: int) -> Lattice:
    """Two passes: the cells of even parity, then the others between them."""
    around = _neighbours(2 * h, 2 * w, 1)
    y, x = (a.reshape(-1) for a in np.mgrid[0 : 2 * h, 0 : 2 * w])
    count = 4 * h * w
    first, second = (np.flatnonzero((y + x) % 2 == k) for k in range(2))
    nothing = np.full((4, first.size), count)
    passes = ((first, nothing), (second, around[:4, second]))
    return Lattice(around, passes, (y // 2) * w + x // 2)


@cache
def chroma_lattice(h: int, w: int) -> Lattice:
    """Two passes: one plane, then the other, which sees the first at the same place."""
    around = _neighbours(h, w, 2)
    count = 2 * h * w
    first, second = np.arange(h * w), np.arange(h * w, count)
    nothing = np.full((4, first.size), count)
    return Lattice(
        around, ((first, nothing), (second, np.stack([first, first, nothing[0], nothing[0]]))),
        np.tile(first, 2),
    )  # fmt: skip


class Residual:
    """Coefficients of one frame.

    Args:
        models: renewed by reading.
        h, w: blocks.
        layer: 0 to 3, of the frame.
        modes: of its blocks ``[h, w]``.
    """

    def __init__(self, models: ResidualModels, h: int, w: int, layer: int, modes: Ints) -> None:
        self.models, self.h, self.w, self.layer = models, h, w, layer
        self.modes = modes.reshape(-1)

    def read(self, reader: Reader, before: tuple[Small, Small] | None) -> tuple[Ints, Ints, Ints]:
        """Quarters, luma and chroma codes (see `field.FrameCode`).

        Args:
            before: magnitudes, at most 2, at the same places of the references.
        """
        h, w = self.h, self.w
        coded = self._coded(reader)
        blocks = np.flatnonzero(coded)
        quarters = np.zeros(h * w, np.int64)
        contexts = np.stack([
            4 * self.layer + self.modes[blocks], np.full_like(blocks, min(self.layer, 2)),
        ])  # fmt: skip
        quarters[blocks] = reader.code(self.models.quarters, contexts)
        kind = (4 * self.layer + self.modes) * 2 + quarters
        past = (None, None) if before is None else before
        luma = self._plane(reader, luma_lattice(h, w), self.models.luma, kind, coded, past[0])
        chroma = self._plane(reader, chroma_lattice(h, w), self.models.chroma, kind, coded, past[1])
        return (
            quarters.reshape(h, w),
            luma.reshape(2 * h, 2 * w, BANDS),
            chroma.reshape(2, h, w, BANDS),
        )

    def _coded(self, reader: Reader) -> Ints:
        """Which blocks have coefficients, in two passes."""
        count = self.h * self.w
        around = _neighbours(self.h, self.w, 1)[:4]
        y, x = (a.reshape(-1) for a in np.mgrid[0 : self.h, 0 : self.w])
        found = np.zeros(count + 1, np.int64)
        for k in range(2):
            blocks = np.flatnonzero((y + x) % 2 == k)
            if not blocks.size:
                continue
            near = found[around[:, blocks]].sum(0)
            far = found[around[:, around[0, blocks]]].sum(0)
            contexts = np.stack([
                4 * self.layer + self.modes[blocks],
                (near * 3 + np.minimum(far, 2)) * 3 + min(self.layer, 2),
                np.minimum(near, 2) + 3 * np.full_like(blocks, k) + 6 * (self.modes[blocks] == 0),
            ])  # fmt: skip
            found[blocks] = reader.code(self.models.coded, contexts)
        return found[:-1]

    def _plane(
        self, reader: Reader, lattice: Lattice, models: list[GroupModels], kind: Ints, coded: Ints,
        before: Small | None,
    ) -> Ints:  # fmt: skip
        """Codes ``[n, 64]`` of the cells of coded blocks."""
        count = lattice.block.size
        out = np.zeros((count, BANDS), np.int64)
        magnitude = np.zeros((count + 1, BANDS + 1), np.uint8)  # at most 2
        low = np.zeros(count + 1, np.int64)  # sums of magnitudes, at most 3 each, so far
        reach = np.zeros(count + 1, np.int64)  # groups that a cell goes on to
        past = None if before is None else before.reshape(-1, BANDS)
        past_reach = np.zeros(count, np.int64)
        if past is not None:
            rows = np.flatnonzero(past.any(1))
            last = BANDS - 1 - (past[rows, ::-1] != 0).argmax(1)
            past_reach[rows] = GROUP_OF.take(last) + 1
        cell_kind = kind[lattice.block]
        alive = [cells[coded[lattice.block[cells]] != 0] for cells, _ in lattice.passes]
        for number, (first, end) in enumerate(GROUPS):
            if not sum(a.size for a in alive):
                break
            bands = np.arange(first, end)
            for turn, (cells, same) in enumerate(lattice.passes):
                here = alive[turn]
                if not here.size:
                    continue
                view = same[:, np.searchsorted(cells, here)]
                around = lattice.around[:, here]
                own = _OWN.take(np.minimum(low[here], 60))
                near = _AROUND.take(np.minimum(low[around].sum(0), 60))
                deep = (reach[around[:4]] > number - 1 + turn).sum(0) if number else near % 5
                recent = np.minimum(np.maximum(past_reach[here] - number, 0), 2)
                intra = (self.modes[lattice.block[here]] == 3).astype(np.int64)
                state = 6 * own + near
                contexts = np.empty((4, here.size), np.int64)
                contexts[0], contexts[1] = cell_kind[here], state
                contexts[2] = (deep * 3 + recent) * 2 + turn
                contexts[3] = (recent * 8 + own) * 2 + intra
                kept = np.flatnonzero(reader.code(models[number].more, contexts))
                here = alive[turn] = here[kept]
                if not here.size:
                    continue
                reach[here] = number + 1
                view, state, intra = view[:, kept], state[kept], intra[kept]
                self._group(
                    reader, models[number], here, bands, out, magnitude, low,
                    (view, state, intra, cell_kind[here]),
                    None if past is None else past[here[:, None], bands].astype(np.int64), turn,
                )  # fmt: skip
        return out

    def _group(
        self, reader: Reader, models: GroupModels, here: Ints, bands: Ints, out: Ints,
        magnitude: Small, low: Ints, known: tuple[Ints, Ints, Ints, Ints], past: Ints | None,
        turn: int,
    ) -> None:  # fmt: skip
        """One group of the cells ``here``."""
        view, state, intra, kind = known
        size = bands.size
        column = np.arange(size)
        lower = _lower_bands()[:, bands]
        near = magnitude[here]
        one, two, three, four, five = (near[:, b].astype(np.int64) for b in lower)
        local = np.minimum(2 * (one + two) + three + four + five + 1 >> 1, 6)
        if turn:
            beside = np.minimum(magnitude[view[:, :, None], bands].sum(0), 4).astype(np.int64) + 1
        else:
            beside = np.zeros_like(local)
        recent = np.zeros_like(local) if past is None else past
        contexts = np.empty((6, *local.shape), np.int64)
        contexts[0] = (kind * size)[:, None] + column
        contexts[1] = local * size + column
        contexts[2] = (beside * 2 + intra[:, None]) * size + column
        contexts[3] = (recent * 3 + np.minimum(local, 2)) * 3 + np.minimum(beside, 2)
        contexts[4] = (2 * state)[:, None] + (2 * column >= size)
        contexts[5] = (local * 5 + np.maximum(beside - 1, 0)) * 3 + recent
        chosen = np.flatnonzero(reader.code(models.zero, contexts.reshape(6, -1)))
        if not chosen.size:
            return
        cell, band = chosen // size, chosen % size
        contexts = np.stack([
            intra[cell] * size + band, state[cell], (local[cell, band] * 2 + intra[cell]),
            beside[cell, band] * 2 + turn, recent[cell, band] * 2 + intra[cell],
        ])  # fmt: skip
        found = np.ones(chosen.size, np.int64)
        large = np.flatnonzero(reader.code(models.above, contexts))
        if large.size:
            contexts = np.stack([intra[cell[large]], local[cell[large], band[large]]])
            found[large] = 1 + read_sizes(reader, models.size, contexts, LARGEST)
        negative = reader.plain(chosen.size)
        code = np.where(negative != 0, -found, found)
        rows = here[cell]
        out[rows, bands[band]] = code
        magnitude[rows, bands[band]] = np.minimum(found, 2)
        np.add.at(low, rows, np.minimum(found, 3))
