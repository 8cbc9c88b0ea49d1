"""Slice-wise coding of y: one walk over slices and checkerboard halves for training, encoder,
decoder.

For each slice, in order: contexts -> parameters of the anchors -> code -> contexts that see the
anchors -> parameters of the non-anchors -> code -> latent residual prediction. What "code" means
is the caller's business: :meth:`SliceModel.forward` hands mean and log-scale to a callable and
gets y_hat back (``model.py`` trains with it, ``coding.py`` writes and reads streams with it),
so that the three uses cannot drift apart.

Means and scales are predicted relative to a per-quality baseline of each channel. Networks
therefore see values of order one at every quality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig, Parallel, Plan
from laconic.codec.image.contexts import (
    ChannelContext,
    Checkerboard,
    LinearAttention,
    LocalAttention,
    checkerboard,
)
from laconic.codec.image.rate import RateTable

# (positions [N/2], first channel, last channel + 1, mean and log-scale [B, N/2, c]) -> y_hat
CodeStep = Callable[[Tensor, int, int, Tensor, Tensor], Tensor]
Maps = dict[int, Tensor]  # decoded slices by number, in units the networks see


class ParameterNet(nn.Module):
    """Contexts -> mean and log-scale, both relative to the baseline."""

    def __init__(self, inputs: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, hidden)
        self.outer = nn.Linear(hidden, 2 * channels)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self.outer(F.gelu(self.inner(x))).chunk(2, -1)
        return mean, log_scale


class Slice(nn.Module):
    """The networks of one slice. ``previous`` is the number of channels decoded before it."""

    def __init__(self, config: MlicConfig, previous: int, last: int, channels: int) -> None:
        super().__init__()
        hyper, dim, heads = config.hyper, config.attention, config.heads
        self.channels = channels
        self.everywhere = config.global_attention
        known, local = hyper, dim
        if previous:
            known += config.context
            self.channel = ChannelContext(previous, config.context)
        if self.everywhere:
            known, local = known + dim, local + dim
            source = last or hyper
            self.intra = LinearAttention(source, source, channels, dim, heads)
            if previous:
                self.inter = LinearAttention(previous, previous, previous, dim, heads)
            else:
                self.guided = LinearAttention(hyper, hyper, hyper, dim, heads)
        self.local = LocalAttention(known, channels, dim, heads)
        self.anchor_net = ParameterNet(known, config.hidden, channels)
        self.other_net = ParameterNet(known + local, config.hidden, channels)
        self.residual_in = nn.Linear(hyper + previous + channels, config.hidden // 2)
        self.residual_out = nn.Linear(config.hidden // 2, channels)
        nn.init.zeros_(self.residual_out.weight)
        nn.init.zeros_(self.residual_out.bias)

    def known(self, hyper: Tensor, previous: Tensor | None, board: Checkerboard) -> Tensor:
        """Everything known of each position before the slice, ``[B, N, known]``."""
        if previous is not None:
            found = [hyper, self.channel(previous, board)]
            if self.everywhere:
                found.append(self.inter(previous, previous, previous))
            return torch.cat(found, -1)
        if not self.everywhere:
            return hyper
        # Hyperprior-guided global correlation prediction (MLICv2, section 3.4.1, eq. 7): each half
        # of the checkerboard attends to the hyper features of the other half.
        anchors, others = hyper[:, board.anchors], hyper[:, board.others]
        return torch.cat(
            (
                hyper,
                board.merge(
                    self.guided(anchors, others, others), self.guided(others, anchors, anchors)
                ),
            ),
            -1,
        )

    def residual(self, hyper: Tensor, previous: Tensor | None, y: Tensor) -> Tensor:
        """Latent residual prediction (Minnen & Singh 2020), within half a step."""
        seen = (hyper, y) if previous is None else (hyper, previous, y)
        return 0.5 * torch.tanh(self.residual_out(F.gelu(self.residual_in(torch.cat(seen, -1)))))


class SliceModel(nn.Module):
    """All slices of y given hyper features ``[B, H, W, hyper]`` and a quality ``[B]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        self.window = config.window
        self.baseline = RateTable(config.rate_anchors, config.latent)  # log of the scales
        self.sizes = list(config.slices)
        self.slices = nn.ModuleList()
        previous = last = 0
        for channels in config.slices:
            self.slices.append(Slice(config, previous, last, channels))
            previous, last = previous + channels, channels

    def unit(self, quality: Tensor) -> Tensor:
        """Magnitude that the networks see as one, per quality and channel, ``[B, 1, 1, M]``."""
        return (1 + torch.exp(2 * self.baseline(quality))).sqrt()

    def forward(
        self,
        hyper: Tensor,
        quality: Tensor,
        code: CodeStep,
        plan: Plan | None = None,
        parallel: Parallel[CodeStep, Maps] | None = None,
    ) -> Tensor:
        """Walk all coding steps; returns y_hat ``[B, H, W, M]``.

        With a ``plan`` the slices of its core come first, in its order, and its groups after them
        through ``parallel`` (None: in turn with ``code``). What a slice would have seen of slices
        that are not known yet is zero.
        """
        plan = plan or Plan(tuple(range(len(self.slices))))
        height, width = hyper.shape[1:3]
        board = checkerboard(height, width, self.window, hyper.device)
        hyper = hyper.flatten(1, 2)  # [B, N, hyper]
        baseline = self.baseline(quality)[:, 0]  # [B, 1, M]
        unit = self.unit(quality)[:, 0]
        walk = _Walk(self, hyper, baseline, unit, board)

        def group(slices: tuple[int, ...]) -> Callable[[CodeStep], Maps]:
            def task(code: CodeStep) -> Maps:
                known = dict(core)
                for number in slices:
                    known[number] = walk.slice(number, known, code)
                return {number: known[number] for number in slices}

            return task

        core: Maps = {}
        for number in plan.core:
            core[number] = walk.slice(number, core, code)
        tasks = [group(slices) for slices in plan.groups]
        found = dict(core)
        if tasks:
            for part in parallel(tasks) if parallel else [task(code) for task in tasks]:
                found |= part
        y = torch.cat([found[number] for number in range(len(self.slices))], -1) * unit
        return y.unflatten(1, (height, width))


@dataclass(frozen=True)
class _Walk:
    """What all slices of one latent share."""

    model: SliceModel
    hyper: Tensor  # [B, N, hyper]
    baseline: Tensor  # [B, 1, M]
    unit: Tensor  # [B, 1, M]
    board: Checkerboard

    def slice(self, number: int, known: Maps, code: CodeStep) -> Tensor:
        """Code one slice given others; returns it in units the networks see, ``[B, N, c]``."""
        hyper, board = self.hyper, self.board
        sizes = self.model.sizes
        first, end = sum(sizes[:number]), sum(sizes[: number + 1])
        base, one = self.baseline[..., first:end], self.unit[..., first:end]
        module = self.model.slices[number]
        assert isinstance(module, Slice)
        earlier = [
            known[i] if i in known else hyper.new_zeros(*hyper.shape[:2], sizes[i])
            for i in range(number)
        ]
        previous = torch.cat(earlier, -1) if earlier else None
        context = module.known(hyper, previous, board)  # [B, N, K]

        mean, log_scale = module.anchor_net(context[:, board.anchors])
        anchors = code(board.anchors, first, end, mean * one, log_scale + base)

        seen = anchors / one
        inputs = [context[:, board.others], module.local(context, seen, board)]
        if module.everywhere:
            source = earlier[-1] if earlier else hyper
            intra = module.intra(source[:, board.others], source[:, board.anchors], seen)
            inputs.append(intra)
        mean, log_scale = module.other_net(torch.cat(inputs, -1))
        others = code(board.others, first, end, mean * one, log_scale + base)

        y = board.merge(anchors, others)  # [B, N, c]
        return (y + module.residual(hyper, previous, y / one)) / one
