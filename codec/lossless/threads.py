"""How many threads the compiled loops of the lossless codecs run in."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

MOST = 64


def cores() -> int:
    """Threads to use: one for each core of this process, or as OMP_NUM_THREADS says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return min(MOST, int(said))
    return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def share(call: Callable[[Part], Result], parts: Sequence[Part], threads: int) -> list[Result]:
    """``call`` of every part, as many at a time as there are threads."""
    if threads < 2 or len(parts) < 2:
        return [call(part) for part in parts]
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        return list(pool.map(call, parts))
