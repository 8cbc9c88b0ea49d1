"""Coding order of a chunk: key frames, and between them a pyramid of frames with two references.

Frame 0 stands alone. Key frames, ``gap`` apart (the last frame ends the last gap), are predicted
from the key frames before; the frame in the middle of two coded frames is predicted from both, then
the middles of the halves, and so on. Lower layers are better images, since others come from them.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One frame in coding order.

    Attributes:
        index: of the frame in order of presentation.
        refs: frames it is predicted from: none, or two (equal if there is one only).
        layer: 0 for frame 0, 1 for key frames, then the depth in the pyramid.
        last: no frame is predicted from it.
    """

    index: int
    refs: tuple[int, ...]
    layer: int
    last: bool


def coding_order(frames: int, gap: int) -> list[Place]:
    """All frames of a chunk, each after its references.

    >>> [(p.index, p.refs, p.layer) for p in coding_order(4, 8)]
    [(0, (), 0), (3, (0, 0), 1), (1, (0, 3), 2), (2, (1, 3), 3)]
    """
    keys = list(range(0, frames, gap))
    if keys[-1] != frames - 1:
        keys.append(frames - 1)
    found: list[tuple[int, tuple[int, ...], int]] = [(0, (), 0)]
    for n, key in enumerate(keys[1:], 1):
        found.append((key, (keys[n - 1], keys[max(n - 2, 0)]), 1))
        spans = [(keys[n - 1], key, 2)]
        while spans:  # a layer at a time, so that references are few at any moment
            first, end, layer = spans.pop(0)
            middle = (first + end) // 2
            if middle > first:
                found.append((middle, (first, end), layer))
                spans += [(first, middle, layer + 1), (middle, end, layer + 1)]
    used = {r for _, refs, _ in found for r in refs}
    return [Place(i, refs, layer, i not in used) for i, refs, layer in found]


def still_used(order: list[Place]) -> list[set[int]]:
    """After each frame in coding order, the frames that a later one is predicted from."""
    found: list[set[int]] = []
    used: set[int] = set()
    for place in reversed(order):
        found.append(used)
        used = used | set(place.refs)
    return found[::-1]


def needed(order: list[Place], wanted: Set[int], present: Set[int]) -> list[Place]:
    """The frames to decode for those wanted, in coding order, where some are present."""
    kept, asked = [], set(wanted)
    for place in reversed(order):
        if place.index in asked and place.index not in present:
            kept.append(place)
            asked |= set(place.refs)
    return kept[::-1]
