"""What a frame consists of, and how it is read from decisions.

Contexts are whatever is known at that point. Motion comes first, on lattices that are refined, so
that a vector has known vectors on all sides; then the coefficients of all cells, from low bands to
high ones, in `residual`. What contexts know before the first frame of a chunk was counted in other
videos and is part of the format: ``start.npz``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion1.field import (
    BOTH,
    FIRST,
    MOST,
    NONE,
    SPEED,
    FrameCode,
    MotionModels,
    MotionPass,
    Place,
    Trace,
    lattices,
)
from laconic.codec.video.motion1.mixing import FINE, Model, Reader, read_numbers
from laconic.codec.video.motion1.residual import Residual, ResidualModels

Ints = NDArray[np.int64]
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


class FrameSyntax:
    """Reads frames in coding order; keeps models, and traces of references.

    Args:
        h, w: blocks of a frame.
    """

    def __init__(self, h: int, w: int) -> None:
        self.h, self.w = h, w
        self.motion, self.residual = MotionModels(), ResidualModels()
        begin((*self.motion.all(), *self.residual.all()))
        self.traces: dict[int, Trace] = {}

    def keep(self, places: set[int]) -> None:
        """Forget the traces of all other frames."""
        self.traces = {k: v for k, v in self.traces.items() if k in places}

    def read(self, reader: Reader, place: Place) -> FrameCode:
        """Numbers of one frame; renews models and traces."""
        out = FrameCode.blank(self.h, self.w)
        if place.refs:
            coded = MotionPass(self.motion, self.traces, reader, place, (self.h, self.w))
            for index in range(len(lattices(self.h, self.w))):
                coded.run(index)
            coded.finish(out)
        self._read_means(reader, out)
        refs = [self.traces[r] for r in set(place.refs) if r in self.traces]
        before = None
        if refs:
            before = (
                np.minimum(sum(t.luma for t in refs), 2),
                np.minimum(sum(t.chroma for t in refs), 2),
            )
        residual = Residual(self.residual, self.h, self.w, min(place.layer, 3), out.modes)
        out.quarters, out.luma, out.chroma = residual.read(reader, before)
        if not place.last:
            self.traces[place.index] = self._trace(place, out)
        return out

    def _trace(self, place: Place, code: FrameCode) -> Trace:
        speed = np.zeros((2, self.h, self.w), np.int64)
        known = np.zeros((self.h, self.w), np.int64)
        for k in (1, 0) if place.refs else ():
            used = (code.modes == BOTH) | (code.modes == FIRST + k)
            own = code.vectors[k][:, ::2, ::2]
            found = SPEED * own // (place.refs[k] - place.index)
            speed, known = np.where(used, found, speed), known | used
        luma, chroma = (
            np.minimum(np.abs(x), 2 if place.refs else 0).astype(np.uint8)
            for x in (code.luma, code.chroma)
        )
        return Trace(speed, known, luma, chroma)

    def _read_means(self, reader: Reader, out: FrameCode) -> None:
        """Means of the blocks without references, from those around and the plane before."""
        h, w = self.h, self.w
        wanted = np.concatenate([(out.modes == NONE).reshape(-1), [False]])
        values = np.zeros((3, h * w + 1), np.int64)
        size = np.zeros(h * w + 1, np.int64)  # of the differences so far
        for number, (blocks, around) in enumerate(lattices(h, w)):
            blocks, around = blocks[wanted[blocks]], around[:, wanted[blocks]]
            if not blocks.size:
                continue
            valid = wanted[around]
            count = np.maximum(valid.sum(0), 1)
            for plane in range(3):
                expected = (values[plane][around] * valid).sum(0) // count
                spread = np.minimum((size[around] * valid).sum(0) // count, 7)
                own = np.minimum(size[blocks], 7) if plane else np.zeros_like(blocks)
                contexts = np.stack([
                    np.full_like(blocks, 3 * min(number, 7) + plane),
                    np.full_like(blocks, plane),
                    3 * np.minimum(spread, 2) + np.minimum(own, 2),
                ])  # fmt: skip
                found = read_numbers(reader, self.motion.means, contexts, MOST)
                values[plane][blocks] = found + expected
                size[blocks] = np.maximum(size[blocks], np.abs(found))
            values[:, h * w] = 0
        out.means = values[:, :-1].reshape(3, h, w)
