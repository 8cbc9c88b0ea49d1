"""Where a film is cut into chunks: at scene cuts where that leaves chunks of sensible length.

The network of a chunk is a fixed cost, so chunks are long; frames of a chunk are held in memory, so
they are not too long; and a chunk that ends at a scene cut need not describe two scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 160  # frames of a chunk by default
SHORTEST = 48  # no chunk is made shorter than this for a scene cut
CHUNK_BYTES = 2**29  # RGB frames of a chunk in memory
LEVELS = 18.0  # mean difference of thumbnails that may be a cut
TIMES = 3.0  # and how far it stands out from its neighbours


@dataclass(frozen=True)
class Span:
    """``count`` frames from ``first``; ``fresh`` if they begin a new scene."""

    first: int
    count: int
    fresh: bool


def scene_cuts(changes: NDArray[Any]) -> list[int]:
    """First frames of new scenes: changes that are large and far above those around them."""
    found = []
    for n in range(1, len(changes)):
        around = [*changes[max(1, n - 3) : n], *changes[n + 1 : n + 4]]
        usual = float(np.median(around)) if around else 0.0
        if changes[n] > LEVELS and changes[n] > TIMES * usual:
            found.append(n)
    return found


def longest_chunk(width: int, height: int, asked: int | None) -> int:
    """Frames of a chunk at most: the number asked for, or what memory allows."""
    if asked is not None:
        return asked
    return max(1, min(LONGEST, CHUNK_BYTES // (3 * width * height)))


def plan_chunks(changes: NDArray[Any], longest: int, fixed: bool = False) -> list[Span]:
    """Spans that cover all frames.

    Args:
        changes: difference of each frame from the one before (``video_reader.Scan``).
        longest: frames of a chunk at most.
        fixed: pay no attention to scenes, for chunks of exactly ``longest`` frames but the last.
    """
    total = len(changes)
    if fixed:
        return [Span(a, min(longest, total - a), a == 0) for a in range(0, total, longest)]
    cuts = scene_cuts(changes)
    shortest = min(SHORTEST, longest)
    starts = [0]
    for cut in cuts:
        if cut - starts[-1] >= shortest and total - cut >= shortest:
            starts.append(cut)
    spans = []
    for first, end in zip(starts, [*starts[1:], total], strict=True):
        parts = ceil((end - first) / longest)
        edges = [first + (end - first) * k // parts for k in range(parts + 1)]
        for k in range(parts):
            spans.append(Span(edges[k], edges[k + 1] - edges[k], k == 0))
    return spans
