"""Independent pieces of work in worker processes, each with its share of the processor's threads.

Used where many files are coded or measured. Chunks of one film have processes of their own
(`codec.video.stream.fitting`), because they report progress and can be asked to stop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


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
        initargs=(count,),
    ) as pool:
        futures = {pool.submit(task, piece): piece for piece in pieces}
        try:
            for future in futures if in_order else as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _limit_threads(workers: int) -> None:
    """Before torch is imported, which many pieces of work never do."""
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
