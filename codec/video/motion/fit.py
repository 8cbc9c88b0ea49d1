"""Fitting a chunk of kind ``motion``: passes over all frames, each coded after what is decoded.

A pass is a complete encoding: what it measures decides what the next one does differently. The
first passes are over few frames and find out how far apart key frames should be. With a target size
the step is changed until the bytes meet it; vectors are looked for around those of the pass before;
codes are shifted to where coefficients were found. `laconic.codec.video.fit` fits the other kinds
of networks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from laconic.codec.video.motion.blocks import (
    block_grid,
    colour_axes,
    frame_of,
    planes_of,
    principal_units,
)
from laconic.codec.video.motion.head import HIGHEST, LOWEST, Head
from laconic.codec.video.motion.loop import encode_frame, repeat_frame
from laconic.codec.video.motion.mixing import Writer
from laconic.codec.video.motion.order import Place, coding_order, still_used
from laconic.codec.video.motion.packed import PackedFrame
from laconic.codec.video.motion.picture import SHIFTS, STEPS_PER_OCTAVE, Scale
from laconic.codec.video.motion.smoothing import SHAPE, Normal, code_shares
from laconic.codec.video.motion.syntax import FrameSyntax
from laconic.codec.video.motion.warp import Reference
from laconic.codec.video.settings import DEFAULT_QUALITY, Aim, FitSettings, check_frames
from laconic.formats.errors import ParameterError

PASSES = {"fast": 3, "medium": 5, "slow": 8}
GAPS = (8, 4)  # frames between key frames that are compared
PROBE = 25  # frames of the comparison
OFFSETS = {8: (5, 11, 15, 17), 4: (5, 10, 14, 16)}
DECIBELS = 3.4  # that twice the bytes are worth
FIRST_SHIFTS = (1, 1, 1, 1)
SLOPE = 1.2  # octaves of bytes for an octave of the step
CLOSE = 0.985  # share of the target that a pass aims at
MORE_PASSES = 6  # when no pass met the target


Shifts = tuple[int, int, int, int]


class Pass:
    """One encoding of all frames, as far as it has come.

    Attributes:
        gap: frames between key frames.
        scale: its steps.
        packed: numbers of the frames coded so far.
        error: sum of the squared errors of their RGB samples, in 0..1, means over samples.
    """

    def __init__(
        self, fit: MotionFit, count: int, gap: int, step: int, shifts: Shifts,
        shares: NDArray[np.int64],
    ) -> None:  # fmt: skip
        self.fit, self.gap = fit, gap
        self.scale = Scale(step, OFFSETS[gap], shifts)
        self.order = coding_order(count, gap)
        self.used = still_used(self.order)
        self.syntax, self.writer = FrameSyntax(*fit.grid), Writer()
        self.refs: dict[int, Reference] = {}
        self.packed: list[PackedFrame] = []
        self.error = 0.0
        self.sums, self.normal = np.zeros((2, 2, 2)), Normal()
        self.shares = code_shares(self.writer, shares)

    @property
    def done(self) -> bool:
        """Whether all frames are coded."""
        return len(self.packed) == len(self.order)

    def advance(self, effort: int) -> None:
        """Code the next frame."""
        fit, place = self.fit, self.order[len(self.packed)]
        frame = torch.from_numpy(fit.frames[place.index])
        target = planes_of(frame, fit.axes, fit.grid)
        known = fit.fields.get(place)
        starts = None if known is None else [torch.from_numpy(f.astype(np.int64)) for f in known]
        coded = encode_frame(
            self.syntax, self.writer, place, target, [self.refs[r] for r in place.refs],
            self.scale, self.shares, starts, min(effort, 1) if starts is not None else effort,
        )  # fmt: skip
        if coded.fields and effort:
            fit.fields[place] = np.stack([f.numpy() for f in coded.fields]).astype(np.int16)
        self.sums[0 if place.layer == 0 else 1] += coded.sums
        step = self.scale.of(place.layer)
        self.normal.add(coded.plain, target, coded.code, place.layer, step)
        shown = frame_of(coded.planes, fit.axes, *fit.frames.shape[1:3])
        self.error += float(((shown.float() - frame.float()) / 255).square().mean())
        self._keep(PackedFrame.of(coded.code), coded.planes)

    def again(self, packed: PackedFrame) -> None:
        """Code a frame that was chosen before."""
        place = self.order[len(self.packed)]
        refs = [self.refs[r] for r in place.refs]
        planes = repeat_frame(
            self.syntax, self.writer, place, packed.unpack(), refs, self.scale, self.shares
        )
        self._keep(packed, planes)

    def _keep(self, packed: PackedFrame, planes: torch.Tensor) -> None:
        number = len(self.packed)
        place = self.order[number]
        self.packed.append(packed)
        if not place.last:
            self.refs[place.index] = Reference(planes)
        used = self.used[number]
        self.syntax.keep(used)
        self.refs = {i: r for i, r in self.refs.items() if i in used}

    def payload(self) -> bytes:
        """The chunk."""
        return Head(self.gap, self.scale, self.fit.units).pack() + self.writer.finish()

    def shifts(self) -> Shifts:
        """Where this pass found coefficients, for `Scale.shifts`."""
        found = []
        for kind in range(2):
            for size in range(2):
                count, below = self.sums[kind, size]
                usual = FIRST_SHIFTS[2 * kind + size]
                # As if the usual shift had been found eight times.
                mean = (below + 8 * usual / SHIFTS) / (count + 8)
                found.append(min(max(round(SHIFTS * mean), 0), SHIFTS // 2))
        return found[0], found[1], found[2], found[3]


class MotionFit:
    """A resumable fit of one chunk; arguments and methods as of `laconic.codec.video.fit.Fit`."""

    def __init__(
        self,
        frames: NDArray[np.uint8],
        settings: FitSettings,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        check_frames(frames)
        self.frames, self.settings = np.ascontiguousarray(frames), settings
        count, rows, columns = frames.shape[:3]
        self.pixels = count * rows * columns
        self.aim = Aim.of(settings, self.pixels)
        self.grid = block_grid(rows, columns)
        self.count, self.probe = count, min(PROBE, count)
        self.units = principal_units(self.frames)
        self.axes = colour_axes(self.units)
        self.passes = PASSES[settings.preset]
        self.gap, self.stage = GAPS[0], 0
        self.probes = len(GAPS) if count > 2 else 0
        self.step, self.steps = 0, self.passes * count + self.probes * self.probe
        self.error, self.bpp = 0.0, 0.0
        self.fields: dict[Place, NDArray[np.int16]] = {}
        self.probed: list[tuple[int, float]] = []  # bytes and error of each gap
        self.tried: list[tuple[int, int, float]] = []  # step, bytes, error of each pass
        self.best, self.best_error = b"", math.inf
        self.shifts: Shifts = FIRST_SHIFTS
        first = self._first_step()
        if init is not None and settings.target_bytes is None and "shifts" in init:
            self.shifts = _shifts(init["shifts"])
        if init is not None and settings.target_bytes is not None and "bpp" in init:
            gained = math.log2(self.aim.bpp / max(float(init["bpp"]), 1e-9))
            first = _clipped(int(init["step"]) - round(STEPS_PER_OCTAVE * gained / SLOPE))
        self.shares = np.zeros(SHAPE, np.int64)
        self.now = self._pass(first)

    def _first_step(self) -> int:
        """Step index for the expected bits per pixel, or for the quality."""
        if self.settings.target_bytes is not None:
            octaves = -3.0 - math.log2(max(self.aim.bpp, 1e-6) / 0.117) / SLOPE
        else:
            quality = self.settings.quality
            quality = DEFAULT_QUALITY if quality is None else quality
            octaves = -1.55 - 0.043 * quality
        return _clipped(round(STEPS_PER_OCTAVE * octaves))

    def _pass(self, step: int) -> Pass:
        """What comes now: a probe, or all frames."""
        if self.stage < self.probes:
            return Pass(self, self.probe, GAPS[self.stage], step, self.shifts, self.shares)
        return Pass(self, self.count, self.gap, step, self.shifts, self.shares)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        if self.step < self.steps:
            return False
        more = len(self.tried) - self.passes
        return bool(self.best) or more >= MORE_PASSES or self.now.scale.step >= HIGHEST

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
        while not self.finished:
            with torch.inference_mode():
                self.now.advance(2)
            self.step += 1
            count = len(self.now.packed)
            self.error = self.now.error / count
            self.bpp = self.now.writer.bits / (count * self.pixels / self.count)
            if self.now.done:
                self._end_pass()
            spent = time.monotonic() - begun
            if progress is not None:
                progress(min(self.step, self.steps - (not self.finished)), self.steps)
            if status is not None:
                left = spent / (self.step - first) * max(self.steps - self.step, 0)
                decibels = -10 * math.log10(max(self.error, 1e-10))
                status(f"{decibels:.2f} dB, {self.bpp:.4f} bpp, {left:.0f} s left")
            if (seconds is not None and spent >= seconds) or (stop is not None and stop()):
                break
        return self.finished

    def _end_pass(self) -> None:
        """Keep the pass if it is the best, and begin another."""
        done = self.now
        data, error = done.payload(), done.error / len(done.order)
        step, target = done.scale.step, self.settings.target_bytes
        self.shifts, self.shares = done.shifts(), done.normal.shares()
        if self.stage < self.probes:
            self.probed.append((len(data), error))
            values = [3.0103 * math.log2(max(e, 1e-9)) + DECIBELS * math.log2(b)
                      for b, e in self.probed]  # fmt: skip
            self.gap = GAPS[values.index(min(values))]
            if target is not None and self.stage == self.probes - 1:
                size = self.probed[GAPS.index(self.gap)][0] * self.count / self.probe
                step = self._moved(step, size, CLOSE * target)
        else:
            self.tried.append((step, len(data), error))
            if target is None or (len(data) <= target and error < self.best_error):
                self.best, self.best_error = data, error
            if target is not None:
                step = self._next_step(target)
        self.stage += 1
        self.now = self._pass(step)

    @staticmethod
    def _moved(step: int, size: float, aim: float) -> int:
        """A step with which ``size`` bytes should become ``aim``."""
        return _clipped(round(step + STEPS_PER_OCTAVE * math.log2(size / aim) / SLOPE))

    def _next_step(self, target: int) -> int:
        """Step for the next pass: between those that came closest to the target."""
        aim = CLOSE * target
        above = [(s, b) for s, b, _ in self.tried if b > aim]
        below = [(s, b) for s, b, _ in self.tried if b <= aim]
        last, size, _ = self.tried[-1]
        step: float = self._moved(last, size, aim)
        if above and below:
            (s0, b0), (s1, b1) = max(above), min(below)
            if s0 < s1:
                share = math.log2(b0 / aim) / math.log2(b0 / b1)
                step = min(max(s0 + share * (s1 - s0), s0 + 1), s1 - 1)
                if s1 - s0 < 2:
                    step = s1
        found = _clipped(round(step))
        if len(self.tried) >= self.passes and not self.best:
            found = _clipped(max(found, max(s for s, _, _ in self.tried) + 1))
        return found

    def payload(self) -> bytes:
        """The chunk as a self-contained payload, the best so far.

        Raises:
            ParameterError: not even the coarsest steps fit in the target.
        """
        if self.best:
            return self.best
        target, step = self.settings.target_bytes, self.now.scale.step
        while True:
            hasty = Pass(self, self.count, self.gap, step, self.now.scale.shifts, self.now.shares)
            with torch.inference_mode():
                while not hasty.done:
                    hasty.advance(0)
            data = hasty.payload()
            if target is None or len(data) <= target:
                return data
            if step >= HIGHEST:
                raise ParameterError(
                    f"{self.count} frames need at least {len(data)} bytes: the target is {target}"
                )
            gained = max(STEPS_PER_OCTAVE * math.log2(len(data) / target), STEPS_PER_OCTAVE / 4)
            step = _clipped(step + math.ceil(gained))

    def warm(self) -> dict[str, Any]:
        """What the next chunk may start from."""
        step, size, _ = self.tried[-1] if self.tried else (self.now.scale.step, 0, 0.0)
        bpp = 8 * size / self.pixels
        return {"step": step, "bpp": bpp, "shifts": list(self.shifts)}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on: arrays and plain values, see :meth:`resume`."""
        now = self.now
        saved: dict[str, Any] = {
            "step": self.step, "error": self.error, "bpp": self.bpp,
            "best": np.frombuffer(self.best, np.uint8).copy(), "best_error": self.best_error,
            "tried": [list(t) for t in self.tried], "shifts": list(self.shifts),
            "probed": [list(p) for p in self.probed], "gap": self.gap, "stage": self.stage,
            "now": now.scale.step, "now_shifts": list(now.scale.shifts), "now_error": now.error,
            "now_sums": now.sums.copy(), "count": len(now.packed), "now_shares": now.shares.copy(),
            "products": now.normal.products.copy(), "wanted": now.normal.wanted.copy(),
            "shares": self.shares.copy(),
        }  # fmt: skip
        for place, field in self.fields.items():
            name = f"{place.index},{','.join(map(str, place.refs))},{place.layer},{place.last:d}"
            saved[f"fields/{name}"] = field.copy()
        for number, packed in enumerate(now.packed):
            for part, array in enumerate(packed.arrays()):
                saved[f"coded/{number}/{part}"] = array.copy()
        return saved

    @classmethod
    def resume(
        cls, frames: NDArray[np.uint8], settings: FitSettings, state: Mapping[str, Any]
    ) -> MotionFit:
        """A fit that goes on where :meth:`state` was taken, to the same result."""
        fit = cls(frames, settings)
        fit.step, fit.error, fit.bpp = int(state["step"]), state["error"], state["bpp"]
        fit.best = np.asarray(state["best"]).tobytes()
        fit.best_error = float(state["best_error"])
        fit.tried = [(int(s), int(b), float(e)) for s, b, e in state["tried"]]
        fit.probed = [(int(b), float(e)) for b, e in state["probed"]]
        fit.gap, fit.stage = int(state["gap"]), int(state["stage"])
        fit.shifts, fit.shares = _shifts(state["now_shifts"]), np.asarray(state["now_shares"])
        fit.now = fit._pass(int(state["now"]))
        fit.shifts, fit.shares = _shifts(state["shifts"]), np.asarray(state["shares"])
        for name, value in state.items():
            if name.startswith("fields/"):
                index, *refs, layer, last = map(int, name.removeprefix("fields/").split(","))
                fit.fields[Place(index, tuple(refs), layer, bool(last))] = np.asarray(value)
        with torch.inference_mode():
            for number in range(int(state["count"])):
                parts = [np.asarray(state[f"coded/{number}/{part}"]) for part in range(6)]
                fit.now.again(PackedFrame(*parts))
        fit.now.normal.products = np.array(state["products"])
        fit.now.normal.wanted = np.array(state["wanted"])
        fit.now.error, fit.now.sums = float(state["now_error"]), np.array(state["now_sums"])
        return fit


def _clipped(step: int) -> int:
    return min(max(step, LOWEST), HIGHEST)


def _shifts(values: Any) -> Shifts:
    a, b, c, d = map(int, values)
    return a, b, c, d
