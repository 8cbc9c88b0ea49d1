"""A run of an evaluation: every input through every codec at every quality, resumable.

A run lives in a folder: ``config.json`` says what was asked, ``measurements.jsonl`` has one line
for each finished measurement, ``streams/`` holds the encoded files. A measurement is found again by
a key over all that decides it - the item's name and bytes, the subject's settings and versions,
quality and metrics - so a run that was interrupted or extended computes only what is missing.

Rates count the bytes of the file. Times are wall-clock seconds of the call, models loaded; videos
are decoded frame by frame, without the metrics. Memory (Linux) is how far the resident size of the
process rose above what it was before; the peak is that size, everything included that the process
had loaded for whatever codec.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from laconic.codec import devices, places
from laconic.codec.engines import Engine, Here, Ray, spread
from laconic.codec.evaluate import metrics as metric_table
from laconic.codec.evaluate.metrics import Metric
from laconic.codec.evaluate.subject import (
    Decoded,
    Item,
    Spec,
    Subject,
    check_qualities,
    find_items,
    find_subject,
    has_device,
    parse_spec,
)
from laconic.codec.manifest import Lines, read_lines
from laconic.codec.media import named, of
from laconic.formats.atomic import atomic_write
from laconic.formats.container import Media
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, LaconicError, Limits, ParameterError

Row = dict[str, Any]


def measure(
    subject: Subject,
    item: Item,
    quality: float | None,
    metrics: Sequence[Metric],
) -> tuple[Row, bytes]:
    """Encode, decode, compare.

    Returns:
        {"codec", "item", "quality", "bytes", rates, metrics (None where not defined),
        "encode_s", "decode_s", "memory_mib", "peak_mib"}, and the bytes of the file.
    """
    _ = item.original  # is not timed
    _reset_peak()
    before = _peak_mib()
    start = time.perf_counter()
    data = subject.encode(item, quality)
    encode_s = time.perf_counter() - start
    row: Row = {
        "codec": subject.label,
        "item": item.name,
        "quality": quality,
        "bytes": len(data),
        "encode_s": encode_s,
    }
    peak: float | None = None

    def decode() -> Decoded:
        nonlocal peak
        decoded = subject.decode(data, item)
        if not isinstance(
            decoded, Iterator
        ):  # whole: what metrics take from here on is not counted
            peak = _peak_mib()
        return decoded

    try:
        compared = of(item.media).compare(item, decode, len(data), metrics)
    except FormatError as error:
        raise FormatError(f"{subject.label}: {error}") from error
    peak = _peak_mib() if peak is None else peak
    added = None if peak is None or before is None else peak - before
    return {**row, **compared, "memory_mib": added, "peak_mib": peak}, data


def _reset_peak() -> None:
    """Start from what is in use: memory that was freed goes back to the system before (glibc), or
    a codec would seem to take none of what one before it had taken."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mib() -> float | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((x for x in status.splitlines() if x.startswith("VmHWM:")), None)
    return None if line is None else int(line.split()[1]) / 1024


JOURNAL = "measurements.jsonl"
INPUTS = "inputs"  # copies of what is at URLs
VERSION = 1


@dataclass(frozen=True)
class Config:
    """What a run measures; the same configuration gives the same numbers (times aside).

    Attributes:
        inputs: files, folders, and URLs of either, which are copied into the run.
        codecs: specifications ``NAME[@VARIANT][:Q,...]``.
        metrics: names; empty for the medium's defaults.
        media: kind to take from mixed folders, or None.
        device: where networks run; None is each codec's own choice.
    """

    inputs: tuple[str, ...]
    codecs: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    media: str | None = None
    device: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Any) -> Config:
        """Inverse of :meth:`to_dict`; raises ``FormatError``."""
        try:
            if data["version"] != VERSION:
                raise FormatError(
                    f"the configuration has version {data['version']}: expected {VERSION}"
                )
            return cls(
                tuple(map(str, data["inputs"])), tuple(map(str, data["codecs"])),
                tuple(map(str, data["metrics"])), data["media"], data.get("device"),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise FormatError(f"this is no configuration of an evaluation: {error}") from error


def read_config(path: Path) -> Config:
    """A ``config.json`` of an earlier run; raises ``FormatError``."""
    try:
        return Config.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise FormatError(f"{path} is no configuration of an evaluation: {error}") from error


@dataclass
class Run:
    """A finished run.

    Attributes:
        media: kind of its items.
        metrics: names, in the order asked for.
        subjects: description of each subject by its label, in the order asked for.
        rows: one per measurement.
        failures: ``(item, codec, sentence)`` of measurements that failed.
    """

    config: Config
    media: Media
    metrics: list[str]
    subjects: dict[str, dict[str, Any]]
    items: list[str]
    rows: list[Row] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Work:
    """One item through one subject: the unit that a process takes."""

    spec: Spec
    item: Item
    metrics: tuple[str, ...]
    points: tuple[tuple[str, float | None, str], ...]  # key, quality, file below the folder
    data: bytes | None = None  # of the item, for a machine that lacks the file


@dataclass(frozen=True)
class _Measured:
    """What became of a point: its row, or a sentence if it failed, and its file."""

    key: str
    row: Row | str
    name: str = ""
    data: bytes = b""


def evaluate(
    config: Config,
    out: Path,
    *,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Run:
    """Measure what is missing in the folder ``out`` and return everything.

    A measurement that fails is reported in ``failures`` and tried again by the next call.

    Args:
        engine: where the measurements are taken (``codec.engines``); None is this process.

    Raises:
        ParameterError: no items, mixed media, unknown codec, variant or metric.
        UnsupportedError: a library that a codec or metric needs is missing.
        FormatError: ``out`` holds another run's journal that cannot be read.
    """
    media = None if config.media is None else named(config.media).kind
    inputs = [places.bring(name, out / INPUTS) for name in config.inputs]
    items = find_items(inputs, media, limits)
    media = items[0].media
    chosen = tuple(m.name for m in metric_table.choose(config.metrics, media))
    specs = [replace(parse_spec(text), device=config.device) for text in config.codecs]
    if config.device is not None:
        if not any(has_device(spec.name) for spec in specs):
            raise ParameterError(
                f"the device {config.device} is for codecs with networks, and none of"
                f" {', '.join(config.codecs)} has one: leave it out"
            )
        devices.device(config.device)
    subjects = _subjects(specs, media)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "config.json", overwrite=True) as file:
        file.write(json.dumps(config.to_dict(), indent=1).encode() + b"\n")
    run = Run(config, media, list(chosen), {s.label: s.describe() for s in subjects.values()},
              [item.name for item in items])  # fmt: skip
    with closing(Lines(out / JOURNAL)) as journal:
        done = _read_journal(out / JOURNAL)
        work, order = _plan(items, subjects, chosen, done, run)
        total, finished = len(order), sum(key in done for key in order)
        if progress:
            progress(finished, total)
        pieces: Iterable[_Work] = work
        if isinstance(engine, Ray):  # read when there is room for it
            pieces = (replace(unit, data=unit.item.path.read_bytes()) for unit in work)
        for unit, results in spread(_measure_all, pieces, engine or Here(), lost=_given_up):
            for found in results:
                finished += 1
                if isinstance(found.row, str):
                    run.failures.append((unit.item.name, unit.spec.label, found.row))
                else:
                    stream = out / "streams" / found.name
                    stream.parent.mkdir(parents=True, exist_ok=True)
                    stream.write_bytes(found.data)
                    done[found.key] = found.row
                    journal.add({"key": found.key, **found.row})
                if progress:
                    progress(finished, total)
    run.rows = [done[key] for key in order if key in done]
    run.failures = list(dict.fromkeys(run.failures))
    return run


def stream_name(subject: Subject, item: str, quality: float | None) -> str:
    """Where a run keeps an encoded file, below its folder ``streams``."""
    point = "only" if quality is None else f"q{quality:g}"
    return f"{subject.label.replace('/', '_')}/{item}.{point}{subject.suffix}"


def _subjects(specs: list[Spec], media: Media) -> dict[Spec, Subject]:
    subjects: dict[Spec, Subject] = {}
    if not specs:
        raise ParameterError("no codec was named: name at least one")
    for spec in specs:
        subject = find_subject(spec)
        if subject.media != media:
            raise ParameterError(
                f"{subject.label} codes {of(subject.media).name} files and the inputs are"
                f" {of(media).name} files"
            )
        check_qualities(subject, spec)
        if any(subject.label == other.label for other in subjects.values()):
            raise ParameterError(f"the codec {subject.label} is named twice: join its qualities")
        subjects[spec] = subject
    return subjects


def _plan(
    items: list[Item],
    subjects: dict[Spec, Subject],
    metrics: tuple[str, ...],
    done: dict[str, Row],
    run: Run,
) -> tuple[list[_Work], list[str]]:
    """Missing work, and the keys of all measurements in the order of the results."""
    work, order = [], []
    for item in items:
        try:
            digest = item.digest
        except OSError as error:
            run.failures.append((item.name, "", str(error.strerror or error)))
            continue
        for spec, subject in subjects.items():
            about = [VERSION, subject.describe(), item.name, digest, metrics]
            facts = json.dumps(about, sort_keys=True)
            points = []
            for quality in spec.qualities or subject.qualities:
                key = hashlib.sha256(f"{facts}{quality}".encode()).hexdigest()[:24]
                order.append(key)
                if key not in done:
                    points.append((key, quality, stream_name(subject, item.name, quality)))
            if points:
                work.append(_Work(spec, item, metrics, tuple(points)))
    return work, order


@cache
def _ready_subject(spec: Spec) -> Subject:
    """The subject with its models loaded, once per process."""
    subject = find_subject(spec)
    subject.prepare()
    return subject


def _measure_all(unit: _Work) -> list[_Measured]:
    """What became of every point; one failure does not stop the others."""
    if unit.data is not None and not unit.item.path.exists():
        with TemporaryDirectory(prefix="laconic-") as folder:
            path = Path(folder, unit.item.path.name)
            path.write_bytes(unit.data)
            return _measure_all(replace(unit, item=replace(unit.item, path=path), data=None))
    chosen = [metric_table.METRICS[name] for name in unit.metrics]
    fresh = Item(unit.item.path, unit.item.name, unit.item.media, unit.item.limits)
    results = []
    for key, quality, name in unit.points:
        try:
            row, data = measure(_ready_subject(unit.spec), fresh, quality, chosen)
            results.append(_Measured(key, row, name, data))
        except LaconicError as error:
            results.append(_Measured(key, str(error)))
        except Exception as error:  # a codec of somebody's own may raise anything
            results.append(_Measured(key, f"{type(error).__name__}: {error}"))
    return results


def _given_up(unit: _Work, sentence: str) -> list[_Measured]:
    return [_Measured(key, sentence) for key, _, _ in unit.points]


def _read_journal(path: Path) -> dict[str, Row]:
    """Finished measurements; a line that an interruption cut short is dropped."""
    rows = {}
    for number, entry in enumerate(read_lines(path), 1):
        if "key" not in entry:
            raise FormatError(f"line {number} of {path} is damaged: delete that line")
        rows[entry.pop("key")] = entry
    return rows
