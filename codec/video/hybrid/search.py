"""What the encoder chooses: partitions, modes, vectors and levels, by rate and distortion.

Candidates are ranked by the sum of absolute Hadamard coefficients, the best are coded on trial:
squared error + lambda x bits, where bits are those of the contexts at hand (`mix.price_bit`).
Partitions are tried from the whole to the quarters; what was best is kept in buffers, one a depth.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.hybrid.compiled import inner
from laconic.codec.video.hybrid.inter import (
    CBF,
    CMODE,
    COUNT0,
    COUNT1,
    DEPTH,
    DIR,
    ENERGY,
    FIELDS,
    GRAY,
    GUESS,
    HEIGHT,
    INTER,
    INTRA,
    KEY,
    LAYER,
    LH,
    LUMA,
    LW,
    MERGE,
    MERGED,
    MODE,
    MX0,
    NEVER,
    ORDER,
    PARAMETERS,
    QCHROMA,
    QUANT,
    REF0,
    SINED,
    SKIP,
    SLOT0,
    SX,
    SY,
    TYPE,
    WHICH,
    WIDTH,
    guesses,
    merge_candidates,
)
from laconic.codec.video.hybrid.intra import DERIVED, LINEAR, MEAN, PLANAR, gather, predict
from laconic.codec.video.hybrid.mix import price_bit
from laconic.codec.video.hybrid.rebuild import (
    COEFS,
    EDGES,
    FIRST,
    GUESSED,
    LEFT,
    LEVELS,
    LINE,
    MIDDLE,
    PHASE,
    REST,
    SAMPLES,
    SECOND,
    SIZES,
    TOP,
    TRIAL,
    add,
    guess_chroma,
    inter_chroma,
)
from laconic.codec.video.hybrid.residual import clear, quantise
from laconic.codec.video.hybrid.syntax import (
    ACROSS,
    ALONG,
    B0,
    C0,
    C_DIR,
    C_GUESS,
    C_REF,
    C_WHICH,
    F0,
    F_MERGED,
    F_SINE,
    F_SKIP,
    F_TYPE,
    N0,
    P0,
    Q0,
    QUARTERS,
    V0,
    WHOLE,
    at_left,
    at_top,
    likely,
    put_order,
)
from laconic.codec.video.hybrid.transform import COSINE, SINE, STEPS, forward
from laconic.entropy.jit import jit

REACH = 88  # samples around the interpolated planes
MISSED = 1e30
# Places in Encoder.par.
EFFORT = PARAMETERS
(ROUNDS, INTRA_KEPT, MERGE_KEPT, HALVES, SINES, REFS, STOP_SKIP, NEXT) = range(EFFORT, EFFORT + 8)


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


@inner
def hadamard(src: Any, x0: int, y0: int, guess: Any, w: int, h: int) -> int:
    """Sum of absolute Hadamard coefficients, in blocks of 4 x 4, of source - prediction."""
    total = 0
    for y in range(0, h, 4):
        for x in range(0, w, 4):
            m00 = m01 = m02 = m03 = m10 = m11 = m12 = m13 = 0
            m20 = m21 = m22 = m23 = m30 = m31 = m32 = m33 = 0
            for j in range(4):
                a = int(src[y0 + y + j, x0 + x]) - int(guess[y + j, x])
                b = int(src[y0 + y + j, x0 + x + 1]) - int(guess[y + j, x + 1])
                c = int(src[y0 + y + j, x0 + x + 2]) - int(guess[y + j, x + 2])
                d = int(src[y0 + y + j, x0 + x + 3]) - int(guess[y + j, x + 3])
                p, q, r, s = a + b, a - b, c + d, c - d
                e, f, g, i = p + r, q + s, p - r, q - s
                if j == 0:
                    m00, m01, m02, m03 = e, f, g, i
                elif j == 1:
                    m10, m11, m12, m13 = e, f, g, i
                elif j == 2:
                    m20, m21, m22, m23 = e, f, g, i
                else:
                    m30, m31, m32, m33 = e, f, g, i
            p, q, r, s = m00 + m10, m00 - m10, m20 + m30, m20 - m30
            total += abs(p + r) + abs(q + s) + abs(p - r) + abs(q - s)
            p, q, r, s = m01 + m11, m01 - m11, m21 + m31, m21 - m31
            total += abs(p + r) + abs(q + s) + abs(p - r) + abs(q - s)
            p, q, r, s = m02 + m12, m02 - m12, m22 + m32, m22 - m32
            total += abs(p + r) + abs(q + s) + abs(p - r) + abs(q - s)
            p, q, r, s = m03 + m13, m03 - m13, m23 + m33, m23 - m33
            total += abs(p + r) + abs(q + s) + abs(p - r) + abs(q - s)
    return total >> 1


@inner
def squares(src: Any, plane: Any, x: int, y: int, w: int, h: int) -> float:
    """Sum of squared errors of a block."""
    total = 0
    for j in range(h):
        for i in range(w):
            d = int(src[y + j, x + i]) - int(plane[y + j, x + i])
            total += d * d
    return float(total)


@inner
def flag_price(chance: Any, info: Any, flag: int, field: int, x: int, y: int, lw: int, lh: int,
               own: int, value: int) -> int:  # fmt: skip
    """Price of `syntax.code_flag`."""
    left, top = at_left(info, x, y, own), at_top(info, x, y, own)
    a = 2 if left < 0 else min(int(info[y >> 2, left, field]), 1)
    b = 2 if top < 0 else min(int(info[top, x >> 2, field]), 1)
    return price_bit(chance, value, F0 + (flag * 9 + 3 * a + b) * 8 + min(lw + lh - 4, 7))


@inner
def choice_price(chance: Any, kind: int, most: int, value: int, layer: int) -> int:
    """Price of `syntax.code_choice`."""
    total = 0
    for i in range(value):
        total += price_bit(chance, 1, C0 + (kind * 8 + min(i, 7)) * 4 + min(layer, 3))
    if value < most:
        total += price_bit(chance, 0, C0 + (kind * 8 + min(value, 7)) * 4 + min(layer, 3))
    return total


@inner
def component_price(chance: Any, which: int, value: int) -> int:
    """Price of `syntax.code_component`."""
    wanted = abs(value)
    s = which * 20
    if wanted == 0:
        return price_bit(chance, 0, V0 + s)
    total = price_bit(chance, 1, V0 + s) + 256
    if wanted == 1:
        return total + price_bit(chance, 0, V0 + s + 1)
    total += price_bit(chance, 1, V0 + s + 1)
    rest, length = wanted - 1, 0
    while rest >> (length + 1):
        total += price_bit(chance, 1, V0 + s + 2 + length) + 256
        length += 1
    return total + price_bit(chance, 0, V0 + s + 2 + length)


@inner
def part_price(
    chance: Any, info: Any, par: Any, x: int, y: int, log: int, part: int, own: int
) -> int:
    """Price of `syntax.code_part`."""
    if par[KEY] and log == 6:
        return 0
    left, top = at_left(info, x, y, own), at_top(info, x, y, own)
    near = 0 if left < 0 else 1 if info[y >> 2, left, LH] >= log else 2
    near = 3 * near + (0 if top < 0 else 1 if info[top, x >> 2, LW] >= log else 2)
    s = (log - 3) * 3
    if part == WHOLE:
        return price_bit(chance, 0, P0 + s * 9 + near)
    total = price_bit(chance, 1, P0 + s * 9 + near)
    if part == QUARTERS:
        return total + price_bit(chance, 1, P0 + (s + 1) * 9 + near)
    total += price_bit(chance, 0, P0 + (s + 1) * 9 + near)
    return total + price_bit(chance, 1 if part == ALONG else 0, P0 + (s + 2) * 9 + near)


@inner
def mode_price(chance: Any, v: Any, mode: int) -> int:
    """Price of `syntax.code_mode`, given what `likely` found."""
    total = 0
    for i in range(3):
        if v[i] == mode:
            return total + price_bit(chance, 1, N0 + i)
        total += price_bit(chance, 0, N0 + i)
    return total + 1280


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
    if unit[TYPE] == INTRA:
        best, chosen = MISSED, DERIVED
        for m in range(3):
            mode = DERIVED if m == 0 else LINEAR if m == 1 else PLANAR
            if m == 2 and (unit[MODE] == PLANAR or e.par[ROUNDS] < 2):
                continue
            unit[CMODE] = mode
            total = 0.0
            for which in range(1, 3):
                src, plane = e.src[which], e.rec[which]
                guess_chroma(
                    e.info, e.par, plane, e.rec[0], x, y, x1, y1, 1 << bw, 1 << bh, wk
                )  # fmt: skip
                total += float(hadamard(src, x1, y1, wk[GUESSED], 1 << bw, 1 << bh))
            bits = price_bit(chance, 1, Q0) if mode == LINEAR else price_bit(chance, 0, Q0)
            if m != 1:
                bits += price_bit(chance, 1 if m == 0 else 0, Q0 + 1)
            total += e.lam[1] * bits
            if total < best:
                best, chosen = total, mode
        unit[CMODE] = chosen
    mode = int(unit[CMODE])
    cost = 0.0
    inter = int(unit[TYPE])
    if not inter:
        bits = price_bit(chance, 1, Q0) if mode == LINEAR else price_bit(chance, 0, Q0)
        if mode != LINEAR:
            bits += price_bit(chance, 1 if mode == DERIVED else 0, Q0 + 1)
            if mode != DERIVED:
                bits += 512
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
def fetch(e: Any, slot: int, x: int, y: int, w: int, h: int, mx: int, my: int, out: Any) -> None:
    """Prediction of 14 bits from the interpolated planes."""
    plane = e.phases[slot, (my & 3) * 4 + (mx & 3)]
    x, y = x + (mx >> 2) + REACH, y + (my >> 2) + REACH
    for j in range(h):
        for i in range(w):
            out[j, i] = plane[y + j, x + i]


@inner
def merged_luma(e: Any, unit: Any, x: int, y: int, w: int, h: int, wk: Any, out: Any) -> None:
    """Motion-compensated luma of a leaf in ``out``, from the interpolated planes."""
    depth = int(e.par[DEPTH])
    most = (1 << depth) - 1
    direction = int(unit[DIR])
    n = 0
    for k in range(2):
        if direction != 1 - k:
            slot = int(e.par[SLOT0 + 4 * k + int(unit[REF0 + k])])
            fetch(e, slot, x, y, w, h, int(unit[MX0 + 2 * k]), int(unit[MX0 + 2 * k + 1]),
                  wk[FIRST + n])  # fmt: skip
            n += 1
    if n == 2:
        shift = 15 - depth
        half = 1 << (shift - 1)
        for j in range(h):
            for i in range(w):
                out[j, i] = min(max((wk[FIRST, j, i] + wk[SECOND, j, i] + half) >> shift, 0), most)
    else:
        shift = 14 - depth
        half = 1 << (shift - 1)
        for j in range(h):
            for i in range(w):
                out[j, i] = min(max((wk[FIRST, j, i] + half) >> shift, 0), most)


@inner
def absolute(e: Any, slot: int, x: int, y: int, w: int, h: int, ix: int, iy: int,
             limit: int) -> int:  # fmt: skip
    """Sum of absolute differences from a reference displaced by whole samples, in 14 bits."""
    plane = e.phases[slot, 0]
    src = e.s14
    total = 0
    bx, by = x + ix + REACH, y + iy + REACH
    for j in range(h):
        row = 0
        for i in range(w):
            row += abs(int(src[y + j, x + i]) - int(plane[by + j, bx + i]))
        total += row
        if total > limit:
            return total
    return total


@inner
def phase_cost(e: Any, slot: int, x: int, y: int, w: int, h: int, mx: int, my: int, wk: Any,
               other: Any, both: int) -> int:  # fmt: skip
    """Hadamard cost of a vector; with ``both`` the mean with ``other`` (14 bits) counts."""
    depth = int(e.par[DEPTH])
    plane = e.phases[slot, (my & 3) * 4 + (mx & 3)]
    bx, by = x + (mx >> 2) + REACH, y + (my >> 2) + REACH
    out = wk[PHASE]
    if both:
        shift = 15 - depth
        half = 1 << (shift - 1)
        for j in range(h):
            for i in range(w):
                out[j, i] = (plane[by + j, bx + i] + other[j, i] + half) >> shift
    else:
        shift = 14 - depth
        half = 1 << (shift - 1)
        for j in range(h):
            for i in range(w):
                out[j, i] = (plane[by + j, bx + i] + half) >> shift
    return hadamard(e.src[0], x, y, out, w, h)


@inner
def vector_price(chance: Any, pair: Any, mx: int, my: int) -> int:
    """Price of a vector by the better of two guesses."""
    a = component_price(chance, 0, mx - int(pair[0, 0])) + component_price(
        chance, 1, my - int(pair[0, 1])
    )
    b = component_price(chance, 0, mx - int(pair[1, 0])) + component_price(
        chance, 1, my - int(pair[1, 1])
    )
    return min(a, b) + 256


@inner
def fits(par: Any, x: int, y: int, w: int, h: int, mx: int, my: int) -> bool:
    """Whether `inter.clamp_vector` leaves a vector as it is."""
    return (-4 * (x + w + 16) <= mx <= 4 * (int(par[WIDTH]) - x + 16)
            and -4 * (y + h + 16) <= my <= 4 * (int(par[HEIGHT]) - y + 16))  # fmt: skip


@inner
def motion_search(
    e: Any, chance: Any, slot: int, x: int, y: int, w: int, h: int, pair: Any, starts: Any,
    count: int, out: Any, wk: Any,
) -> float:  # fmt: skip
    """The best vector into a reference, in ``out[:2]``; returns its Hadamard cost with its bits.

    A hexagon walk over whole samples from the best start, then halves and quarters around.
    """
    lam = e.lam[1]
    fine = 1 << (14 - int(e.par[DEPTH]))
    best, bx, by = MISSED, 0, 0
    for i in range(count + 2):
        if i < 2:
            sx, sy = (int(pair[i, 0]) + 2) >> 2, (int(pair[i, 1]) + 2) >> 2
        else:
            sx, sy = (int(starts[i - 2, 0]) + 2) >> 2, (int(starts[i - 2, 1]) + 2) >> 2
        if (i and sx == bx and sy == by) or not fits(e.par, x, y, w, h, 4 * sx, 4 * sy):
            continue
        limit = 1 << 40
        if best < MISSED:
            limit = int(best * fine)
        cost = absolute(e, slot, x, y, w, h, sx, sy, limit) / fine + lam * vector_price(
            chance, pair, 4 * sx, 4 * sy
        )
        if cost < best:
            best, bx, by = cost, sx, sy
    radius = 8 if e.par[ROUNDS] > 1 else 4
    for stage in range(2):
        r = radius if stage == 0 else 1
        while r:
            moved = False
            cx, cy = bx, by
            for i in range(8 if stage == 0 else 4):
                if stage == 0:  # a ring of eight
                    dx = r * (1 if i == 0 or i == 1 or i == 7 else -1 if 2 < i < 6 else 0)
                    dy = r * (1 if 0 < i < 4 else -1 if i > 4 else 0)
                else:
                    dx = (1 if i == 0 else -1) if i < 2 else 0
                    dy = (1 if i == 2 else -1) if i > 1 else 0
                if not fits(e.par, x, y, w, h, 4 * (cx + dx), 4 * (cy + dy)):
                    continue
                cost = absolute(e, slot, x, y, w, h, cx + dx, cy + dy, int(best * fine)) / fine
                if cost >= best:
                    continue
                cost += lam * vector_price(chance, pair, 4 * (cx + dx), 4 * (cy + dy))
                if cost < best:
                    best, bx, by, moved = cost, cx + dx, cy + dy, True
            if not moved:
                r >>= 1
    mx, my = 4 * bx, 4 * by
    best = phase_cost(e, slot, x, y, w, h, mx, my, wk, wk[FIRST], 0) + lam * vector_price(
        chance, pair, mx, my
    )
    for i in range(2):  # the guesses themselves, at their own phase
        gx, gy = int(pair[i, 0]), int(pair[i, 1])
        if (gx | gy) & 3 and fits(e.par, x, y, w, h, gx, gy):
            cost = phase_cost(e, slot, x, y, w, h, gx, gy, wk, wk[FIRST], 0) + lam * vector_price(
                chance, pair, gx, gy
            )
            if cost < best:
                best, mx, my = cost, gx, gy
    for stage in range(2):
        r = 2 - stage
        cx, cy = mx, my
        for j in range(-1, 2):
            for i in range(-1, 2):
                nx, ny = cx + r * i, cy + r * j
                if (i == 0 and j == 0) or not fits(e.par, x, y, w, h, nx, ny):
                    continue
                cost = phase_cost(e, slot, x, y, w, h, nx, ny, wk, wk[FIRST], 0) + (
                    lam * vector_price(chance, pair, nx, ny)
                )
                if cost < best:
                    best, mx, my = cost, nx, ny
    out[0], out[1] = mx, my
    return best


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
                if e.par[SINES] > kind:
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
        costs[m] = 1 << 30
    pivot, pivot_cost = 0, 1 << 30
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
            if m < 0 or m > 34 or (stage in (1, 2) and m < 2) or costs[m] < 1 << 30:
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
    first_cost = 0
    for rank in range(int(e.par[INTRA_KEPT])):
        chosen = 0
        for m in range(1, 35):
            if costs[m] < costs[chosen]:
                chosen = m
        if costs[chosen] >= 1 << 30:
            break
        if rank == 0:
            first_cost = int(costs[chosen])
        elif costs[chosen] > first_cost * 5 // 4:
            break
        costs[chosen] = 1 << 30
        unit[LW], unit[LH], unit[TYPE], unit[SKIP], unit[MERGED] = lw, lh, INTRA, 0, 0
        unit[MODE], unit[CMODE] = chosen, DERIVED
        for k in range(7):
            unit[DIR + k] = 0
        unit[CBF] = 0
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
        best = intra_leaf(e, chance, store, x, y, lw, lh, own, chroma, best, depth, 0.0, wk)
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
            ranks[i] = 1 << 30
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
        top_cost = 1 << 30
        for rank in range(int(e.par[MERGE_KEPT])):
            chosen = 0
            for i in range(1, MERGE):
                if ranks[i] < ranks[chosen]:
                    chosen = i
            if ranks[chosen] >= 1 << 30:
                break
            if rank == 0:
                top_cost = int(ranks[chosen])
            elif ranks[chosen] > top_cost * 5 // 4:
                break
            ranks[chosen] = 1 << 30
            unit[LW], unit[LH] = lw, lh
            unit[TYPE], unit[MERGED], unit[MODE], unit[WHICH] = INTER, 1, MEAN, chosen
            for k in range(7):
                unit[DIR + k] = merge[chosen, k]
            merged_luma(e, unit, x, y, w, h, wk, wk[TRIAL])
            price = choice_price(chance, C_WHICH, MERGE - 1, chosen, layer)
            best = inter_trial(e, chance, store, x, y, lw, lh, chroma, best, depth,
                               float(inter_bits + merged + price), float(skip + price), wk[TRIAL],
                               wk)  # fmt: skip
        quiet = e.kept_info[depth, 0, 0, SKIP] == 1
        if not (quiet and e.par[STOP_SKIP]):
            best = search_leaf(e, chance, store, x, y, lw, lh, chroma, best, depth, own,
                               float(inter_bits + searched), top_cost, wk)  # fmt: skip
        quiet = e.kept_info[depth, 0, 0, SKIP] == 1
        if quiet and e.par[STOP_SKIP]:
            keep(e, depth, x, y, w, h, 1)
            return best
    if forced != INTER and max(lw, lh) < 6:
        best = intra_leaf(e, chance, store, x, y, lw, lh, own, chroma, best, depth,
                          lam * intra_bits, wk)  # fmt: skip
    keep(e, depth, x, y, w, h, 1)
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
def forget(e: Any, x: int, y: int, side: int) -> None:
    """Nothing of a node is decoded."""
    for j in range(side >> 2):
        for i in range(side >> 2):
            e.info[(y >> 2) + j, (x >> 2) + i, ORDER] = NEVER


@jit
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
    best, skipped = MISSED, False
    box = 6 + level
    if inside and not (par[KEY] and log == 6):
        forget(e, x, y, side)
        cost = lam * part_price(chance, e.info, par, x, y, log, WHOLE, own)
        best = cost + leaf(e, chance, store, x, y, log, log, -1, 1, level, wk)
        keep(e, box, x, y, side, side, 0)
        skipped = e.info[y >> 2, x >> 2, SKIP] == 1
        if not (skipped and e.par[STOP_SKIP]):
            for part in range(ACROSS, ALONG + 1):
                if not e.par[HALVES] or (log == 6 and e.par[HALVES] < 2):
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
    tried = True
    if inside and skipped and e.par[STOP_SKIP]:
        tried = False
    if log == 3 and not inside:
        tried = False
    if tried:
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


@jit
def interpolate(plane: Any, out: Any, depth: int, work: Any) -> None:
    """All sixteen phases ``out[16, rows, columns]`` of a reference, with its border of REACH."""
    from_ = 0
    rows, columns = plane.shape
    height, width = out.shape[1], out.shape[2]
    up, down = 14 - depth, depth - 8
    for fx in range(4):
        for y in range(from_ - 4, rows + 4):
            yy = min(max(y, 0), rows - 1)
            for x in range(-REACH, columns + REACH):
                if fx == 0:
                    work[y + 4, x + REACH] = int(plane[yy, min(max(x, 0), columns - 1)]) << up
                elif 4 <= x < columns - 4:
                    total = 0
                    for t in range(8):
                        total += int(LUMA[fx, t]) * int(plane[yy, x + t - 3])
                    work[y + 4, x + REACH] = total >> down
                else:
                    total = 0
                    for t in range(8):
                        xx = min(max(x + t - 3, 0), columns - 1)
                        total += int(LUMA[fx, t]) * int(plane[yy, xx])
                    work[y + 4, x + REACH] = total >> down
        for fy in range(4):
            target = out[fy * 4 + fx]
            for y in range(height):
                r = min(max(y - REACH, -4), rows + 3)
                if fy == 0:
                    for x in range(width):
                        target[y, x] = work[r + 4, x]
                else:
                    for x in range(width):
                        total = 0
                        for t in range(8):
                            i = min(max(y - REACH + t - 3, -4), rows + 3) + 4
                            total += int(LUMA[fy, t]) * int(work[i, x])
                        target[y, x] = total >> 6
