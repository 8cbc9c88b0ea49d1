"""Leaves from decoded samples elsewhere: references, vectors and directions, and copies on screens.

`search` gives merged leaves to `inter_trial`, then leaves with vectors of their own to
`search_leaf`, each tried with a residual and without. How one vector is found is in `vectors`. On
screens alone `copy_leaf` tries what stands elsewhere in the same frame.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.video.motion.compiled import inner
from laconic.codec.video.motion.elements import C_DIR, C_GUESS, C_REF, F_COPIED
from laconic.codec.video.motion.inter import (
    CBF,
    CMODE,
    COPIED,
    COUNT0,
    COUNT1,
    DIR,
    GUESS,
    HEIGHT,
    INTER,
    INTRA,
    LAYER,
    LH,
    LW,
    MERGE,
    MERGED,
    MODE,
    MX0,
    MY0,
    ORDER,
    REF0,
    SINED,
    SKIP,
    SLOT0,
    TYPE,
    WHICH,
    WIDTH,
    guesses,
)
from laconic.codec.video.motion.intra import DERIVED, MEAN
from laconic.codec.video.motion.prices import (
    choice_price,
    component_price,
    flag_price,
    hadamard,
    squares,
    vector_price,
)
from laconic.codec.video.motion.rebuild import SECOND, TRIAL, copy_block
from laconic.codec.video.motion.repeats import COPIES, NONE
from laconic.codec.video.motion.residual import clear
from laconic.codec.video.motion.syntax import copy_guess
from laconic.codec.video.motion.trial import (
    MISSED,
    REFS,
    fill,
    keep,
    plain_chroma,
    try_chroma,
    try_luma,
)
from laconic.codec.video.motion.vectors import fetch, fits, merged_luma, motion_search, phase_cost


@inner
def inter_trial(
    e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, chroma: int, best: float,
    depth: int, bits: float, skip_bits: float, guess: Any, wk: Any,
) -> float:  # fmt: skip
    """Code the leaf's motion on trial, with a residual and (merged leaves) without."""
    w, h = 1 << lw, 1 << lh
    unit = e.info[y >> 2, x >> 2]
    lam = e.lam[0]
    unit[CBF], unit[SKIP] = 0, 0
    fill(e, x, y, w, h)
    if unit[MERGED]:
        unit[SKIP], unit[SINED] = 1, 0
        fill(e, x, y, w, h)
        for j in range(h >> 2):
            for i in range(w >> 2):
                e.info[(y >> 2) + j, (x >> 2) + i, CBF] = 0
        clear(e.lev[0], x, y, w, h)
        for j in range(h):
            for i in range(w):
                e.rec[0, y + j, x + i] = guess[j, i]
        cost = squares(e.src[0], e.rec[0], x, y, w, h) + lam * skip_bits
        if chroma and cost < best:
            cost += plain_chroma(e, store, x, y, w, h, wk)
        if cost < best:
            best = cost
            keep(e, depth, x, y, w, h, 0)
        unit[SKIP] = 0
        fill(e, x, y, w, h)
    cost = lam * bits + try_luma(e, chance, x, y, lw, lh, guess, 1, wk)
    if chroma and cost < best:
        cost += try_chroma(e, chance, store, x, y, lw, lh, wk)
    some = int(unit[CBF])
    for j in range(h >> 2):
        for i in range(w >> 2):
            some |= int(e.info[(y >> 2) + j, (x >> 2) + i, CBF])
    if cost < best and (some or not unit[MERGED]):
        best = cost
        fill(e, x, y, w, h)
        keep(e, depth, x, y, w, h, 0)
    return best


@inner
def search_leaf(
    e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, chroma: int, best: float,
    depth: int, own: int, bits: float, rival: int, wk: Any,
) -> float:  # fmt: skip
    """Look for vectors; the best of one and of two references are coded on trial."""
    w, h = 1 << lw, 1 << lh
    par = e.par
    layer = int(par[LAYER])
    unit = e.info[y >> 2, x >> 2]
    pair = e.cands[8:10]
    starts = e.cands[10:16]
    found = e.cands[16:18]  # for each list: reference, vector
    out = e.cands[18]
    low = e.lam[1]
    small = w + h == 12
    scores0, scores1 = MISSED, MISSED
    for k in range(2):
        if k and not par[COUNT1]:
            break
        count = min(int(par[COUNT0 + k]), int(e.par[REFS]))
        for r in range(count):
            guesses(e.info, e.field, par, k, r, x, y, w, h, own, pair, out)
            n = 0
            for i in range(3):
                row, column = (y + (h - 4) * i // 2) >> 3, (x + (w - 4) * i // 2) >> 3
                mx = int(e.hints[k, r, row, column, 0])
                if mx != NONE:
                    starts[n, 0], starts[n, 1] = mx, e.hints[k, r, row, column, 1]
                    n += 1
            for i in range(MERGE):
                cand = e.cands[i]
                if n < 6 and cand[0] != 1 - k and cand[1 + k] == r:
                    starts[n, 0], starts[n, 1] = cand[3 + 2 * k], cand[4 + 2 * k]
                    n += 1
            if n < 6:
                starts[n, 0], starts[n, 1] = e.cands[20 + k, 2 * r], e.cands[20 + k, 2 * r + 1]
                n += 1
            if n < 6:
                starts[n, 0], starts[n, 1] = 0, 0
                n += 1
            slot = int(par[SLOT0 + 4 * k + r])
            cost = motion_search(e, chance, slot, x, y, w, h, pair, starts, n, out, wk)
            e.cands[20 + k, 2 * r], e.cands[20 + k, 2 * r + 1] = out[0], out[1]
            cost += low * choice_price(chance, C_REF, count - 1, r, layer)
            if cost < (scores0 if k == 0 else scores1):
                if k == 0:
                    scores0 = cost
                else:
                    scores1 = cost
                found[k, 0], found[k, 1], found[k, 2] = r, out[0], out[1]
    top = min(scores0, scores1)
    if par[COUNT1] and not small:
        # Two references: each vector is refined once against the other's prediction.
        joint = MISSED
        both = e.cands[22:24]
        for k in range(2):
            for i in range(3):
                both[k, i] = found[k, i]
        for turn in range(2):
            k = turn if scores0 > scores1 else 1 - turn
            o = 1 - k
            slot_o = int(par[SLOT0 + 4 * o + int(both[o, 0])])
            fetch(e, slot_o, x, y, w, h, int(both[o, 1]), int(both[o, 2]), wk[SECOND])
            r = int(both[k, 0])
            slot = int(par[SLOT0 + 4 * k + r])
            guesses(e.info, e.field, par, o, int(both[o, 0]), x, y, w, h, own, pair, out)
            fixed = vector_price(chance, pair, int(both[o, 1]), int(both[o, 2]))
            fixed += choice_price(chance, C_REF, int(par[COUNT0]) - 1, r, layer)
            guesses(e.info, e.field, par, k, r, x, y, w, h, own, pair, out)
            mx, my = int(both[k, 1]), int(both[k, 2])
            now = phase_cost(e, slot, x, y, w, h, mx, my, wk, wk[SECOND], 1) + low * (
                fixed + vector_price(chance, pair, mx, my)
            )
            for reach in (2, 1):
                moved = True
                rounds = 0
                while moved and rounds < 4:
                    moved = False
                    rounds += 1
                    cx, cy = mx, my
                    for i in range(4):
                        nx = cx + (reach if i == 0 else -reach if i == 1 else 0)
                        ny = cy + (reach if i == 2 else -reach if i == 3 else 0)
                        if not fits(par, x, y, w, h, nx, ny):
                            continue
                        cost = phase_cost(e, slot, x, y, w, h, nx, ny, wk, wk[SECOND], 1) + low * (
                            fixed + vector_price(chance, pair, nx, ny)
                        )
                        if cost < now:
                            now, mx, my, moved = cost, nx, ny, True
            both[k, 1], both[k, 2] = mx, my
            joint = now
        if joint < top * 1.15:
            best = motion_trial(e, chance, store, x, y, lw, lh, chroma, best, depth, own, bits, 2,
                                both, wk)  # fmt: skip
        if joint * 1.1 < top:
            return best
    if top < rival * 1.2 or best >= MISSED:
        which = 0 if scores0 <= scores1 else 1
        best = motion_trial(e, chance, store, x, y, lw, lh, chroma, best, depth, own, bits, which,
                            found, wk)  # fmt: skip
    unit[MERGED] = 0
    return best


@inner
def motion_trial(
    e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, chroma: int, best: float,
    depth: int, own: int, bits: float, direction: int, found: Any, wk: Any,
) -> float:  # fmt: skip
    """Code vectors that were found on trial."""
    w, h = 1 << lw, 1 << lh
    par = e.par
    layer = int(par[LAYER])
    unit = e.info[y >> 2, x >> 2]
    pair, out = e.cands[8:10], e.cands[18]
    unit[LW], unit[LH] = lw, lh
    unit[TYPE], unit[MERGED], unit[MODE], unit[WHICH], unit[GUESS] = INTER, 0, MEAN, 0, 0
    unit[DIR] = direction
    if par[COUNT1]:
        if w + h == 12:
            bits += choice_price(chance, C_DIR + 2, 1, direction, layer)
        else:
            bits += choice_price(chance, C_DIR, 2, 2 - direction, layer)
    for k in range(2):
        if direction == 1 - k:
            unit[REF0 + k], unit[MX0 + 2 * k], unit[MX0 + 2 * k + 1] = 0, 0, 0
            continue
        r, mx, my = int(found[k, 0]), int(found[k, 1]), int(found[k, 2])
        unit[REF0 + k], unit[MX0 + 2 * k], unit[MX0 + 2 * k + 1] = r, mx, my
        bits += choice_price(chance, C_REF, int(par[COUNT0 + k]) - 1, r, layer)
        guesses(e.info, e.field, par, k, r, x, y, w, h, own, pair, out)
        same = pair[0, 0] == pair[1, 0] and pair[0, 1] == pair[1, 1]
        p0 = component_price(chance, 0, mx - int(pair[0, 0]))
        p0 += component_price(chance, 1, my - int(pair[0, 1]))
        p0 += choice_price(chance, C_GUESS, 1, 0, layer)
        p1 = component_price(chance, 0, mx - int(pair[1, 0]))
        p1 += component_price(chance, 1, my - int(pair[1, 1]))
        p1 += choice_price(chance, C_GUESS, 1, 1, layer)
        g = 1 if p1 < p0 and not same else 0
        unit[GUESS] |= g << k
        bits += min(p0, p1)
    merged_luma(e, unit, x, y, w, h, wk, wk[TRIAL])
    return inter_trial(e, chance, store, x, y, lw, lh, chroma, best, depth, bits, 0.0, wk[TRIAL],
                       wk)  # fmt: skip


@inner
def decoded(info: Any, par: Any, x: int, y: int, w: int, h: int, own: int) -> bool:
    """Whether a block of luma lies in what is decoded before a leaf."""
    if x < 0 or y < 0 or x + w > par[WIDTH] or y + h > par[HEIGHT]:
        return False
    for j in range(y >> 2, (y + h + 3) >> 2):
        for i in range(x >> 2, (x + w + 3) >> 2):
            if info[j, i, ORDER] >= own:
                return False
    return True


@inner
def copy_leaf(
    e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, own: int, chroma: int,
    best: float, depth: int, extra: float, wk: Any,
) -> float:  # fmt: skip
    """Try a copy from within the frame; when it is cheaper than ``best`` it is kept."""
    w, h = 1 << lw, 1 << lh
    unit = e.info[y >> 2, x >> 2]
    own_chance = chance[chance.size >> 1 :]
    guess = e.cands[6]
    copy_guess(e.info, x, y, own, guess)
    low, chosen_x, chosen_y, chosen_bits = MISSED, 0, 0, 0
    for k in range(2 * COPIES + 1):
        mx, my = int(guess[0]), int(guess[1])
        if k < COPIES:
            mx, my = int(e.copies[k, y >> 3, x >> 3, 0]), int(e.copies[k, y >> 3, x >> 3, 1])
        elif k < 2 * COPIES:  # as the last block of the leaf
            if w + h == 16:
                continue
            yy, xx = (y + h - 8) >> 3, (x + w - 8) >> 3
            mx, my = int(e.copies[k - COPIES, yy, xx, 0]), int(e.copies[k - COPIES, yy, xx, 1])
        if mx == NONE or not decoded(e.info, e.par, x + mx, y + my, w, h, own):
            continue
        copy_block(e.rec[0], x + mx, y + my, w, h, wk[TRIAL])
        bits = component_price(own_chance, 0, mx - int(guess[0]))
        bits += component_price(own_chance, 1, my - int(guess[1]))
        cost = hadamard(e.src[0], x, y, wk[TRIAL], w, h) + e.lam[1] * bits
        if cost < low:
            low, chosen_x, chosen_y, chosen_bits = cost, mx, my, bits
    if low >= MISSED:
        return best
    unit[LW], unit[LH], unit[TYPE], unit[SKIP], unit[MERGED] = lw, lh, INTRA, 0, 0
    unit[MODE], unit[CMODE] = MEAN, DERIVED
    for k in range(7):
        unit[DIR + k] = 0
    unit[COPIED], unit[MX0], unit[MY0] = 1, chosen_x, chosen_y
    unit[CBF] = 0
    bits = chosen_bits + flag_price(own_chance, e.info, F_COPIED, COPIED, x, y, lw, lh, own, 1)
    copy_block(e.rec[0], x + chosen_x, y + chosen_y, w, h, wk[TRIAL])
    cost = extra + e.lam[0] * bits + try_luma(e, chance, x, y, lw, lh, wk[TRIAL], 0, wk)
    if chroma and cost < best:
        fill(e, x, y, w, h)
        cost += try_chroma(e, chance, store, x, y, lw, lh, wk)
    if cost < best:
        best = cost
        fill(e, x, y, w, h)
        keep(e, depth, x, y, w, h, 0)
    unit[COPIED], unit[MX0], unit[MY0] = 0, 0, 0
    return best
