"""Per-image refinement of latents: stochastic Gumbel annealing, the "+" of MLICv2+.

The encoder's y and z are where a network trained on other images puts them. Here they are
optimised for this image on the true loss, bits + lambda * error, with each rounding replaced by a
random choice between floor and ceiling that becomes certain as the temperature falls (Yang, Bamler
and Mandt, "Improving Inference for Neural Image Compression", NeurIPS 2020, arXiv 2006.04240;
MLICv2, arXiv 2504.19119, section 3.5). Only the encoder changes: streams and decoding time stay
what they are.

A few dozen steps are too few to average that noise out. Short searches replace each rounding by
its expectation under the same distribution, and take small steps where the gradient is small.

The walk over coding steps is the coder's own (``coding.py``), with a third kind of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from laconic.codec.image.coding import LatentCoder
from laconic.codec.image.grids import Place
from laconic.codec.image.layers import distortion
from laconic.codec.image.model import gaussian_bits
from laconic.codec.image.steps import Result, Steps
from laconic.entropy import CdfTables

if TYPE_CHECKING:
    from laconic.codec.image.mlicpp.slices import FactorizedPrior

STEPS = (0, 10, 25, 50, 100, 200, 400, 700, 1200, 2000)  # of the optimiser, by effort
START = 0.5  # temperature
HOLD = 0.35  # share of the steps before the temperature falls
DECAY = 2.0  # of its logarithm over all steps: 0.001 a step for 2,000 steps
EDGE = 1e-5  # arguments of atanh stay this far from 1
RATE = 0.01  # learning rate of Adam, in quantisation steps
SHORT = 25  # searches of at most so many steps see expectations
COOLING = 0.2  # last temperature of a short search, of START
SHORT_BETAS = (0.9, 0.95)
SLOWEST = 0.05  # its last learning rate, of RATE
CHECKS = 8  # evaluations with true rounding on the way, more in long searches:
LONGEST = 50  # steps between two of them


def temperature(progress: float) -> float:
    """Temperature at a share of all steps, 0..1."""
    return START * min(1.0, float(np.exp(-DECAY * (progress - HOLD))))


def choice(x: Tensor) -> tuple[Tensor, Tensor]:
    """Floor of ``x``, and the logits -atanh(distance) of floor and ceiling ``[2, ...]``."""
    low = x.detach().floor()
    fraction = (x - low).clamp(0, 1 - EDGE)
    ceiling = (1 - fraction).clamp_max(1 - EDGE)
    return low, torch.stack((-torch.atanh(fraction), -torch.atanh(ceiling)))


def expected_round(x: Tensor, heat: float) -> Tensor:
    """Expectation of the choice between floor and ceiling at a temperature."""
    low, logits = choice(x)
    return low + (logits / heat).softmax(0)[1]


def annealed_round(x: Tensor, heat: float, generator: torch.Generator) -> Tensor:
    """A relaxed random choice between floor and ceiling."""
    low, logits = choice(x)
    uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float32).to(x)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))
    up = ((logits / heat + gumbel) / heat).softmax(0)[1]
    return low + up


class Relaxed(Steps):
    """Steps that count differentiable bits; values come rounded by ``rounding``."""

    def __init__(self, coder: LatentCoder, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__(coder)
        self.rounding = rounding
        self.bits: list[Tensor] = []

    def gaussian(
        self, value: Tensor | None, mean: Tensor, log_scale: Tensor, place: Place | None = None
    ) -> Tensor:
        assert value is not None
        residual = self.rounding(value - mean)
        low = float(np.exp(self.coder.log_low))
        self.bits.append(gaussian_bits(residual, log_scale, low).sum())
        return residual + mean

    def factorized(
        self,
        value: Tensor | None,
        shape: torch.Size,
        prior: FactorizedPrior,
        tables: CdfTables,
        channels: Sequence[int] | None = None,
    ) -> Tensor:
        assert value is not None
        which = slice(None) if channels is None else list(channels)
        median = prior.medians[which][:, None, None]
        rounded = self.rounding(value - median) + median
        self.bits.append(prior.bits(rounded, which).sum())
        return rounded

    def parallel(self, tasks: Sequence[Callable[[Steps], Result]]) -> list[Result]:
        return [task(self) for task in tasks]

    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        edges = np.asarray(boundaries, dtype=np.float64)
        return np.searchsorted(edges, values.reshape(-1), side="right").astype(np.uint16)

    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
        place: Place | None = None,
    ) -> Tensor:
        raise AssertionError("relaxed steps code nothing")


@dataclass(frozen=True)
class Objective:
    """What is minimised for one tile: bits per pixel + multiplier * distortion.

    ``synthesise`` maps the tile's y_hat to its image, ``target`` is what it should look like.
    """

    coder: LatentCoder  # of the number type that gradients are computed in
    synthesise: Callable[[Tensor], Tensor]
    target: Tensor  # [1, H, W, 3]
    multiplier: float
    quality: float | None
    visual: float = 0.0  # share of MS-SSIM in the distortion

    def loss(self, y: Tensor, z: Tensor | None, rounding: Callable[[Tensor], Tensor]) -> Tensor:
        """Loss of latents under some kind of rounding."""
        steps = Relaxed(self.coder, rounding)
        dtype, device = self.coder.dtype, self.coder.device
        size = (y.shape[1], y.shape[2])
        z = None if z is None else z.to(device).to(dtype)
        y_hat = self.coder.walk(steps, y.to(device).to(dtype), z, size, self.quality)
        error = distortion(self.synthesise(y_hat.float()), self.target, self.visual).mean()
        pixels = self.target.shape[1] * self.target.shape[2]
        bits = torch.stack(steps.bits).sum().float().to(error.device)
        return bits / pixels + self.multiplier * error


@dataclass
class Refined:
    """Best latents found, with the loss before and after, and whether Ctrl-C ended the search."""

    y: Tensor
    z: Tensor | None
    before: float
    after: float
    interrupted: bool = False


Report = Callable[[int, int, float], None]  # step, steps, change of the loss so far (0.03 = -3 %)


def pace(optimiser: torch.optim.Optimizer, progress: float) -> None:
    """Learning rates of a short search, a cosine; at its start also the level below which gradients
    count as small, their root mean square."""
    rate = RATE * (SLOWEST + (1 - SLOWEST) * 0.5 * (1 + math.cos(math.pi * progress)))
    for group in optimiser.param_groups:
        group["lr"] = rate
        if progress == 0:
            (variable,) = group["params"]
            group["betas"] = SHORT_BETAS
            group["eps"] = float(variable.grad.square().mean().sqrt()) + 1e-12


def refine(
    objective: Objective, y: Tensor, z: Tensor | None, effort: int, report: Report | None = None
) -> Refined:
    """Optimise the latents of one tile; never returns worse ones than it was given.

    Ctrl-C ends the search and keeps the best so far.
    """
    steps = STEPS[effort]
    generator = torch.Generator().manual_seed(1)
    variables = [v.detach().clone().requires_grad_() for v in (y, z) if v is not None]
    optimiser = torch.optim.Adam([{"params": [v]} for v in variables], lr=RATE)
    short = steps <= SHORT

    def current() -> tuple[Tensor, Tensor | None]:
        return variables[0], variables[1] if z is not None else None

    def true_loss() -> float:
        with torch.no_grad():
            return float(objective.loss(*current(), torch.round))

    start = true_loss()
    best = Refined(y, z, start, start)
    interval = max(1, min(LONGEST, steps // CHECKS))

    def keep() -> None:
        nonlocal best
        if (now := true_loss()) < best.after:
            kept = [v.detach().clone() for v in variables]
            best = Refined(kept[0], kept[1] if z is not None else None, start, now)

    try:
        with torch.enable_grad():
            for step in range(1, steps + 1):
                progress = (step - 1) / steps
                if short:
                    rounding = partial(expected_round, heat=START * COOLING**progress)
                else:
                    heat = temperature(progress)
                    rounding = partial(annealed_round, heat=heat, generator=generator)
                optimiser.zero_grad()
                loss = objective.loss(*current(), rounding)
                loss.backward()  # type: ignore[no-untyped-call]
                if short:
                    pace(optimiser, progress)
                optimiser.step()
                if step % interval == 0 or step == steps:
                    keep()
                if report is not None:
                    report(step, steps, 1 - best.after / start)
    except KeyboardInterrupt:
        keep()
        best.interrupted = True
    return best
