"""Acoustic quantiser: residual vector quantisation with codebooks that follow the data.

Each stage codes what the stages before left (Zeghidour et al. 2021, arXiv 2107.03312); entries are
exponential moving averages of what they code, entries without use restart at current residuals.
The codebooks begin as k-means of the latents of a network trained without quantiser, which spares
a short training the collapse that straight-through codebooks start with. A random number of stages
per sample in training makes every prefix of the stages a valid code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.small.kmeans import kmeans, nearest


class ResidualQuantiser(nn.Module):
    """``stages`` codebooks of ``entries`` vectors of ``width``."""

    codebooks: Tensor
    counts: Tensor

    def __init__(self, stages: int, entries: int, width: int, decay: float = 0.98) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codebooks", torch.zeros(stages, entries, width))
        self.register_buffer("counts", torch.zeros(stages, entries))  # only training reads them

    @property
    def stages(self) -> int:
        return len(self.codebooks)

    @property
    def ready(self) -> bool:
        """Whether the codebooks have been started."""
        return bool(self.counts.any())

    @torch.no_grad()
    def fit(self, latents: Tensor, *, rounds: int = 8) -> None:
        """Start every stage as k-means of the residuals of ``[N, width]``."""
        residual = latents.float()
        for stage in range(self.stages):
            self.codebooks[stage] = kmeans(
                residual, self.codebooks.shape[1], rounds=rounds, seed=stage
            )
            residual = residual - self.codebooks[stage][nearest(residual, self.codebooks[stage])]
        self.counts.fill_(1.0)

    def encode(self, latents: Tensor, stages: int) -> Tensor:
        """Indices ``[B, N, stages]`` of latents ``[B, N, width]``."""
        residual = latents.float().reshape(-1, latents.shape[-1])
        indices = []
        for codebook in self.codebooks[:stages]:
            index = nearest(residual, codebook)
            residual = residual - codebook[index]
            indices.append(index)
        flat = (
            torch.stack(indices, -1) if indices else residual.new_zeros((len(residual), 0)).long()
        )
        return flat.view(*latents.shape[:-1], stages)

    def decode(self, indices: Tensor) -> Tensor:
        """Latents ``[B, N, width]`` of indices ``[B, N, stages]``; an index of -1 adds nothing."""
        total = self.codebooks.new_zeros(*indices.shape[:-1], self.codebooks.shape[-1])
        for stage in range(indices.shape[-1]):
            index = indices[..., stage, None]
            entry = self.codebooks[stage][index[..., 0].clamp(min=0)]
            total = total + torch.where(index >= 0, entry, 0.0)
        return total

    def forward(self, latents: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """Training: latents ``[B, N, width]`` and stages per sample ``[B]`` or position ``[B, N]``
        -> quantised latents with straight-through gradient, and the commitment loss."""
        batch, count, width = latents.shape
        x = latents.float()
        target = x.detach().reshape(-1, width)
        repeated = used.flatten() if used.ndim == 2 else used.repeat_interleave(count)
        total = torch.zeros_like(target)
        commitment = x.new_zeros(())
        for stage in range(int(used.max())):
            active = (repeated > stage).nonzero()[:, 0]
            residual = (target - total)[active]
            index = nearest(residual, self.codebooks[stage])
            if self.training:
                self._follow(stage, residual, index)
            total = total.index_add(0, active, self.codebooks[stage][index])
        quantised = total.view(batch, count, width)
        commitment = F.mse_loss(x, quantised)
        return x + (quantised - x).detach(), commitment

    @torch.no_grad()
    def _follow(self, stage: int, residual: Tensor, index: Tensor) -> None:
        """Move the entries of one stage towards what they coded; restart those without use."""
        entries = self.codebooks.shape[1]
        sizes = torch.bincount(index, minlength=entries).float()
        sums = torch.zeros_like(self.codebooks[stage]).index_add_(0, index, residual)
        counts = self.counts[stage] * self.decay + sizes * (1 - self.decay)
        old = self.codebooks[stage] * (self.counts[stage] * self.decay)[:, None]
        self.codebooks[stage] = (old + sums * (1 - self.decay)) / counts.clamp(min=1e-6)[:, None]
        self.counts[stage] = counts
        share = len(index) / entries
        dead = (counts < 0.05 * share).nonzero()[:, 0]
        if len(dead):
            chosen = torch.randint(len(residual), (len(dead),), device=residual.device)
            self.codebooks[stage, dead] = residual[chosen]
            self.counts[stage, dead] = share
