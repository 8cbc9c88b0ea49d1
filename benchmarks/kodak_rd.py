"""Rate-distortion of an image codec on Kodak from the bytes of its files, against published curves.

    python benchmarks/kodak_rd.py --kodak DIR --anchors kodak_rd.json --out benchmarks/results/kodak

Writes OUT.json (per picture and mean), OUT.md (tables) and OUT.png (plot). ``DIR`` holds the 24
pictures as PNG; the anchors are ``{name: {"bpp": [...], "psnr": [...]}}``. Distortion is measured
on 8-bit decoded samples.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from laconic import codec
from laconic.codec.evaluate import bd_psnr, bd_rate, ms_ssim, psnr
from laconic.formats.errors import ParameterError
from laconic.formats.image import read_image

QUALITIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
SHOWN = {
    "vtm": "#0072B2", "bpg444": "#009E73", "webp": "#E69F00", "jpeg": "#CC79A7",
    "mbt2018-mean": "#56B4E9",
}  # fmt: skip
TABLE = ("vtm", "av1", "bpg444", "mbt2018-mean", "bmshj2018-factorized", "webp", "jpeg2000", "jpeg")


def measure(folder: Path, qualities: list[float]) -> dict[str, Any]:
    """Encode and decode every picture at every quality."""
    files = sorted(folder.glob("*.png"))
    if not files:
        raise SystemExit(f"{folder} holds no PNG pictures")
    codec.decode(codec.encode(np.zeros((64, 64, 3), np.uint8)))
    items = []
    for file in files:
        original = read_image(file)
        for quality in qualities:
            start = time.perf_counter()
            data = codec.encode(original, quality=quality, verify=False)
            middle = time.perf_counter()
            decoded = codec.decode(data).pixels
            end = time.perf_counter()
            items.append(
                {
                    "name": file.stem,
                    "quality": quality,
                    "bytes": len(data),
                    "bpp": 8 * len(data) / (original.width * original.height),
                    "psnr": psnr(original.pixels, decoded),
                    "ms_ssim": ms_ssim(original.pixels, decoded),
                    "encode_s": middle - start,
                    "decode_s": end - middle,
                }
            )
        print(file.stem, flush=True)
    keys = ("bpp", "psnr", "ms_ssim", "encode_s", "decode_s")
    means = [
        {
            "quality": q,
            **{k: float(np.mean([i[k] for i in items if i["quality"] == q])) for k in keys},
        }
        for q in qualities
    ]
    return {"items": items, "means": means}


def compare(means: list[dict[str, float]], anchors: dict[str, Any]) -> dict[str, Any]:
    """BD-rate and BD-PSNR against every anchor that has PSNR points."""
    ours = [(m["bpp"], m["psnr"]) for m in means]
    result = {}
    for name, curve in anchors.items():
        if not curve.get("psnr") or "ms-ssim" in name:
            continue
        points = list(zip(curve["bpp"], curve["psnr"], strict=True))
        try:
            rate, quality = bd_rate(points, ours), bd_psnr(points, ours)
        except ParameterError:
            continue
        result[name] = {
            "bd_rate": rate.value,
            "bd_psnr": quality.value,
            "psnr_range": [rate.low, rate.high],
        }
    return result


def markdown(result: dict[str, Any]) -> str:
    """Tables of means and deltas."""
    lines = [
        "| quality | bpp | PSNR dB | MS-SSIM | encode s | decode s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {m['quality']:g} | {m['bpp']:.4f} | {m['psnr']:.2f} | {m['ms_ssim']:.4f} |"
        f" {m['encode_s']:.2f} | {m['decode_s']:.2f} |"
        for m in result["means"]
    ]
    lines += ["", "| anchor | BD-rate % | BD-PSNR dB | over PSNR |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {d['bd_rate']:+.1f} | {d['bd_psnr']:+.2f} |"
        f" {d['psnr_range'][0]:.1f} to {d['psnr_range'][1]:.1f} dB |"
        for name, d in result["bd"].items()
        if name in TABLE
    ]
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any], anchors: dict[str, Any], path: Path) -> None:
    """PSNR over bpp: ours solid, anchors dashed, labelled at their ends."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for name, colour in SHOWN.items():
        points = sorted(zip(anchors[name]["bpp"], anchors[name]["psnr"], strict=True))
        points = [p for p in points if p[0] <= 1.3]
        axes.plot(*zip(*points, strict=True), "--", color=colour, linewidth=1.3)
        axes.annotate(name, points[-1], xytext=(3, 0), textcoords="offset points", color=colour,
                      fontsize=8, va="center")  # fmt: skip
    ours = [(m["bpp"], m["psnr"]) for m in result["means"]]
    axes.plot(*zip(*ours, strict=True), "o-", color="#D55E00", linewidth=2, markersize=4)
    axes.annotate(
        "laconic mlic-small",
        ours[len(ours) // 2],
        xytext=(6, -12),
        textcoords="offset points",
        color="#D55E00",
        fontsize=9,
        weight="bold",
    )
    axes.set(
        xlabel="bits per pixel (file bytes)", ylabel="PSNR, dB (RGB, mean of 24)", xlim=(0, 1.45)
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Parse, measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kodak", type=Path, required=True)
    parser.add_argument("--anchors", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--qualities", type=float, nargs="+", default=list(QUALITIES))
    arguments = parser.parse_args()
    anchors = json.loads(arguments.anchors.read_text())
    model = codec.models.find(codec.models.DEFAULT_MODEL)
    result = measure(arguments.kodak, arguments.qualities)
    result["model"] = {"name": model.name, "id": model.id, "training": model.training}
    result["machine"] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }
    result["bd"] = compare(result["means"], anchors)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    arguments.out.with_suffix(".md").write_text(text)
    plot(result, anchors, arguments.out.with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    main()
