"""Markdown tables of mean points and of Bjontegaard deltas, in words for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from laconic.codec.evaluate.metrics import METRICS, bd_psnr, bd_rate
from laconic.codec.evaluate.results import Curve
from laconic.formats.errors import ParameterError

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
