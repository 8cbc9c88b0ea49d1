"""``laconic train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from laconic.cli.options import complete_model


@click.command("train")
@click.argument("model", type=click.Choice(["mlic-small", "photo"]))
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of pictures or of .tar shards of pictures; may be repeated.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Time budget; the learning rate ends at zero.",
)
@click.option("--init", shell_complete=complete_model, help="Model to start from (mlic-small).")
@click.option("--batch", type=click.IntRange(1), help="Crops or samples per step.")
@click.option("--threads", type=click.IntRange(1), help="Threads on a CPU.")
def command(
    model: str,
    data: tuple[Path, ...],
    out: Path,
    resume: bool,
    minutes: float | None,
    init: str | None,
    batch: int | None,
    threads: int | None,
) -> None:
    """Train MODEL. Interrupted runs continue with --resume; mlic-small trains on several GPUs or
    processes with torchrun."""
    changes: dict[str, Any] = {"minutes": minutes, "batch": batch}
    changes = {key: value for key, value in changes.items() if value is not None}
    if model == "photo":
        from laconic.codec.train import photo

        if init is not None:
            raise click.UsageError("--init is for mlic-small: a photo model starts from nothing")
        checkpoint = photo.run(
            replace(photo.PhotoRecipe(), **changes), list(data), out, resume=resume, threads=threads
        )
    else:
        from laconic.codec.train import image

        recipe = replace(image.Recipe(config=model.removeprefix("mlic-")), **changes)
        checkpoint = image.run(recipe, list(data), out, resume=resume, threads=threads, init=init)
    click.echo(
        f"{checkpoint}: export it with laconic models export {checkpoint} --name NAME -o FILE"
    )
