"""``laconic train``: what the codecs offer to train, and the options each recipe has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from laconic.cli.options import complete_model
from laconic.codec import registry
from laconic.codec.devices import NAMES, use

RECIPES = {name: codec.name for codec in registry.codecs() for name in codec.recipes}
PROMPTS = ["base", "drl-ict", "casan", "speaker", "plain"]
SIZES = ["small", "small-fine", "small-wide", "small-50", "small-12", "tiny"]


@click.command("train")
@click.argument("model", type=click.Choice([*RECIPES]))
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder of images or of .tar shards of images, may be repeated; for records an array"
    " (.npy, IDX) or a folder of gray images of one size; for the stages of audio a folder of"
    " recordings in speech/, music/ and general/. Recordings below a folder validation/ are held"
    " out.",
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
@click.option(
    "--init",
    shell_complete=complete_model,
    help="Model to start from (images, stages of audio), or to give a prior (audio-prior);"
    " checkpoint of a Base to continue (pscodec drl-ict).",
)
@click.option(
    "--config",
    type=click.Choice(PROMPTS),
    help="What pscodec does with prompts; plain has none.  [default: base]",
)
@click.option("--full", is_flag=True, help="HiFi-Codec's widths for pscodec; needs a GPU.")
@click.option("--steps", type=click.IntRange(1), help="Budget of pscodec in steps, not minutes.")
@click.option(
    "--size",
    type=click.Choice(SIZES),
    help="Size of the audio model: 25 positions per second, the same with short frames, 50, 12.5,"
    " or one to try recipes out.",
)
@click.option("--batch", type=click.IntRange(1), help="Crops or samples per step.")
@click.option("--threads", type=click.IntRange(1), help="Threads on a CPU.")
@click.option(
    "--device",
    type=click.Choice(NAMES),
    help="Where the network is trained.  [default: auto, a GPU if there is one]",
)
@click.option("--name", help="Name of the model for records. [default: mnist-hclt, mnist-small]")
@click.option("--states", type=click.IntRange(1, 1024), help="Latent states of the circuit.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the records.")
def command(model: str, data: tuple[Path, ...], out: Path, resume: bool, **options: Any) -> None:
    """Train MODEL. Interrupted runs continue with --resume; mlic-small trains on several GPUs or
    processes with torchrun. The stages of the audio model are trained in the order in which they
    are listed, with --out folders side by side that bear their names; then export the checkpoint of
    audio-sound. audio-prior trains the prior of an exported model's tokens."""
    codec = registry.get(RECIPES[model])
    given = {name: value for name, value in options.items() if value not in (None, False)}
    for name in given:
        if name not in codec.recipes[model]:
            known = ", ".join(f"--{n}" for n in codec.recipes[model])
            raise click.UsageError(f"the training {model} has no --{name}: it has {known}")
    if "device" in given:
        use(given.pop("device"))
    click.echo(codec.train(model, data, out, resume=resume, report=click.echo, **given))
