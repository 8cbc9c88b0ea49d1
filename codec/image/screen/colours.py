"""Colours of screens: packing, and fewer of them where that is worth its error.

What makes text and drawings expensive is the number of shades along smoothed edges. For a
Lagrangian multiplier, a rare colour becomes its nearest frequent neighbour where the error counts
less than the bits it saves: some for a colour that need not be introduced, some for each of its
pixels that cannot be copied from the left or from above. The map is one for a whole tile, so that
letters which were equal stay equal, and large areas, which cost next to nothing, keep their colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.jit import jit

INTRODUCED = 8.0  # bits that a colour costs once
USED = 0.5  # bits of each pixel of a rare colour beyond those of a frequent one
PALETTE = 1024  # colours that others may become


def packed(pixels: NDArray[Any]) -> NDArray[np.int32] | None:
    """Samples [H, W, 1 or 3] as colours [H, W]; None for 16 bits that are not 8 bits repeated."""
    if pixels.dtype == np.uint16:
        high = pixels >> 8
        if not np.array_equal(high * np.uint16(257), pixels):
            return None
        pixels = high
    levels = pixels.astype(np.int32)
    red, green, blue = (levels[..., c % levels.shape[2]] for c in range(3))
    colours: NDArray[np.int32] = red << 16 | green << 8 | blue
    return colours


def unpacked(colours: NDArray[np.int32], channels: int, dtype: Any) -> NDArray[Any]:
    """Inverse of :func:`packed`."""
    shifts = np.array((16, 8, 0)[:channels], np.int32)
    levels = colours[..., None] >> shifts & 255
    return (levels * (257 if dtype == np.uint16 else 1)).astype(dtype)


def reduced(colours: NDArray[np.int32], where: NDArray[np.bool_], multiplier: float) -> Any:
    """``colours`` [H, W] with fewer different ones among the pixels in ``where``; others stay.

    ``multiplier`` is lambda of bits + lambda * squared error of 8 bits, averaged over channels.
    """
    found, number, uses = np.unique(colours[where], return_inverse=True, return_counts=True)
    fresh = np.ones(colours.shape, bool)
    fresh[1:] = colours[1:] != colours[:-1]
    fresh[:, 1:] |= colours[:, 1:] != colours[:, :-1]
    edges = np.bincount(number[fresh[where]], minlength=found.size)
    worth = (INTRODUCED + USED * edges) / np.maximum(uses, 1) * 3 / multiplier
    order = np.argsort(-uses, kind="stable")
    levels = np.stack((found >> 16, found >> 8 & 255, found & 255), 1).astype(np.int64)
    become = _merge(order, levels, np.minimum(worth, 1 << 20).astype(np.int64), PALETTE)
    out = colours.copy()
    out[where] = found[become][number]
    return out


@jit
def _merge(order: Any, levels: Any, worth: Any, most: int) -> Any:
    """Which colour each becomes: the nearest more frequent one that stays, if it is near enough."""
    become, kept, count = np.arange(order.size), np.zeros(most, np.int64), 0
    for n in range(order.size):
        i = order[n]
        best, nearest = 1 << 40, -1
        for k in range(count):
            j = kept[k]
            r, g, b = (
                levels[i, 0] - levels[j, 0],
                levels[i, 1] - levels[j, 1],
                levels[i, 2] - levels[j, 2],
            )
            error = r * r + g * g + b * b
            if error < best:
                best, nearest = error, j
        if nearest >= 0 and best < worth[i]:
            become[i] = nearest
        elif count < most:
            kept[count] = i
            count += 1
    return become
