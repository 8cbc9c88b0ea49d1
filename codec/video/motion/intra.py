"""Prediction of a block from the decoded samples above it and to its left.

Planar, mean and 33 directions as in HEVC (Lainema et al., 2012), for blocks of two sides, with
four-tap interpolation and the boundary blend of VVC's PDPC; chroma also as a line of luma (CCLM,
Zhang et al., 2018), fitted to the samples around the block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laconic.codec.video.motion.compiled import inner

PLANAR, MEAN, HORIZONTAL, VERTICAL = 0, 1, 10, 26
DERIVED, LINEAR = 35, 36  # of chroma: as luma, from luma
ANGLES = np.array(
    [0, 0, 32, 26, 21, 17, 13, 9, 5, 2, 0, -2, -5, -9, -13, -17, -21, -26, -32, -26, -21, -17,
     -13, -9, -5, -2, 0, 2, 5, 9, 13, 17, 21, 26, 32], np.int32)  # fmt: skip
# Four taps for 32 phases, in 1/64: a cubic, and a smoother one for large blocks.


def _taps() -> Any:
    taps = np.zeros((2, 32, 4), np.int32)
    for phase in range(32):
        t = phase / 32
        cubic = np.array(
            [-t * (1 - t) ** 2 / 2, 1 + t * t * (3 * t - 5) / 2, t * (1 + 4 * t - 3 * t * t) / 2,
             -t * t * (1 - t) / 2])  # fmt: skip
        smooth = np.array([(1 - t) / 4, (2 - t) / 4, (1 + t) / 4, t / 4])
        for kind, values in enumerate((cubic, smooth)):
            rounded = np.round(64 * values).astype(np.int32)
            rounded[1 + (t > 0.5)] += 64 - rounded.sum()
            taps[kind, phase] = rounded
    return taps


TAPS = _taps()
BORDER = 2 * 64 + 8  # samples of each side around a block; index 0 is the corner


@inner
def gather(
    plane: Any, rows: int, columns: int, x0: int, y0: int, w: int, h: int, order: Any, ux: int,
    uy: int, own: int, depth: int, top: Any, left: Any,
) -> None:  # fmt: skip
    """The decoded samples around a block: ``top[0]`` and ``left[0]`` are the corner.

    Args:
        rows, columns: of the plane.
        order: ``[rows, columns]`` of units of 4 x 4 luma samples, ascending in coding order.
        ux, uy: log2 of a unit's sides in this plane.
        own: of the block; units of lower order are decoded.
    """
    n = w + h
    found = -1  # first sample of the walk from the lower left to the upper right that exists
    # left[1 + i] for i < n, from below, then the corner, then the top.
    last = 1 << (depth - 1)
    size = 1 << uy
    for part in range(n - 1, -1, -size):
        y = y0 + part
        ok = x0 > 0 and y < rows and order[y >> uy, (x0 - 1) >> ux] < own
        for i in range(part, max(part - size, -1), -1):
            if ok:
                last = int(plane[y0 + i, x0 - 1])
                if found < 0:
                    found = n - 1 - i
            left[1 + i] = last
    if x0 > 0 and y0 > 0 and order[(y0 - 1) >> uy, (x0 - 1) >> ux] < own:
        last = int(plane[y0 - 1, x0 - 1])
        if found < 0:
            found = n
    left[0] = last
    top[0] = last
    size = 1 << ux
    for part in range(0, n, size):
        x = x0 + part
        ok = y0 > 0 and x < columns and order[(y0 - 1) >> uy, x >> ux] < own
        for i in range(part, min(part + size, n)):
            if ok:
                last = int(plane[y0 - 1, x0 + i])
                if found < 0:
                    found = n + 1 + i
            top[1 + i] = last
    if found > 0:  # what comes before the first that exists takes its value
        value = 0
        if found < n:
            value = left[n - found]
        elif found == n:
            value = left[0]
        else:
            value = top[found - n]
        for i in range(min(found, n)):
            left[n - i] = value
        if found > n:
            left[0] = value
            top[0] = value
            for i in range(found - n - 1):
                top[1 + i] = value


@inner
def predict(
    mode: int, w: int, h: int, top: Any, left: Any, smooth: int, depth: int, out: Any, line: Any
) -> None:
    """Prediction ``out[:h, :w]`` by a mode; ``line`` is scratch of BORDER samples and more."""
    most = (1 << depth) - 1
    if mode == PLANAR:
        right, below = top[1 + w], left[1 + h]
        for y in range(h):
            for x in range(w):
                across = ((w - 1 - x) * left[1 + y] + (x + 1) * right) * h
                down = ((h - 1 - y) * top[1 + x] + (y + 1) * below) * w
                out[y, x] = (across + down + w * h) // (2 * w * h)
    elif mode == MEAN:
        total = 0
        for x in range(w):
            total += top[1 + x]
        for y in range(h):
            total += left[1 + y]
        mean = (2 * total + w + h) // (2 * (w + h))
        for y in range(h):
            for x in range(w):
                out[y, x] = mean
    else:
        angle = int(ANGLES[mode])
        upright = mode >= 18
        main, side = (top, left) if upright else (left, top)
        wide, high = (w, h) if upright else (h, w)
        # line[64 + i] is main[i]; samples before the corner are projected from the side.
        for i in range(w + h + 1):
            line[64 + i] = main[i]
        line[64 + w + h + 1] = main[w + h]
        line[64 + w + h + 2] = main[w + h]
        line[63] = main[0]
        if angle < 0:
            scale = (8192 - angle // 2) // -angle  # 256 * 32 / |angle|
            count = (high * -angle) >> 5
            for i in range(1, min(count + 2, 63)):
                j = min((i * scale + 128) >> 8, w + h)
                line[64 - i] = side[j]
        for y in range(high):
            shift = (y + 1) * angle
            whole, phase = shift >> 5, shift & 31
            base = 64 + whole
            if phase:
                t0, t1 = int(TAPS[smooth, phase, 0]), int(TAPS[smooth, phase, 1])
                t2, t3 = int(TAPS[smooth, phase, 2]), int(TAPS[smooth, phase, 3])
                for x in range(wide):
                    i = base + x
                    value = (t0 * line[i] + t1 * line[i + 1] + t2 * line[i + 2]
                             + t3 * line[i + 3] + 32) >> 6  # fmt: skip
                    value = min(max(value, 0), most)
                    if upright:
                        out[y, x] = value
                    else:
                        out[x, y] = value
            else:
                for x in range(wide):
                    if upright:
                        out[y, x] = line[base + x + 1]
                    else:
                        out[x, y] = line[base + x + 1]
    if mode <= MEAN or mode in (HORIZONTAL, VERTICAL):  # blend into the boundary
        log = 0
        while (1 << log) * (1 << log) < w * h:
            log += 1
        scale = (log - 1) >> 1 if log > 2 else 0
        corner = int(top[0])
        for y in range(min(h, 3 << scale)):
            wt = 32 >> min(31, 2 * y >> scale)
            for x in range(w):
                wl = 32 >> min(31, 2 * x >> scale)
                p = int(out[y, x])
                if mode == VERTICAL:
                    value = p + ((wl * (left[1 + y] - corner) + 32) >> 6)
                elif mode == HORIZONTAL:
                    value = p + ((wt * (top[1 + x] - corner) + 32) >> 6)
                else:
                    value = p + ((wl * (left[1 + y] - p) + wt * (top[1 + x] - p) + 32) >> 6)
                out[y, x] = min(max(value, 0), most)
        for y in range(min(h, 3 << scale), h):
            for x in range(min(w, 3 << scale)):
                wl = 32 >> min(31, 2 * x >> scale)
                p = int(out[y, x])
                if mode == VERTICAL:
                    value = p + ((wl * (left[1 + y] - corner) + 32) >> 6)
                elif mode == HORIZONTAL:
                    value = p
                else:
                    value = p + ((wl * (left[1 + y] - p) + 32) >> 6)
                out[y, x] = min(max(value, 0), most)


@inner
def luma_at(luma: Any, x: int, y: int, sx: int, sy: int) -> int:
    """The luma of a chroma sample: the mean of those that it covers, in quarters."""
    if sx and sy:
        return (int(luma[2 * y, 2 * x]) + int(luma[2 * y, 2 * x + 1])
                + int(luma[2 * y + 1, 2 * x]) + int(luma[2 * y + 1, 2 * x + 1]))  # fmt: skip
    if sx:
        return 2 * int(luma[y, 2 * x]) + 2 * int(luma[y, 2 * x + 1])
    if sy:
        return 2 * int(luma[2 * y, x]) + 2 * int(luma[2 * y + 1, x])
    return 4 * int(luma[y, x])


@inner
def predict_linear(
    luma: Any, plane: Any, x0: int, y0: int, w: int, h: int, sx: int, sy: int, above: int,
    before: int, depth: int, out: Any,
) -> None:  # fmt: skip
    """Chroma as a x luma + b, least squares over the row above and the column to the left.

    Args:
        above, before: whether these samples are decoded.
    """
    n, sl, sc, sll, slc = 0, 0, 0, 0, 0
    if above:
        for x in range(w):
            a = luma_at(luma, x0 + x, y0 - 1, sx, sy)
            c = int(plane[y0 - 1, x0 + x])
            n, sl, sc, sll, slc = n + 1, sl + a, sc + c, sll + a * a, slc + a * c
    if before:
        for y in range(h):
            a = luma_at(luma, x0 - 1, y0 + y, sx, sy)
            c = int(plane[y0 + y, x0 - 1])
            n, sl, sc, sll, slc = n + 1, sl + a, sc + c, sll + a * a, slc + a * c
    slope, offset = 0, 1 << (depth - 1 + 12)
    if n:
        spread = n * sll - sl * sl
        joint = n * slc - sl * sc
        if spread > 0:
            slope = min(max((joint << 12) // spread, -(1 << 13)), 1 << 13)
        offset = ((sc << 12) - slope * sl + n // 2) // n
    most = (1 << depth) - 1
    for y in range(h):
        for x in range(w):
            value = (slope * luma_at(luma, x0 + x, y0 + y, sx, sy) + offset + 2048) >> 12
            out[y, x] = min(max(value, 0), most)
