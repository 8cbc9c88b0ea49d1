"""Per-image refinement of latents: mean-field annealing, after the "+" of MLICv2+.

The encoder's y and z are where a network trained on other images puts them. Here they are
optimised for this image on bits + lambda * error. Stochastic Gumbel annealing (Yang, Bamler and
Mandt, "Improving Inference for Neural Image Compression", NeurIPS 2020, arXiv 2006.04240; MLICv2,
arXiv 2504.19119, section 3.5) replaces each rounding by a random choice between floor and ceiling
that becomes certain as the temperature falls. Its noise takes thousands of steps to average out.
This search sees the expectation of that choice in place of samples: values are expectations, and
so, for one half, are bits, which keeps a value between two symbols from looking cheaper than
both. What the choice adds to the error is its variance times half the curvature of the error:
without it undecided values look better than they are, and long searches drift away from good
latents.

Most of a step is the synthesis and its gradient, and the error is nearly a quadratic function of
the latents. So only every few steps compute it; those between take it from the last gradient and
the curvature of each channel, which one more gradient measures.

Only the encoder changes: streams and decoding time stay what they are. The walk over coding steps
is the coder's own (``coding.py``), with a third kind of steps.
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

STEPS = (0, 8, 20, 40, 60, 100, 150, 200, 300, 400)  # of the optimiser, by effort
PERIOD = 4  # steps for one synthesis
START, END = 0.5, 0.1  # temperature
EDGE = 1e-5  # arguments of atanh stay this far from 1
RATE = 0.03  # learning rate of Adam, in quantisation steps, of searches of at most
FEW = 60  # steps; in longer ones it falls with the square root of their number
SLOWEST = 0.05  # the last learning rate, of the first
BETAS = (0.9, 0.95)
PROBE = 0.1  # quantisation steps between the two gradients that give the curvature
CHECKS = 6  # evaluations with true rounding on the way


def choice(x: Tensor, heat: float) -> tuple[Tensor, Tensor]:
    """Floor of ``x``, and the probability of its ceiling at a temperature: softmax of
    -atanh(distance) / heat."""
    low = x.detach().floor()
    fraction = (x - low).clamp(EDGE, 1 - EDGE)
    odds = (torch.atanh(1 - fraction) - torch.atanh(fraction)) / heat
    return low, torch.sigmoid(-odds)


def expected_round(x: Tensor, heat: float) -> Tensor:
    """Expectation of the choice between floor and ceiling at a temperature."""
    low, up = choice(x, heat)
    return low + up


class Relaxed(Steps):
    """Steps that count differentiable bits; values come rounded by ``rounding``."""

    def __init__(self, coder: LatentCoder, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__(coder)
        self.rounding = rounding
        self.bits: list[Tensor] = []

    def rounded(
        self, residual: Tensor, bits: Callable[[Tensor], Tensor], leading: bool = False
    ) -> Tensor:
        """Rounded values, their bits counted by ``bits``. ``leading`` says that they are z,
        if there is one."""
        found = self.rounding(residual)
        self.bits.append(bits(found).sum())
        return found

    def gaussian(
        self, value: Tensor | None, mean: Tensor, log_scale: Tensor, place: Place | None = None
    ) -> Tensor:
        assert value is not None
        low = float(np.exp(self.coder.log_low))
        bits = partial(gaussian_bits, log_scale=log_scale, scale_low=low)
        leading = place is not None and place.name == "z"
        return self.rounded(value - mean, bits, leading) + mean

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
        return self.rounded(value - median, lambda v: prior.bits(v + median, which), True) + median

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


class MeanField(Relaxed):
    """Steps whose values are expectations of the choice between floor and ceiling; ``hyper`` says
    whether there is a z beside y."""

    def __init__(self, coder: LatentCoder, heat: float, hyper: bool) -> None:
        super().__init__(coder, partial(expected_round, heat=heat))
        self.heat, self.hyper = heat, hyper
        self.variances: list[Tensor] = []  # sums over y

    def rounded(
        self, residual: Tensor, bits: Callable[[Tensor], Tensor], leading: bool = False
    ) -> Tensor:
        low, up = choice(residual, self.heat)
        expected = up * bits(low + 1) + (1 - up) * bits(low)
        self.bits.append(0.5 * (expected + bits(low + up)).sum())
        if not (leading and self.hyper):
            self.variances.append((up * (1 - up)).sum())
        return low + up


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

    def walk(self, steps: Relaxed, y: Tensor, z: Tensor | None) -> tuple[Tensor, Tensor]:
        """y_hat ``[1, H, W, M]`` of latents, and the bits per pixel that ``steps`` counted."""
        dtype, device = self.coder.dtype, self.coder.device
        size = (y.shape[1], y.shape[2])
        z = None if z is None else z.to(device).to(dtype)
        y_hat = self.coder.walk(steps, y.to(device).to(dtype), z, size, self.quality).float()
        return y_hat, torch.stack(steps.bits).sum().float() / self.pixels

    def error(self, y_hat: Tensor) -> Tensor:
        """multiplier * distortion."""
        found = distortion(self.synthesise(y_hat), self.target, self.visual).mean()
        return self.multiplier * found

    def slope(self, y_hat: Tensor) -> Tensor:
        """Gradient of :meth:`error`."""
        leaf = y_hat.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.error(leaf), leaf)
        return slope

    @property
    def pixels(self) -> int:
        return self.target.shape[1] * self.target.shape[2]

    @torch.no_grad()
    def loss(self, y: Tensor, z: Tensor | None) -> float:
        """Loss of latents with true rounding."""
        y_hat, bits = self.walk(Relaxed(self.coder, torch.round), y, z)
        return float(bits) + float(self.error(y_hat))


class Local:
    """A quadratic function that the error follows near some y_hat."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.curvature: Tensor | None = None  # [1, 1, 1, M]

    def renew(self, y_hat: Tensor) -> None:
        """Take the slope at another y_hat; the curvature is measured once."""
        self.centre, self.slope = y_hat.detach(), self.objective.slope(y_hat)
        if self.curvature is None:
            generator = torch.Generator().manual_seed(1)
            signs = torch.randint(0, 2, y_hat.shape, generator=generator).to(y_hat) * 2 - 1
            change = self.objective.slope(self.centre + PROBE * signs) - self.slope
            self.curvature = (change * signs / PROBE).mean((0, 1, 2), keepdim=True).clamp_min(0)

    def error(self, y_hat: Tensor, variance: Tensor) -> Tensor:
        """Error up to a constant, with what the summed variance of y adds to it."""
        assert self.curvature is not None
        far = y_hat - self.centre
        bend = (self.curvature * far.square()).sum() + self.curvature.mean() * variance
        return (self.slope * far).sum() + 0.5 * bend


@dataclass
class Refined:
    """Best latents found, with the loss before and after, and whether Ctrl-C ended the search."""

    y: Tensor
    z: Tensor | None
    before: float
    after: float
    interrupted: bool = False


Report = Callable[[int, int, float], None]  # step, steps, change of the loss so far (0.03 = -3 %)


def pace(optimiser: torch.optim.Optimizer, steps: int, progress: float) -> None:
    """Learning rates, a cosine; at the start also the level below which gradients count as small,
    their root mean square."""
    rate = RATE * min(1.0, math.sqrt(FEW / steps))
    rate *= SLOWEST + (1 - SLOWEST) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimiser.param_groups:
        group["lr"] = rate
        if progress == 0:
            (variable,) = group["params"]
            group["eps"] = float(variable.grad.square().mean().sqrt()) + 1e-12


def refine(
    objective: Objective, y: Tensor, z: Tensor | None, effort: int, report: Report | None = None
) -> Refined:
    """Optimise the latents of one tile; never returns worse ones than it was given.

    Ctrl-C ends the search and keeps the best so far.
    """
    steps = STEPS[effort]
    variables = [v.detach().clone().requires_grad_() for v in (y, z) if v is not None]
    optimiser = torch.optim.Adam([{"params": [v]} for v in variables], lr=RATE, betas=BETAS)
    local = Local(objective)

    def current() -> tuple[Tensor, Tensor | None]:
        return variables[0], variables[1] if z is not None else None

    start = objective.loss(y, z)
    best = Refined(y, z, start, start)
    interval = max(1, steps // CHECKS)

    def keep() -> None:
        nonlocal best
        if (now := objective.loss(*current())) < best.after:
            kept = [v.detach().clone() for v in variables]
            best = Refined(kept[0], kept[1] if z is not None else None, start, now)

    try:
        with torch.enable_grad():
            for step in range(1, steps + 1):
                progress = (step - 1) / max(1, steps - 1)
                heat = START * (END / START) ** progress
                relaxed = MeanField(objective.coder, heat, z is not None)
                optimiser.zero_grad()
                y_hat, bits = objective.walk(relaxed, *current())
                if (step - 1) % PERIOD == 0:
                    local.renew(y_hat)
                variance = torch.stack(relaxed.variances).sum().to(y_hat)
                loss = bits.to(y_hat) + local.error(y_hat, variance)
                loss.backward()  # type: ignore[no-untyped-call]
                pace(optimiser, steps, progress)
                optimiser.step()
                if (steps - step) % interval == 0:
                    keep()
                if report is not None:
                    report(step, steps, 1 - best.after / start)
    except KeyboardInterrupt:
        keep()
        best.interrupted = True
    return best
