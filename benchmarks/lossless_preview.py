"""What a preview in a lossless file costs: bytes of files with and without it.

    python benchmarks/lossless_preview.py --data DIR --out benchmarks/results/lossless_preview

Writes OUT.json (per image and mean) and OUT.md (table). Every file is decoded and compared. Rows
that OUT.jsonl holds already are not measured again, so that a run can be continued.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from kept import Journal, keep, table

from laconic import codec
from laconic.codec.evaluate.metrics import psnr
from laconic.formats import ContainerReader
from laconic.formats.image import SUFFIXES, read_image


def measure(file: Path, quality: float | None) -> dict[str, Any]:
    """One file, without a preview for None."""
    image = read_image(file)
    options: dict[str, Any] = {} if quality is None else {"preview": True, "quality": quality}
    start = time.process_time()
    data = codec.encode(image, lossless=True, verify=False, **options)
    middle = time.process_time()
    assert np.array_equal(codec.decode(data).pixels, image.pixels), file.name
    end = time.process_time()
    row = {
        "picture": file.stem,
        "quality": quality,
        "bytes": len(data),
        "samples": image.pixels.size,
        "encode_cpu_s": middle - start,
        "decode_cpu_s": end - middle,
    }
    if quality is not None:
        preview = codec.preview(data)
        row["preview_bytes"] = len(ContainerReader(data)[0].payload)
        row["preview_psnr"] = psnr(image.pixels, preview.pixels)
    return row


def summary(rows: list[dict[str, Any]], qualities: list[float]) -> list[dict[str, Any]]:
    """Means for each quality, and without a preview first."""
    result = []
    for quality in (None, *qualities):
        mine = [r for r in rows if r["quality"] == quality]
        samples = sum(r["samples"] for r in mine)
        mean: dict[str, Any] = {
            "quality": quality,
            "bpsp": float(np.mean([8 * r["bytes"] / r["samples"] for r in mine])),
            "encode_mb_s": samples / 1e6 / sum(r["encode_cpu_s"] for r in mine),
            "decode_mb_s": samples / 1e6 / sum(r["decode_cpu_s"] for r in mine),
        }
        if quality is not None:
            pixels = [r["samples"] / 3 for r in mine]
            sizes = [r["preview_bytes"] for r in mine]
            mean["preview_bpp"] = float(
                np.mean([8 * b / p for b, p in zip(sizes, pixels, strict=True)])
            )
            mean["preview_psnr"] = float(np.mean([r["preview_psnr"] for r in mine]))
        result.append(mean)
    return result


def means_table(means: list[dict[str, Any]]) -> str:
    """Markdown."""
    plain = means[0]
    lines = []
    for m in means:
        more = 100 * (m["bpsp"] / plain["bpsp"] - 1)
        speed = f"{m['encode_mb_s']:.2f} | {m['decode_mb_s']:.2f}"
        if m["quality"] is None:
            lines.append(f"none | | | {m['bpsp']:.4f} | | {speed}")
        else:
            lines.append(
                f"quality {m['quality']:g} | {m['preview_bpp']:.3f} | {m['preview_psnr']:.2f} |"
                f" {m['bpsp']:.4f} | {more:+.2f} % | {speed}"
            )
    return table(
        "preview | its bits per pixel | its PSNR, dB | whole file, bits per sub-pixel | more than"
        " without | encode MB/s | decode MB/s",
        lines,
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=8, help="how many, evenly spaced")
    parser.add_argument("--qualities", default="0,10,30")
    arguments = parser.parse_args()
    qualities = [float(q) for q in arguments.qualities.split(",")]
    files = sorted(f for f in arguments.data.rglob("*") if f.suffix.lower() in SUFFIXES)
    files = files[:: max(1, len(files) // arguments.pictures)][: arguments.pictures]
    codec.decode(codec.encode(np.zeros((64, 64, 3), np.uint8), lossless=True, preview=True))
    journal = Journal(arguments.out)
    known = {(r["picture"], r["quality"]): r for r in journal.rows}
    rows = []
    for file in files:
        for quality in (None, *qualities):
            row = known.get((file.stem, quality))
            if row is None:
                row = measure(file, quality)
                journal.add(row)
            rows.append(row)
    means = summary(rows, qualities)
    result = {"means": means, "rows": rows}
    keep(arguments.out, result, means_table(means))


if __name__ == "__main__":
    main()
