"""From measurements to curves, and the files they are kept in.

Means cover the items that every codec finished at every quality, so that all curves are about the
same media. Curves are exchanged with others in CompressAI's result JSON.
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

from laconic.codec.evaluate.metrics import decibels
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
