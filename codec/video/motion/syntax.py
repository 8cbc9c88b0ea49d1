"""A tree block's decisions in the order of the stream, for the encoder and the decoder alike.

Square nodes of 64 to 8 samples are whole, halved across or along, or quartered; a node of 8 may be
quartered for intra prediction. What a unit of 4 x 4 samples belongs to lies in ``info[rows,
columns, FIELDS]``, levels lie in planes. When reading, the same functions fill both. How a single
decision is coded, and by which contexts, is in `elements`.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.video.motion.compiled import inner, outer
from laconic.codec.video.motion.elements import (
    ACROSS,
    ALONG,
    C_DIR,
    C_GUESS,
    C_REF,
    C_WHICH,
    F_COPIED,
    F_MERGED,
    F_PLAIN,
    F_SINE,
    F_SKIP,
    F_TYPE,
    QUARTERS,
    WHOLE,
    at_left,
    at_top,
    code_cbf,
    code_choice,
    code_chroma_mode,
    code_component,
    code_flag,
    code_mode,
    code_part,
)
from laconic.codec.video.motion.inter import (
    CBF,
    CMODE,
    COPIED,
    COUNT0,
    COUNT1,
    DIR,
    ENERGY,
    GRAY,
    GUESS,
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
    MX0,
    MY0,
    ORDER,
    REF0,
    SCREEN,
    SINED,
    SKIP,
    SX,
    SY,
    TYPE,
    WHICH,
    WIDTH,
    clamp_vector,
    guesses,
    merge_candidates,
)
from laconic.codec.video.motion.intra import DERIVED, MEAN
from laconic.codec.video.motion.mix import of_screens
from laconic.codec.video.motion.rebuild import COSINE, PLAIN, SINE
from laconic.codec.video.motion.residual import clear, code_residual


@inner
def code_motion(
    coder: Any, info: Any, field: Any, par: Any, x: int, y: int, w: int, h: int, lw: int, lh: int,
    own: int, scratch: Any,
) -> None:  # fmt: skip
    """Direction, references and vectors of a leaf that is not merged, in its first unit."""
    unit = info[y >> 2, x >> 2]
    layer = int(par[LAYER])
    left = at_left(info, x, y, own)
    near = 0
    if left >= 0 and info[y >> 2, left, TYPE] == INTER:
        near = 1 + int(info[y >> 2, left, DIR])
    direction = 0
    if par[COUNT1]:
        small = 1 if w + h == 12 else 2
        value = int(unit[DIR])
        value = 2 - value if small == 2 else value  # both first
        got = code_choice(coder, C_DIR + 2 * (small == 1), small, value, lw, lh, layer, near)
        direction = 2 - got if small == 2 else got
    unit[DIR] = direction
    v = scratch[0]
    pair = scratch[1:3]
    for k in range(2):
        if direction == 1 - k:
            unit[REF0 + k], unit[MX0 + 2 * k], unit[MX0 + 2 * k + 1] = 0, 0, 0
            continue
        count = int(par[COUNT0 + k])
        r = code_choice(coder, C_REF, count - 1, int(unit[REF0 + k]), lw, lh, layer, 3 * k + near)
        unit[REF0 + k] = r
        guesses(info, field, par, k, r, x, y, w, h, own, pair, v)
        g = 0
        if pair[0, 0] != pair[1, 0] or pair[0, 1] != pair[1, 1]:
            g = code_choice(coder, C_GUESS, 1, int(unit[GUESS]) >> k & 1, lw, lh, layer, k)
        unit[GUESS] = (int(unit[GUESS]) & ~(1 << k)) | g << k
        gx, gy = int(pair[g, 0]), int(pair[g, 1])
        dist = min(abs(int(par[16 + 4 * k + r])), 15)
        dx = code_component(coder, 0, int(unit[MX0 + 2 * k]) - gx, lw, lh, layer, 0, dist)
        dy = code_component(
            coder, 1, int(unit[MX0 + 2 * k + 1]) - gy, lw, lh, layer, min(abs(dx), 15), dist
        )
        v[0], v[1] = gx + dx, gy + dy
        clamp_vector(par, x, y, w, h, v, 0)
        unit[MX0 + 2 * k], unit[MX0 + 2 * k + 1] = v[0], v[1]


@inner
def spread(info: Any, x: int, y: int, w: int, h: int) -> None:
    """The first unit's fields for all units of a leaf."""
    ux, uy = x >> 2, y >> 2
    for j in range(h >> 2):
        for i in range(w >> 2):
            if i or j:
                for k in range(ENERGY + 1):
                    if k != CBF:
                        info[uy + j, ux + i, k] = info[uy, ux, k]


@inner
def energy_class(total: int) -> int:
    """0 to 3 for a sum of magnitudes."""
    return 0 if total == 0 else 1 if total < 3 else 2 if total < 9 else 3


@inner
def code_form(
    coder: Any, info: Any, par: Any, x: int, y: int, lw: int, lh: int, inter: int, form: int,
    own: int,
) -> int:  # fmt: skip
    """The transform of a leaf's luma; `PLAIN` on screens alone."""
    flag = 2 * inter
    if par[SCREEN] and code_flag(
        of_screens(coder), info, par, F_PLAIN + flag, SINED, x, y, lw, lh,
        1 if form == PLAIN else 0, own,
    ):  # fmt: skip
        return PLAIN
    sine = code_flag(coder, info, par, F_SINE + flag, SINED, x, y, lw, lh,
                     1 if form == SINE else 0, own)  # fmt: skip
    return SINE if sine else COSINE


@inner
def copy_guess(info: Any, x: int, y: int, own: int, v: Any) -> None:
    """In ``v[:2]``: the vector of the copy to the left or above, else zero."""
    left, top = at_left(info, x, y, own), at_top(info, x, y, own)
    v[0], v[1] = 0, 0
    if left >= 0 and info[y >> 2, left, TYPE] == INTRA and info[y >> 2, left, COPIED]:
        v[0], v[1] = info[y >> 2, left, MX0], info[y >> 2, left, MY0]
    elif top >= 0 and info[top, x >> 2, TYPE] == INTRA and info[top, x >> 2, COPIED]:
        v[0], v[1] = info[top, x >> 2, MX0], info[top, x >> 2, MY0]


@inner
def code_copy(
    coder: Any, info: Any, par: Any, x: int, y: int, lw: int, lh: int, own: int, v: Any
) -> int:
    """Whether an intra leaf is a copy from within the frame, and from where."""
    unit = info[y >> 2, x >> 2]
    mine, layer = of_screens(coder), int(par[LAYER])
    if not code_flag(mine, info, par, F_COPIED, COPIED, x, y, lw, lh, int(unit[COPIED]), own):
        unit[COPIED] = 0
        return 0
    copy_guess(info, x, y, own, v)
    gx, gy = int(v[0]), int(v[1])
    dx = code_component(mine, 0, int(unit[MX0]) - gx, lw, lh, layer, 0, 0)
    dy = code_component(mine, 1, int(unit[MY0]) - gy, lw, lh, layer, min(abs(dx), 15), 0)
    unit[COPIED] = 1
    unit[MX0] = min(max(gx + dx, -(1 << 15)), 1 << 15)
    unit[MY0] = min(max(gy + dy, -(1 << 15)), 1 << 15)
    unit[MODE] = MEAN
    return 1


@inner
def code_luma(
    coder: Any, info: Any, par: Any, levels: Any, x: int, y: int, lw: int, lh: int, own: int,
    size: Any,
) -> None:  # fmt: skip
    """The luma levels of a leaf, in blocks of at most 32."""
    unit = info[y >> 2, x >> 2]
    inter = int(unit[TYPE])
    mode = 37 if inter else int(unit[MODE])
    layer = min(int(par[LAYER]), 3)
    w, h = 1 << lw, 1 << lh
    bw, bh = min(lw, 5), min(lh, 5)
    for ty in range(0, h, 1 << bh):
        for tx in range(0, w, 1 << bw):
            ux, uy = (x + tx) >> 2, (y + ty) >> 2
            first = info[uy, ux]
            inside = 1 if tx or ty else 0
            el, et = 0, 0
            if tx or (x > 0 and info[uy, ux - 1, ORDER] <= own):
                el = int(info[uy, ux - 1, ENERGY])
            if ty or (y > 0 and info[uy - 1, ux, ORDER] <= own):
                et = int(info[uy - 1, ux, ENERGY])
            around = 4 * el + et
            cbf = code_cbf(
                coder, 0, int(first[CBF]) & 1, inter, bw, bh, around, mode, layer, inside
            )
            first[CBF] = (int(first[CBF]) & ~1) | cbf
            total = 0
            if cbf:
                if bw < 5 and bh < 5:
                    unit[SINED] = code_form(coder, info, par, x, y, lw, lh, inter,
                                            int(unit[SINED]), own)  # fmt: skip
                if unit[SINED] == PLAIN:
                    total = code_residual(of_screens(coder), levels, x + tx, y + ty, bw, bh, inter,
                                          mode, around, layer, size)  # fmt: skip
                else:
                    total = code_residual(
                        coder, levels, x + tx, y + ty, bw, bh, inter, mode, around, layer, size
                    )
            else:
                clear(levels, x + tx, y + ty, 1 << bw, 1 << bh)
                if bw < 5 and bh < 5:
                    unit[SINED] = 0
            energy = energy_class(total)
            for j in range(1 << (bh - 2)):
                for i in range(1 << (bw - 2)):
                    info[uy + j, ux + i, ENERGY] = energy


@inner
def code_chroma(
    coder: Any, info: Any, par: Any, levels: Any, x: int, y: int, lw: int, lh: int, size: Any
) -> None:
    """Chroma mode and levels of a leaf, or of a node of 8 whatever its leaves."""
    unit = info[y >> 2, x >> 2]
    inter = int(unit[TYPE])
    sx, sy = int(par[SX]), int(par[SY])
    layer = min(int(par[LAYER]), 3)
    mode = 37
    if not inter and unit[COPIED]:
        mode = DERIVED
    elif not inter:
        mode = code_chroma_mode(coder, int(unit[MODE]), lw, lh, int(unit[CMODE]))
        unit[CMODE] = mode
        if mode == DERIVED:
            mode = int(unit[MODE])
    w, h = 1 << (lw - sx), 1 << (lh - sy)
    bw, bh = min(lw - sx, 5), min(lh - sy, 5)
    kind = 2 + inter
    for ty in range(0, h, 1 << bh):
        for tx in range(0, w, 1 << bw):
            ux, uy = (x + (tx << sx)) >> 2, (y + (ty << sy)) >> 2
            first = info[uy, ux]
            energy = int(first[ENERGY])
            cx, cy = (x >> sx) + tx, (y >> sy) + ty
            had = 0
            for plane in range(1, 3):
                target = levels[plane]
                around = 4 * energy + had
                cbf = code_cbf(
                    coder, plane, int(first[CBF]) >> plane & 1, inter, bw, bh, around, mode, layer,
                    1 if tx or ty else 0,
                )  # fmt: skip
                first[CBF] = (int(first[CBF]) & ~(1 << plane)) | cbf << plane
                if cbf:
                    total = code_residual(
                        coder, target, cx, cy, bw, bh, kind, mode, around, layer, size
                    )
                    had = energy_class(total)
                else:
                    clear(target, cx, cy, 1 << bw, 1 << bh)


@inner
def code_leaf(
    coder: Any, info: Any, field: Any, par: Any, luma: Any, x: int, y: int, lw: int, lh: int,
    own: int, forced: int, scratch: Any, size: Any,
) -> None:  # fmt: skip
    """Everything of a leaf but chroma. ``forced``: its type, or -1."""
    unit = info[y >> 2, x >> 2]
    w, h = 1 << lw, 1 << lh
    layer = int(par[LAYER])
    if coder.state[4] == 1:
        for k in range(ENERGY + 1):
            if k != ORDER:
                unit[k] = 0
    unit[LW], unit[LH] = lw, lh
    if max(lw, lh) == 6:
        forced = INTER
    if par[KEY]:
        unit[TYPE], unit[SKIP], unit[MERGED] = INTRA, 0, 0
    else:
        if forced != INTRA:
            unit[SKIP] = code_flag(
                coder, info, par, F_SKIP, SKIP, x, y, lw, lh, int(unit[SKIP]), own
            )
        else:
            unit[SKIP] = 0
        if unit[SKIP]:
            unit[TYPE], unit[MERGED] = INTER, 1
        elif forced < 0:
            unit[TYPE] = code_flag(
                coder, info, par, F_TYPE, TYPE, x, y, lw, lh, int(unit[TYPE]), own
            )
        else:
            unit[TYPE] = forced
    if unit[TYPE] == INTRA:
        copied = 0
        if par[SCREEN] and min(lw, lh) > 2:
            copied = code_copy(coder, info, par, x, y, lw, lh, own, scratch[0])
        if not copied:
            unit[MODE] = code_mode(coder, info, x, y, lw, lh, int(unit[MODE]), own, scratch[0])
        unit[MERGED] = 0
    else:
        if not unit[SKIP]:
            unit[MERGED] = code_flag(
                coder, info, par, F_MERGED, MERGED, x, y, lw, lh, int(unit[MERGED]), own
            )
        unit[MODE] = MEAN
        if unit[MERGED]:
            which = code_choice(
                coder, C_WHICH, MERGE - 1, int(unit[WHICH]), lw, lh, layer, int(unit[SKIP])
            )
            unit[WHICH] = which
            merge_candidates(info, field, par, x, y, w, h, own, scratch[4:10], scratch[0])
            for k in range(7):
                unit[DIR + k] = scratch[4 + which, k]
        else:
            code_motion(coder, info, field, par, x, y, w, h, lw, lh, own, scratch)
    spread(info, x, y, w, h)
    if unit[SKIP]:
        bw, bh = min(lw, 5), min(lh, 5)
        for ty in range(0, h, 1 << bh):
            for tx in range(0, w, 1 << bw):
                clear(luma, x + tx, y + ty, 1 << bw, 1 << bh)
        for j in range(h >> 2):
            for i in range(w >> 2):
                info[(y >> 2) + j, (x >> 2) + i, ENERGY] = 0
                info[(y >> 2) + j, (x >> 2) + i, SINED] = 0
                info[(y >> 2) + j, (x >> 2) + i, CBF] &= ~1
    else:
        code_luma(coder, info, par, luma, x, y, lw, lh, own, size)
        sined = int(unit[SINED])
        for j in range(h >> 2):
            for i in range(w >> 2):
                info[(y >> 2) + j, (x >> 2) + i, SINED] = sined


@inner
def put_order(info: Any, x: int, y: int, w: int, h: int, own: int) -> None:
    """A leaf's place in coding order."""
    for j in range(h >> 2):
        for i in range(w >> 2):
            info[(y >> 2) + j, (x >> 2) + i, ORDER] = own


@outer
def code_tree(
    coder: Any, info: Any, field: Any, par: Any, levels: Any, x0: int, y0: int,
    own: int, scratch: Any, size: Any,
) -> int:  # fmt: skip
    """A tree block at (x0, y0); returns the next leaf's order."""
    stack = scratch[10:138]
    stack[0, 0], stack[0, 1], stack[0, 2] = x0, y0, 6
    n = 1
    reading = coder.state[4] == 1
    while n:
        n -= 1
        x, y, log = int(stack[n, 0]), int(stack[n, 1]), int(stack[n, 2])
        if x >= par[WIDTH] or y >= par[HEIGHT]:
            continue
        side = 1 << log
        unit = info[y >> 2, x >> 2]
        part = QUARTERS
        inside = x + side <= par[WIDTH] and y + side <= par[HEIGHT]
        if inside and not (par[KEY] and log == 6):
            if reading:
                part = code_part(coder, info, par, x, y, log, 0, own)
            else:
                lw, lh = int(unit[LW]), int(unit[LH])
                part = WHOLE if lw == log and lh == log else QUARTERS
                if lw == log and lh == log - 1:
                    part = ACROSS
                elif lh == log and lw == log - 1:
                    part = ALONG
                part = code_part(coder, info, par, x, y, log, part, own)
        if part == QUARTERS and log > 3:
            half = side >> 1
            for i in range(3, -1, -1):
                stack[n, 0], stack[n, 1] = x + half * (i & 1), y + half * (i >> 1)
                stack[n, 2] = log - 1
                n += 1
            continue
        leaves = 1 if part == WHOLE else 4 if part == QUARTERS else 2
        lw = log - (1 if part in (ALONG, QUARTERS) else 0)
        lh = log - (1 if part in (ACROSS, QUARTERS) else 0)
        forced = INTRA if part == QUARTERS else -1
        skipped = 1
        for i in range(leaves):
            lx = x + (side >> 1) * (i & 1 if part != ACROSS else 0)
            ly = y + (side >> 1) * (i >> 1 if part == QUARTERS else i if part == ACROSS else 0)
            if reading:
                put_order(info, lx, ly, 1 << lw, 1 << lh, own)
            code_leaf(coder, info, field, par, levels[0], lx, ly, lw, lh,
                      int(info[ly >> 2, lx >> 2, ORDER]), forced, scratch, size)  # fmt: skip
            own = int(info[ly >> 2, lx >> 2, ORDER]) + 1
            skip = int(info[ly >> 2, lx >> 2, SKIP])
            skipped &= skip
            if log == 3 and not par[KEY]:
                forced = int(info[ly >> 2, lx >> 2, TYPE])
            if log > 3 and not par[GRAY]:
                if skip:
                    clear_chroma(par, levels, lx, ly, 1 << lw, 1 << lh)
                else:
                    code_chroma(coder, info, par, levels, lx, ly, lw, lh, size)
        if log == 3 and not par[GRAY]:
            if skipped:
                clear_chroma(par, levels, x, y, 8, 8)
            else:
                code_chroma(coder, info, par, levels, x, y, 3, 3, size)
    return own


@inner
def clear_chroma(par: Any, levels: Any, x: int, y: int, w: int, h: int) -> None:
    """No chroma levels."""
    sx, sy = int(par[SX]), int(par[SY])
    clear(levels[1], x >> sx, y >> sy, w >> sx, h >> sy)
    clear(levels[2], x >> sx, y >> sy, w >> sx, h >> sy)
