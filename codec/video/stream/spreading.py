"""Fitting the chunks of a video as tasks of a Ray cluster, one for each.

Choose ``fitting.fit_at_once`` for the processes of one machine; both fit every chunk from scratch,
so the stream is the same. This runs where the video is read: in a task of its own when files are
spread over the cluster, which frees its core while it waits for those of its chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from laconic.codec.engines import Ray, spread
from laconic.codec.video.stream.fitting import (
    FrameSource,
    Meter,
    PlaneSource,
    Task,
    begun,
    measured,
)
from laconic.codec.video.stream.work import Fitted
from laconic.formats.errors import LaconicError, Limits


@dataclass(frozen=True)
class Piece:
    """A chunk on its way to a node."""

    number: int
    frames: Any
    settings: Any  # chunk.FitSettings
    state: Any  # of a fit that had begun, or None
    limits: Limits
    verify: bool


def fit_on_cluster(
    task: Task, source: FrameSource | PlaneSource, threads: int
) -> dict[int, Fitted]:
    """As ``fitting.fit_at_once`` with as many chunks at a time as the cluster has room for.

    After a stop no more are begun; the work file has those that ended. Raises ``LaconicError`` for
    a chunk whose workers die again and again.
    """
    work, meter = task.work, Meter(task)

    def pieces() -> Iterator[Piece]:
        for number, span in enumerate(task.spans):
            if task.stop():
                return
            if number not in work.done:
                yield Piece(
                    number, source.take(span), task.settings_of(number), work.states.get(number),
                    task.limits, task.verify,
                )  # fmt: skip

    engine = Ray(None, threads, 0)
    for piece, found in spread(fit_piece, pieces(), engine, lost=lambda _, why: why):
        if isinstance(found, str):
            raise LaconicError(f"chunk {piece.number + 1} of the video was given up: {found}")
        work.done[piece.number] = found
        work.states.pop(piece.number, None)
        work.save()
        count = task.spans[piece.number].count
        meter.progress(piece.number, count, count)
    if len(work.done) == len(task.spans):
        meter.finish()
    return {}


def fit_piece(piece: Piece) -> Fitted | str:
    """Fit one chunk to its end."""
    fit = begun(piece.frames, piece.settings, piece.state)
    fit.run()
    device = piece.settings.device
    return measured(fit.payload(), piece.frames, piece.limits, piece.verify, device)
