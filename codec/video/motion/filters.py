"""In-loop filters: deblocking and the Wiener filter.

Filters in the loop: edges of blocks are smoothed as in HEVC (Norkin et al., 2012).

Integers only; all vertical edges of a frame come first, then all horizontal ones.

A filter fitted to each frame: decoded luma moves towards the source by least squares.

As in VVC's adaptive loop filter (Karczewicz et al., 2021): samples fall into classes by activity
and direction; each class has symmetric weights for the differences from the samples around. A frame
switches a class off, takes the weights sent last for it, or sends others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.compiled import inner, outer
from laconic.codec.video.motion.elements import code_component
from laconic.codec.video.motion.inter import (
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
from laconic.codec.video.motion.mix import code_bit
from laconic.codec.video.motion.residual import room, sets

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


CLASSES = 12
TAPS = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))  # and their mirror images
ONE = 7  # bits of a weight
MOST = 96  # largest weight
EDGE = 2
OFF, SAME, OTHER = 0, 1, 2

WAYS = [room(n) for n in (2 * 12, 2 * 12 * 4, 2 * 4, 2 * 3, 2 * 9, 2)]
WAYS_SET = sets(2)
(A0, A1, A2, A3, A4, A5) = WAYS


@outer
def classify(wide: Any, rows: int, columns: int, depth: int, out: Any) -> None:
    """The class of each block of 4 x 4 of a plane with EDGE samples around it."""
    for by in range(rows >> 2):
        for bx in range(columns >> 2):
            across, down = 0, 0
            for j in range(4):
                for i in range(4):
                    y, x = 4 * by + j + EDGE, 4 * bx + i + EDGE
                    p = 2 * int(wide[y, x])
                    across += abs(p - int(wide[y, x - 1]) - int(wide[y, x + 1]))
                    down += abs(p - int(wide[y - 1, x]) - int(wide[y + 1, x]))
            active = (across + down) >> (depth - 8)
            level = 0 if active < 24 else 1 if active < 72 else 2 if active < 200 else 3
            direction = 1 if across > 2 * down else 2 if down > 2 * across else 0
            out[by, bx] = 3 * level + direction


@outer
def smooth(wide: Any, plane: Any, rows: int, columns: int, kinds: Any, weights: Any,
           most: int) -> None:  # fmt: skip
    """Filter a plane; ``weights[CLASSES, 6]`` are zero for classes that stay as they are."""
    for by in range(rows >> 2):
        for bx in range(columns >> 2):
            k = int(kinds[by, bx])
            w0, w1, w2 = int(weights[k, 0]), int(weights[k, 1]), int(weights[k, 2])
            w3, w4, w5 = int(weights[k, 3]), int(weights[k, 4]), int(weights[k, 5])
            if not (w0 or w1 or w2 or w3 or w4 or w5):
                continue
            for j in range(4):
                for i in range(4):
                    y, x = 4 * by + j + EDGE, 4 * bx + i + EDGE
                    p = int(wide[y, x])
                    d = 2 * p
                    total = w0 * (int(wide[y, x - 1]) + int(wide[y, x + 1]) - d)
                    total += w1 * (int(wide[y, x - 2]) + int(wide[y, x + 2]) - d)
                    total += w2 * (int(wide[y - 1, x + 1]) + int(wide[y + 1, x - 1]) - d)
                    total += w3 * (int(wide[y - 1, x]) + int(wide[y + 1, x]) - d)
                    total += w4 * (int(wide[y - 1, x - 1]) + int(wide[y + 1, x + 1]) - d)
                    total += w5 * (int(wide[y - 2, x]) + int(wide[y + 2, x]) - d)
                    p += (total + 64) >> ONE
                    plane[4 * by + j, 4 * bx + i] = min(max(p, 0), most)


@outer
def code_filter(coder: Any, ways: Any, weights: Any, bank: Any, layer: int) -> None:
    """Code how each class is filtered; ``bank`` holds the weights sent last, and is renewed."""
    before = 0
    for k in range(CLASSES):
        found = 0
        for i in range(2):
            n = i * 12 + k
            got = code_bit(
                coder, 1 if ways[k] > i else 0, WAYS_SET + i, A0 + n, A1 + n * 4 + min(layer, 3),
                A2 + i * 4 + min(layer, 3), A3 + i * 3 + before, A4 + i * 9 + before, A5 + i,
            )  # fmt: skip
            if not got:
                break
            found = i + 1
        ways[k] = found
        before = found
        for t in range(6):
            if found == OTHER:
                change = code_component(
                    coder, 2, int(weights[k, t]) - int(bank[k, t]), 2, 2, layer, t, k
                )
                bank[k, t] = min(max(int(bank[k, t]) + change, -MOST), MOST)
            weights[k, t] = bank[k, t] if found else 0


def choose(
    source: NDArray[np.uint16], wide: NDArray[np.int32], kinds: NDArray[np.int32],
    bank: NDArray[np.int32], lam: float,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:  # fmt: skip
    """How each class is filtered, and the weights sent for those of OTHER ``[CLASSES, 6]``.

    Args:
        source: luma. wide: decoded luma with EDGE samples around. lam: squared error of a bit.
    """
    rows, columns = source.shape
    centre = wide[EDGE : EDGE + rows, EDGE : EDGE + columns]
    features = np.empty((len(TAPS), rows, columns))
    for t, (dy, dx) in enumerate(TAPS):
        total = -2 * centre
        for sign in (1, -1):
            y, x = EDGE + sign * dy, EDGE + sign * dx
            total = total + wide[y : y + rows, x : x + columns]
        features[t] = total
    missing = source.astype(np.float64) - centre
    every = np.repeat(np.repeat(kinds, 4, 0), 4, 1)
    ways, weights = np.zeros(CLASSES, np.int32), bank.copy()
    for k in range(CLASSES):
        chosen = every == k
        if chosen.sum() < 64:
            continue
        taps = features[:, chosen]
        products, wanted = taps @ taps.T, taps @ missing[chosen]
        exact = np.linalg.solve(products + 16 * np.eye(len(TAPS)), wanted)
        rounded = np.clip(np.round(exact * (1 << ONE)), -MOST, MOST).astype(np.int32)
        best = 0.0
        for way, w in ((SAME, bank[k]), (OTHER, rounded)):
            share = w / (1 << ONE)
            gain = float(2 * share @ wanted - share @ products @ share)
            bits = 1.0
            if way == OTHER:
                bits += sum(2 * math.log2(1 + abs(int(d))) + 1.5 for d in w - bank[k])
            gain -= lam * bits
            if gain > best and w.any():
                best, ways[k] = gain, way
                if way == OTHER:
                    weights[k] = w
    return ways, weights


def widened(plane: NDArray[np.uint16]) -> NDArray[np.int32]:
    """A plane with EDGE samples repeated around it."""
    return np.pad(plane, EDGE, "edge").astype(np.int32)
