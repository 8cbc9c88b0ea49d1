"""What the encoder tries on screens alone: leaves copied from elsewhere in the frame."""

from __future__ import annotations

from typing import Any

from laconic.codec.video.motion.compiled import inner
from laconic.codec.video.motion.elements import F_COPIED
from laconic.codec.video.motion.inter import (
    CBF,
    CMODE,
    COPIED,
    DIR,
    HEIGHT,
    INTRA,
    LH,
    LW,
    MERGED,
    MODE,
    MX0,
    MY0,
    ORDER,
    SKIP,
    TYPE,
    WIDTH,
)
from laconic.codec.video.motion.intra import DERIVED, MEAN
from laconic.codec.video.motion.prices import component_price, flag_price, hadamard
from laconic.codec.video.motion.rebuild import TRIAL, copy_block
from laconic.codec.video.motion.repeats import COPIES, NONE
from laconic.codec.video.motion.syntax import copy_guess
from laconic.codec.video.motion.trial import MISSED, fill, keep, try_chroma, try_luma


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
