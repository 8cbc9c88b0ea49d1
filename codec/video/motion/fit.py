"""Encoding of a chunk of kind ``motion`` towards a quality or a size.

Each frame is chosen, coded and decoded before the next. With a quality there is one pass; with a
target size, passes with other quantisers follow until the bytes lie within two per cent below it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion import inter, repeats
from laconic.codec.video.motion.decode import Clip, Head
from laconic.codec.video.motion.frames import (
    Buffers,
    Layout,
    Place,
    coding_order,
    fresh_tables,
    padded,
    parameters,
)
from laconic.codec.video.motion.mix import code_number, writer, written
from laconic.codec.video.motion.rebuild import LONGEST_STEP
from laconic.codec.video.motion.repeats import is_screen
from laconic.codec.video.motion.search import node
from laconic.codec.video.motion.syntax import code_tree
from laconic.codec.video.motion.trial import Encoder
from laconic.codec.video.motion.vectors import REACH, interpolate
from laconic.codec.video.settings import DEFAULT_QUALITY, FitSettings
from laconic.formats.errors import ParameterError

Planes = Sequence[NDArray[np.uint16]]
# What is tried: modes of intra leaves and merged leaves that are coded on trial, references; bits
# that a leaf without residual may lose in a block of 8 x 8 for want of a search, and of parts.
EFFORT = (2, 2, 2, 8, 6)
GAP = 16
EXACT_GAP = 8  # whose deepest layer still has steps of one level


# Of lambda, by layer; from layer 2 on times (QP - 12) / 6 between 2 and 4, as in HM's reference
# configurations: frames that few others refer to may lose more.
FACTORS = (0.30, 0.45, 0.35, 0.35, 0.40, 0.60)


LEAST_LAMBDA = 1e-4  # no error of a sample is worth its bits
TOP = 100.0  # the quality at which luma of 8 bits comes back exactly


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
        screens: look for screens among the frames, see `clip.Head`.
        exact: spare no bits, with the tools for screens, whose levels of samples lose nothing.
    """

    def __init__(
        self, layout: Layout, count: int, base: int, gap: int = GAP,
        screens: bool = False, exact: bool = False,
    ) -> None:  # fmt: skip
        self.layout, self.base, self.screens, self.exact = layout, base, screens, exact
        self.places = coding_order(count, gap)
        self.buffers = Buffers(layout, self.places)
        rows, columns = layout.padded
        room = 4096 + 4 * count * rows * columns
        self.coder = writer(*fresh_tables(screens), room)
        slots = self.buffers.store.shape[1]
        self.phases = np.zeros((slots, 16, rows + 2 * REACH, columns + 2 * REACH), np.int16)
        self.strip = np.zeros((rows + 8, columns + 2 * REACH), np.int32)
        self.effort = np.array([*EFFORT, 0], np.int64)
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
        lam = min(lam, LEAST_LAMBDA) if self.exact else lam
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
        par[inter.SCREEN] = repeats.is_screen(luma, 0.0 if self.exact else repeats.FLAT)
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
    frames: Sequence[Planes], layout: Layout, base: int, gap: int = GAP,
    screens: bool = False, progress: Callable[[int, int], None] | None = None,
) -> tuple[bytes, list[list[NDArray[np.uint16]]]]:  # fmt: skip
    """All frames, and what a decoder shows of them."""
    encoder = ChunkEncoder(layout, len(frames), base, gap, screens)
    shown: list[list[NDArray[np.uint16]]] = [[] for _ in frames]
    for at, place in enumerate(encoder.places):
        encoder.advance(frames[place.index])
        shown[place.index] = encoder.shown()
        if progress is not None:
            progress(at + 1, len(frames))
    return encoder.data(), shown


PASSES = 7  # at most, for a target
CLOSE = 0.98  # share of the target that is near enough
SLOPE = 52.0  # eighths of the quantiser that halve the bytes
HIGHEST = LONGEST_STEP - 64


class HybridFit:
    """A resumable fit of one chunk; methods as of `laconic.codec.video.fit.Fit`.

    Args:
        frames: the chunk's planes.
        settings: network, preset, and a quality or a target.
        init: of the chunk before, see :meth:`warm`.
    """

    def __init__(
        self, frames: Clip, settings: FitSettings, init: Mapping[str, Any] | None = None
    ) -> None:
        self.clip, self.settings = frames, settings
        self.count = len(frames.frames)
        self.layout = frames.layout()
        self.pixels = self.count * self.layout.width * self.layout.height
        self.target = settings.target_bytes
        self.exact = self.target is None and settings.quality == TOP
        self.gap = EXACT_GAP if self.exact else GAP
        flat = 0.0 if self.exact else repeats.FLAT
        self.screens = any(is_screen(planes[0], flat) for planes in frames.frames)
        self.tried: dict[int, int] = {}  # quantiser -> bytes
        self.best = b""
        self.step, self.steps = 0, self.count * (1 if self.target is None else PASSES)
        self.finished = False
        self.now = self._pass(self._first(init))

    def _first(self, init: Mapping[str, Any] | None) -> int:
        """The first pass's quantiser."""
        if self.target is None:
            quality = self.settings.quality
            quality = DEFAULT_QUALITY if quality is None else quality
            return 0 if self.exact else _clipped(8 * (51 - 0.4 * quality))
        bpp = 8 * self.target / self.pixels
        if init is not None and "base" in init:
            return _clipped(init["base"] + SLOPE * math.log2(init["bpp"] / bpp))
        return _clipped(264 + SLOPE * math.log2(0.08 / bpp))

    def _pass(self, base: int) -> ChunkEncoder:
        return ChunkEncoder(self.layout, self.count, base, self.gap, self.screens, self.exact)

    def run(
        self,
        seconds: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        status: Callable[[str], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> bool:
        """Work until done, or until the slice of time is over or ``stop()`` is true.

        Returns:
            whether the fit is finished.
        """
        begun, first = time.monotonic(), self.step
        if status is not None and not first:
            status("first frame (after an installation it is compiled for a minute or two)")
        while not self.finished:
            place = self.now.places[self.now.at]
            self.now.advance(self.clip.frames[place.index])
            self.step += 1
            if self.now.at == self.count:
                self._end_pass()
            spent = time.monotonic() - begun
            if progress is not None:
                progress(self.steps if self.finished else min(self.step, self.steps - 1),
                         self.steps)  # fmt: skip
            if status is not None:
                left = spent / (self.step - first) * max(self.steps - self.step, 0)
                status(f"quantiser {self.now.base / 8:.1f}, {left:.0f} s left at most")
            if (seconds is not None and spent >= seconds) or (stop is not None and stop()):
                break
        return self.finished

    def _end_pass(self) -> None:
        """Keep the pass if it is the best so far, and begin another where the target asks."""
        data, base = self._packed(self.now), self.now.base
        self.tried[base] = len(data)
        target = self.target
        if target is None:
            self.best, self.finished = data, True
            return
        if len(data) <= target and len(data) > len(self.best):
            self.best = data
        following = self._next(target)
        enough = len(self.best) >= CLOSE * target or len(self.tried) >= PASSES
        if following in self.tried or (enough and self.best):
            self.finished = True
            return
        self.steps = max(self.steps, self.step + self.count)
        self.now = self._pass(following)

    def _next(self, target: int) -> int:
        """The quantiser that should meet the target, between those that enclose it."""
        aim = 0.99 * target
        above = [b for b, size in self.tried.items() if size > target]
        below = [b for b, size in self.tried.items() if size <= target]
        if above and below:
            low, high = max(above), min(below)
            share = math.log(self.tried[low] / aim) / math.log(self.tried[low] / self.tried[high])
            return min(max(round(low + share * (high - low)), min(low + 1, high)), high)
        last = max(above) if above else min(below)
        moved = SLOPE * math.log2(self.tried[last] / aim)
        return _clipped(last + (max(moved, 1) if above else min(moved, -1)))

    def _packed(self, encoder: ChunkEncoder) -> bytes:
        return (
            Head(self.clip.sampling, self.gap, encoder.base, self.screens).pack() + encoder.data()
        )

    def payload(self) -> bytes:
        """The chunk as a self-contained payload, the best so far.

        Raises:
            ParameterError: not even the coarsest quantiser fits in the target.
        """
        while not self.best:
            while self.now.at < self.count:
                self.now.advance(self.clip.frames[self.now.places[self.now.at].index])
            data, base = self._packed(self.now), self.now.base
            if self.target is None or len(data) <= self.target:
                self.best = data
            elif base >= HIGHEST:
                raise ParameterError(
                    f"{self.count} frames need at least {len(data)} bytes: the target is"
                    f" {self.target}"
                )
            else:
                octaves = math.log2(len(data) / self.target)
                self.now = self._pass(_clipped(base + max(SLOPE * octaves, 8)))
        return self.best

    def warm(self) -> dict[str, Any]:
        """What the next chunk may start from."""
        base, size = list(self.tried.items())[-1] if self.tried else (self.now.base, 1)
        return {"base": base, "bpp": 8 * size / self.pixels}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on at the beginning of the pass at hand; see :meth:`resume`."""
        return {
            "tried": [list(pair) for pair in self.tried.items()],
            "best": np.frombuffer(self.best, np.uint8).copy(), "now": self.now.base,
            "finished": self.finished,
        }  # fmt: skip

    @classmethod
    def resume(cls, frames: Clip, settings: FitSettings, state: Mapping[str, Any]) -> HybridFit:
        """A fit that goes on where :meth:`state` was taken, to the same result."""
        fit = cls(frames, settings)
        fit.tried = {int(base): int(size) for base, size in state["tried"]}
        fit.best = np.asarray(state["best"]).tobytes()
        fit.step = len(fit.tried) * fit.count
        fit.finished = bool(state.get("finished"))
        fit.now = fit._pass(int(state["now"]))
        return fit


def _clipped(base: float) -> int:
    return min(max(round(base), 0), HIGHEST)
