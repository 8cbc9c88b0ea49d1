"""Films on the command line: what ``encode`` and ``decode`` do when an input is one."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import STD, Job
from laconic.cli.holds import media_of
from laconic.cli.options import limits_of

CODEC = "hnerv"
ENCODE_COLUMNS = [
    ("input", "input", ""),
    ("output", "output", ""),
    ("frames", "frames", ","),
    ("bytes", "bytes", ","),
    ("bpp", "bpp", ".4f"),
    ("psnr", "PSNR dB", ".2f"),
    ("seconds", "seconds", ".1f"),
]


def takes(source: str, codec: str | None) -> bool:
    """Whether an input of ``encode`` is a film, by ``--codec`` or by its extension."""
    if codec is not None:
        return codec.partition(":")[0] == CODEC
    from laconic.formats.video import SUFFIXES

    return Path(source).suffix.lower() in SUFFIXES


def encode_film(job: Job) -> dict[str, Any]:
    """Encode a film beside a work file; returns a row of the table."""
    from laconic import codec
    from laconic.codec.base import EncodeSettings, FilmSettings
    from laconic.codec.sources import as_film
    from laconic.codec.video.stream.encoder import StreamEncoder
    from laconic.formats.atomic import atomic_write
    from laconic.formats.errors import ParameterError

    options, limits = job.options, limits_of(job.options["limit_pixels"])
    if options["lossless"]:
        raise ParameterError("films are not coded losslessly here: leave --lossless out")
    source: Any = sys.stdin.buffer.read() if job.source == STD else Path(job.source)
    size = len(source) if job.source == STD else source.stat().st_size
    bar = batch.TileProgress("fitting")
    show = options["show_progress"]
    start = time.perf_counter()
    encoder = StreamEncoder(
        as_film(source, limits),
        EncodeSettings(
            quality=options["quality"],
            bpp=options["bpp"],
            target_bytes=options["target_size"],
            effort=options["effort"],
            model=options["network"]
            or options["model"]
            or (options["codec"] or "").partition(":")[2]
            or None,
            verify=options["verify"],
            film=FilmSettings(
                preset=options["preset"],
                chunk=options["chunk"],
                jobs=options["jobs"] if options["alone"] else 1,
                audio=options["audio"],
                work=None if job.target == STD else job.target + ".work",
                fresh=options["force"],
                note=lambda words: click.echo(f"laconic: {job.source}: note: {words}", err=True),
            ),
            progress=bar.draw if show else None,
            status=bar.note if show else None,
            limits=limits,
        ),
    )
    encoder.fit()
    if job.target == STD:
        buffer = io.BytesIO()
        report = encoder.write(buffer)
        sys.stdout.buffer.write(buffer.getvalue())
        sys.stdout.buffer.flush()
    else:
        with atomic_write(job.target, options["force"]) as file:
            report = encoder.write(file)
    encoder.finish()
    info = codec.probe(Path(job.target)) if job.target != STD else codec.probe(buffer.getvalue())
    return {
        "input": job.source,
        "output": job.target,
        "input_bytes": size,
        "bytes": report.bytes,
        "width": info.width,
        "height": info.height,
        "frames": report.frames,
        "chunks": report.chunks,
        "sound_bytes": report.sound_bytes,
        "bpp": report.bpp,
        "psnr": report.psnr,
        "quality": options["quality"],
        "codec": info.codec,
        "model": info.model,
        "complete": report.complete,
        "seconds": time.perf_counter() - start,
    }


def holds_film(source: str) -> bool:
    """Whether an input of ``decode`` holds a film; damage is reported when it is decoded."""
    from laconic.formats.container import Media

    return media_of(source) == Media.VIDEO


def suffix_of(format_: str | None) -> str:
    """Extension of a decoded film; a folder has none."""
    return ".mkv" if format_ is None else "" if format_.lower() == "png" else "." + format_.lower()


def is_format(name: str | None) -> bool:
    """Whether a format holds films and nothing else."""
    from laconic.formats.video_writer import TARGETS

    return (name or "").lower() in TARGETS


def check_format(target: str, format_: str | None) -> str:
    """The format a film is written in; raises ``ParameterError`` for those that hold none."""
    from laconic.formats.video_writer import format_of

    return format_of(target, format_ or ("mkv" if target == STD else None))


def decode_film(job: Job) -> dict[str, Any]:
    """Decode a film frame by frame; returns a row. What is intact is written, then reported."""
    from laconic import codec
    from laconic.formats.errors import FormatError, ParameterError
    from laconic.formats.video_writer import Output, write_film

    options = job.options
    format_ = check_format(job.target, options["format_"])
    source: Any = sys.stdin.buffer.read() if job.source == STD else Path(job.source)
    if options["region"] is not None or options["rows"] is not None:
        raise ParameterError("films have neither regions nor rows: use --frames")
    start = time.perf_counter()
    with codec.decode(
        source,
        frames=options["frames"],
        partial=options["partial"],
        limits=limits_of(options["limit_pixels"]),
    ) as video:
        notices = list(video.notices)
        sound = None
        if options["audio"]:
            try:
                sound = video.audio
            except FormatError:
                if not options["partial"]:
                    raise
                notices.append("the sound is lost")
        timing = video.timing
        whole = len(timing) == video.header.frames
        output = Output(_counted(video, options["show_progress"]), timing, video.header, sound,
                        cut=options["frames"] is not None and not whole)  # fmt: skip
        target: Any = sys.stdout.buffer if job.target == STD else job.target
        for notice in write_film(output, target, format_, overwrite=options["force"]):
            click.echo(f"laconic: {job.source}: note: {notice}", err=True)
        row = {
            "input": job.source,
            "output": job.target,
            "width": video.width,
            "height": video.height,
            "bit_depth": 8,
            "frames": len(video),
            "seconds": time.perf_counter() - start,
        }
    if notices:
        raise FormatError(f"{'; '.join(notices)}; the rest was written to {job.target}")
    return row


def _counted(video: Any, show: bool) -> Any:
    draw = batch.tile_progress(show, "decoding")
    for done, frame in enumerate(video, 1):
        yield frame
        if draw is not None:
            draw(done, len(video))
