"""Training of PSCodec: spectral loss, commitment, then adversarial; prompts from the same voice.

``base`` and ``casan`` are trained in one go. ``drl-ict`` is *incremental continuous training*: it
starts from the weights of a Base (``init``), or trains one for the first half of its budget, and
then goes on with the disentangling SSIM term, whose weight grows linearly. A run is resumable from
its checkpoint with the same command.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laconic.codec import devices
from laconic.codec.audio.pscodec.config import HOP, PromptConfig
from laconic.codec.audio.pscodec.losses import (
    Discriminator,
    discriminator_loss,
    generator_loss,
    spectral_loss,
)
from laconic.codec.audio.pscodec.model import PsCodec
from laconic.codec.audio.speaker import packaged_weights
from laconic.codec.train.recordings import PromptedCrops, load_speech
from laconic.codec.train.running import (
    BudgetTrainer,
    Muon,
    follow,
    load_state,
    matrices_of_blocks,
    run_trainer,
    save_state,
)
from laconic.formats.errors import FormatError, ParameterError


@dataclass(frozen=True)
class PromptRecipe:
    """Everything that decides a run, beside its data and its network."""

    variant: str = "base"
    minutes: float = 600.0
    steps: int | None = None  # budget in steps instead, the same on any machine
    batch: int = 10
    columns: int = 50  # of a crop: one second
    prompt_columns: int = 150
    lr: float = 1.5e-3
    muon_lr: float = 0.01  # of the blocks' matrices
    warmup: int = 50  # steps
    anneal: float = 0.6  # share of the budget over which the learning rate falls
    ema: float = 0.995
    clip: float = 1.0
    commitment: float = 0.25
    # Share of the budget; None is 0.5 with a GPU and never without, where it costs five times as
    # much as everything else.
    adversarial_from: float | None = None
    adversarial: float = 0.1
    matching: float = 0.3
    disentangle: float = 0.3  # final weight of the SSIM term, for drl-ict
    seed: int = 1


class Trainer(BudgetTrainer):
    """State of a run."""

    def __init__(
        self,
        recipe: PromptRecipe,
        config: PromptConfig,
        data: list[Path],
        out: Path,
        init: Path | None = None,
    ) -> None:
        self.recipe, self.config, self.out = recipe, config, out
        self.minutes = recipe.minutes
        self.device = devices.device()
        torch.manual_seed(recipe.seed)
        crop, prompt = recipe.columns * HOP, recipe.prompt_columns * HOP
        train, held_out = load_speech(data, crop)
        self.crops = PromptedCrops(train, crop, prompt, recipe.seed)
        checks = PromptedCrops(held_out, crop, prompt, 0).batch(16)
        self.checks = tuple(x.to(self.device) for x in checks)
        self.model = PsCodec(config).to(self.device)
        if config.speaker:
            self.model.voice.load_state_dict(packaged_weights(), strict=False)
        self.continued = init is not None
        if init is not None:
            self._start_from(init)
        self.average = PsCodec(config).to(self.device).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.critic = Discriminator().to(self.device)
        matrices, rest = matrices_of_blocks(self.model)
        self.optimisers = [
            torch.optim.AdamW(rest, recipe.lr, betas=(0.8, 0.99), weight_decay=1e-2),
            Muon(matrices, recipe.muon_lr),
        ]
        self.critic_optimiser = torch.optim.AdamW(self.critic.parameters(), 3e-4, betas=(0.8, 0.99))

    def _start_from(self, init: Path) -> None:
        try:
            state = torch.load(init, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["average"])
        except (OSError, RuntimeError, EOFError, KeyError, TypeError) as error:
            raise ParameterError(
                f"{init} is no checkpoint of a PSCodec of the same configuration: {error}"
            ) from error

    @property
    def _all_optimisers(self) -> tuple[torch.optim.Optimizer, ...]:
        return (*self.optimisers, self.critic_optimiser)

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "recipe": {**asdict(self.recipe), "config": "pscodec"},
            "network": self.config.to_dict(),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "critic": self.critic.state_dict(),
            "optimisers": [o.state_dict() for o in self._all_optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "continued": self.continued,
        }
        save_state(self.checkpoint, state)

    def load(self) -> None:
        """Continue from the checkpoint."""
        state = load_state(self.checkpoint, self.device)
        try:
            if state["network"] != self.config.to_dict():
                raise ParameterError(
                    f"{self.checkpoint} is a run of another configuration: give the same --config"
                )
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.critic.load_state_dict(state["critic"])
            for optimiser, values in zip(self._all_optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(values)
            self.step, self.seconds = state["step"], state["seconds"]
            self.continued = state["continued"]
        except (OSError, RuntimeError, EOFError, KeyError) as error:
            raise FormatError(f"{self.checkpoint} cannot be resumed from: {error}") from error
        # Other crops than those that the run has seen.
        self.crops.random = np.random.default_rng(self.recipe.seed + self.step)

    def progress(self) -> float:
        """Share of the budget used, which may be one of steps."""
        if self.recipe.steps is not None:
            return min(1.0, self.step / self.recipe.steps)
        return super().progress()

    @property
    def adversarial_from(self) -> float:
        """Share of the budget from which on the critic plays."""
        asked = self.recipe.adversarial_from
        return asked if asked is not None else (0.5 if self.device.type == "cuda" else 1.0)

    def disentangling(self) -> float:
        """Weight of the SSIM term now: zero while a Base is trained, then growing."""
        if not self.config.disentangled:
            return 0.0
        begin = 0.0 if self.continued else 0.5
        return self.recipe.disentangle * max(0.0, (self.progress() - begin) / (1 - begin))

    def train_step(self) -> dict[str, float]:
        """One update; losses of the batch."""
        recipe = self.recipe
        wave, prompt = (x.to(self.device) for x in self.crops.batch(recipe.batch))
        falling = min(1.0, (1 - self.progress()) / recipe.anneal)
        share = max(0.02, falling) * min(1.0, (self.step + 1) / recipe.warmup)
        for optimiser, rate in zip(self.optimisers, (recipe.lr, recipe.muon_lr), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * share
        self.model.train()
        result = self.model(wave, prompt)
        spectral = spectral_loss(result.wave, wave)
        loss = spectral + recipe.commitment * result.commitment
        loss = loss + self.disentangling() * result.similarity
        if self.progress() >= self.adversarial_from:
            loss = loss + self._adversarial(wave, result.wave)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        if torch.isfinite(norm):
            for optimiser in self.optimisers:
                optimiser.step()
        decay = min(recipe.ema, (self.step + 1) / (self.step + 10))
        follow(self.average, self.model, decay)
        self.step += 1
        return {
            "spectral": spectral.item(),
            "commitment": result.commitment.item(),
            "similarity": result.similarity.item(),
        }

    def _adversarial(self, wave: Tensor, decoded: Tensor) -> Tensor:
        """Train the critic once; the generator's share of the game."""
        critic_loss = discriminator_loss(self.critic(wave), self.critic(decoded.detach()))
        self.critic_optimiser.zero_grad(set_to_none=True)
        critic_loss.backward()
        self.critic_optimiser.step()
        score, match = generator_loss(self.critic(wave), self.critic(decoded))
        return self.recipe.adversarial * score + self.recipe.matching * match

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Spectral loss of the averaged weights on held-out recordings and codebook use."""
        wave, prompt = self.checks
        decoded = self.average(wave, prompt).wave
        tokens = self.average.tokens(wave, self.average.prompt_codes(prompt))
        used = [len(s.unique()) for s in tokens.unbind(-1)]
        return {"spectral": round(spectral_loss(decoded, wave).item(), 4), "codes_used": used}


def run(
    recipe: PromptRecipe,
    config: PromptConfig,
    data: list[Path],
    out: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    init: Path | None = None,
) -> Path:
    """Train on the recordings below ``data``; returns the checkpoint's path.

    Raises ``ParameterError`` for an existing run without ``resume``, too few recordings or a wrong
    ``init``, and ``FormatError`` for a checkpoint that cannot be read.
    """
    return run_trainer(
        lambda: Trainer(recipe, config, data, out, init), out, resume=resume, threads=threads
    )
