"""The search for one vector into one reference, and the interpolated planes that it works on.

References are interpolated once at all quarter samples, so that a vector's prediction is a copy;
decoders interpolate what they need (`inter`). Which references are searched and what becomes of
the vectors is in `inter_search`.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.video.motion.compiled import inner, outer
from laconic.codec.video.motion.inter import DEPTH, DIR, HEIGHT, LUMA, MX0, REF0, SLOT0, WIDTH
from laconic.codec.video.motion.prices import hadamard, vector_price
from laconic.codec.video.motion.rebuild import FIRST, PHASE, SECOND
from laconic.codec.video.motion.trial import MISSED

REACH = 88  # samples around the interpolated planes


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
    for stage in range(2):
        r = 4 if stage == 0 else 1
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


@outer
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
