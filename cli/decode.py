"""``laconic decode``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import STD, Job
from laconic.cli.options import Region, common, limits_of, wants_progress
from laconic.cli.tables import Table

COLUMNS = [
    ("input", "input", ""),
    ("output", "output", ""),
    ("width", "width", ""),
    ("height", "height", ""),
    ("seconds", "seconds", ".2f"),
]


@click.command("decode")
@click.argument("inputs", nargs=-1, required=True)
@click.option("-o", "--output", help="Output file; '-' is stdout.")
@click.option(
    "--output-dir", help="Folder for the outputs; the structure of input folders is kept."
)
@click.option("--format", "format_", help="png, jpg, webp, avif, tiff, ppm or bmp. [default: png]")
@click.option("--region", type=Region(), help="Decode only this rectangle.")
@click.option("--partial", is_flag=True, help="Decode what is intact of a damaged file.")
@click.option("-j", "--jobs", type=click.IntRange(1), default=1, help="Inputs at a time.")
@click.option("-f", "--force", is_flag=True, help="Replace existing files.")
@common
def command(inputs: tuple[str, ...], **options: Any) -> int:
    """Decode .lac files into pictures. INPUTS are files, folders or '-' for stdin."""
    from laconic.formats.image_writer import format_of

    suffix = "." + (options["format_"] or "png").lower()
    files = list(batch.expand(inputs, (".lac",)))
    several = len(files) > 1
    show = wants_progress(options["progress"])
    passed = {**options, "show_progress": show and not several}
    jobs = [
        Job(
            source,
            batch.target_of(
                source, below, suffix, options["output"], options["output_dir"], several
            ),
            passed,
        )
        for source, below in files
    ]
    for job in jobs:
        format_of(
            job.target if job.target != STD else suffix,
            options["format_"] or ("png" if job.target == STD else None),
        )
    to_stdout = any(job.target == STD for job in jobs)
    if to_stdout and sys.stdout.isatty() and not options["force"]:
        raise click.UsageError("refusing to write binary data to a terminal: use -o, a pipe, or -f")
    batch.prepare_folders(jobs)
    table = Table(COLUMNS, as_json=options["as_json"], err=to_stdout, quiet=options["quiet"])
    code = batch.run(jobs, decode_one, options["jobs"], table.add, progress=show)
    table.close()
    return code


def decode_one(job: Job) -> dict[str, Any]:
    """Decode one input; returns a row of the table. A partial picture is written, then reported."""
    from laconic.formats.atomic import check_target
    from laconic.formats.errors import FormatError
    from laconic.formats.image import write_image

    options = job.options
    if job.target != STD:
        check_target(job.target, options["force"])
    limits = limits_of(options["limit_pixels"])
    source: Any = sys.stdin.buffer.read() if job.source == STD else Path(job.source)
    from laconic import codec

    start = time.perf_counter()
    image = codec.decode(
        source,
        region=options["region"],
        partial=options["partial"],
        progress=batch.tile_progress(options["show_progress"], "decoding"),
        limits=limits,
    )
    seconds = time.perf_counter() - start
    target: Any = sys.stdout.buffer if job.target == STD else job.target
    lost = write_image(image, target, options["format_"], overwrite=options["force"])
    for notice in lost:
        click.echo(f"laconic: {job.source}: note: {notice}", err=True)
    if image.notices:
        raise FormatError(f"{'; '.join(image.notices)}; the rest was written to {job.target}")
    return {
        "input": job.source,
        "output": job.target,
        "width": image.width,
        "height": image.height,
        "bit_depth": image.bit_depth,
        "seconds": seconds,
    }
