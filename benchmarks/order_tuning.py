"""Trains the entropy model of an ordered model for its order; everything else stays as it is.

    python benchmarks/order_tuning.py MODEL NAME --data DIR --minutes 20

MODEL was written by ``laconic models order --write`` from the default model; NAME goes into the
model store. What its auxiliary slices see is zero where they were trained to see each other; a few
minutes let the networks of the slices adapt. The loss is bits plus the error of y_hat in squared
quantisation steps, at the exchange rate that is optimal for an orthonormal transform; transforms,
hyperprior and z are fixed.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from torch import Tensor

from laconic.codec import models
from laconic.codec.image.codec import read_mlic
from laconic.codec.image.config import ChannelOrder, Plan
from laconic.codec.image.model import Mlic, gaussian_bits, straight_through_round
from laconic.codec.image.slices import SliceModel
from laconic.codec.models import store_path
from laconic.codec.train.images import Crops, load_images

CROP, BATCH, RATE, WARMUP, AVERAGE = 192, 4, 1e-3, 20, 0.99
EXCHANGE = 8.66  # 6 / ln 2 bits for one squared step: lambda 255^2 step^2 / 3 (see layers.py)


class Sample:
    """Latents of some crops at random qualities."""

    @torch.no_grad()
    def __init__(self, network: Mlic, x: Tensor) -> None:
        self.quality = torch.rand(len(x)) * 100
        self.y = network.g_a(x, self.quality)
        z = network.hyper_latent(self.y, self.quality)
        mean, _ = network.z_prior(self.quality)
        self.hyper = network.h_s((z - mean).round() + mean, self.quality)
        self.noisy = (self.y + torch.rand_like(self.y) - 0.5).flatten(1, 2)
        self.pixels = x.shape[0] * x.shape[1] * x.shape[2]

    def cost(self, model: SliceModel, plan: Plan | None, low: float) -> tuple[Tensor, Tensor]:
        """Bits and the worth of the error in bits, per pixel."""
        flat, bits = self.y.flatten(1, 2), []

        def code(at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor) -> Tensor:
            bits.append(gaussian_bits(self.noisy[:, at, first:end] - mean, log_scale, low).sum())
            return straight_through_round(flat[:, at, first:end] - mean) + mean

        y_hat = model(self.hyper, self.quality, code, plan)
        error = (y_hat - self.y).square().sum()
        return torch.stack(bits).sum() / self.pixels, EXCHANGE * error / self.pixels


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    info = models.find(arguments.model)
    network, _ = read_mlic(info)
    order = ChannelOrder.of(info.config, network.config.latent)
    if order is None:
        parser.error(f"{info.name} has no order")
    plan, low = order.plan(network.config.slices), network.config.scale_low
    network.requires_grad_(False)
    start = copy.deepcopy(network.y_model)
    average = copy.deepcopy(network.y_model)
    model = network.y_model.requires_grad_(True)
    crops = Crops(load_images([arguments.data], CROP)[0], CROP, 1)
    optimiser = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    began, step = time.monotonic(), 0
    while (progress := (time.monotonic() - began) / 60 / arguments.minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMUP) * min(1, 2 * (1 - progress))
        sample = Sample(network, crops.batch(BATCH))
        optimiser.zero_grad()
        torch.stack(sample.cost(model, plan, low)).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()
        step += 1
        with torch.no_grad():
            keep = min(AVERAGE, (1 + step) / (10 + step))
            for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
            if step % 10 == 0:
                before, after = sample.cost(start, None, low), sample.cost(average, plan, low)
                print(
                    f"step {step}: bits {100 * (after[0] / before[0] - 1):+.2f} %, bits and error"
                    f" {100 * (sum(after) / sum(before) - 1):+.2f} % of the model without an order",
                    flush=True,
                )
    tensors = models.read_tensors(info)
    tensors |= {f"y_model.{k}": v.half().numpy() for k, v in average.state_dict().items()}
    written = models.write_model(
        store_path(arguments.name, overwrite=True),
        name=arguments.name,
        codec=info.codec,
        config=info.config,
        numerics=info.numerics,
        tensors=tensors,
        training={**info.training, "tuned": {"steps": step, "minutes": arguments.minutes}},
        overwrite=True,
    )
    print(f"{written.name} {written.id}: {step} steps")


if __name__ == "__main__":
    main()
