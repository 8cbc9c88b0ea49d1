"""The encoder: mel -> semantic and acoustic tokens.

A position's feature is K stacked AudioMAE patches. Its *semantic* token is the nearest centroid of
a k-means codebook that merges speech, music and general sound 1:1:2; what the centroid misses, a
bidirectional LSTM over the whole window condenses into one vector whose nearest entry of a second
codebook is the *acoustic* token. Codebooks are nested in size: 4,096 to 32,768 centroids work with
the same weights, as training draws one at random per batch (paper, section III).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.full.config import GRID, STACKS, FullConfig
from laconic.codec.audio.full.frontend import padded_from
from laconic.codec.audio.full.mae import AudioMae

PADDING = -1.0  # what features and conditions hold where there is no sound


def stack_patches(features: Tensor, stack: int) -> Tensor:
    """``[B, 512, width]`` -> ``[B, 512/K, K width]``: K = 2 joins neighbours in frequency, K = 4
    squares of 2x2 patches (time outer); time-major."""
    time, frequency = STACKS[stack]
    b, _, width = features.shape
    grid = features.view(b, GRID[0] // time, time, GRID[1] // frequency, frequency, width)
    return grid.transpose(2, 3).reshape(b, -1, stack * width)


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """``[..., D]`` and ``[N, D]`` -> int64 ``[...]``: the entry of smallest squared distance."""
    flat = vectors.reshape(-1, vectors.shape[-1])
    # |x|^2 is the same for all entries and left out.
    score = codebook.square().sum(1) - 2 * flat @ codebook.t()
    return score.argmin(1).view(vectors.shape[:-1])


def mark_padding(features: Tensor, first: Tensor) -> Tensor:
    """Replace positions from ``first`` ``[B]`` on by -1."""
    absent = torch.arange(features.shape[1], device=features.device) >= first[:, None]
    return features.masked_fill(absent[..., None], PADDING)


class Codebook(nn.Module):
    """State of the acoustic quantiser under the names of the public checkpoint.

    ``cluster_size`` and ``embed_avg`` are the running means that training moves entries with.
    """

    embed: Tensor

    def __init__(self, size: int, width: int, *, training_state: bool) -> None:
        super().__init__()
        if training_state:
            self.register_buffer("initted", torch.ones(1))
            self.register_buffer("cluster_size", torch.zeros(1, size))
            self.register_buffer("embed_avg", torch.zeros(1, size, width))
        self.register_buffer("embed", torch.zeros(1, size, width))


class Quantizer(nn.Module):
    """Vector quantiser without projection: the nearest of all entries, full width."""

    def __init__(self, size: int, width: int, *, training_state: bool) -> None:
        super().__init__()
        self._codebook = Codebook(size, width, training_state=training_state)

    @property
    def entries(self) -> Tensor:
        """``[N, D]``."""
        return self._codebook.embed[0]


class Mae(nn.Module):
    """Holder of AudioMAE under the name that checkpoints use."""

    def __init__(self, config: FullConfig, *, pretraining: bool) -> None:
        super().__init__()
        self.model = AudioMae(config, pretraining=pretraining)


class FullEncoder(nn.Module):
    """Published encoder. The semantic codebook is a file of its own and no part of the state;
    it is given with :meth:`set_centroids`.

    ``complete`` adds what only training needs, so that keys equal the public checkpoint's.
    """

    def __init__(self, config: FullConfig, *, complete: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.features
        self.audiomae = Mae(config, pretraining=complete)
        self.encoder = nn.LSTM(
            2 * width, 2 * width, config.lstm_layers, batch_first=True, bidirectional=True
        )
        self.encoder_output_linear = nn.Linear(4 * width, width, bias=False)
        self.quantizer = Quantizer(config.acoustic, width, training_state=complete)
        self.register_buffer("centroids", torch.zeros(config.semantic, width), persistent=False)

    centroids: Tensor

    def set_centroids(self, centroids: Tensor) -> None:
        """Use a semantic codebook ``[N, 768 K]``."""
        assert centroids.shape == self.centroids.shape
        self.centroids = centroids.to(self.centroids)

    def features(self, mel: Tensor) -> Tensor:
        """``[B, 1024, 128]`` -> ``[B, positions, 768 K]``."""
        return stack_patches(self.audiomae.model(mel), self.config.stack)

    def residual(self, features: Tensor, semantic: Tensor, first_padded: Tensor) -> Tensor:
        """What the acoustic codebook quantises, ``[B, positions, 768 K]``."""
        known = torch.cat([features, F.embedding(semantic, self.centroids)], -1)
        context, _ = self.encoder(mark_padding(known, first_padded))
        return self.encoder_output_linear(context)

    def forward(self, mel: Tensor) -> Tensor:
        """``[B, 1024, 128]`` -> int64 ``[B, positions, 2]``: semantic and acoustic tokens."""
        features = self.features(mel)
        semantic = nearest(features, self.centroids)
        first = padded_from(mel, features.shape[1])
        acoustic = nearest(self.residual(features, semantic, first), self.quantizer.entries)
        return torch.stack([semantic, acoustic], -1)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """int64 ``[B, n, 2]`` -> ``[B, n, 1536 K]``: acoustic code, then centroid."""
        acoustic = F.embedding(tokens[..., 1], self.quantizer.entries)
        return torch.cat([acoustic, F.embedding(tokens[..., 0], self.centroids)], -1)
