"""What the encoder chooses: partitions, modes, vectors and levels, by rate and distortion.

Candidates are ranked by the sum of absolute Hadamard coefficients (`prices`), the best are coded on
trial (`trial`). Here are the walk over the tree, from the whole to the quarters, the choice of a
leaf's type, and the modes of intra leaves; leaves with vectors of their own are in `inter_search`.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.video.motion.compiled import inner, outer
from laconic.codec.video.motion.elements import (
    ACROSS,
    ALONG,
    C_WHICH,
    F_COPIED,
    F_MERGED,
    F_SKIP,
    F_TYPE,
    QUARTERS,
    WHOLE,
    likely,
)
from laconic.codec.video.motion.inter import (
    CBF,
    CMODE,
    COPIED,
    DEPTH,
    DIR,
    HEIGHT,
    INTER,
    INTRA,
    KEY,
    LAYER,
    LH,
    LW,
    MERGE,
    MERGED,
    MODE,
    NEVER,
    ORDER,
    SCREEN,
    SKIP,
    TYPE,
    WHICH,
    WIDTH,
    merge_candidates,
)
from laconic.codec.video.motion.inter_search import copy_leaf, inter_trial, search_leaf
from laconic.codec.video.motion.intra import DERIVED, MEAN, gather, predict
from laconic.codec.video.motion.prices import (
    TAKEN,
    cheapest,
    choice_price,
    flag_price,
    hadamard,
    mode_price,
    part_price,
)
from laconic.codec.video.motion.rebuild import EDGES, LEFT, LINE, TOP, TRIAL
from laconic.codec.video.motion.syntax import put_order
from laconic.codec.video.motion.trial import (
    INTRA_KEPT,
    MERGE_KEPT,
    MISSED,
    NEXT,
    STOP_PARTS,
    STOP_SEARCH,
    fill,
    keep,
    plain_chroma,
    try_chroma,
    try_luma,
)
from laconic.codec.video.motion.vectors import merged_luma


@inner
def edges(e: Any, x: int, y: int, w: int, h: int, own: int, wk: Any) -> None:
    """The decoded luma around a leaf."""
    gather(e.rec[0], int(e.par[HEIGHT]), int(e.par[WIDTH]), x, y, w, h, e.info[:, :, ORDER], 2, 2,
           own, int(e.par[DEPTH]), wk[EDGES, TOP], wk[EDGES, LEFT])  # fmt: skip


@inner
def intra_leaf(
    e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, own: int, chroma: int,
    best: float, depth: int, extra: float, wk: Any,
) -> float:  # fmt: skip
    """Try intra prediction; when it is cheaper than ``best`` it is kept. Returns the lower cost."""
    w, h = 1 << lw, 1 << lh
    unit = e.info[y >> 2, x >> 2]
    edges(e, x, y, w, h, own, wk)
    smooth = 1 if w * h >= 256 else 0
    v = e.cands[130]
    likely(e.info, x, y, own, v)
    costs = wk[EDGES, 3]
    for m in range(35):
        costs[m] = TAKEN
    pivot, pivot_cost = 0, TAKEN
    for stage in range(4):
        centre = pivot
        for i in range(13):
            if stage == 0:
                m = i if i < 2 else 2 + 4 * (i - 2)
                if i > 10:
                    m = int(v[i - 11])
            elif stage < 3:
                if i > 1 or centre < 2:
                    break
                r = 2 if stage == 1 else 1
                m = centre + (r if i else -r)
            else:
                if i > 2:
                    break
                m = int(v[i])
            if m < 0 or m > 34 or (stage in (1, 2) and m < 2) or costs[m] < TAKEN:
                continue
            predict(
                m,
                w,
                h,
                wk[EDGES, TOP],
                wk[EDGES, LEFT],
                smooth,
                int(e.par[DEPTH]),
                wk[TRIAL],
                wk[EDGES, LINE],
            )
            cost = hadamard(e.src[0], x, y, wk[TRIAL], w, h)
            cost += int(e.lam[1] * mode_price(chance, v, m))
            costs[m] = cost
            if m >= 2 and cost < pivot_cost:
                pivot, pivot_cost = m, cost
    top = TAKEN
    for rank in range(int(e.par[INTRA_KEPT])):
        chosen = cheapest(costs, 35, top)
        if chosen < 0:
            break
        if rank == 0:
            top = int(costs[chosen])
        costs[chosen] = TAKEN
        unit[LW], unit[LH], unit[TYPE], unit[SKIP], unit[MERGED] = lw, lh, INTRA, 0, 0
        unit[MODE], unit[CMODE] = chosen, DERIVED
        for k in range(7):
            unit[DIR + k] = 0
        unit[CBF], unit[COPIED] = 0, 0
        likely(e.info, x, y, own, v)
        bits = mode_price(chance, v, chosen)
        predict(
            chosen,
            w,
            h,
            wk[EDGES, TOP],
            wk[EDGES, LEFT],
            smooth,
            int(e.par[DEPTH]),
            wk[TRIAL],
            wk[EDGES, LINE],
        )
        cost = extra + e.lam[0] * bits + try_luma(e, chance, x, y, lw, lh, wk[TRIAL], 0, wk)
        if chroma and cost < best:
            fill(e, x, y, w, h)
            cost += try_chroma(e, chance, store, x, y, lw, lh, wk)
            # Prediction of chroma used the same borders.
            edges(e, x, y, w, h, own, wk)
        if cost < best:
            best = cost
            fill(e, x, y, w, h)
            keep(e, depth, x, y, w, h, 0)
    return best


@inner
def drawn_leaf(
    e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, own: int, chroma: int,
    best: float, depth: int, extra: float, wk: Any,
) -> float:  # fmt: skip
    """As `intra_leaf`; on screens copies are tried first."""
    if e.par[SCREEN] and min(lw, lh) > 2:
        best = copy_leaf(e, chance, store, x, y, lw, lh, own, chroma, best, depth, extra, wk)
        extra += e.lam[0] * flag_price(
            chance[chance.size >> 1 :], e.info, F_COPIED, COPIED, x, y, lw, lh, own, 0
        )
    return intra_leaf(e, chance, store, x, y, lw, lh, own, chroma, best, depth, extra, wk)


@inner
def settled(e: Any, depth: int, x: int, y: int, w: int, h: int, bits: int) -> bool:
    """Whether a leaf was kept without a residual and loses little everywhere.

    Little is a squared error that ``bits`` bits are worth, in each block of 8 x 8: what moves in a
    corner of a large block is not outvoted by the rest.
    """
    if e.kept_info[depth, 0, 0, SKIP] != 1:
        return False
    most = e.lam[0] * 256 * bits
    shown = e.kept[depth, 1]
    for top in range(0, h, 8):
        for left in range(0, w, 8):
            error = 0
            for j in range(top, min(top + 8, h)):
                for i in range(left, min(left + 8, w)):
                    d = int(e.src[0, y + j, x + i]) - int(shown[j, i])
                    error += d * d
            if error > most:
                return False
    return True


@inner
def leaf(
    e: Any, chance: Any, store: Any, x: int, y: int, lw: int, lh: int, forced: int, chroma: int,
    depth: int, wk: Any,
) -> float:  # fmt: skip
    """Choose everything of a leaf; frame arrays hold the choice. Returns its cost."""
    w, h = 1 << lw, 1 << lh
    par = e.par
    own = int(e.par[NEXT])
    e.par[NEXT] += 1
    put_order(e.info, x, y, w, h, own)
    unit = e.info[y >> 2, x >> 2]
    unit[LW], unit[LH] = lw, lh
    best = MISSED
    lam, layer = e.lam[0], int(par[LAYER])
    if par[KEY]:
        best = drawn_leaf(e, chance, store, x, y, lw, lh, own, chroma, best, depth, 0.0, wk)
        keep(e, depth, x, y, w, h, 1)
        return best
    no_skip = flag_price(chance, e.info, F_SKIP, SKIP, x, y, lw, lh, own, 0)
    if forced == INTRA:
        no_skip = 0
    inter_bits = no_skip
    intra_bits = no_skip
    if forced < 0 and max(lw, lh) < 6:
        inter_bits += flag_price(chance, e.info, F_TYPE, TYPE, x, y, lw, lh, own, 1)
        intra_bits += flag_price(chance, e.info, F_TYPE, TYPE, x, y, lw, lh, own, 0)
    if forced != INTRA:
        skip = flag_price(chance, e.info, F_SKIP, SKIP, x, y, lw, lh, own, 1)
        merged = flag_price(chance, e.info, F_MERGED, MERGED, x, y, lw, lh, own, 1)
        searched = flag_price(chance, e.info, F_MERGED, MERGED, x, y, lw, lh, own, 0)
        merge = e.cands[0:MERGE]
        merge_candidates(e.info, e.field, par, x, y, w, h, own, merge, e.cands[6])
        ranks = e.cands[7]
        for i in range(MERGE):
            unit[TYPE], unit[MERGED], unit[MODE], unit[WHICH] = INTER, 1, MEAN, i
            ranks[i] = TAKEN
            known = False
            for j in range(i):
                same = True
                for k in range(7):
                    same = same and merge[i, k] == merge[j, k]
                known = known or same
            if known:
                continue
            for k in range(7):
                unit[DIR + k] = merge[i, k]
            merged_luma(e, unit, x, y, w, h, wk, wk[TRIAL])
            ranks[i] = hadamard(e.src[0], x, y, wk[TRIAL], w, h) + int(
                e.lam[1] * choice_price(chance, C_WHICH, MERGE - 1, i, layer)
            )
        top = TAKEN
        for rank in range(int(e.par[MERGE_KEPT])):
            chosen = cheapest(ranks, MERGE, top)
            if chosen < 0:
                break
            if rank == 0:
                top = int(ranks[chosen])
            ranks[chosen] = TAKEN
            unit[LW], unit[LH] = lw, lh
            unit[TYPE], unit[MERGED], unit[MODE], unit[WHICH] = INTER, 1, MEAN, chosen
            for k in range(7):
                unit[DIR + k] = merge[chosen, k]
            merged_luma(e, unit, x, y, w, h, wk, wk[TRIAL])
            price = choice_price(chance, C_WHICH, MERGE - 1, chosen, layer)
            best = inter_trial(e, chance, store, x, y, lw, lh, chroma, best, depth,
                               float(inter_bits + merged + price), float(skip + price), wk[TRIAL],
                               wk)  # fmt: skip
        if not settled(e, depth, x, y, w, h, int(par[STOP_SEARCH])):
            best = search_leaf(e, chance, store, x, y, lw, lh, chroma, best, depth, own,
                               float(inter_bits + searched), top, wk)  # fmt: skip
        if e.kept_info[depth, 0, 0, SKIP] == 1:
            keep(e, depth, x, y, w, h, 1)
            return best
    if forced != INTER and max(lw, lh) < 6:
        best = drawn_leaf(e, chance, store, x, y, lw, lh, own, chroma, best, depth,
                          lam * intra_bits, wk)  # fmt: skip
    keep(e, depth, x, y, w, h, 1)
    return best


@inner
def forget(e: Any, x: int, y: int, side: int) -> None:
    """Nothing of a node is decoded."""
    for j in range(side >> 2):
        for i in range(side >> 2):
            e.info[(y >> 2) + j, (x >> 2) + i, ORDER] = NEVER


@outer
def node(e: Any, chance: Any, store: Any, x: int, y: int, log: int, wk: Any) -> float:
    """Choose the partition of a node and all below; frame arrays hold it. Returns its cost."""
    par = e.par
    if x >= par[WIDTH] or y >= par[HEIGHT]:
        return 0.0
    side, half = 1 << log, 1 << (log - 1)
    inside = x + side <= par[WIDTH] and y + side <= par[HEIGHT]
    own = int(e.par[NEXT])
    lam = e.lam[0]
    level = log - 3
    best, done = MISSED, False
    box = 6 + level
    if inside and not (par[KEY] and log == 6):
        forget(e, x, y, side)
        cost = lam * part_price(chance, e.info, par, x, y, log, WHOLE, own)
        best = cost + leaf(e, chance, store, x, y, log, log, -1, 1, level, wk)
        keep(e, box, x, y, side, side, 0)
        done = settled(e, level, x, y, side, side, int(par[STOP_PARTS]))
        if not done:
            for part in range(ACROSS, ALONG + 1):
                if log == 6:
                    break
                forget(e, x, y, side)
                cost = lam * part_price(chance, e.info, par, x, y, log, part, own)
                lw, lh = (log, log - 1) if part == ACROSS else (log - 1, log)
                forced = -1
                none = True
                for i in range(2):
                    lx, ly = (x, y + half * i) if part == ACROSS else (x + half * i, y)
                    cost += leaf(e, chance, store, lx, ly, lw, lh, forced, 1 if log > 3 else 0,
                                 level, wk)  # fmt: skip
                    none = none and e.info[ly >> 2, lx >> 2, SKIP] == 1
                    if log == 3 and not par[KEY]:
                        forced = int(e.info[ly >> 2, lx >> 2, TYPE])
                    if cost >= best:
                        break
                if cost >= best:
                    continue
                if log == 3:
                    cost += node_chroma(e, chance, store, x, y, none, lw, lh, wk)
                if cost < best:
                    best = cost
                    keep(e, box, x, y, side, side, 0)
    if not done and (log > 3 or inside):
        if inside:
            forget(e, x, y, side)
        cost = 0.0
        if inside:
            cost = lam * part_price(chance, e.info, par, x, y, log, QUARTERS, own)
        for i in range(4):
            cx, cy = x + half * (i & 1), y + half * (i >> 1)
            if log > 3:
                cost += node(e, chance, store, cx, cy, log - 1, wk)
            else:
                cost += leaf(e, chance, store, cx, cy, 2, 2, INTRA, 0, level, wk)
            if cost >= best:
                break
        if log == 3 and cost < best:
            cost += node_chroma(e, chance, store, x, y, False, 2, 2, wk)
        if cost < best:
            return cost
    keep(e, box, x, y, side, side, 1)
    return best


@inner
def node_chroma(e: Any, chance: Any, store: Any, x: int, y: int, none: bool, lw: int, lh: int,
                wk: Any) -> float:  # fmt: skip
    """Chroma of a divided node of 8."""
    if none:
        total = 0.0
        for yy in range(y, y + 8, 1 << lh):
            for xx in range(x, x + 8, 1 << lw):
                total += plain_chroma(e, store, xx, yy, 1 << lw, 1 << lh, wk)
        return total
    return try_chroma(e, chance, store, x, y, 3, 3, wk)
