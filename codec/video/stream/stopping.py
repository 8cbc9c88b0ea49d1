"""Stopping a long fit politely: the first Ctrl-C ends it with the best so far, the second at once.

SIGTERM keeps what was fitted and then does what it did before. Handlers are only set in the main
thread, where Python allows it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Deliver a Ctrl-C after the block, and never to a process that is started in it.

    A terminal sends the signal to every process of the program; one that has just been started
    would die of it before it could say that only the first process answers.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stopper:
    """``with Stopper() as stop: ... stop.asked`` - whether somebody wants the work to end."""

    def __init__(self) -> None:
        self.asked = False
        self.terminated = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.asked

    def leave(self) -> None:
        """What the signal would have done by itself, once everything is saved."""
        handler = self._before.get(signal.SIGTERM if self.terminated else signal.SIGINT)
        if self.terminated and callable(handler):
            handler(signal.SIGTERM, None)
        raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        self.terminated = self.terminated or number == signal.SIGTERM
