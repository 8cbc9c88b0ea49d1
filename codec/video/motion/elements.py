"""The elements of the stream, each with its contexts: partitions, flags, choices, modes, vectors.

Every function here codes one decision and is given what it may be guessed from; reading, it returns
what it found. In which order a tree block's decisions come is in `syntax`; levels are in
`residual`. What the encoder takes each element to cost is in `prices`.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.video.motion.compiled import inner
from laconic.codec.video.motion.inter import ENERGY, INTRA, LAYER, LH, LW, MODE, ORDER, TYPE
from laconic.codec.video.motion.intra import DERIVED, LINEAR, MEAN, PLANAR
from laconic.codec.video.motion.mix import code_bit, code_plain
from laconic.codec.video.motion.residual import room, sets

WHOLE, ACROSS, ALONG, QUARTERS = 0, 1, 2, 3  # partitions of a node

SPLITS = [room(n) for n in (4 * 3 * 9, 4 * 3 * 25, 4 * 3 * 16, 4 * 3 * 4, 4 * 3 * 16, 4 * 3)]
SPLITS_SET = sets(4 * 3)
(P0, P1, P2, P3, P4, P5) = SPLITS
FLAG = [room(n) for n in (8 * 9 * 8, 8 * 9 * 4, 8 * 8 * 4, 8 * 16, 8 * 27, 8)]
FLAG_SET = sets(8)
(F0, F1, F2, F3, F4, F5) = FLAG
F_SKIP, F_TYPE, F_MERGED, F_SINE = 0, 1, 2, 3
F_COPIED, F_PLAIN = 1, 3  # among the contexts of screens
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
    """How a node that lies in the image is divided."""
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
