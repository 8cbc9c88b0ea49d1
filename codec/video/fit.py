"""Fitting one chunk: frames in memory, a schedule in steps, a state that survives kill -9.

First weights and latents are free and only the image counts; then codes are rounded, rate is
paid and steps are learned. With a target size the price of a bit is steered until the estimate
meets it, and the last word has the coder (`budget`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from laconic.codec import devices
from laconic.codec.video.budget import (
    LatentModel,
    Quantiser,
    finest_step,
    plan_network,
    rounded,
    within,
)
from laconic.codec.video.chunk_module import LATENT, ChunkModule, count_sent
from laconic.codec.video.plan import Plan
from laconic.codec.video.settings import PRESETS, RECIPES, Aim, FitSettings, Recipe, check_frames
from laconic.codec.video.symbols import Coded, encode_symbols
from laconic.codec.video.training import LOSSES, Adan, FrameDescent, arrays_of, load_arrays, squared
from laconic.formats.errors import ParameterError

Progress = Callable[[int, int], None]
Status = Callable[[str], None]
Stop = Callable[[], bool]

WARM_UP = 0.1
STEP_RATE = 5.0  # learning rate of logarithmic steps, as a multiple of that of weights
STEER_EVERY, STEERING = 10, 0.15  # steps between corrections, exponent of one
CALIBRATIONS, CALIBRATION_RANGE = 20, 1.5  # in a fit; the factor they may find
FURTHEST = 8.0  # that a price may be from the one expected at the target
SURVEY_EVERY = 25
STATUS_EVERY = 50
LATENT_SHARE = 0.8  # of the target, when a pyramid starts
TRAVEL, FURTHEST_MOVE = 6.0, 0.1  # steps that latents move in all updates together, in one
MARGIN = 0.95  # share of the target that the estimate is steered to
DRIFT, FURTHEST_DRIFT = 0.6, 0.25  # share of the steps, octaves of one correction
DRIFT_CALIBRATIONS, DRIFT_MARGIN = 100, 0.99  # weights know their steps: none may change at the end


class Fit:
    """A resumable fit of one chunk.

    Args:
        frames: uint8 ``[N, H, W, 3]``, RGB, at least one.
        settings: what to fit.
        init: :meth:`warm` of the chunk before, ignored where shapes differ.
        recipe: how to fit, by default the best known for the network.
        plan: which network, by default chosen from the settings.

    Raises:
        ParameterError: the frames are not as described.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        settings: FitSettings,
        init: Mapping[str, Any] | None = None,
        recipe: Recipe | None = None,
        plan: Plan | None = None,
    ) -> None:
        check_frames(frames)
        self.settings, self.recipe = settings, recipe or RECIPES[settings.network]
        count, rows, columns = frames.shape[:3]
        self.pixels = count * rows * columns
        self.aim = Aim.of(settings, self.pixels)
        self.plan = plan or plan_network(settings.network, self.aim, count, rows, columns)
        self.device = devices.device(settings.device)
        self.frames = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        self.generator = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.module = ChunkModule(self.plan, encoder=True)
        self.module.to(self.device)
        self.module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.quantiser = Quantiser(self.module).to(self.device)
        if init is not None:
            self.module.load_matching(init)
        self.steps = PRESETS[settings.preset]
        self.switch = round(self.recipe.quantise_from * self.steps)
        self.weights_switch = round(self.recipe.weights_from * self.steps)
        visits = (self.steps - self.switch) / self.plan.frames
        self.travel = min(TRAVEL / visits, FURTHEST_MOVE)
        self.step = 0
        self.trade, self.correction, self.calibration = self.aim.trade, 1.0, 1.0
        self.error = 0.0  # running mean of the squared error
        self.begun = 0.0  # bits per pixel when rounding began
        self.drifts = settings.network != "grids"  # nearly all bits are of weights
        self.sent = count_sent(self.plan)
        self.bpp = 0.0
        self._order: list[int] = []
        self.frame_optimisers = [FrameDescent(stored.data) for stored in self.module.latents]
        self.optimiser = self._optimiser()

    @property
    def quantised(self) -> bool:
        """Whether rate is paid already."""
        return self.step > self.switch or self.switch == 0 < self.step

    def _optimiser(self) -> torch.optim.Optimizer:
        """For everything but latents, which `FrameDescent` moves."""
        named = self.module.named_parameters()
        weights = [p for name, p in named if not name.startswith(LATENT)]
        groups = [
            {"params": weights, "times": 1.0},
            {"params": [self.quantiser.log_steps], "times": STEP_RATE},
        ]
        if self.recipe.optimiser == "adan":
            return Adan(groups, lr=self.recipe.rate)
        return torch.optim.Adam(groups, lr=self.recipe.rate)

    def _schedule(self) -> float:
        """Learning rate: linear warm-up, then half a cosine."""
        share = self.step / self.steps
        if share < WARM_UP:
            return self.recipe.rate * (0.1 + 0.9 * share / WARM_UP)
        return self.recipe.rate * 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))

    def _batch(self, size: int) -> Tensor:
        count = self.frames.shape[0]
        chosen = []
        for _ in range(min(size, count)):
            if not self._order:
                self._order = torch.randperm(count, generator=self.generator).tolist()
            chosen.append(self._order.pop())
        return torch.tensor(chosen, device=self.device)

    def _targets(self, indexes: Tensor) -> Tensor:
        """Frames ``[B, 3, H, W]`` in 0..1."""
        return self.frames[indexes].permute(0, 3, 1, 2).float() / 255

    def _padded(self, frames: Tensor) -> Tensor:
        rows, columns = self.module.padded
        below, right = rows - frames.shape[2], columns - frames.shape[3]
        return F.pad(frames, (0, right, 0, below), mode="replicate")

    def _one_step(self) -> None:
        if self.step == self.switch:
            self._start_quantising()
        if self.step == self.weights_switch > self.switch:
            self.quantiser.start(self.module, self.recipe.levels, latents=False)
        rate = self._schedule()
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["times"]
        self.optimiser.zero_grad(set_to_none=True)
        if self.step < self.switch:
            self._free_step()
        else:
            self._quantised_step(rate)
        self.optimiser.step()
        self.step += 1

    def _free_step(self) -> None:
        """Encoder and decoder learn the image; nothing is rounded."""
        indexes = self._batch(self.recipe.batch)
        target = self._targets(indexes)
        frames = self.module(indexes, self.module.encode(self._padded(target)))
        loss, _ = self._distortion(frames, target)
        loss.backward()

    def _quantised_step(self, rate: float) -> None:
        """One frame's latents and all weights, rounded, with their rate.

        The gradient of the frame's latents is complete: its image, its own bits and the bits of
        the next frame, which is predicted from it.
        """
        if (self.step - self.switch) % SURVEY_EVERY == 0:
            self.quantiser.survey(self.module)
        indexes = self._batch(1)
        t = int(indexes[0])
        target = self._targets(indexes)
        values, weight_bits = self._weights()
        rows, rounded_rows = [], []
        own = following = weight_bits.new_zeros(())
        for i, stored in enumerate(self.module.latents):
            row = stored[t : t + 1].detach().requires_grad_()
            before = stored[t - 1 : t].detach() if t else None
            after = stored[t + 1 : t + 2].detach() if t + 1 < stored.shape[0] else None
            value, bits, next_bits = self.quantiser.latents(f"{LATENT}{i}", row, before, after)
            rows.append(row)
            rounded_rows.append(value)
            own, following = own + bits, following + next_bits
        frames = functional_call(self.module, values, (indexes, rounded_rows))
        loss, error = self._distortion(frames, target)
        count = self.plan.frames
        # The rate is weighed against squared error; other losses are brought to its size, and to
        # how fast they fall with it.
        scale = self.recipe.power
        if self.recipe.loss != "squared":
            scale *= float(loss.detach()) / max(error, 1e-9)
        paid = weight_bits + count * (own + following)
        (loss + self.trade * scale / self.pixels * paid).backward()
        travel = self.travel * rate / self.recipe.rate
        for i, (row, optimiser) in enumerate(zip(rows, self.frame_optimisers, strict=True)):
            assert row.grad is not None
            size = float(self.quantiser.step(f"{LATENT}{i}").detach())
            optimiser.step(t, row.grad[0], travel * size)
        self._steer(float(weight_bits.detach() + count * own.detach()) / self.pixels)

    def _weights(self) -> tuple[dict[str, Tensor], Tensor]:
        """Weights as the image sees them, and their bits: expected ones while they are free."""
        if self.step < self.weights_switch:
            free = {n: p for n, p in self.module.sent().items() if not n.startswith(LATENT)}
            bits = (1 - LATENT_SHARE) * self.aim.bpp * self.pixels
            return free, next(iter(free.values())).new_tensor(bits)
        return self.quantiser.weights(self.module)

    def _distortion(self, frames: Tensor, target: Tensor) -> tuple[Tensor, float]:
        """The loss, and the squared error of clipped frames."""
        frames = frames[..., : target.shape[2], : target.shape[3]]
        loss = LOSSES[self.recipe.loss](frames, target)
        error = float(squared(frames.detach().clamp(0, 1), target))
        self.error = self.error + 0.05 * (error - self.error) if self.error else error
        return loss, error

    def _steer(self, bpp: float) -> None:
        self.bpp = bpp if not self.bpp else self.bpp + 0.05 * (bpp - self.bpp)
        if self.step % STEER_EVERY:
            return
        target = self.aim.target_bytes
        if target is not None:
            times = CALIBRATIONS if not self.drifts else DRIFT_CALIBRATIONS
            if self.step % max(STEER_EVERY, self.steps // times) < STEER_EVERY:
                self._calibrate()
            if not self.drifts:
                ratio = self.calibration * self.bpp * self.pixels / 8 / (MARGIN * target)
                self.correction *= min(max(ratio, 0.5), 2.0) ** STEERING
                self.correction = min(max(self.correction, 1 / FURTHEST), FURTHEST)
            self.trade = 0.7 * self.error / self.aim.bpp * self.correction
        if self.drifts:
            self._drift(bpp)

    def _drift(self, bpp: float) -> None:
        """Lead all steps together from where rounding began to the bits aimed at, and hold them.

        The gradient alone moves them by two or three octaves in a whole fit; it chooses which steps
        are wider than others.
        """
        self.begun = self.begun or bpp
        share = (self.step - self.switch) / (DRIFT * (self.steps - self.switch))
        aimed = self.begun + min(share, 1.0) * (DRIFT_MARGIN * self.aim.bpp - self.begun)
        excess = (self.calibration * bpp - aimed) * self.pixels / self.sent
        self.quantiser.widen(min(max(0.5 * excess, -FURTHEST_DRIFT), FURTHEST_DRIFT))

    def _calibrate(self) -> None:
        """What the coder makes of an estimated bit, once weights are rounded too."""
        if self.step > self.weights_switch:
            coded = 8 * len(encode_symbols(self.quantiser.integers(self.module))[0])
            ratio = coded / max(self.bpp * self.pixels, 1)
            self.calibration = min(max(ratio, 1 / CALIBRATION_RANGE), CALIBRATION_RANGE)

    @torch.no_grad()
    def _start_quantising(self) -> None:
        for index in range(self.plan.frames):
            indexes = torch.tensor([index], device=self.device)
            found = self.module.encode(self._padded(self._targets(indexes)))
            for stored, latent in zip(self.module.latents, found, strict=True):
                stored[index] = latent[0]
        self.quantiser.start(self.module, self.recipe.levels)
        if self.settings.network == "grids":
            self.quantiser.start_pyramid(self._first_step(), self.module)
        self.bpp = 0.0
        if self.aim.target_bytes is not None:
            self.error = self._mean_error()
            self.trade = 0.7 * self.error / self.aim.bpp

    def _first_step(self) -> float:
        """Step of the finest latents with which a pyramid takes its share of the bits."""
        if self.aim.target_bytes is None:
            # Squared error step^2 / 12 falls by 2 ln 2 times itself with each bit.
            return math.sqrt(6 * self.aim.trade / math.log(2))

        def bits(step: float) -> float:
            self.quantiser.start_pyramid(step, self.module)
            return encode_symbols(replace(self.quantiser.integers(self.module), weights={}))[1]

        return finest_step(LATENT_SHARE * self.aim.target_bytes * 8, bits)

    def _mean_error(self) -> float:
        """Squared error over a few frames of what would be decoded now."""
        values, _ = self._weights()
        count = self.plan.frames
        errors = []
        for index in sorted({0, count // 2, count - 1}):
            indexes = torch.tensor([index], device=self.device)
            rows = [
                rounded(stored[index : index + 1] / self.quantiser.step(f"{LATENT}{i}"))
                * self.quantiser.step(f"{LATENT}{i}")
                for i, stored in enumerate(self.module.latents)
            ]
            frames = functional_call(self.module, values, (indexes, rows))
            target = self._targets(indexes)
            frames = frames[..., : target.shape[2], : target.shape[3]]
            errors.append(float(squared(frames.detach().clamp(0, 1), target)))
        return sum(errors) / len(errors)

    def run(
        self,
        seconds: float | None = None,
        progress: Progress | None = None,
        status: Status | None = None,
        stop: Stop | None = None,
    ) -> bool:
        """Work until done, or until the slice of time is over or ``stop()`` is true.

        Returns:
            whether the fit is finished.
        """
        begun, first = time.monotonic(), self.step
        while self.step < self.steps:
            self._one_step()
            spent = time.monotonic() - begun
            if progress is not None:
                progress(self.step, self.steps)
            if status is not None and self.step % STATUS_EVERY == 0:
                left = spent / (self.step - first) * (self.steps - self.step)
                bpp = f"{self.bpp:.4f} bpp, " if self.bpp else ""
                status(f"{-10 * math.log10(max(self.error, 1e-10)):.2f} dB, {bpp}{left:.0f} s left")
            if (seconds is not None and spent >= seconds) or (stop is not None and stop()):
                break
        return self.step >= self.steps

    def coded(self) -> Coded:
        """The integers of the best stream so far; within the target if there is one."""
        if not self.quantised:
            self._start_quantising()
        if self.step < self.weights_switch:
            self.quantiser.start(self.module, self.recipe.levels, latents=False)
        if self.aim.target_bytes is None:
            return self.quantiser.integers(self.module)
        keys = list(self.quantiser.place)
        latents = [key for key in keys if key.startswith(LATENT)]
        weights = [key for key in keys if not key.startswith(LATENT)]
        return within(
            self.aim.target_bytes - len(self.plan.to_bytes()),
            partial(self.quantiser.integers, self.module),
            [keys] if self.drifts else [latents, weights],
            finer=self.drifts,
        )

    def payload(self) -> bytes:
        """The chunk as a self-contained payload.

        Raises:
            ParameterError: not even the coarsest steps fit in the target.
        """
        data = self.plan.to_bytes() + encode_symbols(self.coded())[0]
        target = self.aim.target_bytes
        if target is not None and len(data) > target:
            raise ParameterError(
                f"{self.frames.shape[0]} frames need at least {len(data)} bytes: the target is"
                f" {target}"
            )
        return data

    def warm(self) -> dict[str, Any]:
        """Weights that the next chunk may start from, by name."""
        return self.module.arrays()

    def state(self) -> dict[str, Any]:
        """Everything needed to go on: arrays and plain values, see :meth:`resume`."""
        saved: dict[str, Any] = {
            "plan": [self.plan.width, *self.plan.stages],
            "step": self.step,
            "trade": self.trade,
            "correction": self.correction,
            "calibration": self.calibration,
            "error": self.error,
            "bpp": self.bpp,
            "begun": self.begun,
            "order": list(self._order),
            "recipe": asdict(self.recipe),
            "generator": self.generator.get_state().numpy().copy(),
            "log_steps": self.quantiser.log_steps.detach().cpu().numpy().copy(),
        }
        saved |= {f"film/{name}": array for name, array in self.module.arrays().items()}
        saved |= arrays_of(self.optimiser)
        for name, model in self.quantiser.models.items():
            saved[f"model/{name}"] = model.state().cpu().numpy().copy()
        for place, frame_optimiser in enumerate(self.frame_optimisers):
            for key, tensor in frame_optimiser.state().items():
                saved[f"frames/{place}/{key}"] = tensor.cpu().numpy().copy()
        return saved

    @classmethod
    def resume(
        cls, frames: NDArray[np.uint8], settings: FitSettings, state: Mapping[str, Any]
    ) -> Fit:
        """A fit that goes on where :meth:`state` was taken, to the same result."""
        width, *stages = state["plan"]
        count, rows, columns = frames.shape[:3]
        plan = Plan(settings.network, int(width), tuple(map(int, stages)), count, rows, columns)
        fit = cls(frames, settings, recipe=Recipe(**state["recipe"]), plan=plan)
        fit.step, fit.trade = int(state["step"]), float(state["trade"])
        fit.correction = float(state["correction"])
        fit.calibration = float(state["calibration"])
        fit.error, fit.bpp = float(state["error"]), float(state["bpp"])
        fit.begun = float(state.get("begun", 0.0))
        fit._order = [int(i) for i in state["order"]]
        fit.generator.set_state(torch.from_numpy(np.asarray(state["generator"])))
        with torch.no_grad():
            fit.quantiser.log_steps.copy_(torch.from_numpy(np.asarray(state["log_steps"])))
            for place, frame_optimiser in enumerate(fit.frame_optimisers):
                for key, tensor in frame_optimiser.state().items():
                    tensor.copy_(torch.from_numpy(np.asarray(state[f"frames/{place}/{key}"])))
        fit.module.load_matching(
            {k.removeprefix("film/"): v for k, v in state.items() if k.startswith("film/")}
        )
        for name, value in state.items():
            if name.startswith("model/"):
                restored = torch.from_numpy(np.asarray(value).copy()).to(fit.device)
                fit.quantiser.models[name.removeprefix("model/")] = LatentModel.restored(restored)
        load_arrays(fit.optimiser, state)
        return fit
