"""``laconic info`` and ``laconic verify``: commands that look at files and write none.

``info`` reads headers and loads no model; ``verify`` decodes every symbol.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import STD, Job
from laconic.cli.options import (
    common,
    complete_model,
    limits_of,
    spreading,
    wants_progress,
)
from laconic.cli.tables import Table
from laconic.formats.errors import printable

# What has a line of its own.
COMMON = ("media", "kind", "file_bytes", "segments", "chunks", "settings")
WORDS = {
    "codec_version": "version of the codec",
    "model_id": "id of the model",
    "numerics": "exactness",
    "bit_depth": "bits a sample",
    "bpp": "bits per pixel",
    "bits_per_cell": "bits per cell",
    "kbps": "kbit/s",
    "block": "rows of a block",
    "crc": "checksum",
    "lanes": "lanes of the coder",
    "seed": "seed of the noise",
    "segment": "columns of a segment",
    "steps": "steps of the refiner",
    "streams": "streams of tokens",
    "tile": "side of a tile",
}
PROFILES = {
    1: "integer tables",
    2: "integer network",
    3: "float64 network with corrections where machines could differ",
}


@click.command("info")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per input.")
@click.option("--limit-pixels", type=click.IntRange(1), help="Refuse larger images.")
def info(inputs: tuple[str, ...], as_json: bool, limit_pixels: int | None) -> int:
    """Show what the header of .lac files says."""
    jobs = [
        Job(found.source, "", {"limit_pixels": limit_pixels})
        for found in batch.expand(inputs, (".lac",))
    ]
    shown = 0

    def show(row: dict[str, Any]) -> None:
        nonlocal shown
        if as_json:
            click.echo(json.dumps(row))
            return
        if shown:
            click.echo()
        shown += 1
        for line in lines_of(row):
            click.echo(printable(line))

    return batch.run("info", jobs, probe_one, {"jobs": 1}, show, progress=False)


def lines_of(row: dict[str, Any]) -> list[str]:
    """What people are told of one file."""
    from laconic.codec import media

    medium = media.named(row["media"])
    rate = f"{row[medium.rate]:.4g} {WORDS[medium.rate]}" if row[medium.rate] else "length unknown"
    facts = {
        "size": f"{size_of(row['file_bytes'])}, {rate}",
        **{k: v for k, v in row.items() if k not in (*COMMON, "input", medium.rate)},
        **row["settings"],
        "segments": row["segments"],
        **{f"chunk {kind}": f"{size:,} bytes" for kind, size in row["chunks"]},
    }
    facts["model"] = "not installed" if row["model"] is None else row["model"]
    tags = facts.pop("tags", {})
    lines = [f"{row['input']}: {row['kind']} {medium.title(row)}"]
    for key, value in (*facts.items(), *tags.items()):
        words = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
        if key == "numerics":
            words = PROFILES.get(value, f"profile {value}")
        if words not in ("", None):
            name = WORDS.get(key, key.replace("_", " "))
            lines.append(
                f"  {name:22}{words:g}" if isinstance(words, float) else f"  {name:22}{words}"
            )
    return lines


def size_of(count: int) -> str:
    """Bytes for people."""
    if count < 1000:
        return f"{count} bytes"
    unit, scale = ("MB", 1e6) if count >= 1e6 else ("kB", 1e3)
    return f"{count / scale:.3g} {unit} ({count:,} bytes)"


def probe_one(job: Job) -> dict[str, Any]:
    """Header facts of one input."""
    from laconic import codec

    source = sys.stdin.buffer.read() if job.source == STD else job.source
    found = codec.probe(source, limits=limits_of(job.options["limit_pixels"]))
    return {"input": job.source, **found.to_dict()}


CHECKED = [
    ("input", "input", ""),
    ("result", "result", ""),
    ("segments", "segments", ","),
    ("symbols", "symbols", ","),
    ("seconds", "seconds", ".2f"),
]


@click.command("verify")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--model", shell_complete=complete_model,
              help="File of the model, where it is not in the store.")  # fmt: skip
@spreading()
@common
def verify(inputs: tuple[str, ...], **options: Any) -> int:
    """Decode every symbol of .lac files and compare the checks; writes nothing.

    INPUTS are files, folders, URLs of either or '-' for stdin.
    """
    jobs = [Job(f.source, "", options, f.stamp) for f in batch.expand(inputs, (".lac",))]
    table = Table(CHECKED, as_json=options["as_json"], quiet=options["quiet"])
    show = wants_progress(options["progress"])
    code = batch.run("verify", jobs, verify_one, options, table.add, progress=show)
    table.close()
    return code


def verify_one(job: Job) -> dict[str, Any]:
    """Verify one input; returns a row of the table."""
    from laconic import codec
    from laconic.codec import models

    if job.options["model"] is not None:
        models.use(job.options["model"])
    source = sys.stdin.buffer.read() if job.source == STD else job.source
    start = time.perf_counter()
    report = codec.verify(source, limits=limits_of(job.options["limit_pixels"]))
    seconds = time.perf_counter() - start
    return {"input": job.source, "result": "ok", **report.to_dict(), "seconds": seconds}
