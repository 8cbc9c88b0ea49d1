"""``laconic models``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from laconic.cli.options import complete_model
from laconic.cli.tables import Table, say


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
    for sentence in models.unreadable().values():
        say(f"note: left out: {sentence}")


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
@click.argument(
    "checkpoints",
    metavar="CHECKPOINT...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
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
    checkpoints: tuple[Path, ...],
    arch: str | None,
    name: str | None,
    multiplier: float | None,
    force: bool,
) -> None:
    """Put a published checkpoint (.pth.tar, .pth, .ckpt or safetensors) into the model store.

    A SemantiCodec comes in three files: give encoder.ckpt, decoder.ckpt and a codebook .npy."""
    from laconic.codec import models

    info = models.import_checkpoint(
        checkpoints, arch=arch, name=name, multiplier=multiplier, overwrite=force
    )
    if "licence" in info.config:
        click.echo(f"licence of the weights: {info.config['licence']}", err=True)
    architecture = info.config.get("arch", info.codec)
    click.echo(
        f"{info.name} {info.id}: {architecture}, {info.parameters:,} parameters,"
        f' {info.bytes:,} bytes; use it with "laconic encode --model {info.name}"'
    )


@command.command()
@click.argument("name", shell_complete=complete_model)
@click.option(
    "--pictures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of images: measure the channels' energy and compare.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the report there as JSON, and with --pictures an image of the energies beside it.",
)
@click.option(
    "--write",
    "new_name",
    metavar="NAME",
    help="Put a model of that name into the store that codes in this order: the core first, then"
    " auxiliary groups side by side.",
)
@click.option(
    "--by",
    type=click.Choice(["parameters", "energy"]),
    default="parameters",
    help="What decides the order written: parameters alone, or energy measured on --pictures.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    help="Share of the saliency that the core holds, at least.",
)
@click.option(
    "-f", "--force", is_flag=True, help="Replace existing files, or a model of that name."
)
def order(
    name: str,
    pictures: Path | None,
    output: Path | None,
    new_name: str | None,
    by: str,
    share: float,
    force: bool,
) -> None:
    """Importance of a model's latent channels from its parameters alone (ISCS)."""
    import numpy as np

    from laconic.codec import models, registry
    from laconic.codec.base import DEFAULT_QUALITY
    from laconic.codec.image.codecs import ImageCodec
    from laconic.codec.image.reorder import channel_order, report, write_ordered
    from laconic.formats.atomic import atomic_write, check_target
    from laconic.formats.errors import ParameterError
    from laconic.formats.image import read_image

    image = output.with_suffix(".png") if output and pictures else None
    for target in (output, image):
        if target is not None:
            check_target(target, force)
    if by == "energy" and pictures is None:
        raise click.UsageError("--by energy measures images: name their folder with --pictures")
    info = models.find(name)
    codec = registry.get(info.codec)
    if not isinstance(codec, ImageCodec):
        raise ParameterError(
            f"the model {name} is of the codec {info.codec}, which has no latent channels to order"
        )
    model = codec.load(info.id)
    quality = DEFAULT_QUALITY if model.variable else None
    found = None if pictures is None else (read_image(p) for p in sorted(pictures.glob("*.png")))
    if new_name is not None:
        model.indivisible()  # before anything is measured
    about, drawing = report(model, found, quality)
    if output is not None:
        with atomic_write(output, force) as file:
            file.write((json.dumps(about) + "\n").encode())
    if image is not None and drawing is not None:
        with atomic_write(image, force) as file:
            file.write(drawing)
    click.echo(
        f"{info.name}: {len(about['permutation'])} channels, core of {about['core']} in"
        f" slices of {', '.join(map(str, about['slices']))}, auxiliary groups of"
        f" {', '.join(str(len(g)) for g in about['groups'])}"
    )
    if "measured" in about:
        m = about["measured"]
        click.echo(
            f"rank correlation with measured energy: {m['rank_correlation']:+.3f} by"
            f" parameters, {m['rank_correlation_of_own_order']:+.3f} for the model's own"
            f" order; the core holds {100 * m['core_energy']:.1f} % of the energy"
        )
    elif output is None and new_name is None:
        click.echo("order: " + " ".join(map(str, about["permutation"])))
    if new_name is not None:
        energy = np.array(about["measured"]["energy"]) if by == "energy" else None
        chosen = channel_order(model, energy, share)
        made = write_ordered(info, chosen, new_name, by=by, overwrite=force)
        click.echo(
            f"{made.name} {made.id}: core of {', '.join(map(str, chosen.core))} channels, then side"
            f" by side {', '.join(map(str, chosen.groups)) or 'nothing'};"
            f' use it with "laconic encode --model {made.name}"'
        )
