"""What encoding effort buys: BD-rate against effort 0 and encoding time, from bytes of files.

    python benchmarks/sga_kodak.py --pictures DIR --efforts 1,3,5 --out benchmarks/results/sga

Writes OUT.json after every image, so that a run can be stopped (and resumed with the same
command), and OUT.md at the end. Distortion is measured on 8-bit decoded samples; ``--crop`` takes
the centre of each image only.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import keep, table

from laconic import codec
from laconic.codec.evaluate import bd_rate, psnr
from laconic.codec.image.refine import STEPS
from laconic.formats.image import Image, read_image


def centre(image: Image, side: int) -> Image:
    """The middle of an image, at most ``side`` pixels each way."""
    height, width = (min(side, n) for n in image.pixels.shape[:2])
    top, left = (image.height - height) // 2, (image.width - width) // 2
    return Image(pixels=image.pixels[top : top + height, left : left + width].copy())


def measure(original: Image, effort: int, qualities: list[float], tune: str) -> dict[str, Any]:
    """Points ``(bpp, PSNR)`` and the processor seconds of one image at one effort."""
    points = []
    start = time.process_time()
    for quality in qualities:
        data = codec.encode(original, quality=quality, effort=effort, tune=tune, verify=False)
        points.append([8 * len(data) / (original.width * original.height), data])
    seconds = (time.process_time() - start) / len(qualities)
    found = [[bpp, psnr(original.pixels, codec.decode(d).pixels)] for bpp, d in points]
    return {"points": found, "seconds": seconds}


def efforts_table(rows: dict[str, Any], efforts: list[int]) -> str:
    """Mean BD-rate per effort over the images measured at it."""
    lines = []
    for effort in [0, *efforts]:
        done = [r for r in rows.values() if str(effort) in r]
        if not done:
            continue
        gains = [bd_rate(r["0"]["points"], r[str(effort)]["points"]).value for r in done]
        seconds = np.mean([r[str(effort)]["seconds"] for r in done])
        lines.append(
            f"{effort} | {STEPS[effort]} | {len(done)} | {np.mean(gains):+.2f} | {seconds:.1f}"
        )
    return table("effort | steps | images | BD-rate % | encode, CPU seconds", lines)


def main() -> None:
    """Measure image by image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--crop", type=int, default=768)
    parser.add_argument("--efforts", default="1,3,5")
    parser.add_argument("--qualities", default="20,40,60,80")
    parser.add_argument("--tune", default="psnr", choices=("psnr", "visual"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    efforts = [int(e) for e in options.efforts.split(",")]
    qualities = [float(q) for q in options.qualities.split(",")]
    log = options.out.with_suffix(".json")
    log.parent.mkdir(parents=True, exist_ok=True)
    setting = {"crop": options.crop, "qualities": qualities, "tune": options.tune}
    state = json.loads(log.read_text()) if log.exists() else {**setting, "pictures": {}}
    if any(state.get(k) != v for k, v in setting.items()):
        raise SystemExit(
            f"{log} was measured with other settings: remove it or choose another --out"
        )
    codec.encode(np.zeros((64, 64, 3), np.uint8), tune=options.tune)
    files = sorted(options.pictures.glob("*.png"))[: options.count]
    for effort in [0, *efforts]:
        for file in files:
            row = state["pictures"].setdefault(file.stem, {})
            if str(effort) in row:
                continue
            image = centre(read_image(file), options.crop)
            row[str(effort)] = measure(image, effort, qualities, options.tune)
            print(file.stem, effort, f"{row[str(effort)]['seconds']:.1f} s", flush=True)
            log.write_text(json.dumps(state, indent=1) + "\n")
    keep(options.out, state, efforts_table(state["pictures"], efforts))


if __name__ == "__main__":
    main()
