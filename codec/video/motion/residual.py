"""Coefficients of a block as decisions, and what they cost while they are chosen.

As in VVC (Schwarz et al., 2021) a coefficient's contexts come from five coded neighbours at higher
frequencies; here five more views of the surroundings are mixed with that one. Sub-blocks of 4 x 4
are marked as empty or not, from the last one that is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.compiled import inner
from laconic.codec.video.motion.mix import code_bit, code_plain, price_bit

PAD = 4  # zeros to the right of and below the magnitudes of a block
ESCAPE = 14  # magnitudes from here on have an Exp-Golomb suffix
MOST = 1 << 15  # largest magnitude

_room = [0]


def room(count: int) -> int:
    """The first of ``count`` new contexts."""
    first = _room[0]
    _room[0] += count
    return first


_sets = [0]


def sets(count: int) -> int:
    """The first of ``count`` new sets of weights."""
    first = _sets[0]
    _sets[0] += count
    return first


# A kind of block: 2 * (chroma) + (inter).
LAST = [room(n) for n in (4 * 8 * 6 * 2, 4 * 8 * 6 * 8, 4 * 8 * 64, 4 * 8 * 64, 4 * 8 * 2 * 38,
                          4 * 8 * 6 * 16)]  # fmt: skip
LAST_SET = sets(4)
EMPTY = [room(n) for n in (4 * 4, 4 * 64 * 8, 4 * 4 * 16, 4 * 4 * 38, 4 * 4 * 8, 4 * 4 * 16)]
EMPTY_SET = sets(4)
ZERO = [room(n) for n in (4 * 5 * 8, 4 * 8 * 64, 4 * 6 * 64, 4 * 16 * 20, 40 * 64 * 2,
                          4 * 8 * 64, 4)]  # fmt: skip
ZERO_SET = sets(4 * 4)
MORE = [room(n) for n in (4 * 6 * 10 * 3, 4 * 6 * 8 * 16, 4 * 6 * 64, 4 * 6 * 64, 40 * 6 * 8,
                          4 * 6 * 64)]  # fmt: skip
MORE_SET = sets(4 * 6)
(L0, L1, L2, L3, L4, L5) = LAST
(E0, E1, E2, E3, E4, E5) = EMPTY
(Z0, Z1, Z2, Z3, Z4, Z5, _) = ZERO
(M0, M1, M2, M3, M4, M5) = MORE


def _diagonal(columns: int, rows: int) -> list[tuple[int, int]]:
    """Places of a grid by rising frequency, each diagonal from its lower left end."""
    order = sorted((x + y, x, y) for y in range(rows) for x in range(columns))
    return [(x, y) for _, x, y in order]


def _scans() -> NDArray[np.int32]:
    """Sub-blocks ``[log2 columns, log2 rows, i] -> x | y << 4`` for up to 8 x 8 of them."""
    out = np.zeros((4, 4, 64), np.int32)
    for a in range(4):
        for b in range(4):
            for i, (x, y) in enumerate(_diagonal(1 << a, 1 << b)):
                out[a, b, i] = x | y << 4
    return out


SCANS = _scans()
INNER = np.array([x | y << 4 for x, y in _diagonal(4, 4)], np.int32)
QUANTS = np.array([min(n, 4) if n < 5 else 5 if n < 7 else 6 if n < 10 else 7
                   for n in range(64)], np.int32)  # fmt: skip


@inner
def magnitude(size: Any, x: int, y: int) -> int:
    """Sum over the five neighbours of a coefficient."""
    return (int(size[y, x + 1]) + int(size[y, x + 2]) + int(size[y + 1, x])
            + int(size[y + 2, x]) + int(size[y + 1, x + 1]))  # fmt: skip


@inner
def zero_context(kind: int, x: int, y: int, total: int) -> int:
    """The first context of whether a coefficient is zero."""
    d = x + y
    band = 0 if d == 0 else 1 if d < 2 else 2 if d < 4 else 3 if d < 8 else 4
    return Z0 + (kind * 5 + band) * 8 + min(total, 7)


@inner
def more_context(kind: int, k: int, x: int, y: int, total: int) -> int:
    """The first context of whether a coefficient larger than k is larger than k + 1."""
    d = x + y
    band = 0 if d == 0 else 1 if d < 4 else 2
    q = min(total, 4) if total < 5 else 5 if total < 7 else 6 if total < 10 else 7
    if total >= 16:
        q = 9 if total >= 28 else 8
    return M0 + ((kind * 6 + min(k, 5)) * 10 + q) * 3 + band


@inner
def code_residual(
    coder: Any, levels: Any, x0: int, y0: int, lw: int, lh: int, kind: int, mode: int,
    around: int, layer: int, size: Any,
) -> int:  # fmt: skip
    """Code the levels of a block that has some; returns the sum of their magnitudes.

    Args:
        levels: of the plane; those of the block are read or written.
        kind: 2 * chroma + inter. mode: of intra prediction, 35 and more for others.
        around: energy of the blocks above and to the left, 0..15.
        layer: 0..3.
        size: scratch ``[32 + PAD, 32 + PAD]``, int32.
    """
    w, h = 1 << lw, 1 << lh
    for y in range(h + PAD):
        for x in range(w + PAD):
            size[y, x] = 0
    a, b = lw - 2, lh - 2
    count = 1 << (a + b)
    shape = lw + lh - 4  # 0..6
    # The last sub-block that is not empty.
    last = 0
    for i in range(count - 1, -1, -1):
        at = int(SCANS[a, b, i])
        bx, by = x0 + 4 * (at & 15), y0 + 4 * (at >> 4)
        some = False
        for y in range(4):
            for x in range(4):
                some = some or levels[by + y, bx + x] != 0
        if some:
            last = i
            break
    if count > 1:  # its place, a bit at a time from the highest
        node = 1
        for place in range(a + b - 1, -1, -1):
            bit = last >> place & 1
            n = min(node, 63)
            s = kind * 8 + shape
            bit = code_bit(
                coder, bit, LAST_SET + kind,
                L0 + (s * 6 + place) * 2 + (1 if node == 1 << (a + b - 1 - place) else 0),
                L1 + (s * 6 + place) * 8 + min(around >> 1, 7), L2 + s * 64 + n,
                L3 + (kind * 8 + min(layer, 3) + 4 * (shape > 3)) * 64 + n,
                L4 + ((kind * 8 + shape) * 2 + min(node - 1, 1)) * 38 + min(mode, 37),
                L5 + (s * 6 + place) * 16 + around,
            )  # fmt: skip
            node = 2 * node + bit
        last = node - count
    total = 0
    seen = 0
    for i in range(last, -1, -1):
        at = int(SCANS[a, b, i])
        sx, sy = 4 * (at & 15), 4 * (at >> 4)
        coded = 1
        if 0 < i < last:
            right = size[sy, sx + 4] + size[sy + 1, sx + 4] + size[sy + 2, sx + 4]
            right += size[sy + 3, sx + 4]
            below = size[sy + 4, sx] + size[sy + 4, sx + 1] + size[sy + 4, sx + 2]
            below += size[sy + 4, sx + 3]
            near = (1 if right else 0) + (2 if below else 0)
            coded = 0
            for y in range(4):
                for x in range(4):
                    if levels[y0 + sy + y, x0 + sx + x]:
                        coded = 1
            k4 = kind * 4 + near
            coded = code_bit(
                coder, coded, EMPTY_SET + kind, E0 + k4,
                E1 + (kind * 64 + (sx >> 2) * 8 + (sy >> 2)) * 8 + shape,
                E2 + k4 * 16 + around, E3 + k4 * 38 + min(mode, 37),
                E4 + k4 * 8 + min(seen, 7), E5 + k4 * 16 + min(right + below, 15),
            )  # fmt: skip
        if not coded:
            continue
        empty = True
        for j in range(15, -1, -1):
            at = int(INNER[j])
            x, y = sx + (at & 15), sy + (at >> 4)
            level = int(levels[y0 + y, x0 + x])
            r1, r2, b1, b2 = size[y, x + 1], size[y, x + 2], size[y + 1, x], size[y + 2, x]
            d1 = size[y + 1, x + 1]
            near = r1 + r2 + b1 + b2 + d1
            some = min(r1, 1) + min(r2, 1) + min(b1, 1) + min(b2, 1) + min(d1, 1)
            far = size[y, x + 3] + size[y + 3, x] + size[y + 1, x + 2] + size[y + 2, x + 1]
            far += near
            d = x + y
            band = 0 if d == 0 else 1 if d < 2 else 2 if d < 4 else 3 if d < 8 else 4
            place = min(x if lw < 4 else x >> 1, 7) * 8 + min(y if lh < 4 else y >> 1, 7)
            if lw > 3 or lh > 3:
                place = min(x, 3 + (x >> 2), 7) * 8 + min(y, 3 + (y >> 2), 7)
            path = min(mode, 36)
            if kind & 1:
                path = 37 + (kind >> 1)
            elif kind == 2:
                path = 39
            nz = 1
            if not (j == 0 and empty and (i == last or i > 0)):
                nz = code_bit(
                    coder, 1 if level else 0, ZERO_SET + kind * 4 + min(some, 3),
                    zero_context(kind, x, y, near),
                    Z1 + (kind * 8 + shape) * 64 + place,
                    Z2 + (kind * 6 + some) * 64 + min(r1, 3) * 16 + min(b1, 3) * 4 + min(d1, 3),
                    Z3 + (kind * 16 + around) * 20 + band * 4 + min(near, 3),
                    Z4 + (path * 64 + min(x, 3) * 16 + min(y, 3) * 4 + min(near, 3)) * 2
                    + (shape > 2),
                    Z5 + (kind * 8 + int(QUANTS[min(far, 63)])) * 64 + min(seen, 7) * 8
                    + min(layer, 3) * 2 + (shape > 1),
                )  # fmt: skip
            if not nz:
                levels[y0 + y, x0 + x] = 0
                continue
            empty = False
            seen += 1
            wanted = abs(level)
            found = 1
            while found < ESCAPE:
                k = min(found, 6) - 1
                s = kind * 6 + k
                more = code_bit(
                    coder, 1 if wanted > found else 0, MORE_SET + s,
                    more_context(kind, k, x, y, near),
                    M1 + (s * 8 + shape) * 16 + around,
                    M2 + s * 64 + place,
                    M3 + s * 64 + min(r1, 7) * 8 + min(b1, 7),
                    M4 + (path * 6 + k) * 8 + int(QUANTS[min(far, 63)]),
                    M5 + s * 64 + min(found, 15) * 4 + min(layer, 3),
                )  # fmt: skip
                if not more:
                    break
                found += 1
            if found == ESCAPE:  # Exp-Golomb
                rest = wanted - ESCAPE + 1
                length = 0
                while length < 15 and code_plain(coder, 1 if rest >> (length + 1) else 0, 1):
                    length += 1
                found += (1 << length) - 1
                if length:
                    found += code_plain(coder, rest & ((1 << length) - 1), length)
            sign = code_plain(coder, 1 if level < 0 else 0, 1)
            size[y, x] = min(found, 255)
            total += found
            levels[y0 + y, x0 + x] = -min(found, MOST - 1) if sign else min(found, MOST - 1)
    return total


@inner
def clear(levels: Any, x0: int, y0: int, w: int, h: int) -> None:
    """No levels in a block."""
    for y in range(h):
        for x in range(w):
            levels[y0 + y, x0 + x] = 0


@inner
def quantise(
    chance: Any, wanted: Any, levels: Any, x0: int, y0: int, lw: int, lh: int, kind: int,
    step: int, weight: float, size: Any,
) -> float:  # fmt: skip
    """Choose levels by rate and distortion.

    From the highest frequency down, each level is the one of its two or three candidates that costs
    least given those above it; then sub-blocks are emptied, and the end moved, where that pays.

    Args:
        wanted: coefficients ``[:h, :w]``. levels: where to write.
        step: in 1/64 of a coefficient's unit. weight: of 1/256 bit, in squared coefficients.

    Returns:
        estimated bits, in 1/256; 0 when there are no levels.
    """
    w, h = 1 << lw, 1 << lh
    for y in range(h + PAD):
        for x in range(w + PAD):
            size[y, x] = 0
    a, b = lw - 2, lh - 2
    count = 1 << (a + b)
    scale = step / 64.0
    sums = 0.0  # cost of what is kept so far, against zeros
    spent = 0.0
    half = 0.5 * scale
    first = -1
    for i in range(count - 1, -1, -1):
        at = int(SCANS[a, b, i])
        sx, sy = 4 * (at & 15), 4 * (at >> 4)
        if first < 0:
            any_ = False
            for y in range(4):
                for x in range(4):
                    any_ = any_ or abs(wanted[sy + y, sx + x]) > half
            if not any_:
                for y in range(4):
                    for x in range(4):
                        levels[y0 + sy + y, x0 + sx + x] = 0
                continue
            first = i
        gain, bits = 0.0, 0.0
        count_here = 0
        for j in range(15, -1, -1):
            at = int(INNER[j])
            x, y = sx + (at & 15), sy + (at >> 4)
            c = float(abs(wanted[y, x]))
            near = magnitude(size, x, y)
            zero = zero_context(kind, x, y, near)
            high = min(int(c / scale + 0.5), MOST - 1)
            bits0 = float(price_bit(chance, 0, zero))
            if high == 0:
                bits += bits0
                levels[y0 + y, x0 + x] = 0
                continue
            nonzero = float(price_bit(chance, 1, zero)) + 256.0
            chosen, cost, price = 0, c * c + weight * bits0, bits0
            for level in range(max(high - 1, 1), high + 1):
                p = nonzero
                for k in range(1, min(level, ESCAPE)):
                    p += price_bit(chance, 1, more_context(kind, k - 1, x, y, near))
                if level < ESCAPE:
                    p += price_bit(chance, 0, more_context(kind, level - 1, x, y, near))
                else:
                    rest = level - ESCAPE + 1
                    while rest > 0:
                        p += 512.0
                        rest >>= 1
                    p -= 256.0
                value = c - level * scale
                now = value * value + weight * p
                if now < cost:
                    chosen, cost, price = level, now, p
            size[y, x] = min(chosen, 255)
            levels[y0 + y, x0 + x] = chosen if wanted[y, x] > 0 else -chosen
            if chosen:
                value = c - chosen * scale
                gain += c * c - value * value
                count_here += 1
            bits += price
        keep = count_here > 0
        if i > 0:
            full = float(price_bit(chance, 1, E0 + kind * 4 + 1))
            none = float(price_bit(chance, 0, E0 + kind * 4 + 1))
            if keep and gain - weight * (bits + full) < -weight * none:
                keep = False
            bits = bits + full if keep else none
        if not keep:
            gain = 0.0
            if i > 0:
                for y in range(4):
                    for x in range(4):
                        size[sy + y, sx + x] = 0
                        levels[y0 + sy + y, x0 + sx + x] = 0
        sums += gain - weight * bits
        spent += bits
        if keep:
            # Beginning here: what lies above is dropped, together with its cost.
            alone = gain - weight * bits
            if sums - alone < 0.0 and first != i:
                for ii in range(i + 1, first + 1):
                    at = int(SCANS[a, b, ii])
                    tx, ty = 4 * (at & 15), 4 * (at >> 4)
                    for y in range(4):
                        for x in range(4):
                            size[ty + y, tx + x] = 0
                            levels[y0 + ty + y, x0 + tx + x] = 0
                first = i
                sums, spent = alone, bits
    if first < 0:
        return 0.0
    spent += 256.0 * 0.7 * (a + b)
    any_level = False
    for y in range(h):
        for x in range(w):
            any_level = any_level or levels[y0 + y, x0 + x] != 0
    if not any_level or sums < weight * 256.0 * 0.7 * (a + b):
        clear(levels, x0, y0, w, h)
        return 0.0
    return spent
