"""One HTML file that needs nothing else: plot, tables, and a gallery at matched rate.

The gallery decodes the streams that the run kept. Images are embedded without loss, those larger
than the stage as a crop from their centre; of videos the middle frame is shown; recordings
get players.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.codec.evaluate.results import legend, title_of
from laconic.codec.evaluate.runner import Row, Run, stream_name
from laconic.codec.evaluate.subject import Item, find_subject, parse_spec
from laconic.codec.media import of
from laconic.formats.audio import Audio

STAGE = (1024, 768)  # width, height
SECONDS = 15


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
