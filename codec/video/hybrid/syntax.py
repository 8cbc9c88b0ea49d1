"""A tree block's decisions in the order of the stream, for the encoder and the decoder alike.

Square nodes of 64 to 8 samples are whole, halved across or along, or quartered; a node of 8 may be
quartered for intra prediction. What a unit of 4 x 4 samples belongs to lies in ``info[rows,
columns, FIELDS]``, levels lie in planes. When reading, the same functions fill both.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.video.hybrid.compiled import inner
from laconic.codec.video.hybrid.inter import (
    CBF,
    CMODE,
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
    ORDER,
    REF0,
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
from laconic.codec.video.hybrid.intra import DERIVED, LINEAR, MEAN, PLANAR
from laconic.codec.video.hybrid.mix import code_bit, code_plain
from laconic.codec.video.hybrid.residual import clear, code_residual, room, sets
from laconic.entropy.jit import jit

TREE = 64
WHOLE, ACROSS, ALONG, QUARTERS = 0, 1, 2, 3  # partitions of a node

SPLITS = [room(n) for n in (4 * 3 * 9, 4 * 3 * 25, 4 * 3 * 16, 4 * 3 * 4, 4 * 3 * 16, 4 * 3)]
SPLITS_SET = sets(4 * 3)
(P0, P1, P2, P3, P4, P5) = SPLITS
FLAG = [room(n) for n in (8 * 9 * 8, 8 * 9 * 4, 8 * 8 * 4, 8 * 16, 8 * 27, 8)]
FLAG_SET = sets(8)
(F0, F1, F2, F3, F4, F5) = FLAG
F_SKIP, F_TYPE, F_MERGED, F_SINE = 0, 1, 2, 3
CHOICE = [room(n) for n in (8 * 8 * 4, 8 * 8 * 8, 8 * 8 * 4, 8 * 8 * 9, 8 * 8, 8 * 8 * 16)]
CHOICE_SET = sets(8 * 2)
(C0, C1, C2, C3, C4, C5) = CHOICE
C_WHICH, C_DIR, C_REF, C_GUESS = 0, 1, 2, 4
MODES = [room(n) for n in (64, 8 * 64, 64 * 36, 64 * 36, 64 * 2, 64)]
MODES_SET = sets(8)
(N0, N1, N2, N3, N4, N5) = MODES
CMODES = [room(n) for n in (8, 8 * 8, 8 * 36, 8 * 8, 8 * 4, 8)]
CMODES_SET = sets(4)
(Q0, Q1, Q2, Q3, Q4, Q5) = CMODES
CBFS = [room(n) for n in (3 * 2 * 16, 3 * 2 * 8 * 4, 3 * 2 * 16 * 4, 3 * 2 * 40, 3 * 2 * 32, 6)]
CBFS_SET = sets(6)
(B0, B1, B2, B3, B4, B5) = CBFS
VECTOR = [room(n) for n in (3 * 20, 3 * 20 * 8, 3 * 20 * 16, 3 * 20 * 16, 3 * 20 * 4, 3 * 20 * 4)]
VECTOR_SET = sets(3 * 3)
(V0, V1, V2, V3, V4, V5) = VECTOR


@inner
def at_left(info: Any, x: int, y: int, own: int) -> int:
    """Column of the unit to the left, -1 unless decoded."""
    if x == 0 or info[y >> 2, (x - 1) >> 2, ORDER] >= own:
        return -1
    return (x - 1) >> 2


@inner
def at_top(info: Any, x: int, y: int, own: int) -> int:
    """Row of the unit above, -1 unless decoded."""
    if y == 0 or info[(y - 1) >> 2, x >> 2, ORDER] >= own:
        return -1
    return (y - 1) >> 2


@inner
def code_part(
    coder: Any, info: Any, par: Any, x: int, y: int, log: int, part: int, own: int
) -> int:
    """How a node that lies in the picture is divided."""
    left, top = at_left(info, x, y, own), at_top(info, x, y, own)
    size = log - 3
    hl, ht, wl, wt = 2, 2, 2, 2
    if left >= 0:
        wl, hl = int(info[y >> 2, left, LW]), int(info[y >> 2, left, LH])
    if top >= 0:
        wt, ht = int(info[top, x >> 2, LW]), int(info[top, x >> 2, LH])
    near = 3 * (0 if left < 0 else 1 if hl >= log else 2) + (
        0 if top < 0 else 1 if wt >= log else 2
    )
    both = min(max((wl + hl), 0), 12) // 3 * 5 + min(wt + ht, 12) // 3
    layer = min(int(par[LAYER]), 3)
    el = int(info[y >> 2, left, ENERGY]) if left >= 0 else 0
    et = int(info[top, x >> 2, ENERGY]) if top >= 0 else 0
    found = 0
    for i in range(3):
        # Whole or not; quartered or halved; across or along.
        bit = part != WHOLE if i == 0 else part == QUARTERS if i == 1 else part == ALONG
        s = size * 3 + i
        got = code_bit(
            coder, 1 if bit else 0, SPLITS_SET + s, P0 + s * 9 + near, P1 + s * 25 + both,
            P2 + s * 16 + 4 * el + et, P3 + s * 4 + layer,
            P4 + s * 16 + min(max(hl - 2, 0), 3) * 4 + min(max(wt - 2, 0), 3), P5 + s,
        )  # fmt: skip
        if i == 0 and not got:
            return WHOLE
        if i == 1 and got:
            return QUARTERS
        found = got
    return ALONG if found else ACROSS


@inner
def code_flag(
    coder: Any, info: Any, par: Any, flag: int, field: int, x: int, y: int, lw: int, lh: int,
    value: int, own: int,
) -> int:  # fmt: skip
    """A flag of a leaf, seen beside that of its neighbours."""
    left, top = at_left(info, x, y, own), at_top(info, x, y, own)
    a = 2 if left < 0 else min(int(info[y >> 2, left, field]), 1)
    b = 2 if top < 0 else min(int(info[top, x >> 2, field]), 1)
    corner = 2
    if left >= 0 and top >= 0 and info[top, left, ORDER] < own:
        corner = min(int(info[top, left, field]), 1)
    size = min(lw + lh - 4, 7)
    layer = min(int(par[LAYER]), 3)
    el = int(info[y >> 2, left, ENERGY]) if left >= 0 else 0
    et = int(info[top, x >> 2, ENERGY]) if top >= 0 else 0
    near = 3 * a + b
    return code_bit(
        coder, value, FLAG_SET + flag, F0 + (flag * 9 + near) * 8 + size,
        F1 + (flag * 9 + near) * 4 + layer, F2 + (flag * 8 + size) * 4 + layer,
        F3 + flag * 16 + 4 * el + et, F4 + flag * 27 + near * 3 + corner, F5 + flag,
    )  # fmt: skip


@inner
def code_choice(
    coder: Any, kind: int, most: int, value: int, lw: int, lh: int, layer: int, near: int
) -> int:
    """A number below or equal to ``most``, as that many ones and a zero."""
    size = min(lw + lh - 4, 7)
    found = 0
    while found < most:
        k = kind * 8 + min(found, 7)
        more = code_bit(
            coder, 1 if value > found else 0, CHOICE_SET + kind * 2 + min(found, 1),
            C0 + k * 4 + min(layer, 3), C1 + k * 8 + size, C2 + k * 4 + min(near, 3),
            C3 + k * 9 + min(near, 8), C4 + k, C5 + k * 16 + min(layer, 3) * 4 + min(near, 3),
        )  # fmt: skip
        if not more:
            break
        found += 1
    return found


@inner
def likely(info: Any, x: int, y: int, own: int, v: Any) -> None:
    """The three likely modes of an intra leaf in ``v[:3]``, and those of its neighbours."""
    left, top = at_left(info, x, y, own), at_top(info, x, y, own)
    a = int(info[y >> 2, left, MODE]) if left >= 0 and info[y >> 2, left, TYPE] == INTRA else MEAN
    b = int(info[top, x >> 2, MODE]) if top >= 0 and info[top, x >> 2, TYPE] == INTRA else MEAN
    if a == b:
        if a < 2:
            v[0], v[1], v[2] = PLANAR, MEAN, 26
        else:
            v[0], v[1], v[2] = a, 2 + (a + 29) % 32, 2 + (a - 1) % 32
    else:
        v[0], v[1] = a, b
        if a != PLANAR and b != PLANAR:
            v[2] = PLANAR
        elif a != MEAN and b != MEAN:
            v[2] = MEAN
        else:
            v[2] = 26
    v[3], v[4] = a, b


@inner
def code_mode(
    coder: Any, info: Any, x: int, y: int, lw: int, lh: int, mode: int, own: int, v: Any
) -> int:
    """The luma mode of an intra leaf: one of three likely ones, or one of the 32 others."""
    likely(info, x, y, own, v)
    m0, m1, m2, a, b = int(v[0]), int(v[1]), int(v[2]), int(v[3]), int(v[4])
    size = min(lw + lh - 4, 7)
    same = 1 if a == b else 0
    for i in range(3):
        m = m0 if i == 0 else m1 if i == 1 else m2
        got = code_bit(
            coder, 1 if mode == m else 0, MODES_SET + i, N0 + i, N1 + size * 64 + i,
            N2 + i * 36 + m, N3 + i * 36 + b, N4 + i * 2 + same, N5 + i,
        )  # fmt: skip
        if got:
            return m
    low, mid, high = min(m0, m1, m2), 0, max(m0, m1, m2)
    mid = m0 + m1 + m2 - low - high
    rest = mode - (1 if mode > low else 0) - (1 if mode > mid else 0) - (1 if mode > high else 0)
    node = 1
    for place in range(4, -1, -1):
        n = min(8 + node, 63)
        bit = code_bit(
            coder, rest >> place & 1, MODES_SET + 3 + place, N0 + n, N1 + size * 64 + n,
            N2 + n * 36 + a, N3 + n * 36 + b, N4 + n * 2 + same, N5 + n,
        )  # fmt: skip
        node = 2 * node + bit
    found = node - 32
    if found >= low:
        found += 1
    if found >= mid:
        found += 1
    if found >= high:
        found += 1
    return found


@inner
def code_chroma_mode(coder: Any, luma: int, lw: int, lh: int, mode: int) -> int:
    """DERIVED, LINEAR, or one of four: planar, across, along, mean."""
    size = min(lw + lh - 4, 7)
    node = 0
    value = 0 if mode == DERIVED else 1 if mode == LINEAR else 2
    for i in range(2):
        got = code_bit(
            coder, 1 if value == (1 - i) else 0, CMODES_SET + i, Q0 + i, Q1 + i * 8 + size,
            Q2 + i * 36 + luma, Q3 + i, Q4 + i, Q5 + i,
        )  # fmt: skip
        if got:
            return LINEAR if i == 0 else DERIVED
    index = 0 if mode == 0 else 1 if mode == 10 else 2 if mode == 26 else 3
    for place in range(1, -1, -1):
        n = 2 if place else 3 + node
        bit = code_bit(
            coder, index >> place & 1, CMODES_SET + 2, Q0 + n, Q1 + n * 8 + size,
            Q2 + n * 36 + luma, Q3 + n, Q4 + n, Q5 + n,
        )  # fmt: skip
        node = 2 * node + bit
    index = node
    return 0 if index == 0 else 10 if index == 1 else 26 if index == 2 else 1


@inner
def code_component(
    coder: Any, which: int, value: int, lw: int, lh: int, layer: int, other: int, dist: int
) -> int:
    """A component of a vector's difference: zero, one, Exp-Golomb from two on; sign."""
    size = min(lw + lh - 4, 7)
    wanted = abs(value)
    found = 0
    for i in range(2):
        s = which * 20 + i
        got = code_bit(
            coder, 1 if wanted > i else 0, VECTOR_SET + which * 3 + i, V0 + s, V1 + s * 8 + size,
            V2 + s * 16 + min(other, 15), V3 + s * 16 + min(dist, 15), V4 + s * 4 + min(layer, 3),
            V5 + s * 4 + min(other, 3),
        )  # fmt: skip
        if not got:
            break
        found = i + 1
    if found == 2:
        rest = wanted - 1
        length = 0
        while length < 15:
            s = which * 20 + 2 + length
            got = code_bit(
                coder, 1 if rest >> (length + 1) else 0, VECTOR_SET + which * 3 + 2, V0 + s,
                V1 + s * 8 + size, V2 + s * 16 + min(other, 15), V3 + s * 16 + min(dist, 15),
                V4 + s * 4 + min(layer, 3), V5 + s * 4 + min(other, 3),
            )  # fmt: skip
            if not got:
                break
            length += 1
        found = (1 << length) + 1
        if length:
            found += code_plain(coder, rest & ((1 << length) - 1), length)
    if found == 0:
        return 0
    return -found if code_plain(coder, 1 if value < 0 else 0, 1) else found


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
def code_cbf(
    coder: Any, plane: int, value: int, kind: int, lw: int, lh: int, around: int, mode: int,
    layer: int, other: int,
) -> int:  # fmt: skip
    """Whether a block has levels."""
    s = plane * 2 + (kind & 1)
    return code_bit(
        coder, value, CBFS_SET + s, B0 + s * 16 + around,
        B1 + (s * 8 + min(lw + lh - 4, 7)) * 4 + min(layer, 3), B2 + (s * 16 + around) * 4 + other,
        B3 + s * 40 + min(mode, 39), B4 + s * 32 + min(lw + lh - 4, 7) * 4 + other, B5 + s,
    )  # fmt: skip


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
                    unit[SINED] = code_flag(
                        coder, info, par, F_SINE + 2 * inter, SINED, x, y, lw, lh,
                        int(unit[SINED]), own,
                    )  # fmt: skip
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
    if not inter:
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


@jit
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
