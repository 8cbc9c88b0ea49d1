"""``laconic info``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from laconic.cli import batch
from laconic.cli.batch import STD, Job
from laconic.cli.options import limits_of

FACTS = ("codec", "codec_version", "model", "model_id", "numerics", "channels", "bit_depth")


@click.command("info")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per input.")
@click.option("--limit-pixels", type=click.IntRange(1), help="Refuse larger pictures.")
def command(inputs: tuple[str, ...], as_json: bool, limit_pixels: int | None) -> int:
    """Show what the header of .lac files says."""
    jobs = [
        Job(source, "", {"limit_pixels": limit_pixels})
        for source, _ in batch.expand(inputs, (".lac",))
    ]

    def show(row: dict[str, Any]) -> None:
        if as_json:
            click.echo(json.dumps(row))
            return
        sound = row["sound"]
        size = f"{row['width']} x {row['height']}"
        if sound is not None:
            size = f"{sound['seconds']:.2f} s at {sound['rate']} Hz"
        click.echo(f"{row['input']}: {row['kind']} {size}")
        for key in FACTS:
            value = "not installed" if row[key] is None else row[key]
            click.echo(f"  {key.replace('_', ' '):14}{value}")
        if sound is None:
            click.echo(f"  {'alpha':14}{'yes' if row['alpha'] else 'no'}")
        else:
            for key, value in sound["tags"].items():
                click.echo(f"  {key:14}{value}")
        for key, value in row["settings"].items():
            click.echo(f"  {key:14}{value}")
        click.echo(f"  {'segments':14}{row['segments']}")
        click.echo(f"  {'bytes':14}{row['file_bytes']:,} ({_rate(row)})")
        for kind, size in row["chunks"]:
            click.echo(f"  {'chunk ' + kind:14}{size:,} bytes")

    return batch.run(jobs, probe_one, 1, show, progress=False)


def _rate(row: dict[str, Any]) -> str:
    sound = row["sound"]
    if sound is None:
        return f"{row['bpp']:.4f} bpp"
    return "length unknown" if sound["kbps"] is None else f"{sound['kbps']:.3f} kbit/s"


def probe_one(job: Job) -> dict[str, Any]:
    """Header facts of one input."""
    from laconic import codec

    source = sys.stdin.buffer.read() if job.source == STD else job.source
    info = codec.probe(source, limits=limits_of(job.options["limit_pixels"]))
    return {"input": job.source, **info.to_dict()}
