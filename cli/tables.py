"""What commands print: results on stdout; errors, with their exit codes, and progress on stderr.

Results are for people (aligned columns) or for programs (one JSON object a line). An error is one
sentence; progress is a bar over many inputs, or a line for one long job.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click

from laconic.formats.errors import LaconicError, printable

Column = tuple[str, str, str]  # key, heading, format
INTERRUPTED = 130
TERMINATED = 143
GRACE = 5.0  # seconds after SIGTERM
ENDED = "terminated; nothing partial was written"
_said = threading.Event()  # that
WIDTH = 79  # of a line of progress


class Table:
    """Prints rows as they come: a heading with the first, or JSON lines.

    ``columns`` are ``(key, heading, format)``. With ``err`` the table goes to stderr.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        as_json: bool = False,
        err: bool = False,
        quiet: bool = False,
    ) -> None:
        self.columns, self.as_json, self.err, self.quiet = columns, as_json, err, quiet
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; JSON is printed at once, a table by :meth:`close`."""
        if self.as_json:
            clean = {
                k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in row.items()
            }
            click.echo(json.dumps(clean), err=self.err)
        else:
            self._rows.append(row)

    def close(self) -> None:
        """Print the table."""
        if self.quiet or not self._rows:
            return
        cells = [[heading for _, heading, _ in self.columns]]
        cells += [
            [
                printable(format(row[key], spec)) if row.get(key) is not None else "-"
                for key, _, spec in self.columns
            ]
            for row in self._rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        right = [not isinstance(_first(self._rows, key), str) for key, _, _ in self.columns]
        for line in cells:
            padded = [
                cell.rjust(width) if align else cell.ljust(width)
                for cell, width, align in zip(line, widths, right, strict=True)
            ]
            click.echo("  ".join(padded).rstrip(), err=self.err)


class MediaTable(Table):
    """A table of files whose columns are those of their medium where they have one in common.

    ``first`` and ``last`` columns are those of every medium, ``own`` the attribute of a medium that
    names its own. With ``total`` the sums of these columns end a table of several rows.
    """

    def __init__(
        self,
        first: Sequence[Column],
        last: Sequence[Column],
        own: str,
        *,
        total: Sequence[str] = (),
        **how: bool,
    ) -> None:
        super().__init__([*first, *last], **how)
        self._first, self._last, self._own, self._total = first, last, own, total

    def close(self) -> None:
        """Print the table."""
        from laconic.codec import media

        found = {row["media"] for row in self._rows}
        own = getattr(media.named(found.pop()), self._own) if len(found) == 1 else ()
        self.columns = [*self._first, *own, *self._last]
        if self._total and len(self._rows) > 1:
            sums = {
                key: sum(row[key] for row in self._rows)
                for key in self._total
                if all(row.get(key) is not None for row in self._rows)
            }
            whole, part = (sums.get(key) for key in self._total)
            ratio = whole / part if whole and part else None
            self._rows.append({"input": "total", "output": "", **sums, "ratio": ratio})
        super().close()


def _first(rows: Sequence[dict[str, Any]], key: str) -> Any:
    return next((row[key] for row in rows if row.get(key) is not None), None)


def describe(error: BaseException) -> tuple[str, int]:
    """``(sentence, exit code)`` of an error."""
    if isinstance(error, LaconicError):
        return str(error), error.exit_code
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or 'the file'} does not exist", 1
    if isinstance(error, IsADirectoryError):
        return f"{error.filename} is a folder: expected a file", 1
    if isinstance(error, MemoryError):
        return "there is not enough memory: use smaller tiles (--tile) or fewer --jobs", 1
    if isinstance(error, OSError):
        return str(error.strerror or error), 1
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing partial was written", INTERRUPTED
    return (
        f"unexpected {type(error).__name__}: {error}; run laconic --debug ... for the traceback",
        1,
    )


def say(message: str) -> None:
    """One line on stderr; names and tags in it cannot control the terminal."""
    click.echo(printable(f"laconic: {message}"), err=True)


def run_guarded(command: click.Command) -> None:
    """Run the command line and leave the process with the documented exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    _watch()
    try:
        code = command.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say(describe(KeyboardInterrupt())[0])
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        sentence, code = describe(error)
        say(sentence)
        sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    _said.set()
    say(ENDED)
    sys.exit(TERMINATED)


def _watch() -> None:
    """End the process by force where `_terminate` has not done it within ``GRACE``: it is called
    when a function of a library returns, and what it raises in a callback of one is lost."""
    if not hasattr(os, "set_blocking"):
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is _terminate:
                time.sleep(GRACE)
                _leave()

    threading.Thread(target=wait, daemon=True).start()


def _leave() -> None:
    import multiprocessing

    if not _said.is_set():
        say(ENDED)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(TERMINATED)


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
