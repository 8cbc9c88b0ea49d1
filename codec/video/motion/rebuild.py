"""Decoded samples of a leaf from its decisions and levels; the encoder calls the same functions.

Transforms are integer cosine and sine transforms of 4 to 32 samples. Bases are orthonormal in 12
bits, so a block of any two sides needs no correction. Coefficients have four fractional bits. The
decoder's side is exact: one order of additions, all of it in 32 bits for streams that an encoder
makes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.compiled import inner, outer
from laconic.codec.video.motion.inter import (
    CBF,
    CMODE,
    COPIED,
    DEPTH,
    DIR,
    GRAY,
    HEIGHT,
    LH,
    LW,
    MODE,
    MX0,
    MY0,
    ORDER,
    QCHROMA,
    QUANT,
    REF0,
    SINED,
    SLOT0,
    SX,
    SY,
    TYPE,
    WIDTH,
    chroma_block,
    luma_block,
)
from laconic.codec.video.motion.intra import (
    DERIVED,
    LINEAR,
    gather,
    predict,
    predict_linear,
)

ONE = 12  # bits of a basis
COSINE, SINE, PLAIN = 0, 1, 2  # plain: samples themselves
LARGEST = 32
LONGEST_STEP = 8 * 64
# Scratch of a coder, int32 [SCRATCH, 72, 144]: prediction, one for each reference, rows between two
# filters, residual, between two transforms, samples around a block, magnitudes, coefficients, and
# the encoder's own.
(GUESSED, FIRST, SECOND, TAPS, REST, MIDDLE, EDGES, SIZES, COEFS, TRIAL, PHASE, LEVELS, SAMPLES,
 SCRATCH) = range(14)  # fmt: skip
TOP, LEFT, LINE = 0, 1, 2  # rows of EDGES


def _bases() -> NDArray[np.int32]:
    """``[kind, log2 size, k, i]``: DCT-II, and DST-VII for residuals that grow from one side."""
    out = np.zeros((2, 6, LARGEST, LARGEST), np.float64)
    for log in range(1, 6):
        n = 1 << log
        k, i = np.mgrid[:n, :n]
        cosine = np.cos(np.pi * (2 * i + 1) * k / (2 * n)) * np.sqrt(2 / n)
        cosine[0] /= np.sqrt(2)
        out[0, log, :n, :n] = cosine
        sine = np.sin(np.pi * (2 * k + 1) * (i + 1) / (2 * n + 1)) * 2 / np.sqrt(2 * n + 1)
        out[1, log, :n, :n] = sine
    return np.round(out * (1 << ONE)).astype(np.int32)


BASES = _bases()
# Step in 1/64 of a coefficient's unit (1/16 of a level), for every eighth of a quantiser's unit.
STEPS = np.array([round(64 * 16 * 2 ** ((q / 8 - 4) / 6)) for q in range(LONGEST_STEP)], np.int64)


@inner
def forward(residual: Any, out: Any, lw: int, lh: int, kind: int, depth: int, work: Any) -> None:
    """Coefficients of ``residual[:h, :w]``; ``work`` is scratch of the same kind (int32)."""
    w, h = 1 << lw, 1 << lh
    if kind == PLAIN:
        for y in range(h):
            for x in range(w):
                out[y, x] = residual[y, x] << (12 - depth)
        return
    shift = 8 + depth - 8
    for y in range(h):
        for k in range(w):
            total = np.int32(0)
            for i in range(w):
                total += np.int32(residual[y, i] * BASES[kind, lw, k, i])
            work[y, k] = (total + (1 << (shift - 1))) >> shift
    for k in range(h):
        for x in range(w):
            out[k, x] = 1 << (ONE - 1)
        for i in range(h):
            b = BASES[kind, lh, k, i]
            for x in range(w):
                out[k, x] += b * work[i, x]
        for x in range(w):
            out[k, x] >>= ONE


@inner
def inverse(
    levels: Any, ly: int, lx: int, residual: Any, lw: int, lh: int, kind: int, step: int,
    depth: int, work: Any,
) -> None:  # fmt: skip
    """Residual ``[:h, :w]`` of the levels of a block at ``levels[ly, lx]``."""
    w, h = 1 << lw, 1 << lh
    if kind == PLAIN:
        for y in range(h):
            for x in range(w):
                value = (int(levels[ly + y, lx + x]) * step + 32) >> 6
                value = min(max(value, -(1 << 19)), (1 << 19) - 1)
                residual[y, x] = (value + (1 << (11 - depth))) >> (12 - depth)
        return
    for y in range(h):
        for x in range(w):
            work[y, x] = 0
    columns = 0
    for k in range(h):
        for x in range(w):
            level = int(levels[ly + k, lx + x])
            if level:
                value = min(max((level * step + 32) >> 6, -(1 << 19)), (1 << 19) - 1)
                if x >= columns:
                    columns = x + 1
                for y in range(h):
                    work[y, x] += np.int32(value * int(BASES[kind, lh, k, y]) >> 4)
    shift = ONE + 4 - (depth - 8)
    half = 1 << (shift - 1)
    for y in range(h):
        for x in range(w):
            residual[y, x] = half
        for k in range(columns):
            t = (work[y, k] + 128) >> 8
            if t:
                for x in range(w):
                    residual[y, x] += t * BASES[kind, lw, k, x]
        for x in range(w):
            residual[y, x] >>= shift


def work() -> NDArray[np.int32]:
    """New scratch."""
    return np.zeros((SCRATCH, 72, 144), np.int32)


@inner
def blend(w: int, h: int, both: int, depth: int, first: Any, second: Any, out: Any) -> None:
    """Samples of one or of the mean of two predictions of 14 bits."""
    most = (1 << depth) - 1
    if both:
        shift = 15 - depth
        half = 1 << (shift - 1)
        for y in range(h):
            for x in range(w):
                out[y, x] = min(max((first[y, x] + second[y, x] + half) >> shift, 0), most)
    else:
        shift = 14 - depth
        half = 1 << (shift - 1)
        for y in range(h):
            for x in range(w):
                out[y, x] = min(max((first[y, x] + half) >> shift, 0), most)


@inner
def inter_luma(info: Any, par: Any, store: Any, x: int, y: int, w: int, h: int, wk: Any) -> None:
    """The motion-compensated luma of a leaf in ``wk[GUESSED]``."""
    unit = info[y >> 2, x >> 2]
    direction, depth = int(unit[DIR]), int(par[DEPTH])
    n = 0
    for k in range(2):
        if direction == 1 - k:
            continue
        plane = store[0, int(par[SLOT0 + 4 * k + int(unit[REF0 + k])])]
        luma_block(plane, x, y, w, h, int(unit[MX0 + 2 * k]), int(unit[MX0 + 2 * k + 1]), depth,
                   wk[FIRST + n], wk[TAPS])  # fmt: skip
        n += 1
    blend(w, h, n - 1, depth, wk[FIRST], wk[SECOND], wk[GUESSED])


@inner
def inter_chroma(
    info: Any, par: Any, planes: Any, x: int, y: int, w: int, h: int, x0: int, y0: int, wk: Any
) -> None:
    """The motion-compensated chroma of a leaf, in ``wk[GUESSED]`` relative to (x0, y0) of luma."""
    unit = info[y >> 2, x >> 2]
    direction, depth = int(unit[DIR]), int(par[DEPTH])
    sx, sy = int(par[SX]), int(par[SY])
    n = 0
    for k in range(2):
        if direction == 1 - k:
            continue
        plane = planes[int(par[SLOT0 + 4 * k + int(unit[REF0 + k])])]
        chroma_block(plane, int(par[HEIGHT]) >> sy, int(par[WIDTH]) >> sx, x >> sx, y >> sy,
                     w >> sx, h >> sy, int(unit[MX0 + 2 * k]),
                     int(unit[MX0 + 2 * k + 1]), sx, sy, depth,
                     wk[FIRST + n], wk[TAPS])  # fmt: skip
        n += 1
    ox, oy = (x - x0) >> sx, (y - y0) >> sy
    blend(w >> sx, h >> sy, n - 1, depth, wk[FIRST], wk[SECOND], wk[GUESSED, oy:, ox:])


@inner
def intra_block(
    info: Any, par: Any, plane: Any, x: int, y: int, w: int, h: int, ux: int, uy: int, own: int,
    mode: int, wk: Any,
) -> None:  # fmt: skip
    """The intra prediction of a block of a plane in ``wk[GUESSED]``."""
    depth = int(par[DEPTH])
    rows, columns = int(par[HEIGHT]) >> (2 - uy), int(par[WIDTH]) >> (2 - ux)
    gather(plane, rows, columns, x, y, w, h, info[:, :, ORDER], ux, uy, own, depth,
           wk[EDGES, TOP], wk[EDGES, LEFT])  # fmt: skip
    predict(
        mode,
        w,
        h,
        wk[EDGES, TOP],
        wk[EDGES, LEFT],
        1 if w * h >= 256 else 0,
        depth,
        wk[GUESSED],
        wk[EDGES, LINE],
    )


@inner
def copy_block(plane: Any, x: int, y: int, w: int, h: int, out: Any) -> None:
    """Samples of the plane itself, at the nearest place that lies inside."""
    rows, columns = plane.shape
    x, y = min(max(x, 0), columns - w), min(max(y, 0), rows - h)
    for j in range(h):
        for i in range(w):
            out[j, i] = plane[y + j, x + i]


@inner
def add(
    levels: Any, plane: Any, x: int, y: int, lw: int, lh: int, kind: int, step: int, depth: int,
    coded: int, guess: Any, gx: int, gy: int, wk: Any,
) -> None:  # fmt: skip
    """Prediction at ``guess[gy, gx]`` and residual into the plane."""
    w, h = 1 << lw, 1 << lh
    if not coded:
        for j in range(h):
            for i in range(w):
                plane[y + j, x + i] = guess[gy + j, gx + i]
        return
    most = (1 << depth) - 1
    inverse(levels, y, x, wk[REST], lw, lh, kind, step, depth, wk[MIDDLE])
    for j in range(h):
        for i in range(w):
            value = guess[gy + j, gx + i] + wk[REST, j, i]
            plane[y + j, x + i] = min(max(value, 0), most)


@inner
def rebuild_luma(
    info: Any, par: Any, store: Any, levels: Any, plane: Any, x: int, y: int, lw: int, lh: int,
    wk: Any,
) -> None:  # fmt: skip
    """Luma of a leaf."""
    unit = info[y >> 2, x >> 2]
    inter, own = int(unit[TYPE]), int(unit[ORDER])
    step, depth = int(STEPS[int(par[QUANT])]), int(par[DEPTH])
    w, h = 1 << lw, 1 << lh
    if inter:
        inter_luma(info, par, store, x, y, w, h, wk)
    bw, bh = min(lw, 5), min(lh, 5)
    for ty in range(0, h, 1 << bh):
        for tx in range(0, w, 1 << bw):
            gx, gy = tx, ty
            if not inter:
                gx, gy = 0, 0
                if unit[COPIED]:
                    copy_block(plane, x + tx + int(unit[MX0]), y + ty + int(unit[MY0]), 1 << bw,
                               1 << bh, wk[GUESSED])  # fmt: skip
                else:
                    intra_block(info, par, plane, x + tx, y + ty, 1 << bw, 1 << bh, 2, 2, own,
                                int(unit[MODE]), wk)  # fmt: skip
            coded = int(info[(y + ty) >> 2, (x + tx) >> 2, CBF]) & 1
            add(levels, plane, x + tx, y + ty, bw, bh, int(unit[SINED]), step, depth, coded,
                wk[GUESSED], gx, gy, wk)  # fmt: skip


@inner
def guess_chroma(
    info: Any, par: Any, plane: Any, luma: Any, x: int, y: int, cx: int, cy: int, w: int, h: int,
    wk: Any,
) -> None:  # fmt: skip
    """The intra prediction of a chroma block at (cx, cy), of the node at (x, y) of luma."""
    unit = info[y >> 2, x >> 2]
    sx, sy, own = int(par[SX]), int(par[SY]), int(unit[ORDER])
    mode = int(unit[CMODE])
    ux, uy = 2 - sx, 2 - sy
    if unit[COPIED]:
        copy_block(plane, cx + (int(unit[MX0]) >> sx), cy + (int(unit[MY0]) >> sy), w, h,
                   wk[GUESSED])  # fmt: skip
        return
    if mode == LINEAR:
        above = cy > 0 and info[(cy - 1) >> uy, cx >> ux, ORDER] < own
        before = cx > 0 and info[cy >> uy, (cx - 1) >> ux, ORDER] < own
        predict_linear(luma, plane, cx, cy, w, h, sx, sy, 1 if above else 0, 1 if before else 0,
                       int(par[DEPTH]), wk[GUESSED])  # fmt: skip
        return
    if mode == DERIVED:
        mode = int(unit[MODE])
    intra_block(info, par, plane, cx, cy, w, h, ux, uy, own, mode, wk)


@inner
def rebuild_chroma(
    info: Any, par: Any, planes: Any, levels: Any, luma: Any, plane: Any, which: int, x: int,
    y: int, lw: int, lh: int, wk: Any,
) -> None:  # fmt: skip
    """A chroma plane of a leaf, or of a node of 8."""
    unit = info[y >> 2, x >> 2]
    inter = int(unit[TYPE])
    step, depth = int(STEPS[int(par[QCHROMA])]), int(par[DEPTH])
    sx, sy = int(par[SX]), int(par[SY])
    w, h = 1 << lw, 1 << lh
    if inter:
        ww, hh = 1 << int(unit[LW]), 1 << int(unit[LH])
        for yy in range(y, y + h, hh):
            for xx in range(x, x + w, ww):
                inter_chroma(info, par, planes, xx, yy, ww, hh, x, y, wk)
    bw, bh = min(lw - sx, 5), min(lh - sy, 5)
    for ty in range(0, h >> sy, 1 << bh):
        for tx in range(0, w >> sx, 1 << bw):
            cx, cy = (x >> sx) + tx, (y >> sy) + ty
            gx, gy = tx, ty
            if not inter:
                guess_chroma(info, par, plane, luma, x, y, cx, cy, 1 << bw, 1 << bh, wk)
                gx, gy = 0, 0
            coded = int(info[(y + (ty << sy)) >> 2, (x + (tx << sx)) >> 2, CBF]) >> which & 1
            add(levels, plane, cx, cy, bw, bh, COSINE, step, depth, coded, wk[GUESSED], gx, gy, wk)


@outer
def rebuild_frame(info: Any, par: Any, store: Any, levels: Any, planes: Any, wk: Any) -> None:
    """All leaves of a frame whose decisions and levels are read, in coding order."""
    stack = np.zeros((64, 3), np.int32)
    for y0 in range(0, int(par[HEIGHT]), 64):
        for x0 in range(0, int(par[WIDTH]), 64):
            stack[0, 0], stack[0, 1], stack[0, 2] = x0, y0, 6
            n = 1
            while n:
                n -= 1
                x, y, log = int(stack[n, 0]), int(stack[n, 1]), int(stack[n, 2])
                if x >= par[WIDTH] or y >= par[HEIGHT]:
                    continue
                side = 1 << log
                lw, lh = int(info[y >> 2, x >> 2, LW]), int(info[y >> 2, x >> 2, LH])
                if log > 3 and max(lw, lh) < log:
                    for i in range(3, -1, -1):
                        stack[n, 0] = x + (side >> 1) * (i & 1)
                        stack[n, 1] = y + (side >> 1) * (i >> 1)
                        stack[n, 2] = log - 1
                        n += 1
                    continue
                for yy in range(y, y + side, 1 << lh):
                    for xx in range(x, x + side, 1 << lw):
                        rebuild_luma(info, par, store, levels[0], planes[0], xx, yy, lw, lh, wk)
                        if log > 3 and not par[GRAY]:
                            for k in range(1, 3):
                                rebuild_chroma(info, par, store[k], levels[k], planes[0], planes[k],
                                               k, xx, yy, lw, lh, wk)  # fmt: skip
                if log == 3 and not par[GRAY]:
                    for k in range(1, 3):
                        rebuild_chroma(info, par, store[k], levels[k], planes[0], planes[k], k, x,
                                       y, 3, 3, wk)  # fmt: skip
