"""Training of the default image model: rate-distortion loss over all qualities at once.

    L = sum_b w(q_b) * (lambda(q_b) * D_b + bpp_b),   q_b uniform in 0..100

with w = lambda^-1/2, normalised, so that every quality pulls with similar strength. D is the
distortion of ``layers.py``: 255^2 * MSE, or with ``Recipe.visual`` a mixture with MS-SSIM.

A model with a detail layer trains its latents up to the quality where the layer begins, and every
so many steps the layer's scales on the bits of what the latents leave over. The learning rate
follows the share of the time budget that has passed: constant, then linear to zero over the last
part, so a run of any length on any machine ends annealed. A run is resumable from its checkpoint
with the same command.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from laconic.codec import devices, models
from laconic.codec.image.codec import read_mlic
from laconic.codec.image.config import CONFIGS, MlicConfig
from laconic.codec.image.layers import (
    Block,
    Rates,
    distortion,
    lambda_of,
    lambdas_of,
    quality_of,
    structural_similarity,
)
from laconic.codec.image.model import Forward, Mlic, detail_step
from laconic.codec.train.images import Crops, grown, load_images, validation_batch
from laconic.codec.train.running import (
    BudgetTrainer,
    build_optimisers,
    follow,
    load_state,
    run_trainer,
    save_state,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, beside its data."""

    config: str = "small"
    crop: int = 192
    batch: int = 8
    minutes: float = 120.0
    anneal: float = 0.5  # share of the budget over which the learning rate falls to zero
    warmup: int = 200  # steps
    muon_lr: float = 0.01
    adam_lr: float = 2e-3
    linear_lr: float = 3e-4
    clip: float = 2.0
    ema: float = 0.999
    visual: float = 0.0  # share of MS-SSIM in the distortion
    share: float = 1.0  # of the weights exported; the rest are those that a run started from
    seed: int = 1

    def further(self) -> Recipe:
        """The recipe of a round that starts from trained weights: half the learning rates, falling
        for longer, since what a high rate undoes has to be won back first."""
        return replace(
            self,
            anneal=0.7,
            muon_lr=self.muon_lr / 2,
            adam_lr=self.adam_lr / 2,
            linear_lr=self.linear_lr / 2,
            seed=self.seed + 1,
        )


RECIPES = {
    "mlic-small": Recipe(),
    "mlic-base": Recipe(config="dense", share=0.5),
    "mlic-visual": Recipe(config="dense", visual=0.75),
}
MIDDLE = lambda_of(50, MlicConfig().rates)
DETAIL_EVERY = 8  # steps of the latents between two of the detail layer


def loss_of(
    result: Forward, x: Tensor, quality: Tensor, rates: Rates, visual: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, bpp ``[B]`` and mean squared error ``[B]`` on the [0, 1] scale; ``visual`` is the share
    of MS-SSIM in the distortion."""
    pixels = x.shape[1] * x.shape[2]
    bpp = (result.y_bits + result.z_bits) / pixels
    mse = (result.x_hat - x).square().mean((1, 2, 3))
    multiplier = lambdas_of(quality, rates)
    weight = (multiplier / MIDDLE) ** -0.5
    error = distortion(result.x_hat, x, visual)
    return (weight * (multiplier * error + bpp)).mean(), bpp, mse


class Trainer(BudgetTrainer):
    """State of a run: model, average, optimisers, step and minutes used."""

    def __init__(
        self, recipe: Recipe, data: list[Path], out: Path, init: str | None = None
    ) -> None:
        self.recipe, self.out = recipe if init is None else recipe.further(), out
        self.minutes = recipe.minutes
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = devices.device(number=int(os.environ.get("LOCAL_RANK", "0")))
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        torch.manual_seed(recipe.seed)
        train, held_out = load_images(data, recipe.crop)
        self.crops = Crops(train, recipe.crop, recipe.seed + 1000 * self.rank)
        self.validation = validation_batch(held_out, recipe.crop).to(self.device)
        config = CONFIGS[recipe.config]
        self.rates, self.top = config.rates, config.detail_from if config.detail else 100.0
        self.start: dict[str, Any] | None = None  # history of the model that the run began with
        self.model = Mlic(CONFIGS[recipe.config]) if init is None else self._start_from(init)
        if init is None:
            self.model.initialise(
                Crops(train, recipe.crop, recipe.seed).batch(min(256, 4 * len(train)))
            )
        self.model.to(self.device)
        for module in self.model.modules():
            if isinstance(module, Block):
                module.mixed = devices.has_bfloat16(self.device)
        self.average = Mlic(CONFIGS[recipe.config]).to(self.device).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.optimisers = build_optimisers(
            self.model,
            muon_lr=self.recipe.muon_lr,
            adam_lr=self.recipe.adam_lr,
            linear_lr=self.recipe.linear_lr,
        )
        torch.manual_seed(recipe.seed + 1 + self.rank)  # processes start alike, then differ

    def _start_from(self, name: str) -> Mlic:
        info = models.find(name)
        self.start = {"name": info.name, "id": info.id, **info.training}
        network, _ = read_mlic(info)
        config = CONFIGS[self.recipe.config]
        if network.config == config:
            return network
        return grown(network, config, self.crops.batch(16))

    def save(self) -> None:
        """Write the checkpoint atomically."""
        if self.rank:
            return
        state = {
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "start": self.start,
        }
        save_state(self.checkpoint, state)

    def load(self) -> None:
        """Continue from the checkpoint."""
        state = load_state(self.checkpoint, self.device)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.step, self.seconds = state["step"], state["seconds"]
        if state.get("start") and self.start is None:
            self.recipe = self.recipe.further()
        self.start = state.get("start") or self.start
        self.crops = Crops(
            self.crops.images, self.recipe.crop, self.recipe.seed + 1000 * self.rank + self.step
        )

    def schedule(self) -> float:
        """Factor of the learning rates now."""
        falling = min(1.0, (1 - self.progress()) / self.recipe.anneal)
        return falling * min(1.0, (self.step + 1) / self.recipe.warmup)

    def spend(self, seconds: float) -> None:
        """Count the time of a step; processes go by the first one's clock and end together."""
        if self.world > 1:
            shared = torch.tensor([seconds], device=self.device)
            dist.broadcast(shared, 0)
            seconds = shared.item()
        super().spend(seconds)

    def train_step(self) -> dict[str, float]:
        """One update; loss, bpp and PSNR of the batch."""
        recipe = self.recipe
        x = self.crops.batch(recipe.batch).to(self.device)
        # Stratified qualities: each batch spans the whole range.
        offset = torch.rand(recipe.batch) + torch.arange(recipe.batch)
        quality = (self.top * offset / recipe.batch).to(self.device)
        loss, bpp, mse = loss_of(self.model(x, quality), x, quality, self.rates, recipe.visual)
        loss.backward()
        if self.model.config.detail and self.step % DETAIL_EVERY == 0:
            self._detail_step(x[: max(1, recipe.batch // 4)])
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.world > 1:
            for gradient in (p.grad for p in parameters if p.grad is not None):
                dist.all_reduce(gradient, op=dist.ReduceOp.SUM)
                gradient /= self.world
        norm = torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        if torch.isfinite(norm):
            factor = self.schedule()
            matrices = [recipe.muon_lr] * len(self.optimisers[0].param_groups)
            rates = (matrices, [recipe.adam_lr, recipe.linear_lr])
            for optimiser, own in zip(self.optimisers, rates, strict=True):
                for group, rate in zip(optimiser.param_groups, own, strict=True):
                    group["lr"] = rate * factor
                optimiser.step()
            decay = min(recipe.ema, (self.step + 1) / (self.step + 10))
            follow(self.average, self.model, decay)
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        psnr = -10 * math.log10(mse.mean().item() + 1e-12)
        return {"loss": loss.item(), "bpp": bpp.mean().item(), "psnr": psnr}

    def _detail_step(self, x: Tensor) -> None:
        """Gradients of the detail layer's scales."""
        shares = (torch.rand(len(x)) + torch.arange(len(x))) / len(x)
        steps = [detail_step(self.top + (100 - self.top) * s, self.top) for s in shares.tolist()]
        bits = self.model.detail_bits(x, torch.tensor(steps, device=self.device))
        (bits.mean() / (x.shape[1] * x.shape[2])).backward()

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """bpp, PSNR and loss of the averaged weights on held-out images at five qualities, those
        of the first model's scale."""
        result: dict[str, list[float]] = defaultdict(list)
        for q in (10.0, 30.0, 50.0, 70.0, 90.0):
            own = quality_of(lambda_of(q, MlicConfig().rates), self.rates)
            quality = torch.full((len(self.validation),), own, device=self.device)
            out = self.average(self.validation, quality)
            out.x_hat.clamp_(0, 1)
            loss, bpp, mse = loss_of(out, self.validation, quality, self.rates, self.recipe.visual)
            figures = {
                "quality": q,
                "bpp": bpp.mean().item(),
                "psnr": (-10 * mse.log10()).mean().item(),
                "loss": loss.item(),
            }
            if self.recipe.visual:
                alike = structural_similarity(out.x_hat, self.validation)
                figures["ms_ssim_db"] = (-10 * (1 - alike).log10()).mean().item()
            for key, value in figures.items():
                result[key].append(round(value, 4))
        return dict(result)

    def report(self) -> None:
        """Validate and append to the log, in one process."""
        if self.rank == 0:
            super().report()


def run(
    recipe: Recipe,
    data: list[Path],
    out: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    init: str | None = None,
) -> Path:
    """Train ``recipe`` on the images below ``data``; returns the checkpoint's path.

    A new run starts from the model ``init`` where one is named.

    Raises ``ParameterError`` for an existing run without ``resume`` or too few images, and
    ``FormatError`` for a checkpoint that cannot be read.
    """
    return run_trainer(
        lambda: Trainer(recipe, data, out, init), out, resume=resume, threads=threads
    )
