"""``laconic decode``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from laconic.cli import batch, film, sounds
from laconic.cli.batch import STD, Job
from laconic.cli.options import Frames, Region, Rows, common, limits_of, wants_progress
from laconic.cli.tables import Table as Report

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
@click.option(
    "--format",
    "format_",
    help="png, jpg, webp, avif, tiff, ppm, bmp; mkv, mp4, mov, webm, y4m; wav, wav24, wav32f, flac,"
    " flac24, opus, mp3, m4a; csv, npy, idx, parquet.",
)
@click.option("--frames", type=Frames(), help="Decode only these frames of a film.")
@click.option("--audio/--no-audio", default=True, help="Write a film's sound.  [default: audio]")
@click.option("--rows", type=Rows(), help="Decode only these rows of a table or array.")
@click.option("--region", type=Region(), help="Decode only this rectangle.")
@click.option("--preview", is_flag=True, help="Only the lossy picture that the file begins with.")
@click.option("--partial", is_flag=True, help="Decode what is intact of a damaged file.")
@sounds.decode_options
@click.option("-j", "--jobs", type=click.IntRange(1), default=1, help="Inputs at a time.")
@click.option("-f", "--force", is_flag=True, help="Replace existing files.")
@common
def command(inputs: tuple[str, ...], **options: Any) -> int:
    """Decode .lac files into pictures, films, sounds, tables and arrays.

    INPUTS are files, folders or '-' for stdin. Films become .mkv (FFV1, the decoded samples
    exactly), .mp4, .mov or .webm (for players, nearly without loss), .y4m, or a folder of PNG
    pictures (-o FOLDER), with their sound as it was.
    """
    from laconic.formats.image_writer import format_of

    if options["preview"] and (options["rows"] or options["region"] or options["partial"]):
        raise click.UsageError("--preview decodes the whole preview: leave --region, --rows and"
                               " --partial out")  # fmt: skip
    files = list(batch.expand(inputs, (".lac",)))
    several = len(files) > 1
    show = wants_progress(options["progress"])
    passed = {**options, "show_progress": show and not several}
    jobs = [
        Job(
            source,
            batch.target_of(
                source,
                below,
                _suffix(source, options["format_"]),
                options["output"],
                options["output_dir"],
                several,
            ),
            passed,
        )
        for source, below in files
    ]
    heard = [sounds.is_coded_sound(job.source) for job in jobs]
    for job, sound in zip(jobs, heard, strict=True):
        if film.is_format(options["format_"]) or film.holds_film(job.source):
            film.check_format(job.target, options["format_"])
        elif _records_format(job.source) is None and not sound:
            format_of(
                job.target if job.target != STD else ".png",
                options["format_"] or ("png" if job.target == STD else None),
            )
    to_stdout = any(job.target == STD for job in jobs)
    if to_stdout and sys.stdout.isatty() and not options["force"]:
        raise click.UsageError("refusing to write binary data to a terminal: use -o, a pipe, or -f")
    batch.prepare_folders(jobs)
    columns = sounds.DECODE_COLUMNS if heard and all(heard) else COLUMNS
    table = Report(columns, as_json=options["as_json"], err=to_stdout, quiet=options["quiet"])
    code = batch.run(jobs, decode_one, options["jobs"], table.add, progress=show)
    table.close()
    return code


def decode_one(job: Job) -> dict[str, Any]:
    """Decode one input; returns a row of the table. A partial picture is written, then reported."""
    from laconic.formats.atomic import check_target
    from laconic.formats.errors import FormatError, ParameterError
    from laconic.formats.image import write_image

    options = job.options
    if film.holds_film(job.source):
        return film.decode_film(job)
    if options["frames"] is not None:
        raise ParameterError("--frames is for films: the file holds none")
    if job.target != STD:
        check_target(job.target, options["force"])
    if sounds.is_coded_sound(job.source):
        return sounds.decode_sound(job)
    limits = limits_of(options["limit_pixels"])
    source: Any = sys.stdin.buffer.read() if job.source == STD else Path(job.source)
    import numpy as np

    from laconic import codec
    from laconic.formats.frame import Frame
    from laconic.formats.table import Table

    start = time.perf_counter()
    progress = batch.tile_progress(options["show_progress"], "decoding")
    if options["preview"]:
        image = codec.preview(source, progress=progress, limits=limits)
    else:
        image = codec.decode(
            source,
            rows=options["rows"],
            region=options["region"],
            partial=options["partial"],
            seconds=options["seconds"],
            steps=options["steps"],
            seed=options["seed"],
            progress=progress,
            limits=limits,
        )
    seconds = time.perf_counter() - start
    if isinstance(image, Table | Frame | np.ndarray):
        return _write_records(job, image, seconds, source)
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


def _records_format(source: str) -> str | None:
    """Extension of the records in a file ("" for a folder of pictures), None for other media."""
    from laconic.formats import ContainerReader, Media
    from laconic.formats.data_header import DataHeader
    from laconic.formats.errors import LaconicError
    from laconic.formats.records import default_format

    if source == STD:
        return None
    try:
        with open(source, "rb") as file:
            header = ContainerReader(file).header
            if header.media != Media.DATA:
                return None
            return default_format(DataHeader.unpack(header.media_header).kind)
    except (OSError, LaconicError):
        return None  # reported when it is decoded


def _suffix(source: str, format_: str | None) -> str:
    if film.holds_film(source):
        return film.suffix_of(format_)
    if format_:
        from laconic.formats.audio_writer import FORMATS

        known = FORMATS.get(format_.lower())
        return known.suffix if known else "." + format_.lower()
    if source != STD and sounds.is_coded_sound(source):
        return ".wav"
    kind = _records_format(source)
    return ".png" if kind is None else f".{kind}" if kind else ""


def _write_records(job: Job, value: Any, seconds: float, source: Any) -> dict[str, Any]:
    """Write a table or array by the target's extension; a target without one is a folder."""
    from laconic import codec
    from laconic.formats.atomic import atomic_write
    from laconic.formats.data_header import DataKind
    from laconic.formats.picture_folder import write_folder
    from laconic.formats.records import default_format, write_records

    kind = DataKind[codec.probe(source).kind.upper()]
    suffix = "" if job.target == STD else Path(job.target).suffix.lstrip(".").lower()
    format_ = (job.options["format_"] or suffix).lower()
    if job.target == STD:
        data = write_records(kind, value, format_ or default_format(kind) or "npy")
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    elif not format_ and kind == DataKind.IMAGES:
        write_folder(value, Path(job.target), overwrite=job.options["force"])
    else:
        data = write_records(kind, value, format_ or default_format(kind) or "npy")
        with atomic_write(job.target, job.options["force"]) as file:
            file.write(data)
    columns = value[0].size if hasattr(value, "dtype") and len(value) else 0
    return {
        "input": job.source,
        "output": job.target,
        "width": columns or len(getattr(value, "names", ())),
        "height": len(value),
        "bit_depth": None,
        "seconds": seconds,
    }
