"""Several inputs: expanding folders, naming outputs, running jobs, reporting each result.

Work on one input is a picklable function ``task(job) -> row``; with ``--jobs`` above 1 it runs in
worker processes, each with its share of the processor's threads. An error is reported and the
others go on; the worst exit code is returned.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from laconic.cli.tables import describe, say
from laconic.codec.workers import spread
from laconic.formats.errors import LaconicError, OutputError, ParameterError

STD = "-"
LAC = ".lac"
WIDTH = 79  # of a progress line


@dataclass(frozen=True)
class Job:
    """One input, where its output goes ("" for none), and the options of the command."""

    source: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "standard input" if self.source == STD else self.source


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


@dataclass(frozen=True)
class Placing:
    """Names of outputs: ``-o``, below ``--output-dir``, or beside the input."""

    output: str | None
    folder: str | None
    several: bool
    keep: bool = False  # append the extension instead of replacing the source's

    def target(self, source: str, below: Path, suffix: str) -> str:
        """Where an input's output goes; ``below`` is its path below the folder that was named."""
        if self.output is not None:
            if self.several:
                raise click.UsageError(
                    "-o names one file but there are several inputs: use --output-dir"
                )
            return self.output
        path = Path(source) if self.folder is None else Path(self.folder) / below
        if source == STD and self.folder is None:
            return STD
        return f"{path}{suffix}" if self.keep else str(path.with_suffix(suffix))


def belongs_to_media(target: str) -> bool:
    """Whether an output has the extension of a medium's files."""
    from laconic.codec import media

    return any(Path(target).suffix.lower() in m.suffixes for m in media.MEDIA)


def already_coded(name: str) -> ParameterError:
    """What is said of an input of ``encode`` that is coded already."""
    return ParameterError("the input is a .lac file already: nothing is to be encoded")


def take_over(job: Job) -> None:
    """Give an output the mode and the time of modification of its source."""
    target = Path(job.target)
    if job.source == STD or not target.is_file() or not Path(job.source).is_file():
        return
    about = Path(job.source).stat()
    try:
        os.chmod(target, about.st_mode & 0o777)
        os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
    except OSError:
        return  # a file system without modes


def _clashes(jobs: Sequence[Job]) -> dict[str, LaconicError]:
    """Jobs, by source, whose output is another's too, or their own input."""
    owners: dict[str, list[Job]] = {}
    for job in jobs:
        if job.target not in ("", STD):
            owners.setdefault(os.path.realpath(job.target), []).append(job)
    inputs = {os.path.realpath(job.source): job.source for job in jobs if job.source != STD}
    found: dict[str, LaconicError] = {}
    for path, those in owners.items():
        named = those[0].target
        for job in those:
            if path in inputs or _same(job):
                read = inputs.get(path, job.source)
                found[job.source] = OutputError(
                    f"the output {named} is the input {read}: choose another name"
                )
            elif len(those) > 1:
                found[job.source] = ParameterError(
                    f"{' and '.join(j.source for j in those)} would both be written to {named}:"
                    " add --keep-extension, or use different folders"
                )
    return found


def _same(job: Job) -> bool:
    """Whether both names lead to one file, through hard links too."""
    try:
        return os.path.samefile(job.source, job.target)
    except OSError:
        return False


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
    skip: bool = False,
) -> int:
    """Run all jobs, hand each row to ``report``; returns the worst exit code.

    Jobs whose output clashes with another's or would replace an input are reported and left out;
    with ``skip`` those whose output exists are left out in silence.
    """
    worst, clashing = 0, _clashes(jobs)
    for source, error in clashing.items():
        say(_about(source, str(error)))
        worst = max(worst, error.exit_code)
    left = [j for j in jobs if j.source not in clashing]
    left = [j for j in left if not (skip and j.target not in ("", STD) and Path(j.target).exists())]
    for job in left:
        if job.target not in ("", STD):
            Path(job.target).parent.mkdir(parents=True, exist_ok=True)
    with ProgressBar(len(left), progress and len(jobs) > 1) as advance:
        guarded = partial(_guarded, task)
        for job, (row, sentence, code) in spread(guarded, left, workers, in_order=True):
            if row is None:
                say(_about(job.name, sentence))
            else:
                report(row)
            worst = max(worst, code)
            advance(1)
    return worst


def _about(name: str, sentence: str) -> str:
    """The sentence with the input's name, once."""
    return sentence if name in sentence else f"{name}: {sentence}"


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
