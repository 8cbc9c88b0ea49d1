"""Screens and drawings beside AVIF and WebP, on images that no constant was chosen on.

    python benchmarks/screens.py [--tuning] [--ssimulacra2] [--width 352] [--out FILE]

BD-rates are over the range of the other codec's curve, as the mean difference of log-sizes at equal
quality; above the best lossy file of ours the exact one counts, below the worst the smallest.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import RESULTS, Journal, keep, table
from numpy.typing import NDArray
from PIL import Image as Pillow
from screen_pictures import TESTING, TUNING, render

from laconic import codec
from laconic.codec.evaluate import psnr, ssimulacra2
from laconic.formats.image import Image

QUALITIES = (0, 20, 40, 60, 80, 100)
OTHERS: dict[str, tuple[str, Sequence[int], dict[str, Any]]] = {
    "avif": ("AVIF", (20, 35, 50, 60, 70, 80, 90), {"speed": 6, "subsampling": "4:4:4"}),
    "webp": ("WEBP", (10, 40, 70, 85, 95), {"method": 6}),
}
SEEN = (20, 50, 70, 90, 0, 40, 60, 100)  # qualities that are measured with SSIMULACRA2
EXACT = 1000.0
Pixels = NDArray[np.uint8]
Point = tuple[int, float]  # bytes, quality


def measure(
    pixels: Pixels, coded: dict[int, bytes], decode: Callable[[bytes], Pixels], seen: bool
) -> list[dict[str, Any]]:
    """Size and quality of files by their quality setting."""
    points = []
    for quality, data in coded.items():
        decoded = decode(data)
        exact = bool(np.array_equal(decoded, pixels))
        point = {
            "quality": quality,
            "bytes": len(data),
            "psnr": EXACT if exact else psnr(pixels, decoded),
        }
        if seen and quality in SEEN:
            point["ssimulacra2"] = EXACT if exact else ssimulacra2(pixels, decoded)
        points.append(point)
    return points


def middle(pixels: Pixels, width: int, height: int) -> Pixels:
    """At most so many pixels from the middle of an image."""
    top, left = (max(0, n - m) // 2 for n, m in zip(pixels.shape, (height, width), strict=False))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def picture(group: str, kind: Any, seed: int, seen: bool, width: int) -> dict[str, Any]:
    """Everything measured on one image."""
    pixels = middle(render(kind, seed), width, width * 3 // 4)
    row: dict[str, Any] = {"group": group, "kind": kind.__name__, "seed": seed}
    start = time.process_time()
    files = {q: codec.encode(Image(pixels), quality=q) for q in QUALITIES}
    row["encode_s"] = (time.process_time() - start) / len(QUALITIES)
    start = time.process_time()
    row["mlic"] = measure(pixels, files, lambda data: codec.decode(data).pixels, False)
    row["decode_s"] = (time.process_time() - start) / len(QUALITIES)
    if seen:
        row["mlic"] = measure(pixels, files, lambda data: codec.decode(data).pixels, True)
    for name, (format, qualities, options) in OTHERS.items():
        files = {q: saved(pixels, format, quality=q, **options) for q in qualities}
        row[name] = measure(pixels, files, opened, seen and name == "avif")
    row["webp-lossless"] = len(
        saved(pixels, "WEBP", lossless=True, method=6, quality=100, exact=True)
    )
    for metric in ("psnr", "ssimulacra2"):
        for name in OTHERS:
            if all(any(metric in p for p in row[n]) for n in ("mlic", name)):
                row[f"{name} {metric}"] = delta(
                    curve(row[name], metric), curve(row["mlic"], metric)
                )
    return row


def saved(pixels: Pixels, format: str, **options: Any) -> bytes:
    """A file of Pillow's."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Pixels:
    """Its pixels."""
    return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))


def curve(points: list[dict[str, Any]], metric: str) -> list[Point]:
    """Points that no smaller file betters, from the smallest on."""
    best: list[Point] = []
    for size, value in sorted((p["bytes"], p[metric]) for p in points if metric in p):
        if not best or value > best[-1][1]:
            best.append((size, value))
    return best


def delta(anchor: list[Point], ours: list[Point]) -> float:
    """Per cent of the anchor's bytes that are needed more (+) or less (-)."""
    values = [v for _, v in anchor if v < EXACT]
    at = np.linspace(min(values), max(values), 500)

    def log_size(points: list[Point]) -> NDArray[np.float64]:
        lossy = [(v, np.log(s)) for s, v in points if v < EXACT]
        exact = [np.log(s) for s, v in points if v == EXACT]
        if not lossy:
            return np.full(at.size, exact[0])
        found = np.interp(at, *zip(*lossy, strict=True))
        return np.where(at > lossy[-1][0], exact[0] if exact else np.nan, found)

    return float(100 * (np.exp(np.nanmean(log_size(ours) - log_size(anchor))) - 1))


def report(rows: list[dict[str, Any]]) -> str:
    """The table of all images and their means."""
    columns = [
        k for k in ("avif psnr", "avif ssimulacra2", "webp psnr") if any(k in r for r in rows)
    ]
    lines = []
    for group in dict.fromkeys(r["group"] for r in rows):
        some = [r for r in rows if r["group"] == group]
        for r in some:
            sizes = [
                f"{p['bytes']} ({'exact' if p['psnr'] == EXACT else format(p['psnr'], '.1f')})"
                for p in r["mlic"]
                if p["quality"] in (0, 40, 100)
            ]
            deltas = [f"{r[c]:+.1f}" for c in columns]
            lines.append(
                " | ".join(
                    [
                        f"{group}: {r['kind']}",
                        *sizes,
                        str(r["webp-lossless"]),
                        *deltas,
                        f"{r['encode_s']:.1f} / {r['decode_s']:.1f}",
                    ]
                )
            )
        means = [f"**{np.mean([r[c] for r in some if c in r]):+.1f}**" for c in columns]
        lines.append(" | ".join([f"**{group}, mean**", "", "", "", "", *means, ""]))
    titles = [
        "bytes (dB) at quality 0",
        "40",
        "100",
        "WebP lossless",
        *(f"BD-rate against {c}, %" for c in columns),
        "CPU s to encode / decode",
    ]
    return table(" | ".join(["picture", *titles]), lines)


def main() -> None:
    """Measure what is missing and keep the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--tuning", action="store_true", help="the images that constants were chosen on"
    )
    parser.add_argument(
        "--ssimulacra2", action="store_true", help="measure with that package as well"
    )
    parser.add_argument(
        "--width", type=int, default=10000, help="of the middle part measured, 4 : 3"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "screens")
    options = parser.parse_args()
    torch.set_num_threads(1)
    journal = Journal(options.out)
    done = {(r["kind"], r["seed"]) for r in journal.rows}
    chosen, seed = (TUNING, 0) if options.tuning else (TESTING, 1000)
    for group, kinds in chosen.items():
        for kind in kinds:
            if (kind.__name__, seed) not in done:
                journal.add(picture(group, kind, seed, options.ssimulacra2, options.width))
                print(kind.__name__, flush=True)
    keep(options.out, journal.rows, report(journal.rows))
    journal.path.unlink()


if __name__ == "__main__":
    main()
