"""``laconic encode``."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import STD, Job
from laconic.cli.options import (
    RATE,
    SEVERAL,
    ByteSize,
    Flag,
    GroupedCommand,
    codec_flags,
    codec_options,
    common,
    complete_codec,
    complete_model,
    limits_of,
    output,
    shared,
    spreading,
    wants_progress,
)
from laconic.cli.tables import MediaTable, WorkProgress, say
from laconic.formats.audio import looks_like_audio
from laconic.formats.audio_stream import RAW_FORMATS

FIRST = [("input", "input", ""), ("output", "output", ""), ("input_bytes", "from bytes", ","),
         ("bytes", "bytes", ","), ("ratio", "ratio", ".1f")]  # fmt: skip
LAST = [("seconds", "seconds", ".2f")]
SHARED = ("quality", "bpp", "kbps", "target_bytes", "model", "verify")
EXAMPLES = (
    "laconic encode photo.png -q 60",
    "laconic encode scans/ --lossless --output-dir coded --jobs 2",
    "laconic encode talk.wav --kbps 1.5",
    "laconic encode clip.mp4 --preset fast --target-size 300kB",
    "laconic encode people.csv",
    "curl -s https://example.org/photo.jpg | laconic encode - > photo.lac",
)


@click.command("encode", cls=GroupedCommand, examples=EXAMPLES)
@click.argument("inputs", nargs=-1, required=True)
@shared(("quality", "bpp", "kbps", "target_bytes"), RATE, {"target_bytes": ByteSize()})
@click.option("--lossless", cls=Flag, group=RATE, is_flag=True, help="Exact reconstruction.")
@click.option("--codec", cls=Flag, group=SEVERAL, shell_complete=complete_codec,
              help="Codec, with a colon and a model if wanted.  [default: by kind of input]",
              )  # fmt: skip
@click.option("--model", cls=Flag, group=SEVERAL, shell_complete=complete_model,
              help="Model: name, id or file.  [default: the codec's own]")  # fmt: skip
@shared(("verify",), SEVERAL, {})
@codec_flags()
@click.option("--format", "raw_format", cls=Flag, group="Sounds", type=click.Choice(RAW_FORMATS),
              help="The input is samples without a header.")  # fmt: skip
@click.option("--rate", cls=Flag, group="Sounds", type=click.IntRange(1),
              help="Of samples without a header, in Hz.")  # fmt: skip
@click.option("--channels", cls=Flag, group="Sounds", type=click.IntRange(1),
              help="Of samples without a header, interleaved.  [default: 1]")  # fmt: skip
@output("-o", "--output", help="Output file; '-' is stdout.")
@output("--output-dir", help="Folder for the outputs; the structure of input folders is kept.")
@output("--keep-extension", is_flag=True, help="a.png becomes a.png.lac, not a.lac.")
@output("--force-extension", is_flag=True, help="Write a .lac file under any other extension.")
@output("--skip-existing", is_flag=True, help="Leave inputs out whose output exists.")
@output("-f", "--force", is_flag=True, help="Replace existing files.")
@spreading()
@common
def command(inputs: tuple[str, ...], **options: Any) -> int:
    """Encode images, recordings, videos, tables and arrays into .lac files.

    INPUTS are files, folders, URLs of either (s3://, gs://, ...) or '-' for stdin; what they hold
    decides the codec. Videos are fitted for minutes to hours: progress is kept in OUTPUT.work, the
    same command goes on from there, and Ctrl-C writes the best stream so far. A folder of equal
    gray images is one table with --codec records, and a folder of numbered images one video
    with --codec motion.
    """
    from laconic.codec import media, registry
    from laconic.codec.base import RATES

    given = [n for n in RATES if options[n] is not None]
    if len(given) > 1:
        names = " and ".join("--" + n.replace("target_bytes", "target-size") for n in given)
        raise click.UsageError(f"{names} exclude each other: give one of them")
    _check_raw(options)
    codec = options["codec"]
    medium = None if codec is None else media.of(registry.get(codec.partition(":")[0]).media)
    files: list[batch.Found] = []
    for name in inputs:
        if medium is not None and medium.folder(Path(name)):
            files.append(batch.Found(name, Path(Path(name).name)))
        else:
            files += batch.expand([name], {s for m in media.MEDIA for s in m.suffixes})
    several = len(files) > 1
    show = wants_progress(options["progress"])
    passed = {**options, "show_progress": show and not several, "alone": not several}
    placed = batch.Placing(options["output"], options["output_dir"], several,
                           keep=options["keep_extension"])  # fmt: skip
    jobs = [Job(f.source, placed.target(f, ".lac"), passed, f.stamp) for f in files]
    for job in jobs:
        if not options["force_extension"] and batch.belongs_to_media(job.target):
            raise click.UsageError(
                f"{job.target} would hold a .lac file: name it .lac, or add --force-extension"
            )
    to_stdout = any(job.target == STD for job in jobs)
    if to_stdout and sys.stdout.isatty() and not options["force"]:
        raise click.UsageError("refusing to write binary data to a terminal: use -o, a pipe, or -f")
    table = MediaTable(FIRST, LAST, "encode_columns", as_json=options["as_json"], err=to_stdout,
                       quiet=options["quiet"], total=("input_bytes", "bytes"))  # fmt: skip
    code = batch.run("encode", jobs, encode_one, options, table.add, progress=show)
    table.close()
    return code


def _check_raw(options: dict[str, Any]) -> None:
    """Raises ``UsageError`` for one of --format and --rate without the other."""
    if options["raw_format"] is None:
        for name in ("rate", "channels"):
            if options[name] is not None:
                raise click.UsageError(
                    f"--{name} is of samples without a header: say their --format too, or leave it"
                    " out"
                )
    elif options["rate"] is None:
        raise click.UsageError("samples without a header need their --rate, such as --rate 16000")


def _as_raw(source: Any, options: dict[str, Any]) -> None:
    """Make ``source`` the samples without a header that its bytes are."""
    from laconic.codec import media, registry
    from laconic.formats.audio_stream import AudioSource, Raw
    from laconic.formats.container import Media
    from laconic.formats.errors import ParameterError

    if options["codec"] is not None:
        name = options["codec"].partition(":")[0]
        kind = registry.get(name).media
        if kind != Media.AUDIO:
            raise ParameterError(
                f"--format says how a recording is stored: {name} codes {media.of(kind).plural}"
            )

    if looks_like_audio(source.head[:12]):
        raise ParameterError(
            "the input has a header, which says format, rate and channels: leave --format,"
            " --rate and --channels out"
        )
    raw = Raw(options["raw_format"], options["rate"], options["channels"] or 1)
    source.value = AudioSource(source.value, raw)
    source.head, source.suffixes = b"", ()


def encode_one(job: Job) -> dict[str, Any]:
    """Encode one input; returns a row of the table."""
    from laconic import codec
    from laconic.codec import api
    from laconic.codec.media import Source
    from laconic.formats.atomic import atomic_write, check_target

    options, limits = job.options, limits_of(job.options["limit_pixels"])
    bar = WorkProgress(job.name, options["show_progress"])
    bar.note("looking at it")
    source = Source(sys.stdin.buffer if job.source == STD else Path(job.source))
    if source.is_coded:
        raise batch.already_coded()
    if options["raw_format"] is not None:
        _as_raw(source, options)
    if job.target != STD:
        check_target(job.target, job.overwrite)
    own = codec_options(options)
    start = time.perf_counter()
    with api.prepare(
        source,
        codec=options["codec"],
        lossless=options["lossless"],
        limits=limits,
        progress=bar.draw,
        status=bar.note,
        note=lambda words: bar.interrupt(f"{job.name}: note: {words}"),
        offered=_resumable(job, options),
        **{name: options[name] for name in SHARED},
        **own,
    ) as work:
        bar.note("loading the model")
        info = None
        if job.target != STD:
            with atomic_write(job.target, job.overwrite) as file:
                written = work.codec.encode_file(work.media, file, work.settings)
            batch.take_over(job)
            info = codec.probe(Path(job.target), limits=limits)
        elif work.codec.streams:
            written = work.codec.encode_stream(work.media, sys.stdout.buffer, work.settings)
        else:
            buffer = io.BytesIO()
            written = work.codec.encode_file(work.media, buffer, work.settings)
            info = codec.probe(buffer.getvalue(), limits=limits)
            sys.stdout.buffer.write(buffer.getvalue())
        sys.stdout.buffer.flush()
        written.finish()
    bar.close()
    medium, facts = work.medium, {}
    if info is not None:
        _say_model(job, options["model"], info.model_id)
        facts = {**medium.encode_facts(info.to_dict()), "quality": info.quality}
    wanted = {"model", "width", "height", *(key for key, _, _ in medium.encode_columns)}
    return {
        "input": job.source,
        "output": job.target,
        "media": medium.name,
        "input_bytes": source.size,
        "bytes": written.bytes,
        "ratio": source.size / written.bytes if source.size and written.bytes else None,
        **{k: v for k, v in facts.items() if k in wanted},
        **written.facts,
        "codec": work.codec.name,
        "seconds": time.perf_counter() - start,
    }


def _resumable(job: Job, options: dict[str, Any]) -> dict[str, Any]:
    """What an encoder that keeps its progress in a file is told, where one is chosen."""
    return {
        "work": None if job.target == STD else job.target + ".work",
        "fresh": options["force"] or None,
        "jobs": options["jobs"] if options["alone"] and (options["jobs"] or 1) > 1 else None,
        "spread": (options["threads"] or 1) if options["engine"] == "ray" else None,
    }


def _say_model(job: Job, model: str | None, identity: str) -> None:
    """A model named by its file is not found again by itself."""
    from laconic.codec import models
    from laconic.formats.errors import ModelError

    if model is not None and Path(model).suffix == models.SUFFIX and Path(model).is_file():
        try:
            models.find(identity)
        except ModelError:
            say(f"{job.name}: note: decoding needs --model {model}, or the model in"
                f" {models.search_path()[-1]}")  # fmt: skip
