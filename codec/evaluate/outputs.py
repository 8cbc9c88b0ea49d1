"""Everything a run leaves in its folder, from one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laconic.codec.evaluate import plot, report, tables
from laconic.codec.evaluate.items import find_items
from laconic.codec.evaluate.results import (
    Curve,
    complete_items,
    mean_curves,
    to_compressai,
    to_csv,
    to_json,
)
from laconic.codec.evaluate.runner import Run
from laconic.codec.media import of
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import ParameterError

TIMES = ("encode_s", "decode_s", "memory_mib")


@dataclass(frozen=True)
class Summary:
    """What was written, and the two tables for people."""

    files: list[Path]
    means: str
    deltas: str
    delta_rows: list[dict[str, Any]]


def write_outputs(
    run: Run,
    out: Path,
    *,
    curves: Sequence[Curve] = (),
    anchor: str | None = None,
    log: bool = False,
    title: str | None = None,
    gallery: int = 4,
) -> Summary:
    """Write JSON, CSV, Markdown, plots and the HTML report of a run.

    Args:
        curves: imported curves to compare with.
        anchor: name of the curve that deltas refer to; None takes the first imported one, else the
            second codec.

    Raises ``ParameterError`` for an unknown anchor or when no item was finished by every codec.
    """
    own = mean_curves(run)
    everything = [*own, *curves]
    base = _anchor(everything, own, curves, anchor)
    medium = of(run.media)
    rate = medium.rate
    measured = [("ms-ssim-db" if m == "ms-ssim" else m) for m in run.metrics]
    delta_rows = [] if base is None else tables.deltas(base, everything, rate, measured)
    means = tables.means_table(own, [rate, medium.second_rate, *run.metrics, *TIMES])
    deltas = tables.deltas_table(delta_rows) if delta_rows else ""
    complete = complete_items(run)
    title = title or f"Rate and distortion over {len(complete)} {medium.name} files"
    texts: dict[str, str | bytes] = {
        "results.json": to_json(run, delta_rows),
        "measurements.csv": to_csv(run),
        "results.md": f"# {title}\n\n{_explained(means)}\n{_explained(deltas)}",
    }
    note = f"{len(complete)} items; means; bytes of whole files"
    for curve in own:
        texts[f"curves/{curve.name.replace('/', '_')}.json"] = to_compressai(curve, note)
    plots: dict[str, bytes] = {}
    shown = [m for m in measured if any(len(c.values(rate, m)) > 1 for c in own)]
    if shown:
        top = 1.05 * max(x for c in own for m in shown for x, _ in c.values(rate, m))
        for format in ("svg", "png"):
            plots[f"rd.{format}"] = plot.draw(
                everything, rate, shown, format, log=log, max_rate=top
            )
    panels = [
        plot.draw(everything, rate, [m], "svg", log=log, max_rate=top, size=plot.NARROW)
        for m in shown
    ]
    texts |= plots
    names = set(complete)
    items = [i for i in find_items(run.config.inputs, run.media) if i.name in names]
    texts["report.html"] = report.render(
        run, items, out, title=title, plots=panels,
        deltas=deltas, means=means, gallery=gallery,
    )  # fmt: skip
    written = []
    for name, text in texts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, overwrite=True) as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        written.append(path)
    return Summary(written, means, deltas, delta_rows)


def _explained(table: str) -> str:
    """A table and what it shows."""
    return table and table + "".join(f"\n{sentence}\n" for sentence in tables.legend(table))


def _anchor(
    everything: Sequence[Curve], own: Sequence[Curve], imported: Sequence[Curve], name: str | None
) -> Curve | None:
    if name is None:
        return imported[0] if imported else own[1] if len(own) > 1 else None
    for curve in everything:
        if curve.name == name:
            return curve
    raise ParameterError(
        f"there is no curve {name!r} to refer to: choose among"
        f" {', '.join(c.name for c in everything)}"
    )
