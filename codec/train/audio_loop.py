"""The loop that all audio stages share: schedule, optimisers, average, checkpoints, log.

The learning rate follows the share of the time budget that has passed (warm-up, constant, then
linear to zero), so a run of any length on any machine ends annealed. Matrices of the blocks are
trained with Muon (`laconic.codec.train.muon`), everything else with Adam. Matrix products are in
bfloat16 where the processor multiplies it.
"""

from __future__ import annotations

import copy
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from laconic.codec.train.muon import Muon, has_bfloat16
from laconic.codec.train.running import load_state, log_held_out, save_state
from laconic.codec.train.sounds import SoundCrops, load_sounds
from laconic.formats.errors import FormatError, ModelError


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


class AudioTrainer:
    """One run of one stage. Stages fill in :meth:`loss` and :meth:`measure`."""

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path, model: nn.Module) -> None:
        self.recipe, self.out = recipe, out
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        self.clips, self.held_out = load_sounds(data)
        self.crops = SoundCrops(self.clips, recipe.seed)
        self.model = model.to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, p in self.model.named_parameters():
            (matrices if p.ndim == 2 and "block" in name else rest).append(p)
        self.optimisers = [
            torch.optim.Adam(rest, lr=recipe.adam_lr, betas=(0.9, 0.98)),
            *([Muon(matrices, lr=recipe.muon_lr)] if matrices else []),
        ]
        self.step, self.seconds = 0, 0.0
        self.start: dict[str, Any] | None = None  # history of the model that the run began with
        self.stopping = False

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch ``[B, samples]`` and figures to print."""
        raise NotImplementedError

    def measure(self) -> dict[str, Any]:
        """Figures of the averaged model on held-out sounds."""
        raise NotImplementedError

    def extra_state(self) -> dict[str, Any]:
        """What a stage keeps beside its model."""
        return {}

    def load_extra(self, state: dict[str, Any]) -> None:
        """The counterpart of :meth:`extra_state`."""

    def begin(self, weights: dict[str, Tensor], start: dict[str, Any]) -> None:
        """Go on from the ``weights`` of a model with the history ``start``. What they lack, which
        only training needs, begins anew; raises ``ModelError`` where they do not fit."""
        try:
            self.model.load_state_dict({**self.model.state_dict(), **weights})
        except RuntimeError as error:
            raise ModelError(
                f"model {start['name']} is of another size than {self.recipe.model!r}: {error}"
            ) from error
        self.average.load_state_dict(self.model.state_dict())
        self.recipe, self.start = self.recipe.further(), start

    def prepare(self) -> None:
        """Called before every step, outside the time budget."""

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
            self.recipe = self.recipe.further()
        self.start = state.get("start")
        self.crops = SoundCrops(self.clips, self.recipe.seed + self.step)
        torch.manual_seed(self.recipe.seed + self.step)
        self.load_extra(state["extra"])

    def batch(self) -> Tensor:
        """Training crops ``[B, samples]``."""
        recipe = self.recipe
        return self.crops.batch(recipe.batch, round(recipe.seconds * 16_000)).to(self.device)

    def progress(self) -> float:
        """Share of the time budget that has passed."""
        return self.seconds / (60 * self.recipe.minutes)

    def autocast(self) -> torch.autocast:
        """Matrix products in bfloat16 where that is faster."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=has_bfloat16(self.device))

    def train_step(self) -> dict[str, float]:
        """One update."""
        recipe = self.recipe
        wave = self.batch()
        with self.autocast():
            loss, figures = self.loss(wave)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        if torch.isfinite(norm):
            falling = min(1.0, max(0.0, (1 - self.progress()) / recipe.anneal))
            factor = falling * min(1.0, (self.step + 1) / recipe.warmup)
            rates = (recipe.adam_lr, recipe.muon_lr)
            for optimiser, rate in zip(self.optimisers, rates, strict=False):
                for group in optimiser.param_groups:
                    group["lr"] = rate * factor
                optimiser.step()
            decay = min(recipe.ema, (self.step + 1) / (self.step + 10))
            with torch.no_grad():
                pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
                for mean, value in pairs:
                    mean.lerp_(value, 1 - decay)
                for kept, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                    kept.copy_(buffer)
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return {"loss": loss.item(), **figures}

    def run(self, *, save_every: float = 120.0, validate_every: float = 240.0) -> None:
        """Train until the time budget is used; prints one line per report, keeps ``log.jsonl``.
        SIGTERM saves and ends the run."""
        signal.signal(signal.SIGTERM, self._stop)
        saved = validated = self.seconds
        means: dict[str, float] = {}
        while self.progress() < 1 and not self.stopping:
            self.prepare()
            start = time.monotonic()
            figures = self.train_step()
            self.seconds += time.monotonic() - start
            for key, value in figures.items():
                means[key] = value if key not in means else 0.97 * means[key] + 0.03 * value
            if self.step % 50 == 0:
                shown = "  ".join(f"{k} {v:.4f}" for k, v in means.items())
                left = self.recipe.minutes - self.seconds / 60
                print(
                    f"step {self.step}  {shown}  {self.seconds / self.step:.3f} s/step"
                    f"  {left:.1f} min left",
                    flush=True,
                )
            if self.seconds - saved > save_every:
                self.save()
                saved = self.seconds
            if self.seconds - validated > validate_every:
                self.report()
                validated = self.seconds
        self.save()
        if not self.stopping:
            self.report()

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    @torch.no_grad()
    def report(self) -> None:
        """Measure and append to the log."""
        entry = {"step": self.step, "minutes": round(self.seconds / 60, 1), **self.measure()}
        log_held_out(self.out, entry)
