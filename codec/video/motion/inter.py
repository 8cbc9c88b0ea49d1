"""Motion: interpolated samples of references, and what neighbours say about a block's vectors.

Quarter-sample positions by the eight-tap filters of HEVC (Ugur et al., 2013), chroma by its four
taps. Vectors reach at most `MARGIN` samples outside the image, whose border samples go on there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laconic.codec.video.motion.compiled import inner

LUMA = np.array(
    [[0, 0, 0, 64, 0, 0, 0, 0], [-1, 4, -10, 58, 17, -5, 1, 0],
     [-1, 4, -11, 40, 40, -11, 4, -1], [0, 1, -5, 17, 58, -10, 4, -1]], np.int32)  # fmt: skip
CHROMA = np.array(
    [[0, 64, 0, 0], [-2, 58, 10, -2], [-4, 54, 16, -2], [-6, 46, 28, -4],
     [-4, 36, 36, -4], [-4, 28, 46, -6], [-2, 16, 54, -4], [-2, 10, 58, -2]],
    np.int32)  # fmt: skip
MARGIN = 16  # samples that a block may lie outside the image
MERGE = 6  # candidates

# Fields of a unit of 4 x 4 luma samples.
(LW, LH, TYPE, SKIP, MERGED, WHICH, MODE, CMODE, DIR, REF0, REF1, MX0, MY0, MX1, MY1, GUESS, CBF,
 SINED, ORDER, ENERGY) = range(20)  # fmt: skip
FIELDS = 20
COPIED = WHICH  # of intra leaves: whether they are a copy, by whole samples (MX0, MY0)
INTRA, INTER = 0, 1
NEVER = 1 << 30  # the order of what is not decoded yet

# Places in a frame's parameters (int64).
(WIDTH, HEIGHT, SX, SY, DEPTH, QUANT, LAYER, KEY, COUNT0, COUNT1, NOW, TEMPORAL, LAMBDA, GRAY,
 QCHROMA, SCREEN) = range(16)  # fmt: skip
DISTANCE0 = 16  # distances to the references of each list: now - theirs
DISTANCE1 = 20
LISTED = 4
SLOT0 = 24  # where the references of each list are kept
SLOT1 = 28
PARAMETERS = 32


@inner
def clamp_vector(par: Any, x: int, y: int, w: int, h: int, v: Any, at: int) -> None:
    """Keep a vector ``v[at:at + 2]`` of a block within what references hold."""
    low = -4 * (x + w + MARGIN)
    high = 4 * (int(par[WIDTH]) - x + MARGIN)
    v[at] = min(max(int(v[at]), low), high)
    low = -4 * (y + h + MARGIN)
    high = 4 * (int(par[HEIGHT]) - y + MARGIN)
    v[at + 1] = min(max(int(v[at + 1]), low), high)


@inner
def luma_block(
    plane: Any, x0: int, y0: int, w: int, h: int, mx: int, my: int, depth: int, out: Any, work: Any
) -> None:
    """Samples ``out[:h, :w]`` of 14 bits, displaced by a vector in quarters."""
    rows, columns = plane.shape
    fx, fy = mx & 3, my & 3
    x0, y0 = x0 + (mx >> 2), y0 + (my >> 2)
    up = 14 - depth
    inside = x0 >= 3 and y0 >= 3 and x0 + w + 4 < columns and y0 + h + 4 < rows
    if fx == 0 and fy == 0:
        if inside:
            for y in range(h):
                for x in range(w):
                    out[y, x] = np.int32(plane[y0 + y, x0 + x]) << up
        else:
            for y in range(h):
                yy = min(max(y0 + y, 0), rows - 1)
                for x in range(w):
                    out[y, x] = int(plane[yy, min(max(x0 + x, 0), columns - 1)]) << up
        return
    down = depth - 8
    first, count = (y0, h) if fy == 0 else (y0 - 3, h + 7)
    for y in range(count):
        yy = min(max(first + y, 0), rows - 1)
        if fx == 0:
            if inside:
                for x in range(w):
                    work[y, x] = np.int32(plane[yy, x0 + x]) << up
            else:
                for x in range(w):
                    work[y, x] = int(plane[yy, min(max(x0 + x, 0), columns - 1)]) << up
        elif inside:
            for x in range(w):
                work[y, x] = 0
            for t in range(8):
                tap = LUMA[fx, t]
                if tap:
                    for x in range(w):
                        work[y, x] += tap * np.int32(plane[yy, x0 + x + t - 3])
            for x in range(w):
                work[y, x] >>= down
        else:
            for x in range(w):
                total = 0
                for t in range(8):
                    xx = min(max(x0 + x + t - 3, 0), columns - 1)
                    total += int(LUMA[fx, t]) * int(plane[yy, xx])
                work[y, x] = total >> down
    if fy == 0:
        for y in range(h):
            for x in range(w):
                out[y, x] = work[y, x]
    else:
        for y in range(h):
            for x in range(w):
                out[y, x] = 0
            for t in range(8):
                tap = LUMA[fy, t]
                if tap:
                    for x in range(w):
                        out[y, x] += tap * work[y + t, x]
            for x in range(w):
                out[y, x] >>= 6


@inner
def chroma_block(
    plane: Any, rows: int, columns: int, x0: int, y0: int, w: int, h: int, mx: int, my: int,
    sx: int, sy: int, depth: int, out: Any, work: Any,
) -> None:  # fmt: skip
    """As `luma_block` for a chroma plane; the vector is that of luma."""
    fx, fy = (mx << (1 - sx)) & 7, (my << (1 - sy)) & 7
    x0, y0 = x0 + (mx >> (2 + sx)), y0 + (my >> (2 + sy))
    down, up = depth - 8, 14 - depth
    for y in range(h + 3):
        yy = min(max(y0 + y - 1, 0), rows - 1)
        for x in range(w):
            if fx:
                total = 0
                for t in range(4):
                    xx = min(max(x0 + x + t - 1, 0), columns - 1)
                    total += int(CHROMA[fx, t]) * int(plane[yy, xx])
                work[y, x] = total >> down
            else:
                work[y, x] = int(plane[yy, min(max(x0 + x, 0), columns - 1)]) << up
    for y in range(h):
        for x in range(w):
            if fy:
                total = 0
                for t in range(4):
                    total += int(CHROMA[fy, t]) * int(work[y + t, x])
                out[y, x] = total >> 6
            else:
                out[y, x] = work[y + 1, x]


@inner
def scaled(value: int, wanted: int, known: int) -> int:
    """A vector's component for another distance in time, rounded."""
    if known == 0 or wanted == known:
        return value
    n = value * wanted
    size = (abs(n) + (abs(known) >> 1)) // abs(known)
    if (n < 0) != (known < 0):
        size = -size
    return min(max(size, -(1 << 14)), 1 << 14)


@inner
def neighbour(info: Any, par: Any, i: int, x: int, y: int, w: int, h: int, own: int) -> int:
    """The i-th neighbour's unit as ``row << 16 | column``; -1 unless it is decoded and inter."""
    if i == 0:
        nx, ny = x - 1, y + h - 1
    elif i == 1:
        nx, ny = x + w - 1, y - 1
    elif i == 2:
        nx, ny = x + w, y - 1
    elif i == 3:
        nx, ny = x - 1, y + h
    else:
        nx, ny = x - 1, y - 1
    if nx < 0 or ny < 0 or nx >= par[WIDTH] or ny >= par[HEIGHT]:
        return -1
    nx, ny = nx >> 2, ny >> 2
    if info[ny, nx, ORDER] >= own or info[ny, nx, TYPE] != INTER:
        return -1
    return ny << 16 | nx


@inner
def colocated(field: Any, par: Any, x: int, y: int, w: int, h: int, wanted: int, v: Any) -> int:
    """Into ``v``: the vector for a distance that the co-located reference suggests; 1 if any."""
    for attempt in range(2):
        cx, cy = (x + w, y + h) if attempt == 0 else (x + w // 2, y + h // 2)
        if cx >= par[WIDTH] or cy >= par[HEIGHT]:
            continue
        cx, cy = cx >> 2, cy >> 2
        for k in range(2):
            known = int(field[cy, cx, 3 * k])
            if known:
                v[0] = scaled(int(field[cy, cx, 3 * k + 1]), wanted, known)
                v[1] = scaled(int(field[cy, cx, 3 * k + 2]), wanted, known)
                return 1
    return 0


@inner
def same_motion(a: Any, i: int, j: int) -> bool:
    """Whether two candidates are equal."""
    if a[i, 0] != a[j, 0]:
        return False
    if a[i, 0] != 1 and (a[i, 1] != a[j, 1] or a[i, 3] != a[j, 3] or a[i, 4] != a[j, 4]):
        return False
    return not (a[i, 0] != 0 and (a[i, 2] != a[j, 2] or a[i, 5] != a[j, 5] or a[i, 6] != a[j, 6]))


@inner
def merge_candidates(
    info: Any, field: Any, par: Any, x: int, y: int, w: int, h: int, own: int, out: Any, v: Any
) -> None:
    """Fill ``out[MERGE, 7]``: direction, references and vectors of each candidate.

    Neighbours first, then the co-located block, then vectors of the first two joined, then zero.
    """
    n = 0
    for i in range(5):
        if n >= 4:
            break
        unit = neighbour(info, par, i, x, y, w, h, own)
        if unit < 0:
            continue
        ny, nx = unit >> 16, unit & 0xFFFF
        for k in range(7):
            out[n, k] = info[ny, nx, DIR + k]
        known = False
        for j in range(n):
            known = known or same_motion(out, n, j)
        if not known:
            n += 1
    if par[TEMPORAL] and n < MERGE and colocated(field, par, x, y, w, h, int(par[DISTANCE0]), v):
        out[n, 0], out[n, 1], out[n, 3], out[n, 4] = 0, 0, v[0], v[1]
        out[n, 2], out[n, 5], out[n, 6] = 0, 0, 0
        if par[COUNT1] and colocated(field, par, x, y, w, h, int(par[DISTANCE1]), v):
            out[n, 0], out[n, 2], out[n, 5], out[n, 6] = 2, 0, v[0], v[1]
        known = False
        for j in range(n):
            known = known or same_motion(out, n, j)
        if not known:
            n += 1
    if n >= 2 and n < MERGE and par[COUNT1]:
        for pair in range(2):
            i, j = (0, 1) if pair == 0 else (1, 0)
            if n < MERGE and out[i, 0] != 1 and out[j, 0] != 0:
                out[n, 0] = 2
                out[n, 1], out[n, 3], out[n, 4] = out[i, 1], out[i, 3], out[i, 4]
                out[n, 2], out[n, 5], out[n, 6] = out[j, 2], out[j, 5], out[j, 6]
                known = False
                for k in range(n):
                    known = known or same_motion(out, n, k)
                if not known:
                    n += 1
    zero = 0
    while n < MERGE:
        most = int(par[COUNT0])
        if par[COUNT1]:
            most = min(most, int(par[COUNT1]))
        r = min(zero, most - 1)
        for k in range(7):
            out[n, k] = 0
        out[n, 1], out[n, 2] = r, r
        out[n, 0] = 2 if par[COUNT1] else 0
        zero += 1
        n += 1
    for i in range(MERGE):
        clamp_vector(par, x, y, w, h, out[i], 3)
        clamp_vector(par, x, y, w, h, out[i], 5)
        if w + h == 12 and out[i, 0] == 2:  # blocks of 8 x 4 come from one reference
            out[i, 0] = 0


@inner
def distance(par: Any, k: int, r: int) -> int:
    """From a reference of list k to now."""
    return int(par[DISTANCE0 + r]) if k == 0 else int(par[DISTANCE1 + r])


@inner
def guesses(
    info: Any, field: Any, par: Any, k: int, r: int, x: int, y: int, w: int, h: int, own: int,
    out: Any, v: Any,
) -> None:  # fmt: skip
    """Two guesses ``out[2, 2]`` of the vector to reference r of list k."""
    wanted = distance(par, k, r)
    n = 0
    for attempt in range(2):
        for i in range(5):
            if n >= 2:
                break
            unit = neighbour(info, par, i, x, y, w, h, own)
            if unit < 0:
                continue
            ny, nx = unit >> 16, unit & 0xFFFF
            for side in range(2):
                kk = k ^ side
                if n >= 2 or info[ny, nx, DIR] == 1 - kk:
                    continue
                known = distance(par, kk, int(info[ny, nx, REF0 + kk]))
                if (known == wanted) != (attempt == 0):
                    continue
                out[n, 0] = scaled(int(info[ny, nx, MX0 + 2 * kk]), wanted, known)
                out[n, 1] = scaled(int(info[ny, nx, MY0 + 2 * kk]), wanted, known)
                if n == 0 or out[0, 0] != out[1, 0] or out[0, 1] != out[1, 1]:
                    n += 1
    if n < 2 and par[TEMPORAL] and colocated(field, par, x, y, w, h, wanted, v):
        out[n, 0], out[n, 1] = v[0], v[1]
        if n == 0 or out[0, 0] != out[1, 0] or out[0, 1] != out[1, 1]:
            n += 1
    while n < 2:
        out[n, 0], out[n, 1] = 0, 0
        n += 1
    for i in range(2):
        clamp_vector(par, x, y, w, h, out[i], 0)
