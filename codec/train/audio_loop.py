"""What all audio stages share: schedule, optimisers, average, checkpoints.

The learning rate follows the share of the time budget that has passed (warm-up, constant, then
linear to zero), so a run of any length on any machine ends annealed. Matrices of the blocks are
trained with Muon (`laconic.codec.train.running`), everything else with Adam. Matrix products are in
bfloat16 where the processor multiplies it.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from laconic.codec import devices
from laconic.codec.train.recordings import AudioCrops, load_recordings
from laconic.codec.train.running import (
    BudgetTrainer,
    Muon,
    follow,
    load_state,
    matrices_of_blocks,
    save_state,
)
from laconic.formats.errors import FormatError


@dataclass(frozen=True)
class AudioRecipe:
    """What decides a run besides its data."""

    config: str  # the stage
    minutes: float
    batch: int
    seconds: float  # of a crop
    model: str = "small"  # one of CONFIGS
    muon_lr: float = 0.01
    adam_lr: float = 1e-3
    warmup: int = 100  # steps
    anneal: float = 0.5  # share of the budget over which the learning rate falls to zero
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 1

    def further(self) -> AudioRecipe:
        """The recipe of a run that starts from trained weights: half the learning rates."""
        return replace(self, muon_lr=self.muon_lr / 2, adam_lr=self.adam_lr / 2, seed=self.seed + 1)


class AudioTrainer(BudgetTrainer):
    """One run of one stage. Stages fill in :meth:`loss` and :meth:`validate`."""

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path, model: nn.Module) -> None:
        self.recipe, self.out, self.minutes = recipe, out, recipe.minutes
        self.device = devices.device()
        torch.manual_seed(recipe.seed)
        self.clips, self.held_out = load_recordings(data)
        self.crops = AudioCrops(self.clips, recipe.seed)
        self.model = model.to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        matrices, rest = matrices_of_blocks(self.model)
        self.optimisers = [
            torch.optim.Adam(rest, lr=recipe.adam_lr, betas=(0.9, 0.98)),
            *([Muon(matrices, lr=recipe.muon_lr)] if matrices else []),
        ]
        self.start: dict[str, Any] | None = None  # history of the model that the run began with

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch ``[B, samples]`` and figures to print."""
        raise NotImplementedError

    def extra_state(self) -> dict[str, Any]:
        """What a stage keeps beside its model."""
        return {}

    def load_extra(self, state: dict[str, Any]) -> None:
        """The counterpart of :meth:`extra_state`."""

    def continuation(self) -> AudioRecipe:
        """The recipe of a run that starts from trained weights."""
        return self.recipe.further()

    def begin(self, weights: dict[str, Tensor], start: dict[str, Any]) -> None:
        """Go on from the ``weights`` of a model with the history ``start``. What they lack, which
        only training needs, begins anew."""
        self.model.load_state_dict({**self.model.state_dict(), **weights})
        self.average.load_state_dict(self.model.state_dict())
        self.recipe, self.start = self.continuation(), start

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "start": self.start,
            "extra": self.extra_state(),
        }
        save_state(self.checkpoint, state)

    def load(self) -> None:
        """Continue from the checkpoint."""
        state = load_state(self.checkpoint, self.device)
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
        except (OSError, RuntimeError, EOFError, KeyError) as error:
            raise FormatError(f"{self.checkpoint} cannot be resumed from: {error}") from error
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.step, self.seconds = state["step"], state["seconds"]
        if state.get("start") and self.start is None:
            self.recipe = self.continuation()
        self.start = state.get("start")
        self.crops = AudioCrops(self.clips, self.recipe.seed + self.step)
        torch.manual_seed(self.recipe.seed + self.step)
        self.load_extra(state["extra"])

    def batch(self) -> Tensor:
        """Training crops ``[B, samples]``."""
        recipe = self.recipe
        return self.crops.batch(recipe.batch, round(recipe.seconds * 16_000)).to(self.device)

    def autocast(self) -> torch.autocast:
        """Matrix products in bfloat16 where that is faster."""
        enabled = devices.has_bfloat16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def train_step(self) -> dict[str, float]:
        """One update; the loss and the stage's own figures."""
        recipe = self.recipe
        wave = self.batch()
        with self.autocast():
            loss, figures = self.loss(wave)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        if torch.isfinite(norm):
            falling = min(1.0, (1 - self.progress()) / recipe.anneal)
            factor = falling * min(1.0, (self.step + 1) / recipe.warmup)
            rates = (recipe.adam_lr, recipe.muon_lr)
            for optimiser, rate in zip(self.optimisers, rates, strict=False):
                for group in optimiser.param_groups:
                    group["lr"] = rate * factor
                optimiser.step()
            decay = min(recipe.ema, (self.step + 1) / (self.step + 10))
            follow(self.average, self.model, decay)
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return {"loss": loss.item(), **figures}
