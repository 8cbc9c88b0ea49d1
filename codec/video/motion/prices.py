"""What a choice costs before it is coded: bits of contexts, differences from the source.

Bits are in units of 1/256 and follow the first context of each element in `elements`
(`mix.price_bit`), so that nothing is mixed while candidates are compared. What a choice costs once
its levels are known is in `trial`.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.video.motion.compiled import inner
from laconic.codec.video.motion.elements import (
    ALONG,
    C0,
    F0,
    N0,
    P0,
    QUARTERS,
    V0,
    WHOLE,
    at_left,
    at_top,
)
from laconic.codec.video.motion.inter import KEY, LH, LW
from laconic.codec.video.motion.mix import price_bit

TAKEN = 1 << 30  # more than any candidate costs


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
def cheapest(costs: Any, count: int, top: int) -> int:
    """The first of the cheapest candidates, -1 when none is left that is worth a trial.

    Args:
        costs: of ``count`` candidates, `TAKEN` for those that are not to be tried.
        top: the cost of the cheapest of all, `TAKEN` before it is known.
    """
    chosen = 0
    for i in range(1, count):
        if costs[i] < costs[chosen]:
            chosen = i
    return -1 if costs[chosen] >= TAKEN or costs[chosen] > top * 5 // 4 else chosen


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
    """Price of `elements.code_flag`."""
    left, top = at_left(info, x, y, own), at_top(info, x, y, own)
    a = 2 if left < 0 else min(int(info[y >> 2, left, field]), 1)
    b = 2 if top < 0 else min(int(info[top, x >> 2, field]), 1)
    return price_bit(chance, value, F0 + (flag * 9 + 3 * a + b) * 8 + min(lw + lh - 4, 7))


@inner
def choice_price(chance: Any, kind: int, most: int, value: int, layer: int) -> int:
    """Price of `elements.code_choice`."""
    total = 0
    for i in range(value):
        total += price_bit(chance, 1, C0 + (kind * 8 + min(i, 7)) * 4 + min(layer, 3))
    if value < most:
        total += price_bit(chance, 0, C0 + (kind * 8 + min(value, 7)) * 4 + min(layer, 3))
    return total


@inner
def component_price(chance: Any, which: int, value: int) -> int:
    """Price of `elements.code_component`."""
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
    """Price of `elements.code_part`."""
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
    """Price of `elements.code_mode`, given what `likely` found."""
    total = 0
    for i in range(3):
        if v[i] == mode:
            return total + price_bit(chance, 1, N0 + i)
        total += price_bit(chance, 0, N0 + i)
    return total + 1280


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
