"""Encoding a chunk of kind ``motion`` as the stream around it expects: in slices, to a target.

With a quality there is one pass. With a target size, passes with other quantisers follow until the
bytes lie within two per cent below it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from laconic.codec.video.hybrid.clip import Clip, Head
from laconic.codec.video.hybrid.encode import GAP, ChunkEncoder
from laconic.codec.video.hybrid.repeats import is_screen
from laconic.codec.video.hybrid.transform import LONGEST_STEP
from laconic.codec.video.settings import DEFAULT_QUALITY, FitSettings
from laconic.formats.errors import ParameterError

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
        self.effort = settings.preset
        self.target = settings.target_bytes
        self.screens = any(is_screen(planes[0]) for planes in frames.frames)
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
            return _clipped(8 * (51 - 0.4 * quality))
        bpp = 8 * self.target / self.pixels
        if init is not None and "base" in init:
            return _clipped(init["base"] + SLOPE * math.log2(init["bpp"] / bpp))
        return _clipped(264 + SLOPE * math.log2(0.08 / bpp))

    def _pass(self, base: int) -> ChunkEncoder:
        return ChunkEncoder(self.layout, self.count, base, self.effort, GAP, self.screens)

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
        return Head(self.clip.sampling, GAP, encoder.base, self.screens).pack() + encoder.data()

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
        }  # fmt: skip

    @classmethod
    def resume(cls, frames: Clip, settings: FitSettings, state: Mapping[str, Any]) -> HybridFit:
        """A fit that goes on where :meth:`state` was taken, to the same result."""
        fit = cls(frames, settings)
        fit.tried = {int(base): int(size) for base, size in state["tried"]}
        fit.best = np.asarray(state["best"]).tobytes()
        fit.step = len(fit.tried) * fit.count
        fit.now = fit._pass(int(state["now"]))
        return fit


def _clipped(base: float) -> int:
    return min(max(round(base), 0), HIGHEST)
