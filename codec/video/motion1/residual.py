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

from laconic.codec.video.motion1.mixing import ONE, Coder, Model, Writer, code_sizes
from laconic.codec.video.motion1.warp import BANDS, zigzag

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
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
        models: renewed by coding.
        h, w: blocks.
        layer: 0 to 3, of the frame.
        modes: of its blocks ``[h, w]``.

    Attributes:
        noted: receives, if set, the bits of a one instead of a zero, by plane ``[cells, 64]``.
    """

    def __init__(self, models: ResidualModels, h: int, w: int, layer: int, modes: Ints) -> None:
        self.models, self.h, self.w, self.layer = models, h, w, layer
        self.modes = modes.reshape(-1)
        self.noted: dict[str, Floats] | None = None

    def code(
        self,
        coder: Coder,
        given: tuple[Ints, Ints, Ints] | None,
        before: tuple[Small, Small] | None,
    ) -> tuple[Ints, Ints, Ints]:
        """Quarters, luma and chroma codes (see `syntax.FrameCode`).

        Args:
            given: what to code, None to decode.
            before: magnitudes, at most 2, at the same places of the references.
        """
        h, w = self.h, self.w
        luma = chroma = any_coded = None
        if given is not None:
            luma, chroma = given[1].reshape(-1, BANDS), given[2].reshape(-1, BANDS)
            by_cell = (luma != 0).any(1).reshape(h, 2, w, 2).any((1, 3)).reshape(-1)
            any_coded = by_cell | (chroma != 0).any(1).reshape(2, -1).any(0)
        coded = self._coded(coder, any_coded)
        blocks = np.flatnonzero(coded)
        quarters = np.zeros(h * w, np.int64)
        quarters[blocks] = self._quarters(
            coder, None if given is None else given[0].reshape(-1)[blocks], blocks
        )
        kind = (4 * self.layer + self.modes) * 2 + quarters
        past = (None, None) if before is None else before
        found_luma = self._plane(
            coder, luma_lattice(h, w), self.models.luma, luma, kind, coded, past[0], "luma"
        )
        found_chroma = self._plane(
            coder, chroma_lattice(h, w), self.models.chroma, chroma, kind, coded, past[1], "chroma"
        )
        return (
            quarters.reshape(h, w),
            found_luma.reshape(2 * h, 2 * w, BANDS),
            found_chroma.reshape(2, h, w, BANDS),
        )

    def _coded(self, coder: Coder, given: NDArray[np.bool_] | None) -> Ints:
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
            values = None if given is None else given[blocks].astype(np.int64)
            found[blocks] = coder.code(self.models.coded, values, contexts)
        return found[:-1]

    def _quarters(self, coder: Coder, given: Ints | None, blocks: Ints) -> Ints:
        contexts = np.stack([
            4 * self.layer + self.modes[blocks], np.full_like(blocks, min(self.layer, 2)),
        ])  # fmt: skip
        return coder.code(self.models.quarters, given, contexts)

    def _plane(
        self, coder: Coder, lattice: Lattice, models: list[GroupModels], given: Ints | None,
        kind: Ints, coded: Ints, before: Small | None, name: str,
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
                more = coder.code(
                    models[number].more,
                    None if given is None else (given[here, first:] != 0).any(1).astype(np.int64),
                    contexts,
                )
                kept = np.flatnonzero(more)
                here = alive[turn] = here[kept]
                if not here.size:
                    continue
                reach[here] = number + 1
                view, state, intra = view[:, kept], state[kept], intra[kept]
                self._group(
                    coder, models[number], here, bands, given, out, magnitude, low,
                    (view, state, intra, cell_kind[here]),
                    None if past is None else past[here[:, None], bands].astype(np.int64),
                    turn, name,
                )  # fmt: skip
        return out

    def _group(
        self, coder: Coder, models: GroupModels, here: Ints, bands: Ints, given: Ints | None,
        out: Ints, magnitude: Small, low: Ints, known: tuple[Ints, Ints, Ints, Ints],
        past: Ints | None, turn: int, name: str,
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
        shape = local.shape
        contexts = np.empty((6, *shape), np.int64)
        contexts[0] = (kind * size)[:, None] + column
        contexts[1] = local * size + column
        contexts[2] = (beside * 2 + intra[:, None]) * size + column
        contexts[3] = (recent * 3 + np.minimum(local, 2)) * 3 + np.minimum(beside, 2)
        contexts[4] = (2 * state)[:, None] + (2 * column >= size)
        contexts[5] = (local * 5 + np.maximum(beside - 1, 0)) * 3 + recent
        contexts = contexts.reshape(6, -1)
        values = None if given is None else given[here[:, None], bands].reshape(-1)
        nonzero = coder.code(
            models.zero, None if values is None else (values != 0).astype(np.int64), contexts
        )
        if self.noted is not None and isinstance(coder, Writer):
            share = coder.chances / ONE
            self.noted[name][here[:, None], bands] = np.log2((1 - share) / share).reshape(shape)
        chosen = np.flatnonzero(nonzero)
        if not chosen.size:
            return
        cell, band = chosen // size, chosen % size
        picked = None if values is None else values[chosen]
        contexts = np.stack([
            intra[cell] * size + band, state[cell], (local[cell, band] * 2 + intra[cell]),
            beside[cell, band] * 2 + turn, recent[cell, band] * 2 + intra[cell],
        ])  # fmt: skip
        above = coder.code(
            models.above, None if picked is None else (np.abs(picked) > 1).astype(np.int64),
            contexts,
        )  # fmt: skip
        found = np.ones(chosen.size, np.int64)
        large = np.flatnonzero(above)
        if large.size:
            found[large] = 1 + code_sizes(
                coder, models.size, None if picked is None else np.abs(picked[large]) - 1,
                np.stack([intra[cell[large]], local[cell[large], band[large]]]), LARGEST,
            )  # fmt: skip
        negative = coder.plain(
            None if picked is None else (picked < 0).astype(np.int64), chosen.size
        )
        code = np.where(negative != 0, -found, found)
        rows = here[cell]
        out[rows, bands[band]] = code
        magnitude[rows, bands[band]] = np.minimum(found, 2)
        np.add.at(low, rows, np.minimum(found, 3))
