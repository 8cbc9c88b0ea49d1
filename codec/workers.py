"""How many threads and processes work at a time: the one place that decides.

The cores of a process are those it may run on (affinity), that its container may use (the quota of
the control group) and that OMP_NUM_THREADS leaves it. Jobs, which are whole files, divide them:
``split``. Threads (``share``) are for compiled loops, which hold no lock: tiles of an image,
blocks of a table. Whole files are spread over processes and machines by
``laconic.codec.engines``; chunks of one video have processes of their own
(``codec.video.stream.fitting``), because they report progress and can be asked to stop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")
MOST = 64  # threads
ENOUGH = 8  # files that are worth a process of their own, which starts for a second or two
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": 2 cores; "max 100000": all


def cores() -> int:
    """Threads to use: one for each core of this process, or as OMP_NUM_THREADS says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return min(MOST, int(said))
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST, found or 1, quota(QUOTA)))


def quota(path: Path) -> int:
    """Whole cores that the control group's file ``path`` grants; ``MOST`` where it sets no
    limit."""
    try:
        time, period = path.read_text().split()
        return max(1, int(time) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return MOST


def split(items: int, jobs: int | None = None, threads: int | None = None) -> tuple[int, int]:
    """Jobs at a time and threads of each, so that together they take the cores there are.

    Args:
        items: how many there are to do; few are done one after the other, with all the threads.
        jobs: as many as the caller says, None for a choice.
        threads: of each job, None for a choice.
    """
    if jobs is None:
        jobs = max(1, min(cores() // (threads or 1), items // ENOUGH))
    jobs = max(1, min(jobs, items))
    return jobs, threads or max(1, cores() // jobs)


def use_threads(threads: int) -> None:
    """Let everything that this process does from now on take so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when it is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def share(task: Callable[[Piece], Result], pieces: Sequence[Piece], threads: int) -> list[Result]:
    """What ``task`` makes of every piece, as many at a time as there are threads.

    The threads have ended when it returns. A generator must not keep a pool open between its
    results: one that nobody exhausts may be closed by the garbage collector inside the start of
    another thread, which then waits for itself.
    """
    if threads < 2 or len(pieces) < 2:
        return [task(piece) for piece in pieces]
    with ThreadPoolExecutor(min(threads, len(pieces))) as pool:
        return list(pool.map(task, pieces))
