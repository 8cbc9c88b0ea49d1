"""MLIC++ and MLICv2 as networks, and as a model that codes files.

MLIC++ and MLICv2 as one module: transforms, hyperprior and the walk over slices.

Jiang, Yang, Zhai, Ning, Gao and Wang, "MLIC++: Linear complexity multi-reference entropy modeling
for learned image compression", arXiv 2307.15421, whose keys ``state_dict()`` has; "MLICv2", arXiv
2504.19119, for which no code was published. Choose this to train or evaluate; ``adapter.py`` makes
files with it.

MLIC++ behind the file-level interface: transforms in float32, the walk in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from laconic.codec.image.coding import LatentCoder
from laconic.codec.image.config import ChannelOrder
from laconic.codec.image.interface import ImageModel, stored_multiplier
from laconic.codec.image.mlicpp.banded import Banded
from laconic.codec.image.mlicpp.config import ReferenceConfig
from laconic.codec.image.mlicpp.contexts import THRESHOLD
from laconic.codec.image.mlicpp.layers import Analysis, HyperAnalysis, HyperSynthesis, Synthesis
from laconic.codec.image.mlicpp.slices import (
    FactorizedPrior,
    GaussianSettings,
    ScaleStep,
    SliceWalk,
)
from laconic.codec.image.mlicpp.winograd import use_winograd
from laconic.codec.image.model import gaussian_bits, lower_bound, straight_through_round
from laconic.codec.image.steps import Result, Steps
from laconic.codec.models import ModelInfo
from laconic.entropy import CdfTables

SCALE_LOW = 0.11
SCALE_HIGH = 256.0
# Reach in pixels, rounded up to whole latents: (analysis, synthesis). A residual block reaches two
# positions at its resolution, a pair of token mixing blocks eight.
MARGINS = {False: (64, 112), True: (144, 288)}


@dataclass
class Pass:
    """One evaluation: everything the network computed on the way. Maps are ``[B, C, H, W]``."""

    y: Tensor
    z: Tensor
    z_hat: Tensor
    hyper: Tensor
    means: Tensor
    scales: Tensor  # before the floor
    y_hat: Tensor
    x_hat: Tensor
    y_bits: Tensor  # [B, slices]
    z_bits: Tensor  # [B]
    keep_loss: Tensor  # mean cross entropy of the selection, 0 without one


class MlicPlusPlus(SliceWalk):
    """The published model. Images are ``[B, 3, H, W]`` in [0, 1], sides multiples of 64."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self.entropy_bottleneck = FactorizedPrior(config.transform_channels)
        self.g_a = Analysis(config)
        self.g_s = Synthesis(config)
        self.h_a = HyperAnalysis(config)
        self.h_s = HyperSynthesis(config)
        self.gaussian_conditional = GaussianSettings()

    def prior_tables(self) -> CdfTables:
        """Integer tables of z, one per channel."""
        return self.entropy_bottleneck.tables()

    def forward(self, x: Tensor) -> Pass:
        """Training mode: rates see uniform noise, context and synthesis see rounded values with
        straight-through gradients. Evaluation mode: both see rounded values."""
        y = self.g_a(x)
        z = self.h_a(y)
        median = self.entropy_bottleneck.medians[:, None, None]
        z_hat = straight_through_round(z - median) + median
        z_bits = self.entropy_bottleneck.bits(z + _noise(z) if self.training else z_hat)
        hyper = self.h_s(z_hat)
        flat = y.flatten(2).transpose(1, 2)  # [B, N, M]
        noisy = flat + _noise(flat) if self.training else None
        means, scales = torch.zeros_like(flat), torch.zeros_like(flat)
        bits: list[Tensor] = []
        keep_losses = [y.new_zeros(())]

        def code(
            at: Tensor, first: int, end: int, mean: Tensor, scale: Tensor, keep: Tensor | None
        ) -> Tensor:
            value = flat[:, at, first:end]
            rounded = straight_through_round(value - mean)
            kept = torch.ones_like(rounded)
            if keep is not None:
                large = ((value - mean).detach().abs() > THRESHOLD).to(keep.dtype)
                keep_losses.append(F.binary_cross_entropy_with_logits(keep, large))
                if not self.training:  # the selection is learned after everything else
                    kept = (keep >= 0).to(keep.dtype)
                    rounded = rounded * kept
            residual = rounded if noisy is None else noisy[:, at, first:end] - mean
            log_scale = lower_bound(scale, SCALE_LOW).log()
            bits.append((gaussian_bits(residual, log_scale, SCALE_LOW) * kept).sum((1, 2)))
            means[:, at, first:end] = mean.detach()
            scales[:, at, first:end] = scale.detach()
            return rounded + mean

        y_hat = self.walk(hyper, code)
        halves = torch.stack(bits, 1)  # [B, 2 * slices]
        return Pass(
            y=y,
            z=z,
            z_hat=z_hat,
            hyper=hyper,
            means=means.transpose(1, 2).reshape_as(y),
            scales=scales.transpose(1, 2).reshape_as(y),
            y_hat=y_hat,
            x_hat=self.g_s(y_hat),
            y_bits=halves[:, 0::2] + halves[:, 1::2],
            z_bits=z_bits.sum((1, 2, 3)),
            keep_loss=torch.stack(keep_losses).sum() / max(1, len(keep_losses) - 1),
        )


def _noise(x: Tensor) -> Tensor:
    return torch.rand_like(x) - 0.5


class ReferenceCoder(LatentCoder):
    """z with its factorised tables, then slices of y as the network walks."""

    def __init__(
        self,
        network: MlicPlusPlus,
        tables: CdfTables,
        z_tables: CdfTables,
        order: ChannelOrder | None,
    ) -> None:
        super().__init__(tables, (SCALE_LOW, SCALE_HIGH), order=order)
        self.network, self.z_tables = network, z_tables
        self.plan = None if order is None else order.plan(slices_of(network))

    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        first = None if z is None else to_first(z)
        shape = hyper_shape(self.network.config.transform_channels, size)
        z_hat = steps.factorized(first, shape, self.network.entropy_bottleneck, self.z_tables)
        flat = None if y is None else y.flatten(1, 2)  # [1, N, M]

        def coding(steps: Steps) -> ScaleStep:
            def code(
                at: Tensor, first: int, end: int, mean: Tensor, scale: Tensor, keep: Tensor | None
            ) -> Tensor:
                value = None if flat is None else flat[:, at, first:end]
                log_scale = scale.clamp_min(SCALE_LOW).log()
                if keep is None:
                    return steps.gaussian(value, mean, log_scale)
                return steps.selected(value, mean, log_scale, keep)

            return code

        def parallel(tasks: Sequence[Callable[[ScaleStep], Result]]) -> list[Result]:
            return steps.parallel([lambda s, t=t: t(coding(s)) for t in tasks])  # type: ignore[misc]

        hyper = self.network.h_s(z_hat)
        return to_last(self.network.walk(hyper, coding(steps), self.plan, parallel))


def slices_of(network: MlicPlusPlus) -> list[int]:
    """Channels of each slice."""
    return [network.config.slice_channels] * network.config.slices


def hyper_shape(channels: int, size: tuple[int, int]) -> torch.Size:
    """Shape of z, channels first, for a latent of ``size``."""
    return torch.Size((1, channels, size[0] // 4, size[1] // 4))


def to_first(x: Tensor) -> Tensor:
    """``[B, H, W, C]`` -> ``[B, C, H, W]``."""
    return x.permute(0, 3, 1, 2).contiguous()


def to_last(x: Tensor) -> Tensor:
    """``[B, C, H, W]`` -> ``[B, H, W, C]``."""
    return x.permute(0, 2, 3, 1).contiguous()


def filters_of(network: MlicPlusPlus) -> tuple[Tensor, Tensor, Tensor]:
    """What :meth:`ImageModel.filters` asks for."""
    found = {name: p.detach() for name, p in network.named_parameters()}
    last, layers = "g_a.analysis_transform.6.", "g_s.synthesis_transform."
    # MLICv2's first blocks keep channels apart; the up-sampling after them is dense.
    first = "1.subpel_conv.0.weight" if network.config.second else "0.conv1.weight"
    synthesis = found[layers + first].transpose(0, 1).flatten(1)
    return found[last + "weight"].flatten(1), found[last + "bias"], synthesis


class ReferenceModel(ImageModel):
    """An imported MLIC++ in memory."""

    def __init__(
        self,
        info: ModelInfo,
        network: MlicPlusPlus,
        tables: CdfTables,
        z_tables: CdfTables,
        device: torch.device,
    ) -> None:
        self.info, self.network, self.device = info, network, device
        self.channels = network.config.latent_channels
        self.analysis_margin, self.synthesis_margin = MARGINS[network.config.second]
        self._filters = filters_of(network)  # before fast convolutions take their place
        self._fast = device.type == "cpu"  # others have convolutions of their own
        if self._fast:
            self._analysis, self._synthesis = Banded(network.g_a), Banded(network.g_s)
        for name, part in network.named_children():
            if name in ("g_a", "g_s", "h_a"):
                part.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            else:
                part.double()
            if name not in ("g_a", "g_s") and (name != "h_a" or self._fast):
                use_winograd(part)
        order = ChannelOrder.of(info.config, self.channels)
        self.coder = ReferenceCoder(network, tables, z_tables, order)

    def analyse(self, x: Tensor, quality: float | None) -> Tensor:
        x = x.to(self.device)
        return self._analysis(x) if self._fast else to_last(self.network.g_a(to_first(x)))

    def synthesise(self, y: Tensor, quality: float | None, *, fast: bool = False) -> Tensor:
        y = y.to(self.device)
        if y.requires_grad or not self._fast:
            return to_last(self.network.g_s(y.permute(0, 3, 1, 2)))
        return self._synthesis(y)

    def hyper(self, y: Tensor, quality: float | None) -> Tensor:
        return to_last(self.network.h_a(to_first(y.to(self.device))))

    def relaxed(self) -> LatentCoder:
        return self.coder

    def multiplier(self, quality: float | None) -> float:
        return stored_multiplier(self.info)

    def filters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._filters

    def indivisible(self) -> list[int]:
        return slices_of(self.network)
