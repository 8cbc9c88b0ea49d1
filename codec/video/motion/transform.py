"""Integer cosine and sine transforms of 4 to 32 samples, scaling, and their inverses.

Bases are orthonormal in 12 bits, so a block of any two sides needs no correction. Coefficients have
four fractional bits. The decoder's side is exact: one order of additions, all of it in 32 bits for
streams that an encoder makes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.compiled import inner

ONE = 12  # bits of a basis
COSINE, SINE, PLAIN = 0, 1, 2  # plain: samples themselves
LARGEST = 32
LONGEST_STEP = 8 * 64


def _bases() -> NDArray[np.int32]:
    """``[kind, log2 size, k, i]``: DCT-II, and DST-VII for residuals that grow from one side."""
    out = np.zeros((2, 6, LARGEST, LARGEST), np.float64)
    for log in range(1, 6):
        n = 1 << log
        k, i = np.mgrid[:n, :n]
        cosine = np.cos(np.pi * (2 * i + 1) * k / (2 * n)) * np.sqrt(2 / n)
        cosine[0] /= np.sqrt(2)
        out[0, log, :n, :n] = cosine
        sine = np.sin(np.pi * (2 * k + 1) * (i + 1) / (2 * n + 1)) * 2 / np.sqrt(2 * n + 1)
        out[1, log, :n, :n] = sine
    return np.round(out * (1 << ONE)).astype(np.int32)


BASES = _bases()
# Step in 1/64 of a coefficient's unit (1/16 of a level), for every eighth of a quantiser's unit.
STEPS = np.array([round(64 * 16 * 2 ** ((q / 8 - 4) / 6)) for q in range(LONGEST_STEP)], np.int64)


@inner
def forward(residual: Any, out: Any, lw: int, lh: int, kind: int, depth: int, work: Any) -> None:
    """Coefficients of ``residual[:h, :w]``; ``work`` is scratch of the same kind (int32)."""
    w, h = 1 << lw, 1 << lh
    if kind == PLAIN:
        for y in range(h):
            for x in range(w):
                out[y, x] = residual[y, x] << (12 - depth)
        return
    shift = 8 + depth - 8
    for y in range(h):
        for k in range(w):
            total = np.int32(0)
            for i in range(w):
                total += np.int32(residual[y, i] * BASES[kind, lw, k, i])
            work[y, k] = (total + (1 << (shift - 1))) >> shift
    for k in range(h):
        for x in range(w):
            out[k, x] = 1 << (ONE - 1)
        for i in range(h):
            b = BASES[kind, lh, k, i]
            for x in range(w):
                out[k, x] += b * work[i, x]
        for x in range(w):
            out[k, x] >>= ONE


@inner
def inverse(
    levels: Any, ly: int, lx: int, residual: Any, lw: int, lh: int, kind: int, step: int,
    depth: int, work: Any,
) -> None:  # fmt: skip
    """Residual ``[:h, :w]`` of the levels of a block at ``levels[ly, lx]``."""
    w, h = 1 << lw, 1 << lh
    if kind == PLAIN:
        for y in range(h):
            for x in range(w):
                value = (int(levels[ly + y, lx + x]) * step + 32) >> 6
                value = min(max(value, -(1 << 19)), (1 << 19) - 1)
                residual[y, x] = (value + (1 << (11 - depth))) >> (12 - depth)
        return
    for y in range(h):
        for x in range(w):
            work[y, x] = 0
    columns = 0
    for k in range(h):
        for x in range(w):
            level = int(levels[ly + k, lx + x])
            if level:
                value = min(max((level * step + 32) >> 6, -(1 << 19)), (1 << 19) - 1)
                if x >= columns:
                    columns = x + 1
                for y in range(h):
                    work[y, x] += np.int32(value * int(BASES[kind, lh, k, y]) >> 4)
    shift = ONE + 4 - (depth - 8)
    half = 1 << (shift - 1)
    for y in range(h):
        for x in range(w):
            residual[y, x] = half
        for k in range(columns):
            t = (work[y, k] + 128) >> 8
            if t:
                for x in range(w):
                    residual[y, x] += t * BASES[kind, lw, k, x]
        for x in range(w):
            residual[y, x] >>= shift
