"""The codebooks of the small SemantiCodec.

The semantic codebook is k-means on features. SemantiCodec clusters general audio, speech and music
apart and joins the centroids 2:1:1 (section III-C), so that no domain crowds the others out.
Features are standardised per dimension; a token is the nearest centroid of the whole list.

The acoustic quantiser is residual vector quantisation with codebooks that follow the data: each
stage codes what the stages before left (Zeghidour et al. 2021, arXiv 2107.03312); entries are
exponential moving averages of what they code, entries without use restart at current residuals.
The codebooks begin as k-means of the latents of a network trained without quantiser, which spares
a short training the collapse that straight-through codebooks start with. A random number of stages
per sample in training makes every prefix of the stages a valid code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

SHARES = {"general": 2, "speech": 1, "music": 1}


def nearest(x: Tensor, centroids: Tensor, chunk: int = 4096) -> Tensor:
    """Index of the nearest centroid by Euclidean distance: ``[N, C]``, ``[K, C]`` -> ``[N]``."""
    half = 0.5 * centroids.square().sum(1)
    parts = [(half - part @ centroids.T).argmin(1) for part in x.split(chunk)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long, device=x.device)


def kmeans(x: Tensor, count: int, *, rounds: int = 12, seed: int = 0) -> Tensor:
    """``count`` centroids ``[count, C]`` of ``[N, C]`` by Lloyd's iterations; an empty cell is
    restarted at a random point. With fewer points than centroids points are repeated."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator).to(x.device)
    centroids = x[order[torch.arange(count) % len(x)]].clone()
    for _ in range(rounds):
        index = nearest(x, centroids)
        sums = torch.zeros_like(centroids).index_add_(0, index, x)
        sizes = torch.bincount(index, minlength=count)
        empty = sizes == 0
        centroids = sums / sizes.clamp(min=1)[:, None]
        fresh = torch.randint(len(x), (int(empty.sum()),), generator=generator)
        centroids[empty] = x[fresh.to(x.device)]
    return centroids


def merged(features: dict[str, Tensor], count: int, *, rounds: int = 12) -> Tensor:
    """The joint codebook ``[count, C]`` from features ``[N, C]`` per domain; a domain without
    features leaves its share to the others."""
    present = {d: SHARES[d] for d, x in features.items() if len(x)}
    total, parts, used = sum(present.values()), [], 0
    for i, (domain, share) in enumerate(present.items()):
        size = count - used if i == len(present) - 1 else count * share // total
        parts.append(kmeans(features[domain], size, rounds=rounds, seed=i))
        used += size
    return torch.cat(parts)


class SemanticCodebook(nn.Module):
    """Frozen: statistics of the features and the centroids, in standardised units."""

    mean: Tensor
    deviation: Tensor
    centroids: Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.register_buffer("centroids", torch.zeros(count, width))

    @torch.no_grad()
    def fit(self, features: dict[str, Tensor], *, rounds: int = 12) -> None:
        """Cluster features ``[N, width]`` per domain."""
        everything = torch.cat(list(features.values()))
        self.mean.copy_(everything.mean(0))
        self.deviation.copy_(everything.std(0).clamp(min=1e-4))
        scaled = {d: self.standardised(x) for d, x in features.items()}
        self.centroids.copy_(merged(scaled, len(self.centroids), rounds=rounds))

    def standardised(self, features: Tensor) -> Tensor:
        """Zero mean and unit deviation per dimension."""
        return (features - self.mean) / self.deviation

    def forward(self, features: Tensor) -> Tensor:
        """Tokens ``[B, N]`` of features ``[B, N, width]``."""
        flat = self.standardised(features.float()).reshape(-1, features.shape[-1])
        return nearest(flat, self.centroids).view(features.shape[:-1])


def places(stages: int, positions: int, uneven: bool) -> tuple[Tensor, Tensor]:
    """Where the tokens of acoustic streams belong: position and stage ``[stages, positions]``.

    Stream after stream codes one stage at every position. ``uneven`` ones do so for the first
    quarter of the streams. Then low bands are coded before high ones, as the ear resolves them
    finer: at half of the streams the lowest position has 1.5 times as many stages as on average,
    the highest half as many, those between on a line; the last streams catch up.
    """
    place = np.tile(np.arange(positions), (stages, 1))
    if uneven:
        first, middle = max(1, stages // 4), stages // 2
        known = np.full(positions, first)
        tilted = middle * np.linspace(1.5, 0.5, positions)
        for count in range(first + 1, stages + 1):
            if count <= middle:
                wanted = first + (tilted - first) * (count - first) / (middle - first)
            else:
                wanted = tilted + (stages - tilted) * (count - middle) / (stages - middle)
            for slot in range(positions):
                lacks = np.where(known < stages, wanted - known, -np.inf)
                place[count - 1, slot] = chosen = np.argmax(lacks.round(6))
                known[chosen] += 1
        place.sort()
    stage, seen = np.zeros_like(place), np.zeros(positions, np.int64)
    for at, where in np.ndenumerate(place):
        stage[at] = seen[where]
        seen[where] += 1
    return torch.from_numpy(place), torch.from_numpy(stage)


class ResidualQuantiser(nn.Module):
    """``stages`` codebooks of ``entries`` vectors of ``width``. With ``partly`` so many stages, the
    first ones, code so many numbers alone, the first ones: the entries' others stay zero."""

    codebooks: Tensor
    counts: Tensor
    coded: Tensor  # 1 where a stage codes a number

    def __init__(
        self, stages: int, entries: int, width: int, partly: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.decay = 0.98
        coded = torch.ones(stages, width)
        coded[: partly[0], partly[1] :] = 0
        self.register_buffer("coded", coded, persistent=False)
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
    def fit(self, latents: Tensor, *, rounds: int = 8, first: int = 0) -> None:
        """Start every stage from ``first`` on as k-means of the residuals of ``[N, width]``."""
        residual = latents.float()
        for stage in range(self.stages):
            if stage >= first:
                seen = residual * self.coded[stage]
                self.codebooks[stage] = kmeans(
                    seen, self.codebooks.shape[1], rounds=rounds, seed=stage
                )
            residual = residual - self.codebooks[stage][nearest(residual, self.codebooks[stage])]
        self.counts.fill_(1.0)

    def encode(
        self, latents: Tensor, stages: int, beam: int = 1, likely: Sequence[int] = ()
    ) -> Tensor:
        """Indices ``[B, N, stages]`` of latents ``[B, N, width]``.

        With a ``beam`` the best so many sequences of entries go on from stage to stage, but one
        alone from numbers of stages that are ``likely``, whose later stages have no say in these,
        and from the largest of them on.
        """
        residual = latents.float().reshape(-1, 1, latents.shape[-1])  # [P, kept, width]
        indices = torch.zeros(len(residual), 1, 0, dtype=torch.long, device=residual.device)
        last = min(stages, max(likely, default=stages))
        for stage, codebook in enumerate(self.codebooks[:stages], 1):
            # Less a half of the squared error, but for half of the latents' own squares.
            scores = residual @ codebook.T - 0.5 * codebook.square().sum(1)
            if beam > 1:
                scores = scores - 0.5 * residual.square().sum(-1, keepdim=True)
            count = 1 if stage in likely or stage >= last else beam
            entries = len(codebook)
            best = scores.flatten(1).topk(min(count, scores[0].numel()), dim=1).indices
            path, index = best // entries, best % entries
            residual = torch.take_along_dim(residual, path[..., None], 1) - codebook[index]
            before = torch.take_along_dim(indices, path[..., None], 1)
            indices = torch.cat([before, index[..., None]], dim=-1)
        return indices[:, 0].reshape(*latents.shape[:-1], stages)

    def passing(self, used: Tensor) -> Tensor:
        """Which numbers get a gradient past so many stages as are ``used`` ``[...]``, 1 or 0
        ``[..., width]``: stages that do not code a number would make it grow."""
        return self.coded[(used - 1).clamp(min=0)]

    def decode(self, indices: Tensor) -> Tensor:
        """Latents ``[B, N, width]`` of indices ``[B, N, stages]``; an index of -1 adds nothing."""
        total = self.codebooks.new_zeros(*indices.shape[:-1], self.codebooks.shape[-1])
        for stage in range(indices.shape[-1]):
            index = indices[..., stage, None]
            entry = self.codebooks[stage][index[..., 0].clamp(min=0)]
            total = total + torch.where(index >= 0, entry, 0.0)
        return total

    def forward(self, latents: Tensor, used: Tensor) -> Tensor:
        """Training: latents ``[B, N, width]`` and stages per sample ``[B]`` or position ``[B, N]``
        -> quantised latents, without gradient."""
        batch, count, width = latents.shape
        target = latents.detach().float().reshape(-1, width)
        repeated = used.flatten() if used.ndim == 2 else used.repeat_interleave(count)
        total = torch.zeros_like(target)
        for stage in range(int(used.max())):
            active = (repeated > stage).nonzero()[:, 0]
            residual = (target - total)[active]
            index = nearest(residual, self.codebooks[stage])
            if self.training:
                self._follow(stage, residual, index)
            total = total.index_add(0, active, self.codebooks[stage][index])
        return total.view(batch, count, width)

    @torch.no_grad()
    def _follow(self, stage: int, residual: Tensor, index: Tensor) -> None:
        """Move the entries of one stage towards what they coded; restart those without use."""
        entries = self.codebooks.shape[1]
        residual = residual * self.coded[stage]
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
