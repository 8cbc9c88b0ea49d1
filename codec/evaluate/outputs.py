"""Everything a run leaves in its folder, from one call: plots, tables, and a report.

Plots are for papers: colour-blind safe, labelled at the curves, SVG and PNG. The report is one HTML
file that needs nothing else: plot, tables, and a gallery at matched rate, which decodes the streams
that the run kept. Images are embedded without loss, those larger than the stage as a crop from
their centre; of videos the middle frame is shown; recordings get players.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.codec import places
from laconic.codec.evaluate import results
from laconic.codec.evaluate.metrics import METRICS
from laconic.codec.evaluate.results import (
    RATE_TITLES,
    Curve,
    complete_items,
    legend,
    mean_curves,
    title_of,
    to_compressai,
    to_csv,
    to_json,
)
from laconic.codec.evaluate.runner import INPUTS, Row, Run, stream_name
from laconic.codec.evaluate.subject import Item, find_items, find_subject, parse_spec
from laconic.codec.media import of
from laconic.codec.options import need
from laconic.formats.atomic import atomic_write
from laconic.formats.audio import Audio
from laconic.formats.errors import ParameterError

STAGE = (1024, 768)  # width, height
SECONDS = 15
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


def render(
    run: Run,
    items: Sequence[Item],
    folder: Path,
    *,
    title: str,
    plots: Sequence[bytes],
    deltas: str,
    means: str,
    gallery: int = 4,
) -> str:
    """The report as HTML.

    Args:
        items: the items to choose the gallery from, in order.
        folder: the run's folder, which holds the streams.
        plots: SVG of one panel each, which stand side by side where there is room.
        deltas, means: Markdown tables.
        gallery: number of items shown.
    """
    shown = list(items)[:gallery]
    labels = ", ".join(run.subjects)
    summary = f"{len(items)} {of(run.media).name} files; codecs: {html.escape(labels)}"
    if run.failures:
        summary += f"; {len(run.failures)} measurements failed"
    drawn = [svg.decode() for svg in plots]
    return _template("report.html").substitute(
        title=html.escape(title),
        summary=summary,
        plots="".join(f"<div>{svg[svg.index('<svg') :]}</div>" for svg in drawn),
        deltas=_table(deltas),
        means=_table(means),
        gallery=_gallery(run, shown, folder) if shown and of(run.media).visible else "",
        settings=html.escape(json.dumps(run.subjects, indent=1)),
    )


def _template(name: str) -> Template:
    return Template(files("laconic.codec.evaluate").joinpath(name).read_text(encoding="utf-8"))


def _table(markdown: str) -> str:
    """HTML of a Markdown table made here."""
    lines = [line.strip("| \n").split(" | ") for line in markdown.splitlines()]
    if len(lines) < 3:
        return "<p>none: there are fewer than two curves</p>"
    head = "".join(f"<th>{html.escape(c.strip())}</th>" for c in lines[0])
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(c.strip())}</td>" for c in line) + "</tr>"
        for line in lines[2:]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    notes = "".join(f"<p class='note'>{html.escape(text)}</p>" for text in legend(markdown))
    return f"<div class='scroll'>{table}</div>{notes}"


def matched_rows(run: Run, item: str) -> list[Row]:
    """One row of the item per codec: the first codec's middle point, the others' nearest rate."""
    rate = of(run.media).rate
    reference: float | None = None
    chosen = []
    for label in run.subjects:
        rows = sorted(
            (r for r in run.rows if r["codec"] == label and r["item"] == item),
            key=lambda r: r[rate],
        )
        if not rows:
            continue
        if reference is None:
            row = rows[len(rows) // 2]
            reference = row[rate]
        else:
            target = reference
            row = min(rows, key=lambda r: abs(math.log(r[rate] / target)))
        chosen.append(row)
    return chosen


def _gallery(run: Run, items: Sequence[Item], folder: Path) -> str:
    subjects = {}
    for text in run.config.codecs:
        subject = find_subject(parse_spec(text))
        subjects[subject.label] = subject
    entries = []
    medium = of(run.media)
    for item in items:
        rows = matched_rows(run, item.name)
        versions = [(Row(codec="original"), medium.shown_original(item))]
        for row in rows:
            subject = subjects[row["codec"]]
            data = (
                folder / "streams" / stream_name(subject, item.name, row["quality"])
            ).read_bytes()
            versions.append((row, medium.shown(subject.decode(data, item), row)))
        entries.append((item.name, versions))
    if all(isinstance(shown, Audio) for _, versions in entries for _, shown in versions):
        return _players(entries, run)
    document = [
        {
            "name": name,
            "versions": [
                {"name": row["codec"], "caption": _caption(row, run), "image": _data_url(image)}
                for row, image in versions
            ],
        }
        for name, versions in entries
    ]
    text = json.dumps(document).replace("<", "\\u003c")
    return _template("gallery.html").substitute(
        reference=html.escape(next(iter(run.subjects))), data=text
    )


def _caption(row: Row, run: Run) -> str:
    rate = of(run.media).rate
    if rate not in row:
        return "original"
    parts = [row["codec"], f"{row[rate]:.3f} {title_of(rate)}"]
    parts += [f"{title_of(m)} {row[m]:.4g}" for m in run.metrics if row.get(m) is not None]
    return ", ".join(parts)


def _data_url(pixels: NDArray[Any]) -> str:
    """The centre of an image as lossless WebP."""
    height, width = pixels.shape[:2]
    top, left = max(0, (height - STAGE[1]) // 2), max(0, (width - STAGE[0]) // 2)
    crop = pixels[top : top + STAGE[1], left : left + STAGE[0]]
    if crop.dtype == np.uint16:
        crop = (crop >> 8).astype(np.uint8)
    buffer = io.BytesIO()
    array = np.ascontiguousarray(crop[..., 0] if crop.shape[2] == 1 else crop)
    Pillow.fromarray(array).convert("RGB").save(buffer, "WEBP", lossless=True, quality=50)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _players(entries: Sequence[tuple[str, Sequence[tuple[Row, Any]]]], run: Run) -> str:
    lines = [f"<h2>Gallery at matched rate</h2><p>The first {SECONDS} seconds.</p>"]
    for name, versions in entries:
        lines.append(f"<h3>{html.escape(name)}</h3><table><tbody>")
        for row, audio in versions:
            lines.append(
                f"<tr><td>{html.escape(_caption(row, run))}</td><td><audio controls preload='none'"
                f" src='{_wave_url(audio)}'></audio></td></tr>"
            )
        lines.append("</tbody></table>")
    return "\n".join(lines)


def _wave_url(audio: Audio) -> str:
    """16-bit WAV of the beginning."""
    import wave

    samples = np.clip(np.rint(audio.samples[:, : SECONDS * audio.rate] * 32767), -32768, 32767)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(audio.channels)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(samples.T.astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


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
    texts["report.html"] = render(
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
