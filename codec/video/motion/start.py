"""What contexts know before the first frame of a chunk: counted in other films, part of the format.

``benchmarks/video_start.py`` made ``start.npz`` and says from what.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.mixing import FINE, Model

CHANCE_BITS = 16
_FILE = Path(__file__).with_name("start.npz")


@cache
def _arrays() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    with np.load(_FILE) as arrays:
        chance, seen, weights = (arrays[n].astype(np.int64) for n in ("chance", "seen", "weights"))
    return chance << (FINE - CHANCE_BITS), seen, weights


def begin(models: Iterable[Model]) -> None:
    """Put all models of a syntax, in order, where other films left them."""
    chance, seen, weights = _arrays()
    at = first = 0
    for model in models:
        end, last = at + model.chance.size, first + model.weights.size
        model.chance, model.seen = chance[at:end].copy(), seen[at:end].copy()
        model.weights = weights[first:last].copy()
        at, first = end, last
    assert (at, first) == (chance.size, weights.size)
