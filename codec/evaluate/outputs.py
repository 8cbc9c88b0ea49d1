"""Rate-distortion plots for papers: colour-blind safe, labelled at the curves, SVG and PNG.

Everything a run leaves in its folder, from one call.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laconic.codec import places
from laconic.codec.evaluate import report, results
from laconic.codec.evaluate.metrics import METRICS
from laconic.codec.evaluate.results import (
    RATE_TITLES,
    Curve,
    complete_items,
    mean_curves,
    to_compressai,
    to_csv,
    to_json,
)
from laconic.codec.evaluate.runner import INPUTS, Run
from laconic.codec.evaluate.subject import find_items
from laconic.codec.media import of
from laconic.codec.options import need
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import ParameterError

# Okabe and Ito's palette, https://jfly.uni-koeln.de/color, then Tol's muted one; their yellows are
# too light on white.
COLOURS = (
    "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F",
    "#882255", "#332288", "#44AA99", "#999933",
)  # fmt: skip
MARKERS = "os^Dv*Px"
LABEL_GAP = 11  # points between the centres of two labels
WIDE, NARROW = (5.6, 4.2), (4.4, 3.7)  # inches of a panel: of a page, and of a telephone's screen
TIMES = ("encode_s", "decode_s", "memory_mib")


def draw(
    curves: Sequence[Curve],
    rate: str,
    metrics: Sequence[str],
    format: str,
    *,
    log: bool = False,
    title: str = "",
    max_rate: float | None = None,
    size: tuple[float, float] = WIDE,
) -> bytes:
    """A panel per metric as "png" (150 dpi) or "svg", each of ``size`` inches, four or more in rows
    of two. Imported curves are dashed.

    Raises ``ParameterError`` when no curve has two points of a metric.
    """
    mpl = need("matplotlib", "eval")
    canvas = need("matplotlib.backends.backend_agg", "eval").FigureCanvasAgg
    new_figure = need("matplotlib.figure", "eval").Figure
    shown = [m for m in metrics if any(len(c.values(rate, m)) > 1 for c in curves)]
    if not shown:
        raise ParameterError("there is no curve of two points or more to plot")
    style = {"font.size": 9, "svg.hashsalt": "laconic", "svg.fonttype": "none",
             "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip
    with mpl.rc_context(style):
        columns = len(shown) if len(shown) < 4 else 2
        rows = -(-len(shown) // columns)
        figure = new_figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        canvas(figure)
        for index, metric in enumerate(shown):
            axes = figure.add_subplot(rows, columns, index + 1)
            _panel(axes, curves, rate, metric, log, max_rate)
        if title:
            figure.suptitle(title, fontsize=10)
        figure.draw_without_rendering()
        for axes in figure.axes:
            _spread_labels(axes)
        buffer = io.BytesIO()
        metadata = {"Date": None} if format == "svg" else {"Software": None}
        figure.savefig(buffer, format=format, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _panel(
    axes: Any, curves: Sequence[Curve], rate: str, metric: str, log: bool, max_rate: float | None
) -> None:
    """One metric. Curves of the run first, so that their colours do not depend on anchors."""
    for index, curve in enumerate(sorted(curves, key=lambda c: c.imported)):
        points = [p for p in curve.values(rate, metric) if max_rate is None or p[0] <= max_rate]
        if not points:
            continue
        colour = COLOURS[index % len(COLOURS)]
        x, y = zip(*points, strict=True)
        marker = "" if curve.imported else MARKERS[index % len(MARKERS)]
        axes.plot(x, y, "--" if curve.imported else "-", marker=marker, markersize=4, color=colour,
                  linewidth=1.2 if curve.imported else 1.8)  # fmt: skip
        axes.annotate(curve.name, (x[-1], y[-1]), xytext=(6, 0), textcoords="offset points",
                      color=colour, va="center", annotation_clip=False,
                      weight="normal" if curve.imported else "bold")  # fmt: skip
    if log:
        axes.set_xscale("log")
    axes.set_xlabel(RATE_TITLES[rate])
    axes.set_ylabel(METRICS[metric].title if metric in METRICS else metric)
    if metric in METRICS and METRICS[metric].better < 0:
        axes.invert_yaxis()
    axes.grid(alpha=0.25, linewidth=0.6)


def _spread_labels(axes: Any) -> None:
    """Shift labels up or down so that none covers another one near it."""
    scale = 72 / axes.figure.dpi
    placed: list[tuple[float, float]] = []
    labels = sorted(axes.texts, key=lambda t: axes.transData.transform(t.xy)[1], reverse=True)
    for label in labels:
        x, y = (v * scale for v in axes.transData.transform(label.xy))
        wanted = y
        for other_x, other_y in placed:
            if abs(other_x - x) < 70 and wanted > other_y - LABEL_GAP:
                wanted = min(wanted, other_y - LABEL_GAP)
        placed.append((x, wanted))
        label.xyann = (6, wanted - y)


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
    delta_rows = [] if base is None else results.deltas_of(base, everything, rate, measured)
    means = results.means_table(own, [rate, medium.second_rate, *run.metrics, *TIMES])
    deltas = results.deltas_table(delta_rows) if delta_rows else ""
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
            plots[f"rd.{format}"] = draw(everything, rate, shown, format, log=log, max_rate=top)
    panels = [draw(everything, rate, [m], "svg", log=log, max_rate=top, size=NARROW) for m in shown]
    texts |= plots
    names = set(complete)
    inputs = [places.near(name, out / INPUTS) for name in run.config.inputs]
    items = [i for i in find_items(inputs, run.media) if i.name in names]
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
    return table and table + "".join(f"\n{sentence}\n" for sentence in results.legend(table))


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
