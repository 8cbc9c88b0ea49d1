"""The published SemantiCodec: mel front end, AudioMAE, tokens, and the whole network.

The spectrogram that AudioMAE reads: Kaldi-style filter banks with AudioSet's normalisation.

The audio's mean is removed, 128 log mel bins are taken from 25 ms Hann frames every 10 ms, frames
that are missing at the end are zeros *before* the normalisation, as in the public code. Synthesis
uses another spectrogram of 64 bins, which only the VAE and the vocoder know.

AudioMAE: the vision transformer whose features the semantic tokens quantise.

Patches of 16 frames by 16 bins, ViT-Base, fixed sine-cosine positions. The codec's feature is the
mean over the last three blocks, each through the final norm. The decoder of the masked
pre-training is part of published checkpoints and of no codec; it is built on request only.
Paper: Huang et al., Masked Autoencoders that Listen, NeurIPS 2022 (arXiv 2207.06405).

The encoder: mel -> semantic and acoustic tokens.

A position's feature is K stacked AudioMAE patches. Its *semantic* token is the nearest centroid of
a k-means codebook that merges speech, music and general audio 1:1:2; what the centroid misses, a
bidirectional LSTM over the whole window condenses into one vector whose nearest entry of a second
codebook is the *acoustic* token. Codebooks are nested in size: 4,096 to 32,768 centroids work with
the same weights, as training draws one at random per batch (paper, section III).

The published SemantiCodec behind the file-level interface: windows of audio <-> tokens.

A column is one step of stacked patches: 0.16 s (0.32 s for K = 4) with 8 or 4 positions. Columns
are encoded in the model's one window of 10.24 s, whatever their number, with silence after them,
as the public code does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.semanticodec.config import (
    FRAMES,
    GRID,
    MEL_BINS,
    PATCH,
    PATCH_SAMPLES,
    RATE,
    STACKS,
    FullConfig,
)
from laconic.codec.audio.semanticodec.decoder import FullDecoder

MEAN, DEVIATION = -4.2677393, 4.5689974  # of AudioSet
WINDOW_SAMPLES = 64 * PATCH_SAMPLES  # 163,840: 10.24 s
CONSTANT = 1e-7  # frames of smaller deviation than this are padding


def filter_banks(wave: Tensor) -> Tensor:
    """``[B, samples <= 163840]`` at 16 kHz -> ``[B, 1024, 128]``, normalised, float32."""
    from torchaudio.compliance import kaldi

    padded = F.pad(wave.float(), (0, WINDOW_SAMPLES - wave.shape[1]))
    rows = []
    for one in padded:
        bank = kaldi.fbank(
            (one - one.mean())[None],
            htk_compat=True,
            sample_frequency=RATE,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=MEL_BINS,
            dither=0.0,
            frame_shift=10,
        )
        rows.append(F.pad(bank, (0, 0, 0, FRAMES - len(bank)))[:FRAMES])
    return (torch.stack(rows) - MEAN) / (2 * DEVIATION)


def padded_from(mel: Tensor, positions: int) -> Tensor:
    """``[B]``: the first of ``positions`` that lies wholly in the constant frames at the end.

    ``mel`` is ``[B, frames, bins]``; a window without such frames gives ``positions``.
    """
    audible = mel.std(-1) > CONSTANT  # [B, frames]
    frames = mel.shape[1]
    last = (audible * torch.arange(1, frames + 1, device=mel.device)).amax(1)
    return torch.ceil(positions * last.double() / frames).long()


AVERAGED = 3  # last blocks whose outputs make the feature
EPSILON = 1e-6


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        # [3, B, heads, N, width of a head]
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(b, n, width))


class Mlp(nn.Module):
    """Two layers with GELU between, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, EPSILON)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """``[B, 1, frames, bins]`` -> ``[B, patches, width]``, time-major."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, PATCH, PATCH)

    def forward(self, mel: Tensor) -> Tensor:
        return self.proj(mel).flatten(2).transpose(1, 2)


def sine_cosine(width: int) -> Tensor:
    """``[1, 1 + patches, width]``; the class token's vector is zero.

    The public code lays its table out for a grid of 8 x 64 although patches come as 64 x 8: the
    patch 8 t + f gets the place of column (8 t + f) mod 64 (first half) and row (8 t + f) div 64.
    Vectors stay distinct, and trained weights depend on it.
    """
    omega = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    index = torch.arange(GRID[0] * GRID[1])
    places = (index % GRID[0], index // GRID[0])
    angles = [torch.outer(place.double(), omega) for place in places]
    table = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1)
    return F.pad(table, (0, 0, 1, 0))[None].float()


class AudioMae(nn.Module):
    """The encoder, with the names of the public checkpoint below ``audiomae.model.``."""

    def __init__(self, config: FullConfig, *, pretraining: bool = False) -> None:
        super().__init__()
        width = config.width
        self.patch_embed = PatchEmbedding(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(sine_cosine(width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, EPSILON)
        if pretraining:
            small = config.pretraining_width
            heads = max(1, small // 32)
            self.mask_token = nn.Parameter(torch.zeros(1, 1, small))
            self.decoder_pos_embed = nn.Parameter(sine_cosine(small), requires_grad=False)
            self.decoder_embed = nn.Linear(width, small)
            self.decoder_blocks = nn.ModuleList(
                Block(small, heads) for _ in range(config.pretraining_depth)
            )
            self.decoder_norm = nn.LayerNorm(small, EPSILON)
            self.decoder_pred = nn.Linear(small, PATCH * PATCH)

    def embed(self, mel: Tensor) -> Tensor:
        """``[B, 1024, 128]`` -> ``[B, 513, width]``: class token and patches with positions."""
        patches = self.patch_embed(mel[:, None]) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(mel), -1, -1)
        return torch.cat([first, patches], 1)

    def forward(self, mel: Tensor) -> Tensor:
        """``[B, 1024, 128]`` -> ``[B, 512, width]``, index 8 t + f."""
        x = self.embed(mel)
        kept = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index >= len(self.blocks) - AVERAGED:
                kept.append(self.norm(x))
        return torch.stack(kept).mean(0)[:, 1:]


PADDING = -1.0  # what features and conditions hold where there is no audio


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


class FullModel:
    """Implements :class:`laconic.codec.audio.windows.AudioModel`.

    Both streams make the published codec. The semantic stream alone decodes too, with zeros for the
    acoustic code: recognisable at best, as the model was never trained without.
    """

    rate = RATE
    advised_steps = 50  # of a decoder, as published
    knots = 0

    def __init__(self, config: FullConfig, encoder: FullEncoder, decoder: FullDecoder) -> None:
        time, frequency = STACKS[config.stack]
        self.config = config
        self.encoder = encoder.eval().requires_grad_(False)
        self.decoder = decoder.eval().requires_grad_(False)
        self.hop = PATCH_SAMPLES * time
        self.positions = GRID[1] // frequency
        self.window = GRID[0] // time
        self.vocabularies = (config.semantic, config.acoustic)

    def to(self, device: torch.device) -> FullModel:
        """Work on a device from now on."""
        self.encoder.to(device)
        self.decoder.to(device)
        return self

    @torch.no_grad()
    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns * positions, streams]``."""
        columns = -(-wave.shape[1] // self.hop)
        assert columns <= self.window
        # The filter banks are computed on the processor everywhere, so that tokens differ less.
        tokens = self.encoder(filter_banks(wave.cpu()).to(self.encoder.centroids.device))
        return tokens[:, : columns * self.positions, :streams]

    @torch.no_grad()
    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
        start: int = 0,
    ) -> Tensor:
        """int64 ``[B, columns * positions, streams]`` -> ``[B, columns * hop]`` in [-1, 1].

        ``steps`` of DDIM (50 in the paper, 10 to 25 are good); 0 is one evaluation without noise.
        """
        tokens = tokens.to(self.encoder.centroids.device)
        semantic = F.embedding(tokens[..., 0], self.encoder.centroids)
        acoustic = torch.zeros_like(semantic)
        if tokens.shape[-1] > 1:
            acoustic = F.embedding(tokens[..., 1], self.encoder.quantizer.entries)
        codes = torch.cat([acoustic, semantic], -1)
        absent = self.config.tokens - codes.shape[1]
        codes = F.pad(codes, (0, 0, 0, absent), value=PADDING)
        wave = self.decoder(codes, steps=steps, seed=seed)
        return wave[:, : tokens.shape[1] // self.positions * self.hop].clamp(-1, 1)
