"""What an order of channels does to files of the default model: bytes and decoding time.

    python benchmarks/channel_order.py --pictures DIR --out PATH [--model NAME ...]

Models in several orders are written to a temporary store (``laconic models order --write``), by
parameters and by energy measured on the images, for several shares of the saliency in the core;
every one codes every image. Times are the best of several rounds in which all models take turns:
CPU seconds of decoding a file with one thread, and seconds on the clock of decoding the latent, in
which groups are decoded side by side. ``--model`` adds models of one's own. Writes PATH.json and
PATH.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import keep, table
from numpy.typing import NDArray
from torch import Tensor

from laconic import codec
from laconic.codec import models
from laconic.codec.evaluate.metrics import psnr
from laconic.codec.image.codec import load_model
from laconic.codec.image.model import gaussian_bits
from laconic.codec.image.reorder import (
    channel_order,
    concentration,
    energies,
    filters_of,
    order,
    rank_correlation,
    write_ordered,
)
from laconic.formats import ContainerReader
from laconic.formats.image import Image, read_image

QUALITIES = (30.0, 60.0)
SHARES = {"parameters": (0.8,), "energy": (0.9, 0.95, 0.97)}
ROUNDS = 3


def orders(pictures: list[Image]) -> dict[str, str]:
    """Names of models by what they are called in the table."""
    info = models.find(models.DEFAULT_MODEL)
    model = load_model(info.id)
    energy = energies(model, pictures, 50)
    found = {"as trained": info.name}
    seen = set()
    for by, shares in SHARES.items():
        for share in shares:
            chosen = channel_order(model, energy if by == "energy" else None, share)
            name = f"{by}-{share}"
            if chosen.groups and chosen not in seen:
                seen.add(chosen)
                write_ordered(info, chosen, name, by=by)
                found[f"by {by}, core of {100 * share:.0f} %"] = name
    return found


@torch.no_grad()
def bits_of(pictures: list[Image]) -> NDArray[np.float64]:
    """Bits that each channel of y takes at quality 50, ``[M]``."""
    model = load_model(models.DEFAULT_MODEL)
    coder, total = model.coder, np.zeros(model.channels)
    quality = torch.tensor([50.0], dtype=torch.float64)
    for picture in pictures:
        height, width = (n // 64 * 64 for n in picture.pixels.shape[:2])
        x = torch.from_numpy(picture.pixels[:height, :width].astype(np.float32) / 255)[None]
        y = model.analyse(x, 50.0)
        z = model.hyper(y, 50.0).double()
        mean, _ = coder.z_prior(quality)
        flat = y.double().flatten(1, 2)

        def code(
            at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor, flat: Tensor = flat
        ) -> Tensor:
            symbols = (flat[:, at, first:end] - mean).round()
            bits = gaussian_bits(symbols, log_scale, model.config.scale_low)
            total[first:end] += bits.sum((0, 1)).numpy()
            return symbols + mean

        coder.y_model(coder.h_s((z - mean).round() + mean, quality), quality, code)
    return total


def ranks(pictures: list[Image]) -> list[dict[str, Any]]:
    """How far three orders of the channels agree with measured energy and bits."""
    model = load_model(models.DEFAULT_MODEL)
    energy, bits = energies(model, pictures, 50), bits_of(pictures)
    found = order(filters_of(model))
    scores = {
        "by parameters": found.scores,
        "as trained (energy order of the initial transform)": -np.arange(len(energy), dtype=float),
        "measured energy": energy,
    }
    rows = []
    for title, score in scores.items():
        permutation = np.argsort(-score, kind="stable").tolist()
        rows.append(
            {
                "order": title,
                "energy": rank_correlation(score, energy),
                "bits": rank_correlation(score, bits),
                "held": concentration(energy, permutation),
            }
        )
    return rows


def ranks_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = []
    for row in rows:
        held = " | ".join(f"{100 * row['held'][i]:.1f} %" for i in (0, 1, 4))
        lines.append(f"{row['order']} | {row['energy']:+.2f} | {row['bits']:+.2f} | {held}")
    return table(
        "order of the channels | rho with energy | rho with bits | energy in the first 10 %"
        " | 20 % | 50 %",
        lines,
    )


def parts(name: str) -> str:
    """Channels of the core and of the groups."""
    stored = models.find(name).config.get("order")
    if stored is None:
        return "16, 24, 40, 80, 160 in turn"
    core, groups = (", ".join(map(str, stored[k])) for k in ("core", "groups"))
    return f"{core} in turn, then {groups} side by side"


def measure(names: dict[str, str], pictures: list[Image]) -> list[dict[str, Any]]:
    """One row for each model."""
    pixels = sum(p.width * p.height for p in pictures)
    rows: list[dict[str, Any]] = [
        {"order": title, "parts": parts(name), "bpp": [], "psnr": []}
        for title, name in names.items()
    ]
    files = []
    for row, name in zip(rows, names.values(), strict=True):
        for quality in QUALITIES:
            data = [codec.encode(p, quality=quality, model=name, verify=False) for p in pictures]
            decoded = [codec.decode(d) for d in data]
            values = [psnr(a.pixels, b.pixels) for a, b in zip(pictures, decoded, strict=True)]
            row["bpp"].append(8 * sum(map(len, data)) / pixels)
            row["psnr"].append(sum(values) / len(values))
        files.append(data[0])
        print(row, flush=True)
    size = (-(-pictures[0].height // 64) * 4, -(-pictures[0].width // 64) * 4)
    for _ in range(ROUNDS):
        for row, name, data in zip(rows, names.values(), files, strict=True):
            start = time.process_time()
            codec.decode(data)
            took = time.process_time() - start
            row["decode_cpu_s"] = min(took, row.get("decode_cpu_s", took))
            model, payload = load_model(name), ContainerReader(data)[0].payload
            start = time.perf_counter()
            model.decode(payload, *size, QUALITIES[-1])
            took = time.perf_counter() - start
            row["latent_s"] = min(took, row.get("latent_s", took))
    return rows


def files_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = " | ".join(f"bpp and PSNR at {q:.0f}" for q in QUALITIES)
    lines = []
    for row in rows:
        points = []
        for bpp, first, quality in zip(row["bpp"], rows[0]["bpp"], row["psnr"], strict=True):
            change = "" if row is rows[0] else f" ({100 * (bpp / first - 1):+.1f} %)"
            points.append(f"{bpp:.4f}{change}, {quality:.2f} dB")
        lines.append(
            f"{row['order']} | {row['parts']} | {' | '.join(points)}"
            f" | {row['decode_cpu_s']:.2f} | {row['latent_s']:.2f}"
        )
    return table(f"order | channels | {head} | decode, CPU s | latent, s", lines, texts=2)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", action="append", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = [read_image(p) for p in sorted(arguments.pictures.glob("*.png"))]
    with tempfile.TemporaryDirectory() as store:
        for name in arguments.model:
            shutil.copy(models.find(name).path, Path(store) / f"{name}.safetensors")
        os.environ["LACONIC_MODELS"] = store
        names = orders(pictures) | {name: name for name in arguments.model}
        rows = measure(names, pictures)
    ranked = ranks(pictures)
    found = {"pictures": len(pictures), "rows": rows, "ranks": ranked}
    keep(arguments.out, found, ranks_table(ranked), files_table(rows))


if __name__ == "__main__":
    main()
