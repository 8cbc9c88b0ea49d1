"""``laconic encode``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from laconic.cli import batch, film, sounds
from laconic.cli.batch import STD, Job
from laconic.cli.options import (
    ByteSize,
    common,
    complete_codec,
    complete_model,
    limits_of,
    wants_progress,
)
from laconic.cli.tables import Table

COLUMNS = [
    ("input", "input", ""),
    ("output", "output", ""),
    ("bytes", "bytes", ","),
    ("bpp", "bpp", ".4f"),
    ("quality", "quality", ".1f"),
    ("seconds", "seconds", ".2f"),
]


@click.command("encode")
@click.argument("inputs", nargs=-1, required=True)
@click.option("-o", "--output", help="Output file; '-' is stdout.")
@click.option(
    "--output-dir", help="Folder for the outputs; the structure of input folders is kept."
)
@click.option(
    "-q", "--quality", type=click.FloatRange(0, 100), help="0 (smallest) to 100. [default: 50]"
)
@click.option("--bpp", type=float, help="Largest number of bits per pixel of the file.")
@click.option("--target-size", type=ByteSize(), help="Largest size of the file, such as 40kB.")
@click.option("--lossless", is_flag=True, help="Exact reconstruction.")
@click.option(
    "--preview", is_flag=True, help="Begin a lossless file with a lossy picture of quality -q."
)
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    default=0,
    help="More time for fewer bits; Ctrl-C keeps the best so far.",
)
@click.option("--codec", shell_complete=complete_codec, help="Codec (default: by kind of input).")
@click.option("--model", shell_complete=complete_model, help="Model: name, id or file.")
@click.option("--tile", type=int, help="Side of the tiles in pixels, a multiple of 64.")
@click.option("--states", type=click.IntRange(1, 1024), help="Latent states for records.")
@click.option("--block", type=click.IntRange(1), help="Rows that decode on their own.")
@click.option(
    "--preset",
    type=click.Choice(["fast", "medium", "slow"]),
    default="medium",
    show_default=True,
    help="How long films are fitted.",
)
@click.option(
    "--network",
    type=click.Choice(["motion", "grids", "hnerv-boost", "hnerv"]),
    help="What is fitted to a film. [default: motion]",
)
@click.option("--chunk", type=click.IntRange(1), help="Frames of a film that are fitted together.")
@click.option("--audio/--no-audio", default=True, help="Carry a film's sound.  [default: audio]")
@click.option("--strip", is_flag=True, help="Leave out EXIF and XMP.")
@click.option(
    "--verify/--no-verify", default=True, help="Decode once and compare.  [default: verify]"
)
@sounds.encode_options
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    default=1,
    help="Inputs, or chunks of a film, at a time.",
)
@click.option("-f", "--force", is_flag=True, help="Replace existing files.")
@common
def command(inputs: tuple[str, ...], **options: Any) -> int:
    """Encode pictures, films, sounds, tables and arrays into .lac files.

    INPUTS are files, folders or '-' for stdin. Films (.mp4, .mkv, .mov, .webm, ...) are fitted for
    minutes to hours: progress is kept in OUTPUT.work, the same command goes on from there, and
    Ctrl-C writes the best stream so far. Tables (.csv, .tsv, .parquet) and arrays (.npy,
    .idx) go to the codec 'records'; so do folders of equal gray pictures with --codec records.
    Sounds (.wav, .flac, .mp3, .opus, ...) go to 'semanticodec'.
    """
    given = [n for n in ("quality", "bpp", "target_size", "kbps") if options[n] is not None]
    given += ["lossless"] if options["lossless"] and not options["preview"] else []
    if len(given) > 1:
        names = " and ".join("--" + n.replace("_", "-") for n in given)
        raise click.UsageError(f"{names} exclude each other: give one of them")
    from laconic.formats.audio import SUFFIXES as SOUND_SUFFIXES
    from laconic.formats.image import SUFFIXES
    from laconic.formats.records import SUFFIXES as DATA_SUFFIXES
    from laconic.formats.video import SUFFIXES as FILM_SUFFIXES

    if options["codec"] == "records":
        files = [(name, Path(Path(name).name)) for name in inputs]
    else:
        known = SUFFIXES | DATA_SUFFIXES | SOUND_SUFFIXES | FILM_SUFFIXES
        files = list(batch.expand(inputs, known))
    several = len(files) > 1
    show = wants_progress(options["progress"])
    passed = {**options, "show_progress": show and not several, "alone": not several}
    jobs = [
        Job(
            source,
            batch.target_of(
                source, below, ".lac", options["output"], options["output_dir"], several
            ),
            passed,
        )
        for source, below in files
    ]
    to_stdout = any(job.target == STD for job in jobs)
    if to_stdout and sys.stdout.isatty() and not options["force"]:
        raise click.UsageError("refusing to write binary data to a terminal: use -o, a pipe, or -f")
    batch.prepare_folders(jobs)
    columns = COLUMNS
    if all(film.takes(job.source, options["codec"]) for job in jobs):
        columns = film.ENCODE_COLUMNS
    elif all(sounds.is_sound(job.source, options) for job in jobs):
        columns = sounds.ENCODE_COLUMNS
    table = Table(columns, as_json=options["as_json"], err=to_stdout, quiet=options["quiet"])
    code = batch.run(jobs, encode_one, options["jobs"], table.add, progress=show)
    table.close()
    return code


def encode_one(job: Job) -> dict[str, Any]:
    """Encode one input; returns a row of the table."""
    from laconic.formats.atomic import atomic_write, check_target

    options = job.options
    if job.target != STD:
        check_target(job.target, options["force"])
    if film.takes(job.source, options["codec"]):
        return film.encode_film(job)
    if sounds.is_sound(job.source, options):
        return sounds.encode_sound(job)
    limits = limits_of(options["limit_pixels"])
    from laconic import codec

    media, size = _read(job, limits)
    for notice in getattr(media, "notices", ()):
        click.echo(f"laconic: {job.source}: note: {notice}", err=True)
    bar = batch.TileProgress("encoding")
    show = options["show_progress"]
    start = time.perf_counter()
    data = codec.encode(
        media,
        codec=options["codec"],
        quality=options["quality"],
        bpp=options["bpp"],
        target_bytes=options["target_size"],
        lossless=options["lossless"],
        effort=options["effort"],
        model=options["model"],
        strip=options["strip"],
        verify=options["verify"],
        tile=options["tile"],
        preview=options["preview"],
        states=options["states"],
        block=options["block"],
        kbps=options["kbps"],
        steps=options["steps"],
        seed=options["seed"],
        stereo=options["stereo"],
        progress=bar.draw if show else None,
        status=bar.note if show else None,
        limits=limits,
    )
    seconds = time.perf_counter() - start
    if job.target == STD:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        with atomic_write(job.target, options["force"]) as file:
            file.write(data)
    info = codec.probe(data, limits=limits)
    return {
        "input": job.source,
        "output": job.target,
        "input_bytes": size,
        "bytes": len(data),
        "width": info.width,
        "height": info.height,
        "bpp": info.bpp,
        "quality": info.quality,
        "codec": info.codec,
        "model": info.model,
        "seconds": seconds,
    }


def _read(job: Job, limits: Any) -> tuple[Any, int]:
    """What an input holds, a picture or records, and its size in bytes."""
    from laconic.formats.image import read_image
    from laconic.formats.records import SUFFIXES, read_records

    path = Path(job.source)
    if job.options["codec"] == "records" or (
        job.options["codec"] is None and {*path.suffixes[-2:]} & SUFFIXES
    ):
        if job.source != STD and path.is_dir():
            size = sum(p.stat().st_size for p in path.iterdir() if p.is_file())
            return read_records(path, limits), size
        data = sys.stdin.buffer.read() if job.source == STD else path.read_bytes()
        return read_records(data, limits), len(data)
    data = sys.stdin.buffer.read() if job.source == STD else path.read_bytes()
    return read_image(data, limits), len(data)
