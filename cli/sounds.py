"""Sounds on the command line: what ``encode`` and ``decode`` do with them."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import STD, Job
from laconic.cli.holds import media_of

CODECS = ("semanticodec", "pscodec")
ENCODE_COLUMNS = [
    ("input", "input", ""),
    ("output", "output", ""),
    ("bytes", "bytes", ","),
    ("kbps", "kbit/s", ".3f"),
    ("audio_seconds", "length, s", ".2f"),
    ("seconds", "seconds", ".2f"),
]
DECODE_COLUMNS = [
    ("input", "input", ""),
    ("output", "output", ""),
    ("channels", "channels", ""),
    ("rate", "Hz", ""),
    ("audio_seconds", "length, s", ".2f"),
    ("seconds", "seconds", ".2f"),
]


class Seconds(click.ParamType[tuple[float, float]]):
    """Seconds START:END."""

    name = "start:end"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)\s*", str(value))
        if not match or float(match[2]) <= float(match[1]):
            self.fail(f"{value!r} is no range of seconds: write START:END such as 10:20.5")
        return float(match[1]), float(match[2])


def encode_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--kbps, --steps, --seed, --stereo."""
    for option in (
        click.option("--stereo", type=click.Choice(["joint", "dual"]), help="Of sounds: one set of"
                     " tokens for both channels, or one for each.  [default: joint]"),
        click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of the noise that the"
                     " decoder of a sound draws.  [default: 0]"),
        click.option("--steps", type=click.IntRange(0, 63), help="Of the refiner that the decoder"
                     " of a sound should make; 0 is fast and without noise."),
        click.option("--kbps", "--bitrate", type=float, help="Largest kbit/s of a sound's file."),
    ):  # fmt: skip
        function = option(function)
    return function


def decode_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--seconds, --steps, --seed."""
    for option in (
        click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of a sound's noise,"
                     " instead of the file's."),
        click.option("--steps", type=click.IntRange(0, 63), help="Of a sound's refiner, instead of"
                     " the file's; 0 is fast."),
        click.option("--seconds", type=Seconds(), help="Decode only this part of a sound."),
    ):  # fmt: skip
        function = option(function)
    return function


def is_sound(source: str, options: dict[str, Any]) -> bool:
    """Whether an input of ``encode`` goes to an audio codec."""
    from laconic.codec.audio.sources import is_sound as looks_so

    name = (options["codec"] or "").partition(":")[0]
    if name:
        return name in CODECS
    if options["model"]:
        from laconic.codec import models

        return models.find(options["model"]).codec in CODECS
    if options["lossless"]:
        return False
    return looks_so(sys.stdin.buffer if source == STD else source)


def encode_sound(job: Job) -> dict[str, Any]:
    """Encode one sound; returns a row of the table. Into a pipe it is written as it comes."""
    from laconic import codec
    from laconic.formats.atomic import atomic_write

    options = job.options
    settings: dict[str, Any] = {
        "quality": options["quality"],
        "bpp": options["bpp"],
        "target_bytes": options["target_size"],
        "effort": options["effort"],
        "model": options["model"],
        "strip": options["strip"],
        "verify": options["verify"],
        "tile": options["tile"],
        "states": options["states"],
        "block": options["block"],
        "kbps": options["kbps"],
        "steps": options["steps"],
        "seed": options["seed"],
        "stereo": options["stereo"],
    }
    if options["show_progress"]:
        settings["progress"] = batch.tile_progress(True, "encoding")
    name, _, variant = (options["codec"] or "").partition(":")
    settings["model"] = settings["model"] or variant or None
    source: Any = sys.stdin.buffer if job.source == STD else job.source
    if name == "" and settings["model"]:
        name = codec.models.find(settings["model"]).codec
    start = time.perf_counter()
    if job.target == STD and settings["target_bytes"] is None:
        written = codec.audio.encode_to(source, sys.stdout.buffer, codec=name, **settings)
        sys.stdout.buffer.flush()
        size, seconds = written.bytes, written.seconds
    else:
        data = codec.encode(source, codec=name or "semanticodec", **settings)
        sound = codec.probe(data).sound
        assert sound is not None
        size, seconds = len(data), sound["seconds"]
        if job.target == STD:
            sys.stdout.buffer.write(data)
        else:
            with atomic_write(job.target, options["force"]) as file:
                file.write(data)
    return {
        "input": job.source,
        "output": job.target,
        "input_bytes": None if job.source == STD else Path(job.source).stat().st_size,
        "bytes": size,
        "kbps": 8 * size / seconds / 1000,
        "audio_seconds": seconds,
        "seconds": time.perf_counter() - start,
    }


def is_coded_sound(source: str) -> bool:
    """Whether an input of ``decode`` holds a sound; damage is reported when it is decoded."""
    from laconic.formats.container import Media

    return media_of(source) == Media.AUDIO


def decode_sound(job: Job) -> dict[str, Any]:
    """Decode one sound block by block; what is left of a damaged one is written, then reported."""
    from laconic.formats.atomic import atomic_write
    from laconic.formats.audio_writer import format_of
    from laconic.formats.errors import FormatError

    start = time.perf_counter()
    chosen = format_of(job.target, job.options["format_"] or ("wav" if job.target == STD else None))
    if job.target == STD:
        row, notices = _decode_into(job, sys.stdout.buffer, chosen)
        sys.stdout.buffer.flush()
    else:
        with atomic_write(job.target, job.options["force"]) as file:
            row, notices = _decode_into(job, file, chosen)
    if notices:
        raise FormatError(f"{'; '.join(notices)}; the rest was written to {job.target}")
    return {**row, "seconds": time.perf_counter() - start}


@contextmanager
def _opened(job: Job, *, searched: bool) -> Iterator[Any]:
    """The coded file; a pipe as it is unless it has to be ``searched``."""
    if job.source != STD:
        with open(job.source, "rb") as file:
            yield file
    elif searched:
        yield io.BytesIO(sys.stdin.buffer.read())
    else:
        yield sys.stdin.buffer


def _decode_into(job: Job, fp: Any, chosen: Any) -> tuple[dict[str, Any], list[str]]:
    from laconic import codec
    from laconic.codec.base import DecodeSettings
    from laconic.formats.audio_writer import AudioWriter

    options = job.options
    settings = DecodeSettings(
        region=options["region"],
        rows=options["rows"],
        partial=options["partial"],
        seconds=options["seconds"],
        steps=options["steps"],
        seed=options["seed"],
        progress=batch.tile_progress(options["show_progress"], "decoding"),
    )
    with _opened(job, searched=bool(settings.seconds or settings.partial)) as source:
        decoder = codec.audio.blocks(source, settings)
        audio = decoder.audio
        writer: AudioWriter | None = None
        total = 0
        blocks = [decoder.whole().samples] if settings.seconds else decoder.blocks()
        for block in blocks:
            if writer is None:
                writer = AudioWriter(
                    fp, chosen, audio.rate, audio.channels, audio.layout, decoder.tags
                )
            writer.write(block)
            total += block.shape[1]
        if writer is not None:
            writer.finish()
    row = {
        "input": job.source,
        "output": job.target,
        "channels": audio.channels,
        "rate": audio.rate,
        "samples": total,
        "audio_seconds": total / audio.rate,
    }
    return row, decoder.notices
