"""Independent pieces of work, in threads or in worker processes with a share of the cores each.

Threads (`share`) are for compiled loops, which hold no lock: tiles of a picture, blocks of a table.
Processes (`spread`) are for whole files. Chunks of one film have processes of their own
(`codec.video.stream.fitting`), because they report progress and can be asked to stop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")
MOST = 64  # threads


def cores() -> int:
    """Threads to use: one for each core of this process, or as OMP_NUM_THREADS says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return min(MOST, int(said))
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST, count or 1)


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


def spread(
    task: Callable[[Piece], Result], pieces: Sequence[Piece], workers: int, *, in_order: bool
) -> Iterator[tuple[Piece, Result]]:
    """Each piece with what ``task`` makes of it; in this process if one worker is enough.

    Args:
        task: a picklable function.
        in_order: yield in the order of the pieces, not as they are ready.

    What the task raises is raised here, and pieces that had not begun are dropped.
    """
    if workers <= 1 or len(pieces) <= 1:
        for piece in pieces:
            yield piece, task(piece)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    count = min(workers, len(pieces))
    with ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_limit_threads,
        initargs=(max(1, cores() // count),),
    ) as pool:
        futures = {pool.submit(task, piece): piece for piece in pieces}
        try:
            for future in futures if in_order else as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _limit_threads(threads: int) -> None:
    """Before torch is imported, which many pieces of work never do."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
