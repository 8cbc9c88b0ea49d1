"""``laconic eval``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from laconic.cli.batch import engine_for
from laconic.cli.options import complete_subject, spreading, wants_progress
from laconic.cli.tables import say, tile_progress
from laconic.codec.devices import NAMES
from laconic.codec.media import MEDIA


@click.command("eval")
@click.argument("inputs", nargs=-1)
@click.option(
    "-c", "--codec", "codecs", multiple=True, shell_complete=complete_subject,
    metavar="NAME[@VARIANT][:Q,...]", help="A codec or baseline and its points; several times.",
)  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="Folder of the run; an existing run is continued.")  # fmt: skip
@click.option("-m", "--metric", "metrics", multiple=True, help="A measure; several times.")
@click.option("--media", type=click.Choice([m.name for m in MEDIA]), help="Kind to take.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Repeat the run of this config.json.")  # fmt: skip
@click.option("--curves", multiple=True, metavar="FILE[:NAME,...]",
              help="Curves to compare with: CompressAI's JSON.")  # fmt: skip
@click.option("--anchor", help="Curve that BD-rates refer to.")
@click.option("--log", is_flag=True, help="Logarithmic rate axis.")
@click.option("--title", help="Title of the report.")
@click.option("--gallery", type=click.IntRange(0, 100), default=4, show_default=True,
              help="Items shown in the report.")  # fmt: skip
@click.option("--device", type=click.Choice(NAMES),
              help="Where networks run.  [default: each codec's own]")  # fmt: skip
@spreading(jobs="Items at a time; they lengthen each other's times.  [default: 1]", manifest=False)
@click.option("--list", "list_", is_flag=True, is_eager=True, expose_value=False,
              callback=lambda ctx, _, value: _list(ctx) if value else None,
              help="List codecs, baselines and metrics.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The deltas as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No tables.")
@click.option("--progress/--no-progress", default=None)
def command(
    inputs: tuple[str, ...],
    codecs: tuple[str, ...],
    out: Path,
    metrics: tuple[str, ...],
    media: str | None,
    config: Path | None,
    curves: tuple[str, ...],
    anchor: str | None,
    log: bool,
    title: str | None,
    gallery: int,
    device: str | None,
    jobs: int | None,
    threads: int | None,
    engine: str | None,
    address: str | None,
    as_json: bool,
    quiet: bool,
    progress: bool | None,
) -> int:
    """Measure rate and distortion of codecs on INPUTS: files, folders or URLs of either, of one
    kind of media.

    \b
    laconic eval photos/ -c mlic -c jpeg -c avif:30,50,70 --out run
    laconic eval clips/ -c x264@slow -c x265@slow:22,27,32 --out run
    """
    from laconic.codec.evaluate.outputs import write_outputs
    from laconic.codec.evaluate.results import read_curves
    from laconic.codec.evaluate.runner import Config, evaluate, read_config

    if config is not None:
        if inputs or codecs or metrics or media or device:
            raise click.UsageError("--config says what to measure: leave out inputs and codecs")
        asked = read_config(config)
    elif not inputs or not codecs:
        raise click.UsageError("name inputs and at least one --codec, or a --config")
    else:
        asked = Config(inputs, codecs, metrics, media, device)
    imported = []
    for text in curves:
        name, _, chosen = text.partition(":")
        imported += read_curves(Path(name), [c for c in chosen.split(",") if c])
    bar = tile_progress(wants_progress(progress), "eval")
    if engine != "ray":
        jobs = jobs or 1  # others would lengthen the times that are measured
    where = {"jobs": jobs, "threads": threads, "engine": engine, "address": address}
    run = evaluate(asked, out, engine=engine_for((), jobs or 0, where), progress=bar)
    for item, codec, sentence in run.failures:
        say(f"{item}{f' with {codec}' if codec else ''}: {sentence}")
    summary = write_outputs(run, out, curves=imported, anchor=anchor, log=log, title=title,
                            gallery=gallery)  # fmt: skip
    if as_json:
        click.echo(json.dumps(summary.delta_rows))
    elif not quiet:
        click.echo(summary.means)
        click.echo(summary.deltas)
        click.echo(f"report: {out / 'report.html'}")
    return 1 if run.failures else 0


def _list(ctx: click.Context) -> None:
    from laconic.codec import registry
    from laconic.codec.evaluate.metrics import METRICS
    from laconic.codec.evaluate.subject import baseline_names

    click.echo("codecs: " + ", ".join(registry.names()))
    for medium in MEDIA:
        names = [n for n, kind in baseline_names().items() if kind == medium.kind]
        click.echo(f"{medium.name} baselines: {', '.join(names)}")
        known = [m.name for m in METRICS.values() if medium.kind in m.media]
        click.echo(f"{medium.name} metrics: {', '.join(known) or 'exact or not'}")
    ctx.exit()
