"""Coding on trial: levels and samples of a block, a leaf or its chroma, and what they cost.

The cost is squared error + lambda x bits, with levels chosen by `residual.quantise`. Trials write
into the frame's arrays; `keep` copies what was best into buffers, one a depth, and back. Which
candidates are worth a trial is decided in `search` and `inter_search`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.compiled import inner
from laconic.codec.video.motion.elements import B0, F0, F_PLAIN, F_SINE, Q0
from laconic.codec.video.motion.inter import (
    CBF,
    CMODE,
    COPIED,
    DEPTH,
    ENERGY,
    FIELDS,
    GRAY,
    INTRA,
    LH,
    LW,
    PARAMETERS,
    QCHROMA,
    QUANT,
    SCREEN,
    SINED,
    SX,
    SY,
    TYPE,
)
from laconic.codec.video.motion.intra import DERIVED, LINEAR
from laconic.codec.video.motion.mix import price_bit
from laconic.codec.video.motion.prices import hadamard, squares
from laconic.codec.video.motion.rebuild import (
    COEFS,
    COSINE,
    GUESSED,
    LEVELS,
    MIDDLE,
    PLAIN,
    REST,
    SAMPLES,
    SINE,
    SIZES,
    STEPS,
    add,
    forward,
    guess_chroma,
    inter_chroma,
)
from laconic.codec.video.motion.residual import clear, quantise

MISSED = 1e30
# Places in Encoder.par.
EFFORT = PARAMETERS
INTRA_KEPT, MERGE_KEPT, REFS, STOP_SEARCH, STOP_PARTS, NEXT = range(EFFORT, EFFORT + 6)


class Encoder(NamedTuple):
    """All that mode decision works on.

    Attributes:
        src: the frame's samples ``[3, rows, columns]``, padded, int16; chroma in the corner.
        s14: luma in 14 bits, int16.
        rec: decoded samples. lev: levels, int16.
        info: ``[rows, columns, FIELDS]`` int32. field: of the co-located frame ``[.., 6]``.
        par: parameters, and from `EFFORT` on what to try and the next order; int64.
        phases: ``[slots, 16, rows, columns]`` references at quarter samples, 14 bits, int16.
        lam: lambda per 1/256 bit: of squared error; of absolute differences.
        cands: candidates' vectors and costs.
        kept_info, kept: what was best, for each depth.
        hints: vectors into references, by list and number (`repeats.moved`).
        copies: vectors into the frame itself (`repeats.copied`).
    """

    src: NDArray[np.int16]
    s14: NDArray[np.int16]
    rec: NDArray[np.int16]
    lev: NDArray[np.int16]
    info: NDArray[np.int32]
    field: NDArray[np.int32]
    par: NDArray[np.int64]
    phases: NDArray[np.int16]
    lam: NDArray[np.float64]
    cands: NDArray[np.int32]  # [140, 8]
    kept_info: NDArray[np.int32]  # [10, 16, 16, FIELDS]
    kept: NDArray[np.int32]  # [10, 6, 64, 64]: levels and samples
    hints: NDArray[np.int32]  # [2, 2, rows / 8, columns / 8, 2]
    copies: NDArray[np.int32]  # [3, rows / 8, columns / 8, 2]


@inner
def try_block(
    e: Any, chance: Any, src: Any, plane: Any, levels: Any, x: int, y: int, lw: int, lh: int,
    guess: Any, gx: int, gy: int, kind: int, form: int, which: int, wk: Any,
) -> float:  # fmt: skip
    """Code a block of a plane on trial: levels and samples are written; returns its cost.

    Args:
        kind: 2 * chroma + inter. form: of the transform. which: plane, 0 to 2.
    """
    w, h = 1 << lw, 1 << lh
    depth = int(e.par[DEPTH])
    q = int(e.par[QUANT] if which == 0 else e.par[QCHROMA])
    step = int(STEPS[q])
    lam = e.lam[0]
    for j in range(h):
        for i in range(w):
            wk[REST, j, i] = int(src[y + j, x + i]) - int(guess[gy + j, gx + i])
    empty = 0.0
    for j in range(h):
        for i in range(w):
            empty += float(wk[REST, j, i] * wk[REST, j, i])
    s = which * 2 + (kind & 1)
    no = price_bit(chance, 0, B0 + s * 16 + 5)
    yes = price_bit(chance, 1, B0 + s * 16 + 5)
    best = empty + lam * no
    bits = 0.0
    if empty > lam * 256.0:
        forward(wk[REST], wk[COEFS], lw, lh, form, depth, wk[MIDDLE])
        unit = 1 << (4 - (depth - 8))
        bits = quantise(chance, wk[COEFS], levels, x, y, lw, lh, kind, step,
                        lam * unit * unit, wk[SIZES])  # fmt: skip
    if bits > 0.0:
        add(levels, plane, x, y, lw, lh, form, step, depth, 1, guess, gx, gy, wk)
        cost = squares(src, plane, x, y, w, h) + lam * (bits + yes)
        if cost < best:
            return cost
    clear(levels, x, y, w, h)
    add(levels, plane, x, y, lw, lh, form, step, depth, 0, guess, gx, gy, wk)
    return best


@inner
def coded(levels: Any, x: int, y: int, w: int, h: int) -> int:
    """Whether a block has levels."""
    for j in range(h):
        for i in range(w):
            if levels[y + j, x + i]:
                return 1
    return 0


@inner
def try_chroma(e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, wk: Any) -> float:
    """Chroma of a leaf or node on trial, with its mode when it is intra; returns the cost."""
    if e.par[GRAY]:
        return 0.0
    unit = e.info[y >> 2, x >> 2]
    sx, sy = int(e.par[SX]), int(e.par[SY])
    w, h = 1 << lw, 1 << lh
    bw, bh = min(lw - sx, 5), min(lh - sy, 5)
    x1, y1 = x >> sx, y >> sy
    if unit[TYPE] == INTRA and not unit[COPIED]:
        best, chosen = MISSED, DERIVED
        for m in range(2):
            mode = DERIVED if m == 0 else LINEAR
            unit[CMODE] = mode
            total = 0.0
            for which in range(1, 3):
                src, plane = e.src[which], e.rec[which]
                guess_chroma(
                    e.info, e.par, plane, e.rec[0], x, y, x1, y1, 1 << bw, 1 << bh, wk
                )  # fmt: skip
                total += float(hadamard(src, x1, y1, wk[GUESSED], 1 << bw, 1 << bh))
            bits = price_bit(chance, 1, Q0) if mode == LINEAR else price_bit(chance, 0, Q0)
            if m == 0:
                bits += price_bit(chance, 1, Q0 + 1)
            total += e.lam[1] * bits
            if total < best:
                best, chosen = total, mode
        unit[CMODE] = chosen
    mode = int(unit[CMODE])
    cost = 0.0
    inter = int(unit[TYPE])
    if not inter and not unit[COPIED]:
        bits = price_bit(chance, 1, Q0) if mode == LINEAR else price_bit(chance, 0, Q0)
        if mode != LINEAR:
            bits += price_bit(chance, 1, Q0 + 1)
        cost += e.lam[0] * bits
    for which in range(1, 3):
        src, plane, levels = e.src[which], e.rec[which], e.lev[which]
        planes = store[which]
        if inter:
            ww, hh = 1 << int(unit[LW]), 1 << int(unit[LH])
            for yy in range(y, y + h, hh):
                for xx in range(x, x + w, ww):
                    inter_chroma(e.info, e.par, planes, xx, yy, ww, hh, x, y, wk)
        for ty in range(0, h >> sy, 1 << bh):
            for tx in range(0, w >> sx, 1 << bw):
                gx, gy = tx, ty
                if not inter:
                    guess_chroma(e.info, e.par, plane, e.rec[0], x, y, x1 + tx, y1 + ty, 1 << bw,
                                 1 << bh, wk)  # fmt: skip
                    gx, gy = 0, 0
                cost += try_block(e, chance, src, plane, levels, x1 + tx, y1 + ty, bw, bh,
                                  wk[GUESSED], gx, gy, 2 + inter, COSINE, which, wk)  # fmt: skip
                first = e.info[(y + (ty << sy)) >> 2, (x + (tx << sx)) >> 2]
                got = coded(levels, x1 + tx, y1 + ty, 1 << bw, 1 << bh)
                first[CBF] = (int(first[CBF]) & ~(1 << which)) | got << which
    return cost


@inner
def plain_chroma(e: Any, store: Any, x: int, y: int, w: int, h: int, wk: Any) -> float:
    """Chroma of an inter leaf without residual; returns its squared error."""
    if e.par[GRAY]:
        return 0.0
    sx, sy = int(e.par[SX]), int(e.par[SY])
    x1, y1, w1, h1 = x >> sx, y >> sy, w >> sx, h >> sy
    total = 0.0
    for which in range(1, 3):
        src, plane, levels = e.src[which], e.rec[which], e.lev[which]
        inter_chroma(e.info, e.par, store[which], x, y, w, h, x, y, wk)
        clear(levels, x1, y1, w1, h1)
        for j in range(h1):
            for i in range(w1):
                plane[y1 + j, x1 + i] = wk[GUESSED, j, i]
        total += squares(src, plane, x1, y1, w1, h1)
    return total


@inner
def keep(e: Any, depth: int, x: int, y: int, w: int, h: int, back: int) -> None:
    """Copy a region's decisions, levels and samples into buffers, or back from there."""
    ux, uy = x >> 2, y >> 2
    box = e.kept_info[depth]
    for j in range(h >> 2):
        for i in range(w >> 2):
            for k in range(FIELDS):
                if back:
                    e.info[uy + j, ux + i, k] = box[j, i, k]
                else:
                    box[j, i, k] = e.info[uy + j, ux + i, k]
    for which in range(3):
        levels, plane = e.lev[which], e.rec[which]
        if which and e.par[GRAY]:
            break
        sx, sy = (int(e.par[SX]), int(e.par[SY])) if which else (0, 0)
        a, b = e.kept[depth, 2 * which], e.kept[depth, 2 * which + 1]
        for j in range(h >> sy):
            for i in range(w >> sx):
                if back:
                    levels[(y >> sy) + j, (x >> sx) + i] = a[j, i]
                    plane[(y >> sy) + j, (x >> sx) + i] = b[j, i]
                else:
                    a[j, i] = levels[(y >> sy) + j, (x >> sx) + i]
                    b[j, i] = plane[(y >> sy) + j, (x >> sx) + i]


@inner
def try_luma(
    e: Any, chance: Any, x: int, y: int, lw: int, lh: int, guess: Any, kind: int, wk: Any
) -> float:
    """Luma of a leaf on trial from its prediction (inter leaves, and intra leaves up to 32)."""
    unit = e.info[y >> 2, x >> 2]
    bw, bh = min(lw, 5), min(lh, 5)
    small = bw < 5 and bh < 5
    total = 0.0
    for ty in range(0, 1 << lh, 1 << bh):
        for tx in range(0, 1 << lw, 1 << bw):
            unit[SINED] = 0
            cost = try_block(e, chance, e.src[0], e.rec[0], e.lev[0], x + tx, y + ty, bw, bh,
                             guess, tx, ty, kind, COSINE, 0, wk)  # fmt: skip
            got = coded(e.lev[0], x + tx, y + ty, 1 << bw, 1 << bh)
            if small and got:
                flag = F_SINE + 2 * kind
                cost += e.lam[0] * price_bit(chance, 0, F0 + flag * 72 + min(lw + lh - 4, 7))
                if kind == 0:
                    a, b = wk[LEVELS], wk[SAMPLES]
                    for j in range(1 << bh):
                        for i in range(1 << bw):
                            a[j, i], b[j, i] = e.lev[0, y + j, x + i], e.rec[0, y + j, x + i]
                    other = try_block(e, chance, e.src[0], e.rec[0], e.lev[0], x, y, bw, bh,
                                      guess, 0, 0, kind, SINE, 0, wk)  # fmt: skip
                    other += e.lam[0] * price_bit(chance, 1, F0 + flag * 72 + min(lw + lh - 4, 7))
                    if other < cost and coded(e.lev[0], x, y, 1 << bw, 1 << bh):
                        cost = other
                        unit[SINED] = 1
                    else:
                        for j in range(1 << bh):
                            for i in range(1 << bw):
                                e.lev[0, y + j, x + i], e.rec[0, y + j, x + i] = a[j, i], b[j, i]
            if small and e.par[SCREEN]:
                mine = chance[chance.size >> 1 :]
                at = F0 + (F_PLAIN + 2 * kind) * 72 + min(lw + lh - 4, 7)
                if got:
                    cost += e.lam[0] * price_bit(mine, 0, at)
                a, b = wk[LEVELS], wk[SAMPLES]
                for j in range(1 << bh):
                    for i in range(1 << bw):
                        a[j, i], b[j, i] = e.lev[0, y + j, x + i], e.rec[0, y + j, x + i]
                other = try_block(e, mine, e.src[0], e.rec[0], e.lev[0], x, y, bw, bh, guess, 0, 0,
                                  kind, PLAIN, 0, wk)  # fmt: skip
                other += e.lam[0] * price_bit(mine, 1, at)
                if other < cost and coded(e.lev[0], x, y, 1 << bw, 1 << bh):
                    cost, got = other, 1
                    unit[SINED] = PLAIN
                else:
                    for j in range(1 << bh):
                        for i in range(1 << bw):
                            e.lev[0, y + j, x + i], e.rec[0, y + j, x + i] = a[j, i], b[j, i]
            first = e.info[(y + ty) >> 2, (x + tx) >> 2]
            first[CBF] = (int(first[CBF]) & ~1) | got
            total += cost
    return total


@inner
def fill(e: Any, x: int, y: int, w: int, h: int) -> None:
    """The first unit's fields for all units of a leaf, but for the flags of levels."""
    ux, uy = x >> 2, y >> 2
    for j in range(h >> 2):
        for i in range(w >> 2):
            if i or j:
                for k in range(ENERGY):
                    if k != CBF:
                        e.info[uy + j, ux + i, k] = e.info[uy, ux, k]
