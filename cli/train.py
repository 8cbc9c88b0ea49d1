"""``laconic train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from laconic.cli.options import complete_model

STAGES = ("mae", "vocoder", "tokens", "decoder", "sound", "refiner")
AUDIO = [f"audio-{stage}" for stage in STAGES]
MODELS = [
    "mlic-small", "photo", "photo-preview", "records", "records-small",
    *AUDIO, "audio-prior", "pscodec",
]  # fmt: skip
PROMPTS = ["base", "drl-ict", "casan", "plain"]


@click.command("train")
@click.argument("model", type=click.Choice(MODELS))
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder of pictures or of .tar shards of pictures, may be repeated; for records an array"
    " (.npy, IDX) or a folder of gray pictures of one size; for the stages of audio a folder of"
    " recordings in speech/, music/ and general/, those below a folder validation/ held out.",
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
    help="Model to start from (pictures, stages of audio), or to give a prior (audio-prior);"
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
    type=click.Choice(["small", "small-50", "small-12", "tiny"]),
    help="Size of the audio model: 25, 50 or 12.5 positions per second, or one to try recipes out.",
)
@click.option("--batch", type=click.IntRange(1), help="Crops or samples per step.")
@click.option("--threads", type=click.IntRange(1), help="Threads on a CPU.")
@click.option("--name", help="Name of the model for records. [default: mnist-hclt, mnist-small]")
@click.option("--states", type=click.IntRange(1, 1024), help="Latent states of the circuit.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the records.")
def command(
    model: str,
    data: tuple[Path, ...],
    out: Path,
    resume: bool,
    minutes: float | None,
    init: str | None,
    config: str | None,
    full: bool,
    steps: int | None,
    size: str | None,
    batch: int | None,
    threads: int | None,
    name: str | None,
    states: int | None,
    epochs: int | None,
) -> None:
    """Train MODEL. Interrupted runs continue with --resume; mlic-small trains on several GPUs or
    processes with torchrun. The stages of the audio model are trained in the order in which they
    are listed, with --out folders side by side that bear their names; then export the checkpoint of
    audio-sound. audio-prior trains the prior of an exported model's tokens."""
    changes: dict[str, Any] = {"minutes": minutes, "batch": batch}
    changes = {key: value for key, value in changes.items() if value is not None}
    if model.startswith("records"):
        if len(data) != 1:
            raise click.UsageError("records are trained on one array: give --data once")
        if model == "records":
            _train_records(data[0], out, resume, name or "mnist-hclt", states, epochs)
        else:
            _train_small(data[0], out, resume, name or "mnist-small", threads)
        return
    if model == "audio-prior":
        from laconic.codec.train.token_prior import PriorRecipe, add_prior

        info = add_prior(
            init or "semanticodec-small-2", list(data), out, PriorRecipe(), minutes=minutes
        )
        click.echo(f"{info.path}: {info.id}, {info.bytes:,} bytes")
        return
    if model == "pscodec":
        from laconic.codec.audio.prompt.config import config_of
        from laconic.codec.train import pscodec

        variant = config or "base"
        if steps is not None:
            changes["steps"] = steps
        checkpoint = pscodec.run(
            pscodec.PromptRecipe(variant=variant, **changes),
            config_of(variant, full=full),
            list(data),
            out,
            resume=resume,
            threads=threads,
            init=None if init is None else Path(init),
        )
    elif model in AUDIO:
        from laconic.codec.train import audio

        changes |= {} if size is None else {"model": size}
        checkpoint = audio.run(
            model, changes, list(data), out, resume=resume, threads=threads, init=init
        )
    elif model.startswith("photo"):
        from laconic.codec.train import photo

        photos = replace(photo.PhotoRecipe(config=model), **changes)
        if init is not None:
            photos = replace(photos, lr=photos.lr / 2)
        checkpoint = photo.run(photos, list(data), out, resume=resume, threads=threads, init=init)
    else:
        from laconic.codec.train import image

        recipe = replace(image.Recipe(config=model.removeprefix("mlic-")), **changes)
        checkpoint = image.run(recipe, list(data), out, resume=resume, threads=threads, init=init)
    click.echo(
        f"{checkpoint}: export it with laconic models export {checkpoint} --name NAME -o FILE"
    )


def _train_small(data: Path, out: Path, resume: bool, name: str, threads: int | None) -> None:
    """Train a network of the preset `small`."""
    import torch

    from laconic.codec.lossless.records.small_training import SmallRecipe, run_small
    from laconic.formats.records import read_records

    if threads is not None:
        torch.set_num_threads(threads)
    recipe = SmallRecipe()
    info = run_small(recipe, read_records(data), out, name=name, resume=resume, report=click.echo)
    click.echo(f"{info.path}: {info.id}, {info.bytes:,} bytes")


def _train_records(
    data: Path,
    out: Path,
    resume: bool,
    name: str,
    states: int | None,
    epochs: int | None,
) -> None:
    """Train a circuit; the defaults are the recipe of the shipped one."""
    from laconic.codec.lossless.records.training import Recipe, run
    from laconic.formats.records import read_records

    recipe = Recipe()
    if states is not None:
        recipe = replace(recipe, states=states)
    if epochs is not None:
        recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))
    info = run(recipe, read_records(data), out, name=name, resume=resume, report=click.echo)
    click.echo(f"{info.path}: {info.id}, {info.bytes:,} bytes")
