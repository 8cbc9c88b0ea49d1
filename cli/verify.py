"""``laconic verify``."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import STD, Job
from laconic.cli.options import common, limits_of, wants_progress
from laconic.cli.tables import Table

COLUMNS = [
    ("input", "input", ""),
    ("result", "result", ""),
    ("segments", "segments", ","),
    ("symbols", "symbols", ","),
    ("seconds", "seconds", ".2f"),
]


@click.command("verify")
@click.argument("inputs", nargs=-1, required=True)
@click.option("-j", "--jobs", type=click.IntRange(1), default=1, help="Inputs at a time.")
@common
def command(inputs: tuple[str, ...], **options: Any) -> int:
    """Decode every symbol of .lac files and compare the checks; writes nothing."""
    jobs = [Job(source, "", options) for source, _ in batch.expand(inputs, (".lac",))]
    table = Table(COLUMNS, as_json=options["as_json"], quiet=options["quiet"])
    show = wants_progress(options["progress"])
    code = batch.run(jobs, verify_one, options["jobs"], table.add, progress=show)
    table.close()
    return code


def verify_one(job: Job) -> dict[str, Any]:
    """Verify one input; returns a row of the table."""
    from laconic import codec

    source = sys.stdin.buffer.read() if job.source == STD else job.source
    start = time.perf_counter()
    report = codec.verify(source, limits=limits_of(job.options["limit_pixels"]))
    seconds = time.perf_counter() - start
    return {"input": job.source, "result": "ok", **report.to_dict(), "seconds": seconds}
