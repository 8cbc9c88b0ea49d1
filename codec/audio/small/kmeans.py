"""Semantic codebook: k-means on features, one codebook per domain, merged.

SemantiCodec (Liu et al. 2024, section III-C) clusters general sound, speech and music apart and
joins the centroids 2:1:1, so that no domain crowds the others out. Features are standardised per
dimension; a token is the nearest centroid of the whole list.
"""

from __future__ import annotations

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
