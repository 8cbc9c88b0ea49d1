"""Slice-wise coding of y: one walk over slices and checkerboard halves, and the contexts it sees.

For each slice, in order: contexts -> parameters of the anchors -> code -> contexts that see the
anchors -> parameters of the non-anchors -> code -> latent residual prediction. What "code" means
is the caller's business: :meth:`SliceModel.forward` hands mean and log-scale to a callable and
gets y_hat back (``model.py`` trains with it, ``coding.py`` writes and reads streams with it),
so that training, encoder and decoder cannot drift apart. Means and scales are predicted relative to
a per-quality baseline of each channel: networks see values of order one at every quality.

Anchors are the positions with odd row + column, as in MLIC++ (arXiv 2307.15421, section 3; He et
al., "Checkerboard Context Model", CVPR 2021, arXiv 2103.15306). Feature maps are flattened to
``[B, H*W, C]`` and the two halves are index lists, so that each pass computes its half only. What
each slice may look at, beside the hyperprior (MLIC++; MLICv2, arXiv 2504.19119):

* :class:`LocalAttention` - anchors within a window around each non-anchor, with 2D rotary
  positions;
* :class:`LinearAttention` - global correlations at linear cost, used three ways: inter-slice (all
  from earlier slices), intra-slice (queries and keys from the previous slice, values from the
  current anchors) and hyperprior-guided (slice 0, which has no earlier slice);
* :class:`ChannelReweighting` - attention across channels of a captured context.

All of it runs in float64 when a stream is coded, hence the plain matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig, Parallel, Plan
from laconic.codec.image.layers import DepthwiseConv, RateTable

# (positions [N/2], first channel, last channel + 1, mean and log-scale [B, N/2, c]) -> y_hat
CodeStep = Callable[[Tensor, int, int, Tensor, Tensor], Tensor]
Maps = dict[int, Tensor]  # decoded slices by number, in units the networks see


@dataclass(frozen=True)
class Checkerboard:
    """Index lists of one latent size. ``N = H*W``; both halves have ``N/2`` positions."""

    height: int
    width: int
    anchors: Tensor  # [N/2] flat positions
    others: Tensor  # [N/2] flat positions
    rows: Tensor  # [N] row of each position
    columns: Tensor  # [N] column of each position
    neighbours: Tensor  # [N/2, K] flat anchor positions around each non-anchor (0 where outside)
    outside: Tensor  # [N/2, K] True where the neighbour lies outside

    def merge(self, anchors: Tensor, others: Tensor) -> Tensor:
        """Two halves ``[B, N/2, C]`` -> ``[B, N, C]``."""
        out = anchors.new_empty(anchors.shape[0], self.height * self.width, anchors.shape[2])
        return out.index_copy(1, self.anchors, anchors).index_copy(1, self.others, others)


@lru_cache(maxsize=32)
def checkerboard(height: int, width: int, window: int, device: torch.device) -> Checkerboard:
    """Index lists for a latent of ``height`` x ``width`` (even width) and a square window."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rows, columns = rows.reshape(-1), columns.reshape(-1)
    odd = (rows + columns) % 2 == 1
    anchors, others = odd.nonzero()[:, 0], (~odd).nonzero()[:, 0]
    reach = window // 2
    offsets = [
        (i, j)
        for i in range(-reach, reach + 1)
        for j in range(-reach, reach + 1)
        if (i + j) % 2  # from a non-anchor, anchors lie at odd distance
    ]
    delta = torch.tensor(offsets)  # [K, 2]
    row = rows[others, None] + delta[:, 0]
    column = columns[others, None] + delta[:, 1]
    outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
    neighbours = torch.where(outside, 0, row * width + column)
    tensors = (anchors, others, rows, columns, neighbours, outside)
    return Checkerboard(height, width, *(t.to(device) for t in tensors))


class RotaryPositions(nn.Module):
    """2D rotary position embedding with learned bases (MLICv2, eq. 9-10).

    Pair j of a head's d channels turns by x * theta_x^(-2j/d) + y * theta_y^(-2j/d).
    """

    exponents: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        # A 5x5 window needs faster angles than text does, hence bases far below 10,000.
        self.log_theta = nn.Parameter(torch.full((2,), 3.0))
        # Not torch.arange: where no memory is given ("meta") it imports torch's whole compiler.
        exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(-dim)
        self.register_buffer("exponents", torch.from_numpy(exponents), persistent=False)

    def forward(self, x: Tensor, board: Checkerboard) -> Tensor:  # [B, N, heads, d]
        position = torch.stack((board.columns, board.rows), 1).to(x.dtype)  # [N, 2]
        exponents = self.exponents.to(x.dtype)  # [d/2]
        frequency = torch.exp(self.log_theta.to(x.dtype)[:, None] * exponents)  # [2, d/2]
        angle = (position @ frequency)[:, None]  # [N, 1, d/2]
        cos, sin = angle.cos(), angle.sin()
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.cat((even * cos - odd * sin, even * sin + odd * cos), -1)


class LocalAttention(nn.Module):
    """Checkerboard window attention (MLIC++, section 3.2): each non-anchor attends to the anchors
    of its window. Queries come from what is known of every position before the slice is decoded.
    """

    def __init__(self, query: int, value: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_query = nn.Linear(query, dim)
        self.to_key = nn.Linear(query + value, dim)
        self.to_value = nn.Linear(query + value, dim)
        self.rotary = RotaryPositions(dim // heads)
        self.out = nn.Linear(dim, dim)

    def forward(self, known: Tensor, anchors: Tensor, board: Checkerboard) -> Tensor:
        """``known`` [B, N, Q], ``anchors`` [B, N/2, V] -> [B, N/2, dim] at the non-anchors."""
        b, n, _ = known.shape
        source = torch.cat((known[:, board.anchors], anchors), -1)  # [B, N/2, Q+V]
        dim = self.out.in_features
        blank = source.new_zeros(b, n, dim)
        keys = blank.index_copy(1, board.anchors, self.to_key(source))
        values = blank.index_copy(1, board.anchors, self.to_value(source))
        queries = self.rotary(self.to_query(known).reshape(b, n, self.heads, -1), board)
        keys = self.rotary(keys.reshape(b, n, self.heads, -1), board)
        queries = queries[:, board.others]  # [B, N/2, heads, d]
        flat = board.neighbours.reshape(-1)
        shape = (b, *board.neighbours.shape, self.heads, -1)
        keys = keys.index_select(1, flat).reshape(shape)  # [B, N/2, K, heads, d]
        values = values.index_select(1, flat).reshape(shape)
        logits = (queries[:, :, None] * keys).sum(-1) * keys.shape[-1] ** -0.5  # [B, N/2, K, heads]
        logits = logits.masked_fill(board.outside[None, :, :, None], -1e4)
        weights = logits.softmax(2)
        return self.out((weights[..., None] * values).sum(2).reshape(b, -1, dim))


class LinearAttention(nn.Module):
    """Global attention at linear cost (MLIC++, section 3.3, eq. 12):

    out = softmax_channels(Q) [softmax_positions(K)^T V]
    """

    def __init__(self, query: int, key: int, value: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_query = nn.Linear(query, dim)
        self.to_key = nn.Linear(key, dim)
        self.to_value = nn.Linear(value, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """``[B, Nq, Q], [B, Nk, K], [B, Nk, V] -> [B, Nq, dim]``."""
        b, n = query.shape[:2]
        q = self.to_query(query).reshape(b, n, self.heads, -1).softmax(-1)
        k = self.to_key(key).reshape(b, key.shape[1], self.heads, -1).softmax(1)
        v = self.to_value(value).reshape(b, key.shape[1], self.heads, -1)
        summary = k.permute(0, 2, 3, 1) @ v.permute(0, 2, 1, 3)  # [B, heads, d, d]
        out = q.permute(0, 2, 1, 3) @ summary  # [B, heads, Nq, d]
        return self.out(out.permute(0, 2, 1, 3).reshape(b, n, -1))


class ChannelReweighting(nn.Module):
    """Attention across the channels of a captured context (MLICv2, section 3.4.2, eq. 8).

    Queries and keys are normalised over positions, so that the weights do not depend on the size
    of the image; the paper divides by sqrt(H*W) instead, and normalises and gates the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.temperature = nn.Parameter(torch.ones(1))
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:  # [B, N, C] -> [B, N, C]
        q, k, v = self.to_qkv(self.norm(x)).chunk(3, -1)
        q, k = F.normalize(q, dim=1), F.normalize(k, dim=1)
        weights = (q.transpose(1, 2) @ k * self.temperature).softmax(-1)  # [B, C, C]
        return x + self.out(v @ weights.transpose(1, 2))


class ChannelContext(nn.Module):
    """Context from the slices already decoded (channel-wise autoregression, Minnen & Singh 2020,
    arXiv 2007.08739), reweighted across its channels."""

    def __init__(self, previous: int, dim: int) -> None:
        super().__init__()
        self.inner = nn.Linear(previous, dim)
        self.mix = DepthwiseConv(dim)
        self.out = nn.Linear(dim, dim)
        self.reweight = ChannelReweighting(dim)

    def forward(self, previous: Tensor, board: Checkerboard) -> Tensor:  # [B, N, P] -> [B, N, dim]
        x = self.inner(previous)
        x = self.mix(x.unflatten(1, (board.height, board.width))).flatten(1, 2)
        return self.reweight(self.out(F.gelu(x)))


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
