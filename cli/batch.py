"""Several inputs: expanding folders, naming outputs, running jobs, reporting each result.

Work on one input is a picklable function ``task(job) -> row`` on plain files; it runs in this
process, in several, or on a cluster (``laconic.codec.engines``), and inputs and outputs at URLs are
fetched and sent around it. An error is reported and the others go on; the worst exit code is
returned. With ``--manifest`` a run goes on where it stopped.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, redirect_stderr
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import click

from laconic.cli.tables import ProgressBar, describe, say
from laconic.codec import places
from laconic.codec.devices import split, use_threads
from laconic.codec.engines import Engine, choose, spread
from laconic.codec.manifest import Manifest, digest
from laconic.formats.container import SIGNATURE
from laconic.formats.container_reader import check_signature
from laconic.formats.errors import FormatError, LaconicError, OutputError, ParameterError

STD = "-"
LAC = ".lac"
HOW = {
    "jobs",
    "threads",
    "engine",
    "address",
    "manifest",
    "device",
    "progress",
    "quiet",
    "as_json",
    "show_progress",
    "alone",
    "force",
    "skip_existing",
}  # options that decide no output


@dataclass(frozen=True, slots=True)
class Job:
    """One input, where its output goes ("" for none), and the options of the command.

    Attributes:
        stamp: size and time of the input, where the listing of its folder told them.
        absent: nothing had the output's name when work began.
        replace: a file found there may be this run's own, left by a worker that died.
    """

    source: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)
    stamp: str = ""
    absent: bool = False
    replace: bool = False

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "standard input" if self.source == STD else self.source

    @property
    def overwrite(self) -> bool:
        """Whether a file that has the output's name is replaced."""
        return self.replace or bool(self.options.get("force"))


@dataclass(frozen=True, slots=True)
class Found:
    """An input, its path below the folder that was named, and the stamp of a file at a URL."""

    source: str
    below: PurePath
    stamp: str = ""


def expand(inputs: Sequence[str], suffixes: Iterable[str]) -> Iterator[Found]:
    """Inputs with folders, plain or at URLs, replaced by the files in them."""
    wanted = {s.lower() for s in suffixes}
    for entry in map(places.plain, inputs):
        if places.is_url(entry):
            listed = places.below(entry)
            if listed is None:
                yield Found(entry, PurePosixPath(PurePosixPath(entry).name))
                continue
            found = [Found(*f) for f in listed if f[1].suffix.lower() in wanted]
        else:
            path = Path(entry)
            if entry == STD or not path.is_dir():
                yield Found(entry, Path(path.name))
                continue
            files = (p for p in sorted(path.rglob("*")) if p.is_file())
            found = [
                Found(str(p), p.relative_to(path)) for p in files if p.suffix.lower() in wanted
            ]
        if not found:
            raise ParameterError(f"the folder {entry} holds none of {', '.join(sorted(wanted))}")
        yield from found


@dataclass(frozen=True)
class Placing:
    """Names of outputs: ``-o``, below ``--output-dir``, or beside the input."""

    output: str | None
    folder: str | None
    several: bool
    keep: bool = False  # append the extension instead of replacing the source's

    def target(self, found: Found, suffix: str) -> str:
        """Where an input's output goes."""
        if self.output is not None:
            if self.several:
                raise click.UsageError(
                    "-o names one file but there are several inputs: use --output-dir"
                )
            return places.plain(self.output)
        if self.folder is None and found.source == STD:
            return STD
        name = found.source
        if self.folder is not None:
            name = places.join(places.plain(self.folder), found.below)
        return places.renamed(name, suffix, keep=self.keep)


def belongs_to_media(target: str) -> bool:
    """Whether an output has the extension of a medium's files."""
    from laconic.codec import media

    return any(Path(target).suffix.lower() in m.suffixes for m in media.MEDIA)


def already_coded() -> ParameterError:
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


def _clashes(command: str, jobs: Sequence[Job]) -> dict[str, LaconicError]:
    """Jobs, by source, whose output is another's too, or their own input."""
    owners: dict[str, list[Job]] = {}
    for job in jobs:
        if job.target not in ("", STD):
            owners.setdefault(_real(job.target), []).append(job)
    inputs = {_real(job.source): job.source for job in jobs if job.source != STD}
    found: dict[str, LaconicError] = {}
    for path, those in owners.items():
        named = those[0].target
        for job in those:
            if path in inputs or _same(job):
                read = inputs.get(path, job.source)
                found[job.source] = _misplaced(command, job) or OutputError(
                    f"the output {named} is the input {read}: choose another name"
                )
            elif len(those) > 1:
                found[job.source] = ParameterError(
                    f"{' and '.join(j.source for j in those)} would both be written to {named}:"
                    " add --keep-extension, or use different folders"
                )
    return found


def _misplaced(command: str, job: Job) -> LaconicError | None:
    """The error of an input that is not of the command's kind, which is what its name says."""
    try:
        with places.opened(job.source) as file:
            head = file.read(len(SIGNATURE))
    except (OSError, LaconicError):
        return None
    if command == "encode" and head == SIGNATURE:
        return already_coded()
    if command == "decode":
        try:
            check_signature(head)
        except FormatError as error:
            return error
    return None


def _real(name: str) -> str:
    return name if places.is_url(name) else os.path.realpath(name)


def _same(job: Job) -> bool:
    """Whether both names lead to one file, through hard links too."""
    try:
        return os.path.samefile(job.source, job.target)
    except OSError:
        return False


Task = Callable[[Job], dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its row, or a sentence and an exit code; and facts of its output."""

    row: dict[str, Any] | None
    sentence: str = ""
    code: int = 0
    seconds: float = 0.0
    bytes: int | None = None
    hash: str | None = None
    notes: str = ""  # what a node had to say beside it


def is_plain(name: str) -> bool:
    """Whether a name is of a file of this machine, neither a pipe nor at a URL."""
    return name not in ("", STD) and not places.is_url(name)


def _is_there(name: str, names_in: Callable[[str], frozenset[str]]) -> bool:
    """Whether an output exists, at a URL by the listing of its folder."""
    if not places.is_url(name):
        return name not in ("", STD) and Path(name).exists()
    return name in names_in(name.rpartition("/")[0])


def _manifest(command: str, jobs: Sequence[Job], options: dict[str, Any]) -> Manifest | None:
    """The manifest that was asked for."""
    if options.get("manifest") is None:
        return None
    if any(STD in (job.source, job.target) for job in jobs):
        raise click.UsageError("--manifest is of files and folders: leave it out with a pipe")
    asked = {k: v for k, v in options.items() if k not in HOW and v not in (None, False)}
    plain = json.loads(json.dumps({"command": command, **asked}, default=str))
    return Manifest(Path(options["manifest"]), plain)


def _begun(job: Job, manifest: Manifest | None, is_there: Callable[[str], bool]) -> Job:
    """The job as its work begins."""
    if manifest is not None and manifest.is_begun(job.source):
        return replace(job, replace=True)
    if job.target in ("", STD) or is_there(job.target):
        return job
    if manifest is not None:
        manifest.begin(job.source)
    return replace(job, absent=True)


def engine_for(names: Collection[str], count: int, options: dict[str, Any]) -> Engine:
    """The engine of --engine, --address, --jobs and --threads for ``count`` jobs on the files
    ``names``; raises ``ParameterError``, ``UnsupportedError``."""
    name, threads = options.get("engine") or "local", options.get("threads")
    if name == "ray":
        if STD in names:
            raise click.UsageError("a pipe is read by this process: leave --engine ray out")
        jobs, each = options.get("jobs") or 0, threads or 1
    else:
        jobs, each = split(count, options.get("jobs"), threads)
        if threads is not None and jobs == 1:
            use_threads(threads)
    if any(n.startswith("memory://") for n in names):
        if name == "ray" or (options.get("jobs") or 1) > 1:
            raise ParameterError(
                "memory:// is in the memory of this process: use --jobs 1 and no --engine"
            )
        jobs = 1
    return choose(name, jobs, each, options.get("address"))


def _guarded_far(task: Task, job: Job, *, hashed: bool, folder: str) -> Outcome:
    """As ``_guarded`` on a node of a cluster; relative names are of ``folder``."""
    if os.path.isdir(folder):
        os.chdir(folder)
    with redirect_stderr(io.StringIO()) as notes:
        outcome = _guarded(task, job, hashed=hashed)
    return replace(outcome, notes=notes.getvalue())


def _guarded(task: Task, job: Job, *, hashed: bool) -> Outcome:
    """What becomes of a job."""
    start, hidden = time.perf_counter(), dict[str, str]()
    try:
        with ExitStack() as stack:
            near = job
            if places.is_url(job.source) or places.is_url(job.target):
                near, hidden = _near(
                    job, Path(stack.enter_context(TemporaryDirectory(prefix="laconic-")))
                )
            row = task(near)
            made = near.target or near.source
            size = os.path.getsize(made) if os.path.isfile(made) else None
            mark = digest(made) if hashed else None
            if near.target != job.target:
                places.send(Path(near.target), job.target)
        for far, close in hidden.items():
            row = {k: far if v == close else v for k, v in row.items()}
        return Outcome(row, seconds=time.perf_counter() - start, bytes=size, hash=mark)
    except Exception as error:
        sentence, code = describe(error)
        for far, close in hidden.items():
            sentence = sentence.replace(close, far)
        return Outcome(None, sentence, code, time.perf_counter() - start)


def _near(job: Job, folder: Path) -> tuple[Job, dict[str, str]]:
    """The job with plain files instead of URLs, its input fetched, and the names of both."""
    hidden: dict[str, str] = {}
    changed: dict[str, Any] = {}
    for kind, name in (("target", job.target), ("source", job.source)):
        if not places.is_url(name):
            continue
        (folder / kind).mkdir()
        path = folder / kind / (PurePosixPath(name).name or "file")
        hidden[name], changed[kind] = str(path), str(path)
        if kind == "source":
            places.fetch(name, path)
        elif not job.overwrite and places.exists(name):
            raise OutputError(f"{name} exists already: choose another name or add -f to replace it")
    return replace(job, **changed), hidden


def run(
    command: str,
    jobs: Sequence[Job],
    task: Task,
    options: dict[str, Any],
    report: Callable[[dict[str, Any]], None],
    *,
    progress: bool,
) -> int:
    """Run all jobs, hand each row to ``report``; returns the worst exit code.

    Jobs whose output clashes with another's or would replace an input are reported and left out;
    with ``skip_existing`` those whose output exists are left out in silence, with ``manifest``
    those that are done.
    """
    clashing = _clashes(command, jobs)
    for sentence in dict.fromkeys(_about(n, str(error)) for n, error in clashing.items()):
        say(sentence)
    worst = max((error.exit_code for error in clashing.values()), default=0)
    left = [j for j in jobs if j.source not in clashing]
    is_there = partial(_is_there, names_in=lru_cache(maxsize=2)(places.names_in))
    if options.get("skip_existing"):
        left = [j for j in left if not is_there(j.target)]
    with ExitStack() as stack:
        manifest = _manifest(command, jobs, options)
        if manifest is not None:
            stack.callback(manifest.close)
            count = len(left)
            left = [replace(j, stamp=j.stamp or places.stamp(j.source)) for j in left]
            left = [j for j in left if not manifest.is_done(j.source, j.target, j.stamp)]
            if len(left) < count:
                say(f"{count - len(left)} of {count} inputs are done, says {options['manifest']}")
        for parent in {Path(j.target).parent for j in left if is_plain(j.target)}:
            parent.mkdir(parents=True, exist_ok=True)
        names = {name for job in left for name in (job.source, job.target)}
        engine = engine_for(names, len(left), options)
        stack.callback(engine.close)
        advance = stack.enter_context(ProgressBar(len(left), progress and len(jobs) > 1))
        guarded = partial(_guarded, task, hashed=manifest is not None)
        if options.get("engine") == "ray":
            guarded = partial(_guarded_far, *guarded.args, **guarded.keywords, folder=os.getcwd())
        begun = (_begun(job, manifest, is_there) for job in left)
        for job, found in spread(
            guarded, begun, engine, lost=lambda _, why: Outcome(None, why, 1),
            again=lambda job: replace(job, replace=job.replace or job.absent), in_order=True,
        ):  # fmt: skip
            if manifest is not None:
                manifest.end(
                    job.source, output=job.target, stamp=job.stamp, bytes=found.bytes,
                    hash=found.hash, seconds=round(found.seconds, 3),
                    error=found.sentence or None, code=found.code,
                )  # fmt: skip
            click.echo(found.notes, err=True, nl=False)
            if found.row is None:
                say(_about(job.name, found.sentence))
            else:
                report(found.row)
            worst = max(worst, found.code)
            advance(1)
    return worst


def _about(name: str, sentence: str) -> str:
    """The sentence with the input's name, once."""
    return sentence if name in sentence else f"{name}: {sentence}"
