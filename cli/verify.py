"""``laconic verify``."""

from __future__ import annotations

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

COLUMNS = [
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
def command(inputs: tuple[str, ...], **options: Any) -> int:
    """Decode every symbol of .lac files and compare the checks; writes nothing.

    INPUTS are files, folders, URLs of either or '-' for stdin.
    """
    jobs = [Job(f.source, "", options, f.stamp) for f in batch.expand(inputs, (".lac",))]
    table = Table(COLUMNS, as_json=options["as_json"], quiet=options["quiet"])
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
