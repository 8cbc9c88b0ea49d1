"""A filter fitted to each frame: decoded luma moves towards the source by least squares.

As in VVC's adaptive loop filter (Karczewicz et al., 2021): samples fall into classes by activity
and direction; each class has symmetric weights for the differences from the samples around. A frame
switches a class off, takes the weights sent last for it, or sends others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.hybrid.compiled import outer
from laconic.codec.video.hybrid.elements import code_component
from laconic.codec.video.hybrid.mix import code_bit
from laconic.codec.video.hybrid.residual import room, sets

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
