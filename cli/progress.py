"""How work stands, on stderr: a bar over many inputs, or a line for one long job."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from laconic.cli.tables import say

WIDTH = 79  # of a line


class ProgressBar:
    """A progress bar on stderr, or nothing."""

    def __init__(self, length: int, show: bool) -> None:
        self._bar: Any = None
        if show:
            self._bar = click.progressbar(length=length, file=sys.stderr)

    def __enter__(self) -> Callable[[int], None]:
        if self._bar is None:
            return lambda n: None
        self._bar.__enter__()
        update: Callable[[int], None] = self._bar.update
        return update

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


class WorkProgress:
    """A line on stderr for one long job: its name, a bar once there is something to count, and a
    few words on how it stands. ``draw`` takes (done, total), ``note`` the words."""

    def __init__(self, label: str, show: bool = True) -> None:
        self.label, self.show, self.words = Path(label).name or label, show, ""
        self._width, self._bar, self._open = 0, "", False

    def draw(self, done: int, total: int) -> None:
        """So much is done."""
        filled = 20 * done // max(1, total)
        self._bar = f"[{'#' * filled}{'-' * (20 - filled)}] {done}/{total}"
        self._print(done == total)

    def note(self, words: str) -> None:
        """How it stands."""
        self.words = words
        self._print(False)

    def interrupt(self, sentence: str) -> None:
        """Say something on a line of its own."""
        self.close()
        say(sentence)

    def close(self) -> None:
        """End the line, if it is still open; words without a bar are wiped out."""
        if self._open:
            sys.stderr.write("\n" if self._bar else f"\r{' ' * self._width}\r")
            self._open, self._width = False, 0

    def _print(self, ended: bool) -> None:
        if not self.show:
            return
        room = WIDTH - len(self._bar) - len(self.words) - 4
        label = self.label
        if len(label) > max(8, room):
            label = label[: max(7, room - 1)] + "…"
        line = "  ".join(part for part in (label, self._bar, self.words) if part)[:WIDTH]
        sys.stderr.write(f"\r{line.ljust(self._width)}" + ("\n" if ended else ""))
        sys.stderr.flush()
        self._width, self._open = len(line), not ended


def tile_progress(show: bool, label: str) -> Callable[[int, int], None] | None:
    """Callback ``(done, total)`` that draws a bar on stderr for a single long job."""
    return WorkProgress(label).draw if show else None
