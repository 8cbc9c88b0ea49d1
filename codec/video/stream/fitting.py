"""Fitting all chunks of a video, one after the other or several at a time.

One after the other each chunk starts from the weights of the one before, unless a new scene begins;
with several processes every chunk starts from scratch. Either way the work file is renewed every
``SAVE_SECONDS`` and whenever a chunk is finished.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import Progress, Status
from laconic.codec.devices import cores, use_threads
from laconic.codec.video.stream.work import Fitted, Span, Stopper, Work, interrupts_kept
from laconic.formats.errors import DEFAULT_LIMITS, DesyncError, FormatError, Limits
from laconic.formats.video import VideoHeader
from laconic.formats.video_planes import Planes, Sampling

SAVE_SECONDS = 30.0
BRIEF_SECONDS = 10.0  # for a chunk that had not begun when the user stopped
LEAVE = "leave"  # what a worker is told that has to end without a stream
BRIEF_CHUNKS = 12  # more of them than this are not fitted briefly
Frames = NDArray[np.uint8]


@dataclass
class Task:
    """What all chunks share: how they are fitted, where the state goes, who is told.

    ``budget(n)`` gives the target of chunk n in bytes, None without one.
    """

    spans: Sequence[Span]
    settings: Any  # chunk.FitSettings without a target
    budget: Callable[[int], int | None]
    work: Work
    stop: Stopper
    verify: bool = True
    progress: Progress | None = None
    status: Status | None = None
    limits: Limits = DEFAULT_LIMITS

    def settings_of(self, number: int) -> Any:
        """Settings of a chunk."""
        target = self.budget(number)
        return self.settings if target is None else replace(self.settings, target_bytes=target)


class Meter:
    """Turns the steps of several chunks into one bar, and adds the time left for all of them.

    Steps are those of the fits, frames for "motion"; a chunk that has not begun is expected to
    take as many for a frame as those that have.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._finished = set(task.work.done)  # before
        self._steps: dict[int, tuple[int, int]] = {}  # done and all, of the chunks that began
        self._begun, self._before = time.monotonic(), 0
        self._drawn = 0.0

    def progress(self, number: int, done: int, total: int) -> None:
        """A chunk stands at ``done`` of ``total`` steps."""
        if number not in self._steps:  # what a resumed chunk brings along took no time here
            self._before += done - 1
        self._steps[number] = done, total
        now = time.monotonic()
        if self._task.progress is not None and (now - self._drawn > 0.2 or done == total):
            self._drawn = now
            known, whole = self._sum()
            self._task.progress(min(known, whole - 1), whole)

    def status(self, number: int, words: str) -> None:
        """A chunk says how it stands."""
        if self._task.status is None:
            return
        count = len(self._task.spans)
        known, whole = self._sum()
        gained = sum(done for done, _ in self._steps.values()) - self._before
        left = (time.monotonic() - self._begun) * (whole - known) / max(gained, 1e-6)
        eta = f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"
        self._task.status(
            f"chunk {number + 1}/{count}: {words}, all in {eta}" if count > 1 else words
        )

    def finish(self) -> None:
        """All chunks are done."""
        if self._task.progress is not None:
            whole = self._sum()[1]
            self._task.progress(whole, whole)

    def _sum(self) -> tuple[int, int]:
        """Steps done and steps of all chunks."""
        counts = [span.count for span in self._task.spans]
        steps = sum(total for _, total in self._steps.values())
        rate = steps / sum(counts[n] for n in self._steps) if self._steps else 1.0
        before = round(rate * sum(counts[n] for n in self._finished - self._steps.keys()))
        waiting = set(range(len(counts))) - self._finished - self._steps.keys()
        known = before + sum(done for done, _ in self._steps.values())
        return known, max(before + steps + round(rate * sum(counts[n] for n in waiting)), 1)


class FrameSource:
    """The frames of spans in order, each video frame decoded once."""

    def __init__(self, frames: Iterator[Frames], width: int, height: int) -> None:
        self._frames, self._shape, self._at = frames, (height, width, 3), 0

    def take(self, span: Span) -> Frames:
        """RGB frames ``[N, H, W, 3]`` of a span that does not lie before the last one taken."""
        out = np.empty((span.count, *self._shape), np.uint8)
        for n in range(self._at, span.first + span.count):
            frame = next(self._frames, None)
            if frame is None or frame.shape != self._shape:
                raise FormatError("the video changed while it was encoded: begin again")
            if n >= span.first:
                out[n - span.first] = frame
        self._at = span.first + span.count
        return out


class PlaneSource:
    """As `FrameSource`, for networks that code planes."""

    def __init__(self, planes: Iterator[Planes], sampling: Sampling, header: VideoHeader) -> None:
        self._planes, self._sampling, self._at = planes, sampling, 0
        self._sizes = sampling.sizes(header.width, header.height)

    def take(self, span: Span) -> Any:
        """The planes of a span that does not lie before the last one taken: a ``chunk.Clip``."""
        from laconic.codec.video import chunk

        out = []
        for n in range(self._at, span.first + span.count):
            planes = next(self._planes, None)
            if planes is None or [p.shape for p in planes] != self._sizes:
                raise FormatError("the video changed while it was encoded: begin again")
            if n >= span.first:
                out.append(planes)
        self._at = span.first + span.count
        return chunk.Clip(out, self._sampling)


def begun(frames: Any, settings: Any, state: Any) -> Any:
    """A fit of a chunk on its own: one that goes on from its ``state()``, or anew for None."""
    from laconic.codec.video import chunk

    if state is None:
        return chunk.Fit(frames, settings)
    return chunk.Fit.resume(frames, settings, state)


def measured(
    payload: bytes, frames: Any, limits: Limits, verify: bool, device: str | None = None
) -> Fitted:
    """A payload with what decoding it afresh gives: symbol check and PSNR of each frame, in dB."""
    from laconic.codec.video import chunk

    if isinstance(frames, chunk.Clip):
        height, width = frames.frames[0][0].shape
        decoded = chunk.decode(payload, len(frames.frames), width, height, limits)
        found = []
        for n, planes in enumerate(frames.frames if verify else ()):
            lost = planes[0].astype(np.float64) - decoded.planes(n)[0]
            error, most = float(np.square(lost).mean()), (1 << frames.sampling.depth) - 1
            found.append(10 * math.log10(most**2 / error) if error else math.inf)
        return Fitted(payload, decoded.symbols_check, tuple(found))
    count, height, width = frames.shape[:3]
    decoder = chunk.decode(payload, count, width, height, limits, device)
    if not verify:
        return Fitted(payload, decoder.symbols_check)
    values = []
    for n, frame in enumerate(frames):
        shown = decoder.frame(n)
        if shown.shape != frame.shape:
            raise DesyncError("a fitted chunk decodes to frames of another size")
        error = np.mean((frame.astype(np.float32) - shown.astype(np.float32)) ** 2)
        values.append(float(10 * np.log10(255**2 / error)) if error else math.inf)
    return Fitted(payload, decoder.symbols_check, tuple(values))


def fit_in_turn(task: Task, source: FrameSource | PlaneSource) -> dict[int, Fitted]:
    """Fit every chunk that is not done; returns those that ended early because of a stop."""
    from laconic.codec.video import chunk

    work, meter = task.work, Meter(task)
    early: dict[int, Fitted] = {}
    for number, span in enumerate(task.spans):
        if number in work.done:
            continue
        waiting = [n for n in range(number, len(task.spans)) if n not in work.done]
        many = len(waiting) > BRIEF_CHUNKS
        if task.stop.terminated or (task.stop() and number not in work.states and many):
            break
        frames = source.take(span)
        settings = task.settings_of(number)
        if number in work.states:
            fit = chunk.Fit.resume(frames, settings, work.states[number])
        else:
            chained = work.warm_of == number - 1 and not span.fresh
            fit = chunk.Fit(frames, settings, work.warm if chained else None)
        finished = _run(task, fit, number, meter)
        if task.stop.terminated:
            break
        fitted = measured(fit.payload(), frames, task.limits, task.verify, settings.device)
        if finished:
            work.done[number] = fitted
            work.states.pop(number, None)
            work.warm, work.warm_of = fit.warm(), number
            work.save()
        else:
            early[number] = fitted
    if not early:
        meter.finish()
    return early


def _run(task: Task, fit: Any, number: int, meter: Meter) -> bool:
    """Fit a chunk in slices, saving after each; whether it was finished."""

    def progress(done: int, total: int) -> None:
        meter.progress(number, done, total)

    def status(words: str) -> None:
        meter.status(number, words)

    if task.stop():
        fit.run(BRIEF_SECONDS, progress, status)
        return False
    while True:
        finished: bool = fit.run(SAVE_SECONDS, progress, status, task.stop)
        task.work.states[number] = fit.state()
        if finished:
            return True
        task.work.save()
        if task.stop():
            return False


def fit_at_once(task: Task, source: FrameSource | PlaneSource, jobs: int) -> dict[int, Fitted]:
    """As :func:`fit_in_turn`, with ``jobs`` processes and no chain."""
    work, meter = task.work, Meter(task)
    early: dict[int, Fitted] = {}
    waiting = [n for n in range(len(task.spans)) if n not in work.done]
    context = multiprocessing.get_context("spawn")
    threads = max(1, cores() // jobs)
    running: dict[Any, tuple[int, Any]] = {}
    told, saved = False, time.monotonic()
    try:
        while running or (waiting and not task.stop.terminated):
            while waiting and len(running) < jobs and not task.stop.terminated:
                if task.stop() and waiting[0] not in work.states and len(waiting) > BRIEF_CHUNKS:
                    waiting.clear()
                    break
                number = waiting.pop(0)
                job = (
                    source.take(task.spans[number]), task.settings_of(number),
                    work.states.get(number), BRIEF_SECONDS if task.stop() else None,
                    task.limits, task.verify,
                )  # fmt: skip
                here, there = context.Pipe()
                process = context.Process(target=_worker, args=(there, threads), daemon=True)
                with interrupts_kept():
                    process.start()
                there.close()
                _tell(here, job)
                running[here] = (number, process)
            if task.stop() and not told:
                told = True
                for pipe in running:
                    _tell(pipe, LEAVE if task.stop.terminated else "stop")
            for ready in multiprocessing.connection.wait(list(running), 0.2):
                connection: Any = ready
                number, process = running[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, ConnectionResetError):
                    if task.stop.terminated:
                        running.pop(connection)
                        continue
                    raise FormatError(f"the process of chunk {number + 1} died") from None
                if kind == "progress":
                    meter.progress(number, *value)
                elif kind == "status":
                    meter.status(number, value)
                elif kind == "state":
                    work.states[number] = value
                elif kind == "error":
                    raise value
                else:
                    (work.done if kind == "done" else early)[number] = value
                    if kind == "done":
                        work.states.pop(number, None)
                        saved = 0.0
                    running.pop(connection)
                    process.join()
            if time.monotonic() - saved > SAVE_SECONDS:
                work.save()
                saved = time.monotonic()
    finally:
        for _, process in running.values():
            process.terminate()
    work.save()
    if not early:
        meter.finish()
    return early


def _tell(pipe: Any, words: Any) -> None:
    """Send; a process that has ended reads nothing, and what it sent is still to be received."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(words)


def _worker(connection: Any, threads: int) -> None:
    """Fits the chunk that comes through the pipe; ends with it, or when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    use_threads(threads)
    told, drawn = "", 0.0

    def stop() -> bool:
        nonlocal told
        if connection.poll():
            told = connection.recv()
        return told != ""

    def progress(done: int, total: int) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > 0.5 or done == total:
            drawn = time.monotonic()
            connection.send(("progress", (done, total)))

    def status(words: str) -> None:
        connection.send(("status", words))

    try:
        frames, settings, state, brief, limits, verify = connection.recv()
        fit = begun(frames, settings, state)
        finished = False
        while not finished:
            finished = fit.run(brief or SAVE_SECONDS / 2, progress, status, stop)
            if brief or finished or stop():
                break
            connection.send(("state", _plain(fit.state())))
        if not finished and brief is None:
            connection.send(("state", _plain(fit.state())))
        if told == LEAVE:
            return
        fitted = measured(fit.payload(), frames, limits, verify, settings.device)
        connection.send(("done" if finished else "early", fitted))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        connection.send(("error", error))


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state whose tensors are arrays: they outlive the process that made them."""
    return {k: v.detach().cpu().numpy() if hasattr(v, "detach") else v for k, v in state.items()}
