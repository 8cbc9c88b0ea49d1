"""What the contexts of images begin with: ``codec/image/grids.npz``, which is part of the format.

    python benchmarks/image_contexts.py --data PICTURES --model mlic-base --model mlic-visual

codes the held-out pictures of a training folder one after the other, at qualities over the whole
range, with contexts that go on from picture to picture, and keeps what they learned. ``--test``
leaves every second picture out and says how many bytes the others need when their contexts begin
so, or with nothing, against files without context mixing.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from laconic.codec.image.codec import LoadedModel, load_model
from laconic.codec.image.grids import START, Grids
from laconic.codec.image.steps import Detail, Writer
from laconic.codec.train.images import load_images
from laconic.entropy.context_mixing import GridContexts, Learned
from laconic.entropy.mixing_loops import ONE

QUALITIES = (0.0, 10.0, 20.0, 35.0, 50.0, 65.0, 80.0, 88.0, 94.0, 100.0)
SMALLEST, LARGEST = 256, 768
VISITS = 8 * ONE  # a start is left behind faster than what a picture itself has shown
SCALE = {"z": 1 / 4, "y": 1, "detail": 2}  # sides of the grids beside those of y
Known = dict[str, Learned]


def pictures(folders: list[Path]) -> Iterator[Tensor]:
    """Held-out pictures, their sides multiples of 64."""
    for array in load_images(folders, SMALLEST)[1]:
        height, width = (min(side // 64 * 64, LARGEST) for side in array.shape[:2])
        yield torch.from_numpy(array[:height, :width].copy()).float()[None] / 255


def code(model: LoadedModel, x: Tensor, quality: float, known: Known | None) -> tuple[int, Known]:
    """Bytes of a picture's latent and what its contexts have learned; None: without mixing."""
    y = model.analyse(x, quality)
    z = model.hyper(y, quality)

    def rest(y_hat: Tensor) -> Tensor:
        return model.detail(x - model.synthesise(y_hat.float(), quality), quality)

    detail: Detail | None = rest if model.has_detail(quality) else None
    writer = Writer(model.coder, None if known is None else Grids(model.config))
    writer.detail, writer.thrifty = detail, False
    if writer.mixing is not None and known is not None:
        for name, learned in known.items():
            layout = writer.mixing.grids.layouts[name]
            height, width = (int(side * SCALE[name]) for side in y.shape[1:3])
            writer.mixing.known[name] = GridContexts(layout, height, width, learned)
    model.coder.walk(writer, y.double(), z.double(), (y.shape[1], y.shape[2]), quality)
    data = writer.finish()
    found = dict(known or {})
    if writer.mixing is not None:
        found |= {name: grid.learned for name, grid in writer.mixing.known.items()}
    return len(data), found


def rested(known: Known) -> Known:
    """The same, so that it is left behind soon."""
    found = {}
    for name, learned in known.items():
        parts = [p.copy() for p in learned]
        for part in parts[:-1]:
            np.minimum(part[:, 1], VISITS, out=part[:, 1])
        found[name] = Learned(*parts)
    return found


def main() -> None:
    """Learn and write, or learn and test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--out", type=Path, default=START)
    args = parser.parse_args()
    torch.set_num_threads(1)
    loaded = [load_model(name) for name in args.model]
    found = list(pictures(args.data))
    nothing = {n: Learned.nothing(layout) for n, layout in Grids(loaded[0].config).layouts.items()}
    known = nothing
    order = np.random.default_rng(1)
    with torch.no_grad():
        learn = found[::2] if args.test else found
        for number in order.permutation(len(learn)):
            for quality in order.permutation(QUALITIES):
                model = loaded[order.integers(len(loaded))]
                _, known = code(model, learn[number], float(quality), known)
        known = rested(known)
        if args.test:
            sizes = defaultdict(list)
            for model in loaded:
                for quality in QUALITIES:
                    for x in found[1::2]:
                        plain, _ = code(model, x, quality, None)
                        fresh, _ = code(model, x, quality, nothing)
                        begun, _ = code(model, x, quality, known)
                        sizes[model.info.name, quality].append((fresh / plain, begun / plain))
            for (name, quality), shares in sizes.items():
                fresh, begun = 100 * np.mean(shares, 0) - 100
                print(f"{name} {quality:5.1f}: {fresh:+.2f} % with nothing, {begun:+.2f} % so")
            return
    arrays = {
        f"{name}.{part}": values.astype(np.int32)
        for name, learned in known.items()
        for part, values in learned._asdict().items()
    }
    np.savez_compressed(args.out, **arrays)
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
