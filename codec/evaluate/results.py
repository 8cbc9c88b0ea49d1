"""From measurements to curves: means, Bjontegaard deltas in words for people, files of both.

Means cover the items that every codec finished at every quality, so that all curves are about the
same media. Curves are exchanged with others in CompressAI's result JSON; tables are Markdown.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

from laconic.codec.evaluate.metrics import METRICS, bd_psnr, bd_rate, decibels
from laconic.codec.evaluate.runner import Row, Run
from laconic.codec.media import MEDIA, of
from laconic.formats.errors import FormatError, ParameterError

RATE_TITLES = {medium.rate: medium.rate_title for medium in MEDIA}
TO_COMPRESSAI = {
    "psnr": "psnr-rgb", "ms-ssim": "ms-ssim-rgb", "encode_s": "encoding_time",
    "decode_s": "decoding_time",
}  # fmt: skip
FROM_COMPRESSAI = {
    **{theirs: ours for ours, theirs in TO_COMPRESSAI.items()},
    "psnr": "psnr", "ms-ssim": "ms-ssim", "ms_ssim": "ms-ssim", "bpp": "bpp",
}  # fmt: skip
Point = dict[str, float | None]
FORMATS = {"bpp": ".4f", "kbps": ".2f", "bits_per_sample": ".4f", "ms-ssim": ".4f", "stoi": ".3f",
           "estoi": ".3f", "mel": ".3f", "stft": ".3f", "encode_s": ".3f", "decode_s": ".3f",
           "memory_mib": ".0f"}  # fmt: skip
TITLES = {
    "bpp": "bits per pixel", "kbps": "kbit/s", "bits_per_sample": "bits per sample",
    "bits_per_cell": "bits per cell", "ratio": "ratio", "encode_s": "encoding (s)",
    "decode_s": "decoding (s)", "memory_mib": "memory (MiB)",
}  # fmt: skip
LEGEND = {
    "memory (MiB)": "memory (MiB): what encoding and decoding took beyond what the process held"
    " before, for the item in the middle.",
    " - ": "-: not measured, or not defined for these items; a codec without a setting has no"
    " quality, curves that do not overlap have no delta.",
    " exact ": "exact: what was decoded equals the original.",
    "PCHIP": "A delta below 0 % means fewer bits than the anchor at equal quality; PCHIP and cubic"
    " are the two usual interpolations of the curves.",
}  # what a table must hold for the sentence to be said


@dataclass(frozen=True)
class Curve:
    """Mean points of one codec in order of rate. ``imported`` ones come from a file."""

    name: str
    points: list[Point]
    imported: bool = False

    def values(self, rate: str, metric: str) -> list[tuple[float, float]]:
        """``(rate, metric)`` where both are known and finite."""
        pairs = [(p.get(rate), p.get(metric)) for p in self.points]
        return [
            (x, y)
            for x, y in pairs
            if x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
        ]


def complete_items(run: Run) -> list[str]:
    """Names of the items that every codec finished at every quality."""
    counts: dict[str, int] = defaultdict(int)
    for row in run.rows:
        counts[row["item"]] += 1
    expected = len({(row["codec"], row["quality"]) for row in run.rows})
    failed = {name for name, _, _ in run.failures}
    return [n for n in run.items if counts[n] == expected and n not in failed]


def mean_curves(run: Run) -> list[Curve]:
    """One curve per codec, in the order asked for; ``ParameterError`` if no item is complete."""
    complete = set(complete_items(run))
    if not complete:
        raise ParameterError(
            "no item was finished by every codec: there is nothing to compare"
            + "".join(f"; {item}: {why}" for item, _, why in run.failures[:1])
        )
    curves = []
    for label in run.subjects:
        groups: dict[Any, list[Row]] = defaultdict(list)
        for row in run.rows:
            if row["codec"] == label and row["item"] in complete:
                groups[row["quality"]].append(row)
        points = [_mean(rows) for rows in groups.values()]
        rate = of(run.media).rate
        curves.append(Curve(label, sorted(points, key=lambda p: p[rate] or 0)))
    return curves


def _mean(rows: list[Row]) -> Point:
    """Mean of every number; a measure is None where it is not defined for some item."""
    point: Point = {}
    for key, first in rows[0].items():
        if key in ("codec", "item", "exact"):
            continue
        if key == "quality":
            point[key] = first
            continue
        values = [row.get(key) for row in rows]
        known = [v for v in values if v is not None]
        if key == "peak_mib":
            point[key] = max(known) if known else None
        elif key == "memory_mib":  # the first item's includes what is loaded once
            point[key] = median_low(known) if known else None
        else:
            point[key] = math.fsum(known) / len(known) if len(known) == len(values) else None
    if point.get("ms-ssim") is not None and "ms-ssim-db" not in point:
        point["ms-ssim-db"] = decibels(point["ms-ssim"] or 0.0)
    return point


def to_compressai(curve: Curve, description: str) -> str:
    """The curve as CompressAI's result JSON."""
    results: dict[str, list[float | None]] = defaultdict(list)
    for point in curve.points:
        for key, value in point.items():
            if key not in ("quality", "bytes", "memory_mib", "peak_mib", "frames"):
                results[TO_COMPRESSAI.get(key, key)].append(_finite(value))
    data = {"name": curve.name, "description": description, "results": results}
    return json.dumps(data, indent=1) + "\n"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def read_curves(path: Path, names: Sequence[str] = ()) -> list[Curve]:
    """Curves of a JSON file: CompressAI's result of one codec, or ``{name: {"bpp": [...], ...}}``.

    Args:
        names: the curves to take; empty for all.

    Raises ``FormatError`` for other content and ``ParameterError`` for an unknown name.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if "results" in data:
            data = {str(data.get("name", path.stem)): data["results"]}
        elif "bpp" in data:
            data = {path.stem: data}
        curves = {name: _parse_curve(name, values) for name, values in data.items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise FormatError(
            f"{path} holds no rate-distortion curves: expected CompressAI's result JSON or"
            ' {"name": {"bpp": [...], "psnr": [...]}}'
        ) from error
    missing = [n for n in names if n not in curves]
    if missing:
        raise ParameterError(f"{path} holds no curve {missing[0]!r}: it has {', '.join(curves)}")
    return [curves[n] for n in (names or curves)]


def _parse_curve(name: str, values: dict[str, Any]) -> Curve:
    columns = {
        FROM_COMPRESSAI.get(key, key): column
        for key, column in values.items()
        if isinstance(column, list)
    }
    rate = "bpp" if "bpp" in columns else "kbps"
    length = len(columns[rate])
    points: list[Point] = []
    for index in range(length):
        point: Point = {}
        for key, column in columns.items():
            if len(column) == length:
                point[key] = None if column[index] is None else float(column[index])
        similarity = point.get("ms-ssim")
        if similarity is not None and "ms-ssim-db" not in point:
            point["ms-ssim-db"] = decibels(similarity)
        points.append(point)
    return Curve(name, sorted(points, key=lambda p: p[rate] or 0), imported=True)


def to_csv(run: Run) -> str:
    """Every measurement as a row of CSV."""
    columns = list(dict.fromkeys(key for row in run.rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(run.rows)
    return text.getvalue()


def to_json(run: Run, deltas: Any) -> str:
    """The whole run: configuration, subjects with settings and versions, measurements, deltas."""
    rows = [
        {k: _finite(v) if isinstance(v, float) else v for k, v in row.items()} for row in run.rows
    ]
    data = {
        "config": run.config.to_dict(), "media": of(run.media).name, "subjects": run.subjects,
        "items": run.items, "complete_items": complete_items(run),
        "failures": [list(f) for f in run.failures], "deltas": deltas, "measurements": rows,
    }  # fmt: skip
    return json.dumps(data, indent=1) + "\n"


def title_of(key: str) -> str:
    """Name of a column for people, with its unit."""
    return METRICS[key].title if key in METRICS else TITLES.get(key, key)


def legend(table: str) -> list[str]:
    """Sentences that explain what a Markdown table shows."""
    return [text for found, text in LEGEND.items() if found in table]


def deltas_of(
    anchor: Curve, curves: Sequence[Curve], rate: str, metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """BD-rate and BD-metric of every curve against ``anchor``, with PCHIP and with the cubic.

    A value is None where the curves do not overlap or have too few points. ``low`` and ``high``
    are the overlap in units of the metric.
    """
    rows = []
    for metric in metrics:
        sign = METRICS[metric].better if metric in METRICS else 1
        base = [(x, sign * y) for x, y in anchor.values(rate, metric)]
        for curve in curves:
            points = [(x, sign * y) for x, y in curve.values(rate, metric)]
            if curve.name == anchor.name or not points or not base:
                continue
            row: dict[str, Any] = {"metric": metric, "codec": curve.name, "anchor": anchor.name}
            for method in ("pchip", "cubic"):
                try:
                    by_rate = bd_rate(base, points, method)  # type: ignore[arg-type]
                    row[f"bd_rate_{method}"] = by_rate.value
                    row["low"], row["high"] = sorted((sign * by_rate.low, sign * by_rate.high))
                except ParameterError:
                    row[f"bd_rate_{method}"] = None
                try:
                    by_quality = bd_psnr(base, points, method)  # type: ignore[arg-type]
                    row[f"bd_metric_{method}"] = sign * by_quality.value
                except ParameterError:
                    row[f"bd_metric_{method}"] = None
            rows.append(row)
    return rows


def deltas_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown of :func:`deltas`."""
    lines = [
        "| metric | codec | anchor | BD-rate % (PCHIP) | BD-rate % (cubic) | BD-metric (PCHIP) |"
        " over |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for row in rows:
        over = f"{row['low']:.3g} to {row['high']:.3g}" if "low" in row else "no overlap"
        lines.append(
            f"| {title_of(row['metric'])} | {row['codec']} | {row['anchor']}"
            f" | {_signed(row['bd_rate_pchip'], 1)} | {_signed(row['bd_rate_cubic'], 1)}"
            f" | {_signed(row['bd_metric_pchip'], 3)} | {over} |"
        )
    return "\n".join(lines) + "\n"


def means_table(curves: Sequence[Curve], columns: Sequence[str]) -> str:
    """Markdown of the mean points: codec, quality and ``columns``."""
    lines = [
        "| codec | quality | " + " | ".join(map(title_of, columns)) + " |",
        "|---|---:|" + "---:|" * len(columns),
    ]
    for curve in curves:
        for point in curve.points:
            quality = point.get("quality")
            cells = [_number(point.get(c), FORMATS.get(c, ".2f")) for c in columns]
            shown = "-" if quality is None else f"{quality:g}"
            lines.append(f"| {curve.name} | {shown} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float | None, spec: str) -> str:
    if value is None:
        return "-"
    return format(value, spec) if math.isfinite(value) else "exact"


def _signed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"
