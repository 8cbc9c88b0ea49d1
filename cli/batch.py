"""Several inputs: expanding folders, naming outputs, running jobs, reporting each result.

Work on one input is a picklable function ``task(job) -> row``; with ``--jobs`` above 1 it runs in
worker processes, each with its share of the processor's threads. An error is reported and the
others go on; the worst exit code is returned.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from laconic.cli.errors import describe, say
from laconic.codec.workers import spread
from laconic.formats.errors import ParameterError

STD = "-"


@dataclass(frozen=True)
class Job:
    """One input, where its output goes ("" for none), and the options of the command."""

    source: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)


def expand(inputs: Sequence[str], suffixes: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Inputs with folders replaced by the files in them; yields ``(file, path below its root)``."""
    wanted = {s.lower() for s in suffixes}
    for entry in inputs:
        path = Path(entry)
        if entry == STD or not path.is_dir():
            yield entry, Path(path.name)
            continue
        found = [p for p in sorted(path.rglob("*")) if p.is_file() and p.suffix.lower() in wanted]
        if not found:
            raise ParameterError(f"the folder {entry} holds none of {', '.join(sorted(wanted))}")
        for file in found:
            yield str(file), file.relative_to(path)


def target_of(
    source: str, below: Path, suffix: str, output: str | None, folder: str | None, several: bool
) -> str:
    """Name of an output: ``-o``, below ``--output-dir``, or beside the input."""
    if output is not None:
        if several:
            raise click.UsageError(
                "-o names one file but there are several inputs: use --output-dir"
            )
        return output
    if folder is not None:
        return str((Path(folder) / below).with_suffix(suffix))
    if source == STD:
        return STD
    return str(Path(source).with_suffix(suffix))


def prepare_folders(jobs: Sequence[Job]) -> None:
    """Create the folders of outputs; refuse two inputs with one output."""
    seen: dict[str, str] = {}
    for job in jobs:
        if job.target and job.target != STD:
            if job.target in seen:
                raise ParameterError(
                    f"{seen[job.target]} and {job.source} would both be written to {job.target}:"
                    " encode them into different folders"
                )
            seen[job.target] = job.source
            Path(job.target).parent.mkdir(parents=True, exist_ok=True)


def _guarded(
    task: Callable[[Job], dict[str, Any]], job: Job
) -> tuple[dict[str, Any] | None, str, int]:
    try:
        return task(job), "", 0
    except Exception as error:
        return None, *describe(error)


def run(
    jobs: Sequence[Job],
    task: Callable[[Job], dict[str, Any]],
    workers: int,
    report: Callable[[dict[str, Any]], None],
    *,
    progress: bool,
) -> int:
    """Run all jobs, hand each row to ``report``; returns the worst exit code."""
    worst = 0
    with ProgressBar(len(jobs), progress and len(jobs) > 1) as advance:
        guarded = partial(_guarded, task)
        for job, (row, sentence, code) in spread(guarded, jobs, workers, in_order=True):
            if row is None:
                say(f"{'standard input' if job.source == STD else job.source}: {sentence}")
            else:
                report(row)
            worst = max(worst, code)
            advance(1)
    return worst


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


class TileProgress:
    """A bar on stderr for a single long job; ``draw`` takes (done, total), ``note`` a few words
    that stand beside it."""

    def __init__(self, label: str) -> None:
        self.label, self.words, self._width = label, "", 0

    def draw(self, done: int, total: int) -> None:
        filled = 30 * done // total
        bar = f"[{'#' * filled}{'-' * (30 - filled)}]  {done}/{total}"
        end = "\n" if done == total else ""
        line = f"\r{self.label}  {bar}  {self.words}".rstrip(" ")
        self._width = max(self._width, len(line))  # what stood there is covered
        sys.stderr.write(line.ljust(self._width) + end)
        sys.stderr.flush()

    def note(self, words: str) -> None:
        self.words = words


def tile_progress(show: bool, label: str) -> Callable[[int, int], None] | None:
    """Callback ``(done, total)`` that draws a bar on stderr for a single long job."""
    return TileProgress(label).draw if show else None
