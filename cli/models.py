"""``laconic models``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from laconic.cli.options import complete_model
from laconic.cli.tables import Table


@click.group("models")
def command() -> None:
    """List, show, import and export models."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model.")
def list_(as_json: bool) -> None:
    """Models that are installed."""
    from laconic.codec import models

    columns = [("name", "name", ""), ("id", "id", ""), ("codec", "codec", ""),
               ("parameters", "parameters", ","), ("bytes", "bytes", ",")]  # fmt: skip
    table = Table(columns, as_json=as_json)
    for info in models.list_models():
        table.add(info.to_dict())
    table.close()


@command.command()
@click.argument("name", shell_complete=complete_model)
def show(name: str) -> None:
    """Everything known of a model, as JSON."""
    from laconic.codec import models

    click.echo(json.dumps(models.find(name).to_dict(), indent=2))


@command.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Model file to write."
)
@click.option("--name", required=True, help="Name of the model.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing file.")
def export(checkpoint: Path, output: Path, name: str, force: bool) -> None:
    """Turn a training checkpoint into a model file."""
    from laconic.codec import models
    from laconic.formats.atomic import check_target

    check_target(output, force)
    info = models.export(checkpoint, output, name=name, overwrite=force)
    click.echo(f"{info.name} {info.id}: {info.parameters:,} parameters, {info.bytes:,} bytes")


@command.command("import")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--arch", help="Architecture (default: recognised from the tensors' shapes).")
@click.option("--name", help="Name of the model (default: the file's).")
@click.option(
    "--lambda",
    "multiplier",
    type=click.FloatRange(0, min_open=True),
    help="Weight of 255^2 * MSE that it was trained with; needed by encode --effort.",
)
@click.option("-f", "--force", is_flag=True, help="Replace a model of that name.")
def import_(
    checkpoint: Path, arch: str | None, name: str | None, multiplier: float | None, force: bool
) -> None:
    """Put a published checkpoint (.pth.tar, .pth or safetensors) into the model store."""
    from laconic.codec import models

    info = models.import_checkpoint(
        checkpoint, arch=arch, name=name, multiplier=multiplier, overwrite=force
    )
    click.echo(
        f"{info.name} {info.id}: {info.config['arch']}, {info.parameters:,} parameters,"
        f' {info.bytes:,} bytes; use it with "laconic encode --model {info.name}"'
    )
