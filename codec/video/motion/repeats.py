"""Where a screen's blocks were seen before, sample for sample: in frames before, and in the same.

Windows scroll by hundreds of samples and letters return, which no search around a guess finds. Here
all positions of a frame's source are hashed (Xu et al., "Overview of the Emerging HEVC Screen
Content Coding Extension", 2016), and each block of 8 x 8 gets vectors that
`inter_search` tries. The encoder alone needs them; frames of a camera are told apart first, and
cost nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NONE = -(1 << 30)  # no vector
COPIES = 3  # vectors into the same frame, for each block
FLAT = 0.6  # share of samples that equal those to their left, of screens
SHIFTS = 8  # common displacements that are tried on all blocks
LONGEST = 1 << 13  # samples of a side
VOTES = 3  # blocks that make a displacement common

Samples = NDArray[np.int16]
Hashes = NDArray[np.uint64]


def is_screen(luma: NDArray[Any], flat: float = FLAT) -> bool:
    """Whether a frame looks drawn: more than a share of ``flat`` neighbours are equal, as noise
    never lets them be; with 0, whether its size lets it be one."""
    if not 8 < luma.shape[1] <= LONGEST or not 8 <= luma.shape[0] <= LONGEST:
        return False
    return flat <= 0 or float((luma[:, 1:] == luma[:, :-1]).mean()) > flat


class Frame:
    """A frame's source luma with a hash of each position, in ascending order."""

    def __init__(self, luma: Samples) -> None:
        self.luma = luma
        hashes = _hashes(luma)
        self.blocks = hashes[::8, ::8].copy()  # of the blocks of 8 x 8
        order = np.argsort(hashes, axis=None, kind="stable")
        self.sorted = hashes.ravel()[order]
        self.order = order.astype(np.int32)

    def range_of(self, wanted: Hashes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where equal hashes begin and end in the order."""
        first = np.searchsorted(self.sorted, wanted, "left")
        return first, np.searchsorted(self.sorted, wanted, "right")


def _hashes(luma: Samples) -> Hashes:
    """A hash of the 8 x 8 samples at each position."""
    rows, columns = luma.shape
    values = luma.astype(np.uint64) + np.uint64(1)
    across = np.zeros((rows, columns - 7), np.uint64)
    down = np.zeros((rows - 7, columns - 7), np.uint64)
    factor = np.uint64(0x9E3779B97F4A7C15)
    for i in range(8):
        across = across * factor + values[:, i : i + columns - 7]
    across ^= across >> np.uint64(29)
    factor = np.uint64(0xBF58476D1CE4E5B9)
    for j in range(8):
        down = down * factor + across[j : j + rows - 7]
    return down


def _textured(luma: Samples) -> NDArray[np.bool_]:
    """Blocks of 8 x 8 whose rows differ and whose columns differ."""
    rows, columns = luma.shape
    blocks = luma.reshape(rows // 8, 8, columns // 8, 8)
    across = (blocks != blocks[:, :, :, :1]).any((1, 3))
    return across & (blocks != blocks[:, :1]).any((1, 3))


def moved(now: Frame, before: Frame) -> NDArray[np.int32]:
    """A vector in quarter samples into an earlier frame, for each block of 8 x 8, or NONE.

    Displacements that many blocks have in common come first, so that a window moves as a whole.
    """
    rows, columns = now.luma.shape
    high, wide = rows // 8, columns // 8
    y, x = np.mgrid[0:high, 0:wide] * 8
    first, end = before.range_of(now.blocks)
    alone = _textured(now.luma) & (end == first + 1)
    at = before.order[np.where(alone, first, 0)]
    dy, dx = at // (columns - 7) - y, at % (columns - 7) - x
    found, votes = np.unique(np.stack([dy[alone], dx[alone]], 1), axis=0, return_counts=True)
    common = [tuple(found[i]) for i in np.argsort(-votes, kind="stable") if votes[i] >= VOTES]
    out = np.full((high, wide, 2), NONE, np.int32)
    open_ = np.ones((high, wide), np.bool_)
    for j, i in [*common[:SHIFTS], (0, 0)]:
        same = np.zeros((rows, columns), np.bool_)
        top, left = max(-j, 0), max(-i, 0)
        bottom, right = min(rows - j, rows), min(columns - i, columns)
        same[top:bottom, left:right] = (
            now.luma[top:bottom, left:right]
            == before.luma[top + j : bottom + j, left + i : right + i]
        )
        fits = open_ & same.reshape(high, 8, wide, 8).all((1, 3))
        out[fits] = 4 * i, 4 * j
        open_ &= ~fits
    rest = open_ & alone
    out[rest, 0], out[rest, 1] = 4 * dx[rest], 4 * dy[rest]
    return out


def copied(now: Frame) -> NDArray[np.int32]:
    """Vectors in whole samples into what is decoded of the same frame ``[COPIES, .., 2]``, or NONE.

    The nearest above, the nearest above the tree block, and the nearest to the left.
    """
    rows, columns = now.luma.shape
    high, wide = rows // 8, columns // 8
    line = columns - 7
    y, x = np.mgrid[0:high, 0:wide] * 8
    first, end = now.range_of(now.blocks)
    textured = _textured(now.luma)
    # Positions of one hash ascend, so that hash and position together ascend as well.
    names = np.cumsum(np.r_[False, now.sorted[1:] != now.sorted[:-1]])
    keys = names * (rows * columns) + now.order
    wanted = names[np.minimum(first, names.size - 1)] * (rows * columns)
    out = np.full((COPIES, high, wide, 2), NONE, np.int32)
    for k, last in enumerate(((y - 8) * line + line - 1, (y // 64 * 64 - 8) * line + line - 1,
                              y * line + x - 8)):  # fmt: skip
        i = np.searchsorted(keys, wanted + last, "right") - 1
        ok = textured & (last >= 0) & (i >= first) & (i < end)
        at = now.order[np.where(ok, i, 0)]
        dy, dx = at // line - y, at % line - x
        if k == 2:
            ok &= (dy == 0) & (dx <= -8)
        out[k, ok, 0], out[k, ok, 1] = dx[ok], dy[ok]
    return out
