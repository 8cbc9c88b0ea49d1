"""Rate-distortion plots for papers: colour-blind safe, labelled at the curves, SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from laconic.codec.evaluate.metrics import METRICS
from laconic.codec.evaluate.results import RATE_TITLES, Curve
from laconic.codec.extras import need
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
    """A panel per metric as "png" (150 dpi) or "svg", each of ``size`` inches. Imported curves are
    dashed.

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
        figure = new_figure(figsize=(size[0] * len(shown), size[1]), layout="constrained")
        canvas(figure)
        for index, metric in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), index + 1)
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
