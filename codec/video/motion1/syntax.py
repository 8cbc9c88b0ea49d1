"""What a frame consists of, and how it becomes decisions: one text for encoder and decoder.

`FrameSyntax.code` is given the numbers of a frame (encoder) or nothing (decoder) and returns them.
Contexts are whatever both know at that point. Motion comes first, on lattices that are refined, so
that a vector has known vectors on all sides; then the coefficients of all cells, from low bands to
high ones, in `residual`.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    Trace,
    lattices,
)
from laconic.codec.video.motion1.head import begin
from laconic.codec.video.motion1.mixing import Coder, Model, code_numbers
from laconic.codec.video.motion1.order import Place
from laconic.codec.video.motion1.residual import Residual, ResidualModels

Ints = NDArray[np.int64]


class FrameSyntax:
    """Codes frames in coding order; keeps models, and traces of references.

    Args:
        h, w: blocks of a frame.
        blank: models know nothing; by default what other videos taught them (`start`).
    """

    def __init__(self, h: int, w: int, blank: bool = False) -> None:
        self.h, self.w = h, w
        self.motion, self.residual = MotionModels(), ResidualModels()
        if not blank:
            begin(self.models())
        self.traces: dict[int, Trace] = {}

    def models(self) -> Iterator[Model]:
        """Every model, in a fixed order."""
        yield from self.motion.all()
        yield from self.residual.all()

    def keep(self, places: set[int]) -> None:
        """Forget the traces of all other frames."""
        self.traces = {k: v for k, v in self.traces.items() if k in places}

    def code(self, coder: Coder, place: Place, given: FrameCode | None) -> FrameCode:
        """Numbers of one frame; renews models and traces."""
        motion = self.code_motion(coder, place, given)
        return self.code_residual(coder, place, given, motion)

    def code_motion(self, coder: Coder, place: Place, given: FrameCode | None) -> FrameCode:
        """Modes, vectors and means; codes of coefficients are zero."""
        out = FrameCode.blank(self.h, self.w)
        if place.refs:
            coded = self.motion_pass(coder, place, given)
            for index in range(len(lattices(self.h, self.w))):
                coded.run(index)
            coded.finish(out)
        self.code_means(coder, given, out)
        return out

    def motion_pass(self, coder: Coder, place: Place, given: FrameCode | None) -> MotionPass:
        """The modes and vectors of a frame, to be coded lattice by lattice."""
        grid = (self.h, self.w)
        return MotionPass(self.motion, self.traces, coder, place, given, grid)

    def code_residual(
        self, coder: Coder, place: Place, given: FrameCode | None, motion: FrameCode,
        noted: dict[str, NDArray[np.float64]] | None = None,
    ) -> FrameCode:  # fmt: skip
        """Coefficients, and the trace of the frame; ``noted`` as in `residual.Residual`."""
        refs = [self.traces[r] for r in set(place.refs) if r in self.traces]
        residual = Residual(self.residual, self.h, self.w, min(place.layer, 3), motion.modes)
        residual.noted = noted
        before = None
        if refs:
            before = (
                np.minimum(sum(t.luma for t in refs), 2),
                np.minimum(sum(t.chroma for t in refs), 2),
            )
        found = residual.code(
            coder, None if given is None else (given.quarters, given.luma, given.chroma), before
        )
        motion.quarters, motion.luma, motion.chroma = found
        if not place.last:
            self.traces[place.index] = self._trace(place, motion)
        return motion

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

    def code_means(self, coder: Coder, given: FrameCode | None, out: FrameCode) -> None:
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
                own_values = None if given is None else given.means[plane].reshape(-1)[blocks]
                found = code_numbers(
                    coder, self.motion.means,
                    None if own_values is None else own_values - expected, contexts, MOST,
                )  # fmt: skip
                values[plane][blocks] = found + expected
                size[blocks] = np.maximum(size[blocks], np.abs(found))
            values[:, h * w] = 0
        out.means = values[:, :-1].reshape(3, h, w)
