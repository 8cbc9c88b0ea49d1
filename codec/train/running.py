"""The frame of every training run: its folder, clock and checkpoints, and what an end leaves."""

from __future__ import annotations

import json
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from laconic.formats.errors import FormatError, ParameterError


class BudgetTrainer(ABC):
    """A run of steps within a time budget: its clock, its reports, its end.

    Checkpoints lie in ``out/checkpoint.pt``, held-out figures in ``out/log.jsonl``. SIGTERM saves
    and ends the run, as an interruption does.
    """

    out: Path
    minutes: float  # the budget
    step = 0
    seconds = 0.0  # used so far, by all parts of the run
    stopping = False
    show_every = 50  # steps
    save_every = 120.0  # seconds
    validate_every = 240.0

    @abstractmethod
    def train_step(self) -> dict[str, float]:
        """One update; figures to print, whose running means are shown."""

    @abstractmethod
    def validate(self) -> dict[str, Any]:
        """Figures of the averaged weights on held-out data."""

    @abstractmethod
    def save(self) -> None:
        """Write the checkpoint."""

    @abstractmethod
    def load(self) -> None:
        """Continue from the checkpoint."""

    def prepare(self) -> None:  # noqa: B027 - most trainers have nothing to prepare
        """Called before every step, outside the budget."""

    def spend(self, seconds: float) -> None:
        """Count the time of a step."""
        self.seconds += seconds

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.out / "checkpoint.pt"

    def progress(self) -> float:
        """Share of the budget that has been used."""
        return min(1.0, self.seconds / (60 * self.minutes))

    def report(self) -> None:
        """Measure on held-out data, print and log."""
        entry = {"step": self.step, "minutes": round(self.seconds / 60, 1), **self.validate()}
        log_held_out(self.out, entry)

    def run(self) -> None:
        """Train until the budget is used."""
        before = signal.signal(signal.SIGTERM, self._stop)
        try:
            self._steps()
        finally:
            signal.signal(signal.SIGTERM, before)
            self.save()
        if not self.stopping:
            self.report()

    def _steps(self) -> None:
        saved = validated = self.seconds
        means: dict[str, float] = {}
        while self.progress() < 1 and not self.stopping:
            self.prepare()
            start = time.monotonic()
            figures = self.train_step()
            self.spend(time.monotonic() - start)
            for key, value in figures.items():
                means[key] = 0.97 * means.get(key, value) + 0.03 * value
            if self.step % self.show_every == 0:
                shown = "  ".join(f"{key} {value:.4f}" for key, value in means.items())
                left = self.seconds / 60 * (1 / max(self.progress(), 1e-9) - 1)
                pace = f"{self.seconds / self.step:.3f} s/step"
                print(f"step {self.step}  {shown}  {pace}  {left:.1f} min left", flush=True)
            if self.seconds - saved > self.save_every:
                self.save()
                saved = self.seconds
            if self.seconds - validated > self.validate_every:
                self.report()
                validated = self.seconds

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the ``average`` of weights towards those of ``model``; buffers are copied."""
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, now in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(now)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; an interruption leaves the one before."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The checkpoint of :func:`save_state`; raises ``FormatError`` for any other file."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever a damaged file provokes
        raise FormatError(f"{path} cannot be resumed from: {error}") from error
    if not isinstance(state, dict):
        raise FormatError(f"{path} cannot be resumed from: it is no checkpoint of a training")
    return state


def log_held_out(out: Path, entry: dict[str, Any]) -> None:
    """Append what was measured on held-out data to the run's ``log.jsonl``, and print it."""
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")
    print("held-out", json.dumps(entry), flush=True)


def history(state: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    """How the weights of a checkpoint were trained, for the manifest of their model."""
    found: dict[str, Any] = {
        "recipe": state["recipe"],
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60, 1),
    }
    if state.get("start"):
        found["started_from"] = state["start"]
    log = checkpoint.parent / "log.jsonl"
    if log.exists():
        found["held_out"] = json.loads(log.read_text().splitlines()[-1])
    return found


def run_trainer(
    make: Callable[[], BudgetTrainer], out: Path, *, resume: bool, threads: int | None
) -> Path:
    """Make the trainer of the folder ``out`` and run it; returns the checkpoint's path.

    Raises ``ParameterError`` for an existing run without ``resume``, before anything is loaded.
    """
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    if (out / "checkpoint.pt").exists() and not resume:
        raise ParameterError(f"{out} holds a run already: add --resume or choose another folder")
    trainer = make()
    if resume and trainer.checkpoint.exists():
        trainer.load()
    trainer.run()
    return trainer.checkpoint
