"""What a chunk costs while it is fitted, which network its bits pay for, and meeting a target size.

The rate is that of the very Gaussians the file will use: mean and deviation of the codes, one
Gaussian a group, predicted from frame to frame for latents. Codes are rounded in the image and in
the count of bits, straight-through; noise in place of rounding claims a tenth of a bit for every
zero, and most codes of a small file are zeros. Zhang et al., arXiv 2402.18152, section 3.4.

Published networks are as wide as the expected size allows. A pyramid starts with the finest step
that takes its share of the bits. At the end the last word has the coder: steps are widened until
the coded bytes fit. Those of a pyramid's latents come first, since weights were fitted to the
places of theirs; those of the published networks go together, and become finer where there is room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.video.channels import BEFORE_BOUNDS, MAX_SYMBOL, PHASES, scale_of
from laconic.codec.video.chunk_module import LATENT, ChunkModule, count_sent
from laconic.codec.video.plan import MAX_WIDTH, Plan, choose_strides
from laconic.codec.video.settings import Aim
from laconic.codec.video.symbols import (
    STEPS_PER_OCTAVE,
    Coded,
    encode_symbols,
    group_of,
    step_index,
    step_size,
)

LOWEST_DEVIATION = scale_of(0)
GRADIENT_DEVIATION = 0.2
LEAST_SPREAD = 0.05  # of weights that start at zero
COARSE_GAIN = 0.5  # octaves a level
SMALLEST_MASS = 2.0**-24
BITS_PER_WEIGHT = {"hnerv": 3.0, "hnerv-boost": 4.0}
NARROWEST = 4
GRID_CHANNELS = (3, 3, 3, 3, 1)  # luma alone at half resolution
GRID_SHARE, GRID_BITS_PER_WEIGHT = 0.25, 3.0
WIDEST_GRID = 24
PLACES = 64  # that a step may be widened
FINER = 16  # places that it may be made finer


class Quantiser(nn.Module):
    """One logarithmic step for every group of weights and every latent tensor of a video."""

    def __init__(self, module: ChunkModule) -> None:
        super().__init__()
        sent = module.sent()
        self.group = {
            name: name if name.startswith(LATENT) else group_of(name, p.shape)
            for name, p in sent.items()
        }
        keys = list(dict.fromkeys(self.group.values()))
        self.place = {key: i for i, key in enumerate(keys)}
        self.log_steps = nn.Parameter(torch.zeros(len(keys)))
        self.models: dict[str, LatentModel] = {}

    @torch.no_grad()
    def start(
        self, module: ChunkModule, levels: float, weights: bool = True, latents: bool = True
    ) -> None:
        """Steps from the spread of every group: eight deviations span ``levels`` of them."""
        members: dict[str, list[Tensor]] = {}
        for name, p in module.sent().items():
            if latents if name.startswith(LATENT) else weights:
                members.setdefault(self.group[name], []).append(p.flatten())
        for key, parts in members.items():
            spread = max(float(torch.cat(parts).std(correction=0)), LEAST_SPREAD)
            self.log_steps[self.place[key]] = math.log2(8 * spread / levels)

    @torch.no_grad()
    def start_pyramid(self, finest: float, module: ChunkModule) -> None:
        """Steps of a pyramid's latents: ``finest`` at half resolution, less below.

        An error at a coarse level spreads over more pixels, but finer levels mend part of it.
        """
        names = [name for name in module.sent() if name.startswith(LATENT)]
        for level, name in enumerate(reversed(names)):
            self.log_steps[self.place[name]] = math.log2(finest) - COARSE_GAIN * level

    def steps(self) -> Tensor:
        """Step of every group, ``[G]``, on the grid that files have."""
        grid = rounded(self.log_steps * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE
        return torch.exp2(grid)

    def step(self, name: str) -> Tensor:
        """Step of one tensor, a scalar."""
        return self.steps()[self.place[self.group[name]]]

    def weights(self, module: ChunkModule) -> tuple[dict[str, Tensor], Tensor]:
        """Rounded weights by name (straight-through), and the bits of all of them."""
        steps = self.steps()
        members: dict[str, list[Tensor]] = {}
        values: dict[str, Tensor] = {}
        for name, p in module.sent().items():
            if name.startswith(LATENT):
                continue
            step = steps[self.place[self.group[name]]]
            code = p / step
            values[name] = rounded(code) * step
            members.setdefault(self.group[name], []).append(code.flatten())
        total = self.log_steps.new_zeros(())
        for parts in members.values():
            joined = torch.cat(parts)
            total = total + gaussian_bits(joined, joined.mean(), joined.std(correction=0))
        return values, total

    @torch.no_grad()
    def survey(self, module: ChunkModule) -> None:
        """Measure how latents are predicted, from all frames; needed before ``latents``."""
        self.models = {
            name: LatentModel.of((p / self.step(name)).round())
            for name, p in module.sent().items()
            if name.startswith(LATENT)
        }

    def latents(
        self, name: str, row: Tensor, before: Tensor | None, after: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One frame's latents of one tensor: rounded values, its bits, bits of the next frame.

        Args:
            row: ``[1, C, h, w]``, with gradient.
            before, after: latents of the frames beside it, None at the ends of the chunk.
        """
        step, model = self.step(name), self.models[name]
        code = row / step
        if before is None:
            own = gaussian_bits(code, model.first_mean, model.first_deviation)
        else:
            code_before = (before / step).detach().round()
            mean = model.share * code_before + model.mean
            own = gaussian_bits(code, mean, model.deviation(code_before))
        following = own.new_zeros(())
        if after is not None:
            mean = model.share * code + model.mean
            code_after = (after / step).detach().round()
            following = gaussian_bits(code_after, mean, model.deviation(code.detach().round()))
        return rounded(code) * step, own, following

    @torch.no_grad()
    def widen(self, octaves: float) -> None:
        """Make all steps wider, or finer."""
        self.log_steps.add_(octaves)

    @torch.no_grad()
    def integers(self, module: ChunkModule, places: Mapping[str, int] | None = None) -> Coded:
        """What is written: steps on their grid, parameters rounded.

        Args:
            places: on that grid that the steps of some groups are wider, or finer if negative.
        """
        wider = places or {}
        indexes = {}
        for key, place in self.place.items():
            octaves = float(self.log_steps[place]) + wider.get(key, 0) / STEPS_PER_OCTAVE
            indexes[key] = step_index(2**octaves)
        weights: dict[str, NDArray[np.int32]] = {}
        latents: dict[str, NDArray[np.int32]] = {}
        for name, p in module.sent().items():
            size = step_size(indexes[self.group[name]])
            codes = np.rint(p.double().cpu().numpy() / size)
            symbols = codes.clip(-MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
            (latents if name.startswith(LATENT) else weights)[name] = symbols
        return Coded(weights, latents, indexes)


def gaussian_bits(codes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Bits of codes under a Gaussian integrated over unit bins (arXiv 2402.18152, eq. 8).

    The value is that of the rounded codes, the gradient that of the codes as they are, under a
    Gaussian no narrower than `GRADIENT_DEVIATION`: where all codes are zero, a code that grows
    towards one has to feel what a one costs.
    """
    with torch.no_grad():
        value = _bits(codes.round(), mean, deviation.clamp_min(LOWEST_DEVIATION))
    smooth = _bits(codes, mean, deviation.clamp_min(GRADIENT_DEVIATION))
    return smooth + (value - smooth).detach()


def _bits(codes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    scale = (deviation * math.sqrt(2)).reciprocal()
    x = (codes - mean).abs()
    mass = 0.5 * (torch.erfc((x - 0.5) * scale) - torch.erfc((x + 0.5) * scale))
    return -(mass.clamp_min(0) + SMALLEST_MASS).log2().sum()


@dataclass
class LatentModel:
    """Gaussians of one latent tensor's channels, ``[1, C, 1, 1]`` each, in steps."""

    first_mean: Tensor
    first_deviation: Tensor
    share: Tensor  # of the latent before, in quarters as files have it
    mean: Tensor
    deviations: list[Tensor]  # by activity around the place in the frame before

    @classmethod
    def of(cls, codes: Tensor) -> LatentModel:
        """From the rounded codes ``[N, C, h, w]`` of all frames."""
        axes = (0, 2, 3)
        first = codes[:1].mean(axes, True), codes[:1].std(axes, correction=0, keepdim=True)
        if codes.shape[0] == 1:
            return cls(*first, torch.zeros_like(first[0]), first[0], [first[1]])
        now, before = codes[1:], codes[:-1]
        centred = before - before.mean(axes, keepdim=True)
        power = centred.square().sum(axes, keepdim=True).clamp_min(1e-9)
        share = (now * centred).sum(axes, keepdim=True) / power
        share = (share * PHASES).round().clamp(0, PHASES) / PHASES
        residual = now - share * before
        mean = residual.mean(axes, keepdim=True)
        squares, grades = (residual - mean).square(), activity(before)
        deviations = []
        for grade in range(len(BEFORE_BOUNDS) + 1):
            chosen = (grades == grade).float()
            members = chosen.sum(axes, keepdim=True)
            variance = (squares * chosen).sum(axes, keepdim=True) / members.clamp_min(1)
            deviations.append(variance.sqrt())
        return cls(*first, share, mean, deviations)

    def state(self) -> Tensor:
        """All numbers in one tensor, ``[4 + grades, C]``."""
        parts = [self.first_mean, self.first_deviation, self.share, self.mean, *self.deviations]
        return torch.stack([part.flatten() for part in parts])

    @classmethod
    def restored(cls, state: Tensor) -> LatentModel:
        """From :meth:`state`."""
        first_mean, first_deviation, share, mean, *deviations = state[:, None, :, None, None]
        return cls(first_mean, first_deviation, share, mean, deviations)

    def deviation(self, before: Tensor) -> Tensor:
        """Of each residual, from the rounded codes of the frame before, ``[1, C, h, w]``."""
        grades = activity(before)
        found = torch.zeros_like(before)
        for grade, deviation in enumerate(self.deviations):
            found += (grades == grade) * deviation
        return found


def activity(before: Tensor) -> Tensor:
    """Grade of the magnitudes around each place, as in `symbols`: ``[B, C, h, w]``."""
    sums = 9 * F.avg_pool2d(before.abs(), 3, 1, 1)
    bounds = before.new_tensor(BEFORE_BOUNDS) - 0.5
    return torch.bucketize(sums, bounds)


def rounded(codes: Tensor) -> Tensor:
    """Nearest integers, with the gradient of the identity."""
    return codes + (codes.round() - codes).detach()


def plan_network(network: str, aim: Aim, frames: int, rows: int, columns: int) -> Plan:
    """The plan for a chunk of ``frames`` images.

    The published networks are as wide as the expected size allows at the bits that a fitted weight
    takes; grids get a share of the bits for weights, the rest goes to latents.
    """
    pixels = frames * rows * columns
    if network == "grids":
        return _plan_grids(aim.bpp * pixels, frames, rows, columns)
    strides = choose_strides(rows, columns)
    budget = aim.bpp * pixels / BITS_PER_WEIGHT[network]
    low, high = NARROWEST, MAX_WIDTH
    while low < high:
        middle = (low + high + 1) // 2
        plan = Plan(network, middle, strides, frames, rows, columns)
        if count_sent(plan) <= budget:
            low = middle
        else:
            high = middle - 1
    return Plan(network, low, strides, frames, rows, columns)


def _plan_grids(bits: float, frames: int, rows: int, columns: int) -> Plan:
    levels = min(len(GRID_CHANNELS), max(1, math.floor(math.log2(min(rows, columns) + 1)) - 1))
    weights = GRID_SHARE * bits / GRID_BITS_PER_WEIGHT
    width = round(math.sqrt(weights / (18 * levels)))  # two 3 x 3 convolutions a level
    width = min(max(width, NARROWEST), WIDEST_GRID)
    return Plan("grids", width, GRID_CHANNELS[-levels:], frames, rows, columns)


def finest_step(limit: float, bits: Callable[[float], float]) -> float:
    """The finest step between 2^-10 and 1, to a quarter of an octave, at which ``bits`` of it are
    at most ``limit``; 1 if none is."""
    low, high = -10.0, 0.0  # octaves
    while high - low > 0.25:
        middle = (low + high) / 2
        low, high = (low, middle) if bits(2**middle) <= limit else (middle, high)
    return float(2**high)


def within(
    limit: int, integers: Callable[[Mapping[str, int]], Coded], groups: Sequence[Sequence[str]], *,
    finer: bool,
) -> Coded:  # fmt: skip
    """The finest integers whose stream has at most ``limit`` bytes, or the coarsest there are.

    One step is changed by one place at a time, so that the smallest change is a small part of the
    bytes.

    Args:
        integers: those of steps widened by so many places, by name.
        groups: names of steps; those of a group are widened alike, one group after the other.
        finer: make the steps of the first group finer where there is room.
    """

    def places(number: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for n, keys in enumerate(groups):
            own = min(number if n == 0 else max(number, 0), PLACES * len(keys))
            each, rest = divmod(own, len(keys))
            found |= {key: each + (i < rest) for i, key in enumerate(keys)}
            number -= max(own, 0)
        return found

    def fits(number: int) -> bool:
        return len(encode_symbols(integers(places(number)))[0]) <= limit

    low = -FINER * len(groups[0]) if finer else 0
    if fits(low):
        return integers(places(low))
    high = PLACES * sum(map(len, groups))
    while high - low > 1:  # the least widening that fits lies above low
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return integers(places(high))
