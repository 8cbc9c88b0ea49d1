"""What each context of the default model's entropy model is worth: bits added when it is silenced.

    python benchmarks/context_ablation.py --pictures DIR --json benchmarks/results/contexts.json

An ablation at inference: the trained weights stay, and one part's output is replaced by its mean
over the same images (reweighting and rotary positions: by their input), so that the networks
after it see a likely value without information. A model that is trained without the part would
partly make up for it; the figures are therefore upper bounds of its worth. Bits are those of the
Gaussians, which files exceed by less than 0.1 %.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sga_kodak import centre
from torch import Tensor, nn

from laconic.codec.image.codec import LoadedModel, load_model
from laconic.codec.image.refine import Relaxed
from laconic.codec.image.slices import RotaryPositions
from laconic.codec.models import DEFAULT_MODEL
from laconic.formats.image import read_image

# Name in the table -> (last part of the module's name, whether its input goes through instead).
PARTS = {
    "local attention": ("local", False),
    "its rotary positions": ("rotary", True),
    "intra-slice attention": ("intra", False),
    "inter-slice attention": ("inter", False),
    "guided attention of slice 0": ("guided", False),
    "channel context": ("channel", False),
    "its reweighting": ("reweight", True),
}
Hook = Callable[[nn.Module, Any, Tensor], Tensor | None]


def measure(model: LoadedModel, samples: list[Tensor], quality: float) -> tuple[float, float]:
    """Bits per pixel and squared error over all samples."""
    coder = model.relaxed()
    bits, error, pixels = 0.0, 0.0, 0
    for x in samples:
        y = model.analyse(x, quality)
        z = model.hyper(y, quality)
        steps = Relaxed(coder, torch.round)
        y_hat = coder.walk(steps, y, z, (y.shape[1], y.shape[2]), quality)
        bits += float(torch.stack(steps.bits).sum())
        picture = model.synthesise(y_hat, quality).clamp(0, 1)
        error += float((picture - x).square().sum())
        pixels += x.shape[1] * x.shape[2]
    return bits / pixels, error / pixels / 3


def silenced(part: str, run: Callable[[], Any], parts: dict[str, nn.Module]) -> Any:
    """``run()`` with all modules of that name replaced."""
    last, through = PARTS[part]
    chosen = {n: m for n, m in parts.items() if n.rsplit(".", 1)[-1] == last}
    means: dict[str, list[Tensor]] = {name: [] for name in chosen}

    def listen(name: str) -> Hook:
        return lambda module, inputs, output: means[name].append(output.flatten(0, -2).mean(0))

    def replace(name: str) -> Hook:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            if not through:
                return torch.stack(means[name]).mean(0).expand_as(output)
            x: Tensor = inputs[0]
            if isinstance(module, RotaryPositions):
                return torch.cat((x[..., 0::2], x[..., 1::2]), -1)
            return x

        return hook

    for make in (replace,) if through else (listen, replace):
        handles = [m.register_forward_hook(make(n)) for n, m in chosen.items()]
        result = run()
        for handle in handles:
            handle.remove()
    return result


@torch.no_grad()
def main() -> None:
    """Measure every part at every quality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--qualities", default="20,50,80")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    model = load_model(DEFAULT_MODEL)
    samples = []
    for file in sorted(options.pictures.glob("*.png"))[: options.count]:
        pixels = centre(read_image(file), options.crop).pixels
        samples.append(torch.from_numpy(pixels.astype(np.float32) / 255)[None])
    coder = model.relaxed()
    model.relaxed = lambda: coder  # type: ignore[method-assign]
    parts = dict(coder.y_model.named_modules())
    rows: dict[str, Any] = {part: {} for part in PARTS}
    for quality in map(float, options.qualities.split(",")):
        bpp, error = measure(model, samples, quality)
        for part in PARTS:
            without, worse = silenced(part, lambda q=quality: measure(model, samples, q), parts)
            rows[part][f"{quality:g}"] = {
                "bits": 100 * (without / bpp - 1),
                "psnr": -10 * float(np.log10(worse / error)),
            }
            print(part, quality, rows[part][f"{quality:g}"], flush=True)
    about = {"model": model.info.id, "pictures": len(samples), "crop": options.crop, "parts": rows}
    options.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
