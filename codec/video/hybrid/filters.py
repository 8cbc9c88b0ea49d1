"""Filters in the loop: edges of blocks are smoothed as in HEVC (Norkin et al., 2012).

Integers only; all vertical edges of a frame come first, then all horizontal ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laconic.codec.video.hybrid.compiled import inner, outer
from laconic.codec.video.hybrid.inter import (
    DEPTH,
    DIR,
    ENERGY,
    GRAY,
    HEIGHT,
    INTER,
    LH,
    LW,
    MX0,
    ORDER,
    QCHROMA,
    QUANT,
    REF0,
    SLOT0,
    SX,
    SY,
    TYPE,
    WIDTH,
)

LIMITS = np.array([0] * 18 + [1] * 9 + [2] * 4 + [3] * 4 + [4] * 3 + [5, 5, 6, 6, 7, 8, 9, 10, 11,
                  13, 14, 16, 18, 20, 22, 24] + [24] * 12, np.int32)  # fmt: skip
FLATNESS = np.array([0] * 16 + list(range(6, 19)) + list(range(20, 66, 2)) + [64] * 14, np.int32)


@inner
def strength(info: Any, par: Any, py: int, px: int, qy: int, qx: int) -> int:
    """0 no filter, 1 inter, 2 intra: of the edge between two units."""
    if (
        info[py, px, ORDER] == info[qy, qx, ORDER]
        and info[qy, qx, LW] < 6
        and (info[qy, qx, LH] < 6)
    ):
        return 0
    p, q = info[py, px], info[qy, qx]
    if p[TYPE] != INTER or q[TYPE] != INTER:
        return 2
    if p[ENERGY] or q[ENERGY]:
        return 1
    if p[ORDER] == q[ORDER]:
        return 0
    # References by where they are kept; vectors by whole samples.
    n, m = (2 if p[DIR] == 2 else 1), (2 if q[DIR] == 2 else 1)
    if n != m:
        return 1
    i, j = (1 if p[DIR] == 1 else 0), (1 if q[DIR] == 1 else 0)
    a = int(par[SLOT0 + 4 * i + int(p[REF0 + i])])
    b = int(par[SLOT0 + 4 * j + int(q[REF0 + j])])
    if n == 1:
        far = abs(p[MX0 + 2 * i] - q[MX0 + 2 * j]) >= 4
        return 1 if a != b or far or abs(p[MX0 + 2 * i + 1] - q[MX0 + 2 * j + 1]) >= 4 else 0
    c = int(par[SLOT0 + 4 + int(p[REF0 + 1])])
    d = int(par[SLOT0 + 4 + int(q[REF0 + 1])])
    if a != b or c != d:
        return 1
    for k in range(4):
        if abs(p[MX0 + k] - q[MX0 + k]) >= 4:
            return 1
    return 0


@inner
def luma_edge(
    plane: Any, y: int, x: int, sy: int, sx: int, ty: int, tx: int, beta: int, tc: int, most: int
) -> None:
    """Four samples along an edge; (sy, sx) steps across it, (ty, tx) along it."""
    y3, x3 = y + 3 * ty, x + 3 * tx
    dp0 = abs(int(plane[y - 3 * sy, x - 3 * sx]) - 2 * int(plane[y - 2 * sy, x - 2 * sx])
              + int(plane[y - sy, x - sx]))  # fmt: skip
    dp3 = abs(int(plane[y3 - 3 * sy, x3 - 3 * sx]) - 2 * int(plane[y3 - 2 * sy, x3 - 2 * sx])
              + int(plane[y3 - sy, x3 - sx]))  # fmt: skip
    dq0 = abs(int(plane[y + 2 * sy, x + 2 * sx]) - 2 * int(plane[y + sy, x + sx])
              + int(plane[y, x]))  # fmt: skip
    dq3 = abs(int(plane[y3 + 2 * sy, x3 + 2 * sx]) - 2 * int(plane[y3 + sy, x3 + sx])
              + int(plane[y3, x3]))  # fmt: skip
    if dp0 + dp3 + dq0 + dq3 >= beta:
        return
    strong = True
    for k in range(0, 4, 3):
        yy, xx = y + k * ty, x + k * tx
        d = dp0 + dq0 if k == 0 else dp3 + dq3
        p0, p3 = int(plane[yy - sy, xx - sx]), int(plane[yy - 4 * sy, xx - 4 * sx])
        q0, q3 = int(plane[yy, xx]), int(plane[yy + 3 * sy, xx + 3 * sx])
        if 2 * d >= beta >> 2 or abs(p3 - p0) + abs(q0 - q3) >= beta >> 3:
            strong = False
        if abs(p0 - q0) >= (5 * tc + 1) >> 1:
            strong = False
    side = (beta + (beta >> 1)) >> 3
    more_p, more_q = dp0 + dp3 < side, dq0 + dq3 < side
    for k in range(4):
        yy, xx = y + k * ty, x + k * tx
        p0, p1 = int(plane[yy - sy, xx - sx]), int(plane[yy - 2 * sy, xx - 2 * sx])
        p2, p3 = int(plane[yy - 3 * sy, xx - 3 * sx]), int(plane[yy - 4 * sy, xx - 4 * sx])
        q0, q1 = int(plane[yy, xx]), int(plane[yy + sy, xx + sx])
        q2, q3 = int(plane[yy + 2 * sy, xx + 2 * sx]), int(plane[yy + 3 * sy, xx + 3 * sx])
        if strong:
            c = 2 * tc
            a0 = (p2 + 2 * p1 + 2 * p0 + 2 * q0 + q1 + 4) >> 3
            a1 = (p2 + p1 + p0 + q0 + 2) >> 2
            a2 = (2 * p3 + 3 * p2 + p1 + p0 + q0 + 4) >> 3
            b0 = (p1 + 2 * p0 + 2 * q0 + 2 * q1 + q2 + 4) >> 3
            b1 = (p0 + q0 + q1 + q2 + 2) >> 2
            b2 = (p0 + q0 + q1 + 3 * q2 + 2 * q3 + 4) >> 3
            plane[yy - sy, xx - sx] = min(max(a0, p0 - c), p0 + c)
            plane[yy - 2 * sy, xx - 2 * sx] = min(max(a1, p1 - c), p1 + c)
            plane[yy - 3 * sy, xx - 3 * sx] = min(max(a2, p2 - c), p2 + c)
            plane[yy, xx] = min(max(b0, q0 - c), q0 + c)
            plane[yy + sy, xx + sx] = min(max(b1, q1 - c), q1 + c)
            plane[yy + 2 * sy, xx + 2 * sx] = min(max(b2, q2 - c), q2 + c)
        else:
            delta = (9 * (q0 - p0) - 3 * (q1 - p1) + 8) >> 4
            if abs(delta) >= 10 * tc:
                continue
            delta = min(max(delta, -tc), tc)
            plane[yy - sy, xx - sx] = min(max(p0 + delta, 0), most)
            plane[yy, xx] = min(max(q0 - delta, 0), most)
            half = tc >> 1
            if more_p:
                change = (((p2 + p0 + 1) >> 1) - p1 + delta) >> 1
                change = min(max(change, -half), half)
                plane[yy - 2 * sy, xx - 2 * sx] = min(max(p1 + change, 0), most)
            if more_q:
                change = (((q2 + q0 + 1) >> 1) - q1 - delta) >> 1
                change = min(max(change, -half), half)
                plane[yy + sy, xx + sx] = min(max(q1 + change, 0), most)


@outer
def deblock(info: Any, par: Any, planes: Any) -> None:
    """Smooth the edges of leaves on a grid of 8 x 8 samples."""
    rows, columns = int(par[HEIGHT]), int(par[WIDTH])
    depth = int(par[DEPTH])
    most, up = (1 << depth) - 1, depth - 8
    q = (int(par[QUANT]) + 4) >> 3
    beta = int(FLATNESS[min(q, 63)]) << up
    qc = (int(par[QCHROMA]) + 4) >> 3
    sx, sy = int(par[SX]), int(par[SY])
    luma = planes[0]
    for across in range(2):
        dx, dy = 1 - across, across
        for uy in range(rows >> 2):
            for ux in range(columns >> 2):
                if (ux if across == 0 else uy) & 1 or (ux if across == 0 else uy) == 0:
                    continue
                s = strength(info, par, uy - dy, ux - dx, uy, ux)
                if s == 0:
                    continue
                tc = int(LIMITS[min(q + 2 * (s - 1), 65)]) << up
                if tc:
                    luma_edge(luma, 4 * uy, 4 * ux, dy, dx, dx, dy, beta, tc, most)
                if s < 2 or par[GRAY]:
                    continue
                grid = 8 << (sx if across == 0 else sy)
                if (4 * ux if across == 0 else 4 * uy) % grid:
                    continue
                tc = int(LIMITS[min(qc + 2, 65)]) << up
                count = 4 >> (sy if across == 0 else sx)
                for k in range(1, 3):
                    plane = planes[k]
                    for i in range(count):
                        y = (4 * uy >> sy) + dx * i
                        x = (4 * ux >> sx) + dy * i
                        p0, p1 = int(plane[y - dy, x - dx]), int(plane[y - 2 * dy, x - 2 * dx])
                        q0, q1 = int(plane[y, x]), int(plane[y + dy, x + dx])
                        delta = (((q0 - p0) * 4) + p1 - q1 + 4) >> 3
                        delta = min(max(delta, -tc), tc)
                        plane[y - dy, x - dx] = min(max(p0 + delta, 0), most)
                        plane[y, x] = min(max(q0 - delta, 0), most)
