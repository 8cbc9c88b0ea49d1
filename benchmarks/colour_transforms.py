"""Reversible colour transforms compared: bits of files with equal networks, trained alike for each.

    python benchmarks/colour_transforms.py --data DIR --out benchmarks/results/colour_transforms

Writes OUT.json and OUT.md; rows that OUT.jsonl holds already are not measured again. DIR holds the
images of ``laconic train photo``; every ninth is held out and measured. A transform is a triple
of planes P, Q, S, coded as P, then Q given P, then S given both. So that one coder serves all, they
travel as (P, P + Q, P + S) in 10 bits, whose two last planes the context turns into Q and S again;
ours is P = green, Q = red - green, S = blue - green. The networks are smaller than the shipped ones
and trained briefly: compare the rows, not the absolute numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import Journal, keep, table
from numpy.typing import NDArray

from laconic.codec.lossless.photo.features import MixtureTables, tables
from laconic.codec.lossless.photo.header import PhotoConfig
from laconic.codec.lossless.photo.learn import PhotoNetwork, Samples, bits_of
from laconic.codec.lossless.photo.network import PhotoModel
from laconic.codec.lossless.photo.wave import decode_tile, encode_tile
from laconic.codec.train.photo import load_photos

BITS = 10
OFFSET = 256
SMALL = PhotoConfig(hidden=((48, 32), (48, 32), (48, 32)))
Planes = NDArray[np.int64]


def _green(r: Planes, g: Planes, b: Planes) -> tuple[Planes, Planes, Planes]:
    return g, r - g, b - g


def _red(r: Planes, g: Planes, b: Planes) -> tuple[Planes, Planes, Planes]:
    return r, g - r, b - r


def _rct(r: Planes, g: Planes, b: Planes) -> tuple[Planes, Planes, Planes]:
    """ISO/IEC 15444-1, equation G-1."""
    return r + 2 * g + b >> 2, r - g, b - g


def _ycocg(r: Planes, g: Planes, b: Planes) -> tuple[Planes, Planes, Planes]:
    """Malvar and Sullivan, JVT-I014r3, 2003."""
    co = r - b
    t = b + (co >> 1)
    cg = g - t
    return t + (cg >> 1), co, cg


def _mean(r: Planes, g: Planes, b: Planes) -> tuple[Planes, Planes, Planes]:
    return g, r - g, b - (r + g >> 1)


TRANSFORMS: dict[str, Callable[[Planes, Planes, Planes], tuple[Planes, Planes, Planes]]] = {
    "G, R - G, B - G (ours)": _green,
    "G, R - G, B - (R + G) / 2": _mean,
    "R, G - R, B - R": _red,
    "RCT of JPEG 2000": _rct,
    "YCoCg-R": _ycocg,
}


def numbers_of(picture: NDArray[np.uint8], name: str) -> NDArray[np.uint16]:
    """An image [H, W, 3] as the coder takes it: planes in the places of green, red and blue."""
    r, g, b = np.moveaxis(picture.astype(np.int64), 2, 0)
    p, q, s = TRANSFORMS[name](r, g, b)
    stacked = np.stack((p + q, p, p + s), axis=2) + OFFSET
    assert 0 <= stacked.min() <= stacked.max() < 1 << BITS
    return stacked.astype(np.uint16)


def train(pictures: list[NDArray[np.uint16]], steps: int, batch: int) -> PhotoModel:
    """Networks of integers for images of one transform."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    samples = Samples(pictures, BITS)
    network = PhotoNetwork(SMALL)
    optimiser = torch.optim.Adam(network.parameters(), lr=6e-3, betas=(0.9, 0.99))
    for step in range(steps):
        network.quantise(step >= 0.8 * steps)
        batches = samples.draw(random, batch)
        bits = [
            bits_of(plane(inputs), base, scale, value, 1 << BITS).mean()
            for plane, (inputs, base, scale, value) in zip(network.networks(), batches, strict=True)
        ]
        optimiser.zero_grad(set_to_none=True)
        torch.stack(bits).sum().backward()
        for group in optimiser.param_groups:
            group["lr"] = 6e-3 * min(1, (step + 1) / 50, 1.25 * (1 - step / steps))
        optimiser.step()
        for plane in network.networks():
            plane.clip()
    for plane in network.networks():
        plane.balance()
    return PhotoModel(network.integers(), MixtureTables(tables()), "")


def measure(model: PhotoModel, pictures: list[NDArray[np.uint16]]) -> list[float]:
    """Bits per sub-pixel of each image's stream; the first is decoded and compared."""
    result = []
    for picture in pictures:
        stream = encode_tile(model, picture, BITS)
        if not result:
            corner = picture[:64, :64]
            shape = (corner.shape[0], corner.shape[1], 3)
            some = encode_tile(model, corner, BITS)
            assert np.array_equal(decode_tile(model, some, shape, BITS), corner)
        result.append(8 * len(stream) / picture.size)
    return result


def planes_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    first = rows[0]["bpsp"]
    return table(
        "planes | bits per sub-pixel | against ours",
        [
            f"{r['transform']} | {r['bpsp']:.4f} | {100 * (r['bpsp'] / first - 1):+.2f} %"
            for r in rows
        ],
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=2048)
    arguments = parser.parse_args()
    pictures, held_out = load_photos([arguments.data])
    journal = Journal(arguments.out)
    known = {r["transform"]: r for r in journal.rows}
    rows = []
    for name in TRANSFORMS:
        if name in known:
            rows.append(known[name])
            continue
        model = train([numbers_of(p, name) for p in pictures], arguments.steps, arguments.batch)
        bits = measure(model, [numbers_of(p, name) for p in held_out])
        rows.append({"transform": name, "bpsp": float(np.mean(bits)), "pictures": len(bits)})
        journal.add(rows[-1])
    about = {"steps": arguments.steps, "batch": arguments.batch, "config": SMALL.to_dict()}
    keep(arguments.out, {"about": about, "rows": rows}, planes_table(rows))


if __name__ == "__main__":
    main()
