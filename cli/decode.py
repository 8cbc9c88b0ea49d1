"""``laconic decode``."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import LAC, STD, Job
from laconic.cli.options import (
    SEVERAL,
    Flag,
    GroupedCommand,
    Range,
    Region,
    codec_flags,
    codec_options,
    common,
    complete_model,
    formats,
    limits_of,
    output,
    spreading,
    wants_progress,
)
from laconic.cli.tables import MediaTable, WorkProgress, say

FIRST = [("input", "input", ""), ("output", "output", "")]
LAST = [("seconds", "seconds", ".2f")]
PARTS = ("region", "seconds", "frames", "rows")
EXAMPLES = (
    "laconic decode photo.lac -o photo.png",
    "laconic decode photo.lac --region 0,0,512,512",
    "laconic decode coded/ --output-dir images --format jpg",
    "laconic decode talk.lac --seconds 10:20",
    "laconic decode clip.lac --frames 0:100 -o clip.mp4",
)


@click.command("decode", cls=GroupedCommand, examples=EXAMPLES)
@click.argument("inputs", nargs=-1, required=True)
@click.option("--partial", cls=Flag, group=SEVERAL, is_flag=True,
              help="Decode what is intact of a damaged file.")  # fmt: skip
@click.option("--model", cls=Flag, group=SEVERAL, shell_complete=complete_model,
              help="File of the model, where it is not in the store.")  # fmt: skip
@click.option("--region", cls=Flag, group="Pictures", type=Region(),
              help="Decode only this rectangle.")  # fmt: skip
@click.option("--seconds", cls=Flag, group="Sounds", type=Range("seconds", float),
              help="Decode only this part.")  # fmt: skip
@click.option("--frames", cls=Flag, group="Videos", type=Range("frames", int),
              help="Decode only these frames.")  # fmt: skip
@click.option("--rows", cls=Flag, group="Tables", type=Range("rows", int),
              help="Decode only these rows.")  # fmt: skip
@codec_flags(decoding=True)
@output("-o", "--output", help="Output file; '-' is stdout.")
@output("--output-dir", help="Folder for the outputs; the structure of input folders is kept.")
@output("--format", "format_", help=formats())
@output("--skip-existing", is_flag=True, help="Leave inputs out whose output exists.")
@output("-f", "--force", is_flag=True, help="Replace existing files.")
@spreading()
@common
def command(inputs: tuple[str, ...], **options: Any) -> int:
    """Decode .lac files into images, recordings, videos, tables and arrays.

    INPUTS are files, folders, URLs of either (s3://, gs://, ...) or '-' for stdin. Videos become
    .mkv (FFV1, the decoded samples exactly), .mp4, .mov or .webm (for players, nearly without
    loss), .y4m, or a folder of PNG images (-o FOLDER), with their audio as it was.
    """
    files = list(batch.expand(inputs, (LAC,)))
    several = len(files) > 1
    show = wants_progress(options["progress"])
    passed = {**options, "show_progress": show and not several}
    placed = batch.Placing(options["output"], options["output_dir"], several)
    if placed.output is not None and placed.output.lower().endswith(LAC):
        raise click.UsageError(f"{placed.output} would hold no .lac file: give it another name")
    jobs = [
        Job(f.source, placed.target(f, _suffix(f.source, options["format_"])), passed, f.stamp)
        for f in files
    ]
    to_stdout = any(job.target == STD for job in jobs)
    if to_stdout and sys.stdout.isatty() and not options["force"]:
        raise click.UsageError("refusing to write binary data to a terminal: use -o, a pipe, or -f")
    table = MediaTable(FIRST, LAST, "decode_columns", as_json=options["as_json"], err=to_stdout,
                       quiet=options["quiet"])  # fmt: skip
    code = batch.run("decode", jobs, decode_one, options, table.add, progress=show)
    table.close()
    return code


def _suffix(source: str, format_: str | None) -> str:
    """Extension of what an input decodes to; ``.png`` where that cannot be said, which is reported
    when it is decoded. A file at a URL is looked into only where no format was named."""
    from laconic.codec import media, places
    from laconic.formats import ContainerReader
    from laconic.formats.errors import LaconicError

    try:
        if format_ is not None and places.is_url(source):
            return f".{format_}"
        with places.opened(source) as file:
            header = ContainerReader(file).header
        return media.of(header.media).suffix(header.media_header, format_)
    except (OSError, LaconicError):
        return f".{format_}" if format_ else ".png"


@contextmanager
def _opened(job: Job, *, searched: bool) -> Iterator[Any]:
    """The coded file; a pipe as it is, where its medium is decoded in order, unless it has to be
    ``searched``."""
    from laconic.codec import media
    from laconic.codec.media.base import head_of
    from laconic.formats.container import SIGNATURE

    if job.source != STD:
        with open(job.source, "rb") as file:
            yield file
        return
    pipe = sys.stdin.buffer
    length = len(SIGNATURE) + 1
    head = head_of(pipe, length)
    ordered = any(m.streams and head[-1:] == bytes([1 << 4 | m.kind]) for m in media.MEDIA)
    yield pipe if ordered and not searched else io.BytesIO(pipe.read())


def decode_one(job: Job) -> dict[str, Any]:
    """Decode one input; returns a row of the table. What is left of a damaged file is written, then
    reported."""
    from laconic.codec import api, media, models
    from laconic.formats.atomic import check_target
    from laconic.formats.container_reader import ContainerReader, ContainerStream
    from laconic.formats.errors import FormatError

    options, limits = job.options, limits_of(job.options["limit_pixels"])
    if options["model"] is not None:
        models.use(options["model"])
    start = time.perf_counter()
    bar = WorkProgress(job.name, options["show_progress"])
    bar.note("loading the model")
    parts = {name: options[name] for name in PARTS}
    given = {
        **parts, "partial": options["partial"], "progress": bar.draw, "limits": limits,
        **codec_options(options, decoding=True),
    }  # fmt: skip
    searched = options["partial"] or any(part is not None for part in parts.values())
    with _opened(job, searched=searched) as source:
        file: ContainerReader | ContainerStream
        if source.seekable():
            file = ContainerReader(source, limits, partial=options["partial"])
        else:
            file = ContainerStream(source, limits)
        codec, settings = api.decoding(file, given)
        medium = media.of(file.header.media)
        medium.check_format("" if job.target == STD else job.target, options["format_"])
        if job.target != STD and Path(job.target).suffix:
            check_target(job.target, job.overwrite)
        saved = medium.save(
            codec.open(file, settings),
            sys.stdout.buffer if job.target == STD else job.target,
            options["format_"],
            header=file.header.media_header,
            settings=settings,
            overwrite=job.overwrite,
        )
    bar.close()
    if job.target == STD:
        sys.stdout.buffer.flush()
    batch.take_over(job)
    for sentence in saved.notes:
        say(f"{job.name}: note: {sentence}")
    if saved.lost:
        raise FormatError(f"{'; '.join(saved.lost)}; the rest was written to {job.target}")
    return {
        "input": job.source,
        "output": job.target,
        "media": medium.name,
        **saved.facts,
        "seconds": time.perf_counter() - start,
    }
