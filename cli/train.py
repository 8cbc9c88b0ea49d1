"""``laconic train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from laconic.cli.options import complete_model


@click.command("train")
@click.argument("model", type=click.Choice(["mlic-small"]))
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
@click.option("--init", shell_complete=complete_model, help="Model to start from.")
@click.option("--batch", type=click.IntRange(1), help="Crops per step.")
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
    """Train MODEL. Interrupted runs continue with --resume; several GPUs or processes with
    torchrun."""
    from laconic.codec.train.image import Recipe, run

    recipe = Recipe(config=model.removeprefix("mlic-"))
    if minutes is not None:
        recipe = replace(recipe, minutes=minutes)
    if batch is not None:
        recipe = replace(recipe, batch=batch)
    checkpoint = run(recipe, list(data), out, resume=resume, threads=threads, init=init)
    click.echo(
        f"{checkpoint}: export it with laconic models export {checkpoint} --name NAME -o FILE"
    )
