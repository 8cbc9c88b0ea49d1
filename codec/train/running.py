"""The frame of every training: time budget, checkpoints, held-out reports, averages, optimisers.

:class:`BudgetTrainer` runs the steps of any recipe within its minutes and leaves a checkpoint that
the same command resumes. :class:`Muon` trains the inner weight matrices, Adam everything else. Muon
replaces each matrix's momentum by its nearest orthogonal matrix, found with Newton-Schulz
iterations (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; on learned image codecs
Zhang et al., arXiv 2601.20814), and on short budgets needs far fewer steps than Adam. PyTorch's own
Muon iterates one matrix at a time and always in bfloat16, which is slow where the processor lacks
it; this one handles matrices of one shape together, in float32 there.
"""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from laconic.codec import devices
from laconic.codec.audio.semanticodec_small.config import RATE
from laconic.formats.errors import FormatError, ParameterError


def stoi_mean(reference: Tensor, decoded: Tensor) -> dict[str, float]:
    """``{"stoi": mean}`` over ``[N, samples]``, or nothing where pystoi is not installed.

    Recordings with less than 0.4 s above silence have no STOI and are left out.
    """
    try:
        from pystoi import stoi
    except ImportError:
        return {}
    values = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for x, y in zip(reference.cpu().numpy(), decoded.float().cpu().numpy(), strict=True):
            try:
                values.append(float(stoi(x, y, RATE)))
            except RuntimeWarning:
                continue
    return {"stoi": round(sum(values) / len(values), 4)} if values else {}


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
    clock = staticmethod(time.monotonic)  # of the budget
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
            start = self.clock()
            figures = self.train_step()
            self.spend(self.clock() - start)
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


NINE_TAPS = 1 / 3  # a kernel's gain is up to three times that of its matrix
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices, approximately: ``[K, rows, columns]`` -> same shape."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    fast = devices.has_bfloat16(x.device)
    if x.device.type == "cpu" and x.shape[2] >= (4 if fast else 2) * x.shape[1]:
        x = _through_gram(x, steps)
    elif fast:
        x = _newton_schulz(x.bfloat16(), steps).float()
    else:
        x = _newton_schulz(x, steps)
    return x.transpose(1, 2) if tall else x


def _newton_schulz(x: Tensor, steps: int) -> Tensor:
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def _through_gram(x: Tensor, steps: int) -> Tensor:
    """The same polynomials of oblong matrices by their small Gram matrix alone, which half the
    products do; they square the condition, for which bfloat16 is too coarse."""
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.transpose(1, 2)
    identity = torch.eye(len(gram[0]), dtype=x.dtype, device=x.device)
    total = None
    for step in range(steps):
        factor = a * identity + b * gram + c * gram @ gram
        total = factor if total is None else factor @ total
        if step < steps - 1:
            gram = factor @ gram @ factor
    return x if total is None else total @ x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised per matrix; ``lr`` is the spectral norm of an update of a square
    matrix."""

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "share": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape].append(p)
            for shape, params in by_shape.items():
                updates = []
                for p in params:
                    assert p.grad is not None
                    state = self.state[p]
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    buffer = state["momentum"]
                    buffer.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(torch.lerp(p.grad, buffer, group["momentum"]))  # Nesterov
                flat = orthogonalise(torch.stack(updates).flatten(2))  # [K, rows, columns]
                oblong = max(1.0, flat.shape[1] / flat.shape[2])
                scale = group["lr"] * group["share"] * oblong**0.5
                for p, update in zip(params, flat, strict=True):
                    p.sub_(update.reshape(shape), alpha=scale)


def matrices_of_blocks(
    model: torch.nn.Module,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """What of an audio network Muon trains, the matrices of its blocks, and what Adam does: all
    else that is not frozen."""
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, p in model.named_parameters():
        if p.requires_grad:
            (matrices if p.ndim == 2 and "block" in name else rest).append(p)
    return matrices, rest


def build_optimisers(
    model: torch.nn.Module, *, muon_lr: float, adam_lr: float, linear_lr: float
) -> list[torch.optim.Optimizer]:
    """Muon for matrices inside blocks and contexts and, as matrices, for dense convolutions
    (``NINE_TAPS`` times the rate); Adam for vectors and tables (``adam_lr``) and for the linear
    path (stem, down, up, tail), which starts near its optimum (``linear_lr``)."""
    matrices, kernels, linear, rest = [], [], [], []
    for name, p in model.named_parameters():
        if name in {f"g_a.{n}.weight" for n in ("stem", "down")} | {
            f"g_s.{n}.weight" for n in ("up", "tail")
        }:
            linear.append(p)
        elif p.ndim == 2 and not name.endswith("table"):
            matrices.append(p)
        elif p.ndim == 4 and p.shape[1] > 1:
            kernels.append(p)
        else:
            rest.append(p)
    adam = torch.optim.Adam(
        [{"params": rest, "lr": adam_lr}, {"params": linear, "lr": linear_lr}], betas=(0.9, 0.98)
    )
    groups = [{"params": matrices}] + [{"params": kernels, "share": NINE_TAPS}] * bool(kernels)
    return [Muon(groups, lr=muon_lr), adam]
