"""The entropy model of MLIC++: factorised bottleneck of z, slices of y.

Factorised prior of a hyper-latent and the holder of Gaussian settings, under published names.

Balle, Minnen, Singh, Hwang and Johnston, "Variational image compression with a scale hyperprior",
ICLR 2018 (arXiv 1802.01436), appendix 6.1: the cumulative of each channel is a small monotone
network. Files are coded with integer tables made from it once (:meth:`FactorizedPrior.tables`).

Coding order of MLIC++ and MLICv2: one walk over slices and checkerboard halves for training,
evaluation, encoder and decoder.

What "code" means is the caller's business, as in the small model's ``slices.py``: the walk hands
positions, channels, mean and scale to a callable and gets y_hat back.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.config import Parallel, Plan
from laconic.codec.image.mlicpp.config import ReferenceConfig
from laconic.codec.image.mlicpp.contexts import (
    ChannelContext,
    GuidedContext,
    InterContext,
    IntraContext,
    KeepNet,
    LocalContext,
    Reweighted,
)
from laconic.codec.image.mlicpp.layers import Bound, conv3x3
from laconic.codec.image.mlicpp.winograd import Seen
from laconic.codec.image.model import LIKELIHOOD_FLOOR, lower_bound
from laconic.codec.image.slices import Checkerboard, checkerboard
from laconic.entropy import CdfTables, factorized_tables
from laconic.formats.errors import ModelError

FILTERS = (1, 3, 3, 3, 3, 1)
TAIL_MASS = 2.0**-16
Channels = list[int] | slice  # which of the prior's channels
EVERY = slice(None)
MAX_REACH = 4096  # symbols on either side of the median that a table may cover
Maps = dict[int, Tensor]  # decoded slices by number, [B, c, H, W]


class FactorizedPrior(nn.Module):
    """Density of each channel of z; keys as in CompressAI 1.2.7 and later.

    Values are in steps of ``width``: one, but for models that quantise z more coarsely or finely
    (:meth:`scaled`).
    """

    width: float | Tensor = 1.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quantiles = nn.Parameter(torch.tensor([-10.0, 0.0, 10.0]).repeat(channels, 1, 1))
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))
        edge = math.log(2 / 1e-9 - 1)
        self.register_buffer("target", torch.tensor([-edge, 0.0, edge]))
        self.likelihood_lower_bound = Bound(LIKELIHOOD_FLOOR)
        scale = 10 ** (1 / (len(FILTERS) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for inner, outer in pairwise(FILTERS):
            start = math.log(math.expm1(1 / scale / outer))
            self.matrices.append(nn.Parameter(torch.full((channels, outer, inner), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, outer, 1) - 0.5))
            if outer > 1:
                self.factors.append(nn.Parameter(torch.zeros(channels, outer, 1)))

    @property
    def medians(self) -> Tensor:
        """Value that rounds to symbol 0, ``[C]``."""
        return self.quantiles[:, 0, 1] / self.width

    def scaled(self, width: Tensor) -> FactorizedPrior:
        """The same density for values counted in steps of ``width``."""
        other = copy.copy(self)
        other.width = width
        return other

    def logits(self, x: Tensor, channels: Channels = EVERY) -> Tensor:
        """Logit of the cumulative at ``x`` ``[C, K]``, eq. 30-33."""
        x = x[:, None]  # [C, 1, K]
        for i, matrix in enumerate(self.matrices):
            x = F.softplus(matrix[channels]) @ x + self.biases[i][channels]
            if i < len(self.factors):
                x = x + torch.tanh(self.factors[i][channels]) * torch.tanh(x)
        return x[:, 0]

    def likelihood(self, x: Tensor, channels: Channels = EVERY) -> Tensor:
        """Mass of the bin of one step around ``x`` ``[C, K]``."""
        lower = self.logits((x - 0.5) * self.width, channels)
        upper = self.logits((x + 0.5) * self.width, channels)
        sign = -torch.sign(lower + upper).detach()  # differences of small numbers, not near 1
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()

    def bits(self, z: Tensor, channels: Channels = EVERY) -> Tensor:
        """Bits of each element of ``z`` ``[B, C, H, W]``, which has these channels."""
        columns = z.transpose(0, 1).reshape(z.shape[1], -1)
        mass = lower_bound(self.likelihood(columns, channels), LIKELIHOOD_FLOOR)
        b, c, h, w = z.shape
        return -torch.log2(mass).reshape(c, b, h, w).transpose(0, 1)

    @torch.no_grad()
    def tables(self) -> CdfTables:
        """Integer tables of round(z - median), one per channel.

        Raises ``ModelError`` when the density is no density (weights that are not finite).
        """
        prior = {k: v.double() for k, v in self.state_dict().items()}
        exact = FactorizedPrior(self.quantiles.shape[0]).double()
        exact.load_state_dict(prior, strict=False)
        exact.width = self.width
        reach = 8
        while True:
            steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
            mass = exact.likelihood(exact.medians[:, None] + steps)  # [C, 2r+1]
            covered = mass.sum(1)
            if not torch.isfinite(mass).all() or (covered <= 0).any():
                raise ModelError(
                    "the prior of the hyper-latent is not finite: the checkpoint is damaged"
                )
            if (1 - covered <= TAIL_MASS).all() or reach >= MAX_REACH:
                break
            reach *= 2
        lows, rows, tails = [], [], []
        for row in mass.numpy():
            keep = np.flatnonzero(row > TAIL_MASS / 16)
            first, last = (int(keep[0]), int(keep[-1])) if keep.size else (reach, reach)
            lows.append(first - reach)
            rows.append(row[first : last + 1])
            tails.append(max(1 - float(rows[-1].sum()), 2.0**-24))
        return factorized_tables(rows, lows, tail_masses=tails)


class GaussianSettings(nn.Module):
    """Buffers of CompressAI's Gaussian conditional; our own tables do its work."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))
        self.register_buffer("scale_table", torch.zeros(0))
        self.register_buffer("scale_bound", torch.tensor([0.11]))
        self.likelihood_lower_bound = Bound(LIKELIHOOD_FLOOR)
        self.lower_bound_scale = Bound(0.11)


class ScaleStep(Protocol):
    """What a caller does with the elements ``[B, N/2, c]`` at positions ``at`` of the channels
    ``first`` to ``end``; ``keep`` are logits below which they are left out, None codes all."""

    def __call__(
        self, at: Tensor, first: int, end: int, mean: Tensor, scale: Tensor, keep: Tensor | None
    ) -> Tensor: ...


def _stack(widths: list[int], layer: Callable[[int, int], nn.Module]) -> nn.Sequential:
    """Layers through ``widths`` with GELU between them."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [layer(inner, outer), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class ParameterNet(nn.Module):
    """Contexts -> scales and means of a slice, position by position."""

    def __init__(self, inputs: int, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.fusion = _stack(
            [inputs, *widths, 2 * channels], lambda i, o: nn.Conv2d(i, o, kernel_size=1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, K, N]`` -> mean and scale ``[B, N, c]``."""
        scale, mean = self.fusion(x[..., None])[..., 0].transpose(1, 2).chunk(2, -1)
        return mean, scale


class ResidualPredictor(nn.Module):
    """Latent residual prediction, within half a step (Minnen & Singh 2020, arXiv 2007.08739).

    Without ``widths`` they are derived from the input as in the checkpoints from before 2024.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        quarter = inputs - channels
        hidden = widths or tuple(inputs - quarter * i // 4 for i in (1, 2, 3))
        self.lrp_transform = _stack([inputs, *hidden, channels], conv3x3)

    def forward(self, seen: Seen, current: Tensor) -> Tensor:
        first, *others = self.lrp_transform
        x = seen.convolved(first, current)
        for layer in others:
            x = layer(x)
        return 0.5 * torch.tanh(x)


class SliceWalk(nn.Module):
    """Networks of all slices, index 0 of the inter-slice ones being empty."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.config = config
        c, count, hyper = config.slice_channels, config.slices, 2 * config.latent_channels
        widths, means = config.parameter_widths, config.latent_channels
        later = range(1, count)
        self.local_context = nn.ModuleList(
            LocalContext(c, config.window, config.heads, rotary=config.second) for _ in range(count)
        )
        self.channel_context = _from_one(
            ChannelContext(c * i, c, config.channel_widths) for i in later
        )
        self.global_inter_context = _from_one(InterContext(c * i, c) for i in later)
        self.global_intra_context = _from_one(IntraContext(c) for _ in later)
        known = [hyper] + [hyper + 6 * c] * (count - 1)  # inter 2c, channel 4c
        if config.second:
            known[0] += 2 * c  # guided
            self.guided = GuidedContext(hyper, config.latent_channels, 2 * c)
            self.reweight_local = nn.ModuleList(Reweighted(2 * c) for _ in range(count))
            self.reweight_channel = _from_one(Reweighted(4 * c) for _ in later)
            self.reweight_inter = _from_one(Reweighted(2 * c) for _ in later)
            self.reweight_intra = _from_one(Reweighted(2 * c) for _ in later)
        if config.selective:
            self.keep_anchor, self.keep_nonanchor = (
                nn.ModuleList(KeepNet(hyper + c * i, c) for i in range(count)) for _ in range(2)
            )
        self.entropy_parameters_anchor = nn.ModuleList(ParameterNet(k, widths, c) for k in known)
        extra = [2 * c] + [4 * c] * (count - 1)  # local 2c, intra 2c
        self.entropy_parameters_nonanchor = nn.ModuleList(
            ParameterNet(k + e, widths, c) for k, e in zip(known, extra, strict=True)
        )
        self.lrp_anchor, self.lrp_nonanchor = (
            nn.ModuleList(
                ResidualPredictor(means + c * (i + 1), config.residual_widths, c)
                for i in range(count)
            )
            for _ in range(2)
        )

    def walk(
        self,
        hyper: Tensor,
        code: ScaleStep,
        plan: Plan | None = None,
        parallel: Parallel[ScaleStep, Maps] | None = None,
    ) -> Tensor:
        """All coding steps given hyper features ``[B, 2M, H, W]``; returns y_hat ``[B, M, H, W]``.

        With a ``plan`` the slices of its core come first, in its order, and its groups after them
        through ``parallel`` (None: in turn with ``code``). What a slice would have seen of slices
        that are not known yet is zero.
        """
        plan = plan or Plan(tuple(range(self.config.slices)))
        height, width = hyper.shape[2:]
        board = checkerboard(height, width, self.config.window, hyper.device)
        c = self.config.slice_channels
        known: Maps = {}
        # Slices 0, 1, .. as far as they are known: what later slices see has been joined before.
        seen = Seen(hyper[:, self.config.latent_channels :])

        def group(slices: tuple[int, ...]) -> Callable[[ScaleStep], Maps]:
            def task(code: ScaleStep) -> Maps:
                mine = dict(known)
                for i in slices:
                    mine[i] = self.slice(i, hyper, _seen_by(i, seen, mine, c), board, code)
                return {i: mine[i] for i in slices}

            return task

        for i in plan.core:
            known[i] = self.slice(i, hyper, _seen_by(i, seen, known, c), board, code)
            while (following := len(seen.maps) - 1) in known:
                seen = seen.joined(known[following])
        tasks = [group(slices) for slices in plan.groups]
        if tasks:
            for part in parallel(tasks) if parallel else [task(code) for task in tasks]:
                known |= part
        return torch.cat([known[i] for i in range(self.config.slices)], 1)

    def slice(
        self, i: int, hyper: Tensor, seen: Seen, board: Checkerboard, code: ScaleStep
    ) -> Tensor:
        """Code slice ``i`` given the hyper means and all slices before it, ``[B, c, H, W]``."""
        c = self.config.slice_channels
        first, end = c * i, c * (i + 1)
        decoded = seen.maps[1:]
        flat = self.known(i, hyper, seen, board).flatten(2)  # [B, K, N]
        guide = torch.cat((hyper, *decoded), 1).flatten(2) if self.config.selective else None

        mean, scale = self.entropy_parameters_anchor[i](flat[..., board.anchors])
        keep = None
        if guide is not None:
            keep = self.keep_anchor[i](guide[..., board.anchors], scale)
        values = code(board.anchors, first, end, mean, scale, keep)
        anchors = _place(values, board.anchors, board)
        anchors = anchors + _keep(self.lrp_anchor[i](seen, anchors), board.anchors)

        local = self.local_context[i](anchors, board)
        context = [self.reweight_local[i](local) if self.config.second else local]
        if decoded:
            intra = self.global_intra_context[i](decoded[-1], anchors, board)
            if self.config.second:
                intra = self.reweight_intra[i](intra)
            context.append(intra.flatten(2)[..., board.others])
        inputs = torch.cat((*context, flat[..., board.others]), 1)
        mean, scale = self.entropy_parameters_nonanchor[i](inputs)
        if guide is not None:
            keep = self.keep_nonanchor[i](guide[..., board.others], scale)
        others = code(board.others, first, end, mean, scale, keep)
        y = anchors + _place(others, board.others, board)
        return y + _keep(self.lrp_nonanchor[i](seen, y), board.others)

    def known(self, i: int, hyper: Tensor, seen: Seen, board: Checkerboard) -> Tensor:
        """Everything known of each position before slice ``i``."""
        second, decoded = self.config.second, seen.maps[1:]
        if not decoded:
            return torch.cat((self.guided(hyper, board), hyper), 1) if second else hyper
        previous = torch.cat(decoded, 1)
        inter = self.global_inter_context[i](previous)
        channel = self.channel_context[i](seen)
        if second:
            inter, channel = self.reweight_inter[i](inter), self.reweight_channel[i](channel)
        return torch.cat((inter, channel, hyper), 1)


def _seen_by(i: int, seen: Seen, known: Maps, channels: int) -> Seen:
    """The slices before ``i``, zeros where they are not known."""
    joined = len(seen.maps) - 1
    if i < joined:
        return Seen(*seen.maps[: 1 + i])
    means = seen.maps[0]
    blank = means.new_zeros(means.shape[0], channels, *means.shape[2:])
    more = [known.get(j, blank) for j in range(joined, i)]
    return seen.joined(*more) if more else seen


def _from_one(modules: object) -> nn.ModuleList:
    """A list whose entry 0 has no parameters: slice 0 has no slice before it."""
    return nn.ModuleList([nn.Identity(), *modules])  # type: ignore[misc]


def _place(values: Tensor, at: Tensor, board: Checkerboard) -> Tensor:
    """``[B, N/2, c]`` at positions -> map ``[B, c, H, W]`` with zeros elsewhere."""
    b, _, c = values.shape
    flat = values.new_zeros(b, c, board.height * board.width)
    flat = flat.index_copy(2, at, values.transpose(1, 2))
    return flat.unflatten(2, (board.height, board.width))


def _keep(x: Tensor, at: Tensor) -> Tensor:
    """``x`` at the positions, zero elsewhere."""
    mask = x.new_zeros(x.shape[2] * x.shape[3])
    mask[at] = 1
    return x * mask.reshape(x.shape[2:])
