"""Token autoencoder: spectrogram patches to semantic and acoustic tokens, and back to log-mel.

The acoustic encoder sees a patch, its semantic feature and the centroid that the semantic token
stands for (SemantiCodec, section III-D), and codes what the centroid leaves open; the decoder is a
regression of the log-mel spectrogram. Attention is confined to ``reach`` seconds on each side and
knows positions only relatively, so a network trained on crops of a few seconds serves windows of
any length alike.

The decoder is told the pitch (:mod:`laconic.codec.audio.side_information`) as what it does to a
spectrogram: how much the log-mel of a flat row of harmonics stands above or below that of noise of
equal power. Bands that hold several harmonics get zero, so the same input serves low and high
voices.

What the network's numbers cannot say, ``detail`` further ones may: linear maps of the spectrogram
at a position, added to the decoded one by linear maps, so that more streams come ever nearer to the
original. They begin as principal components of what the decoder lacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.config import MEL_BANDS, PATCH_HOP, RATE, SmallConfig
from laconic.codec.audio.semanticodec_small.mae import (
    FFT,
    PIXELS,
    ConvBlock,
    TransformerBlock,
    mel_bank,
    rotary,
    stacked,
)
from laconic.codec.audio.semanticodec_small.quantisers import (
    ResidualQuantiser,
    SemanticCodebook,
    places,
)
from laconic.codec.audio.semanticodec_small.vocoder import MEL_MEAN, MEL_SCALE
from laconic.codec.audio.side_information import LOWEST, MAX_JUMP, PER_OCTAVE, STEPS, hertz

FINE = 4  # rows of the table per step
SPARED = 0.4  # of the emphasis of harmonics, where all stages are known
EVEN = 60  # bands from 3 kHz on, where harmonics are never told apart
LEAST = -3.0  # nepers, between harmonics
# Emphasis of voices of 110 Hz and below and of 200 Hz and above, linear in between.
EMPHASIS_LOW, EMPHASIS_HIGH = 0.7, 0.2
STEP_LOW, STEP_HIGH = (1 + PER_OCTAVE * math.log2(f / LOWEST) for f in (110, 200))


def comb_table(window: int) -> Tensor:
    """Log-mel of harmonics over log-mel of noise, in frames of ``window`` samples:
    ``[FINE * STEPS, 80]``."""
    bank = mel_bank(MEL_BANDS).double().numpy()  # [bins, 80]
    bins = FFT // 2 + 1
    rows = []
    for f0 in hertz(1 + np.arange(FINE * STEPS) / FINE):
        centres = np.arange(f0, RATE / 2 + f0, f0)
        # In bins of a transform of the window's length.
        offsets = (np.arange(bins)[None] * RATE / FFT - centres[:, None]) * window / RATE
        near = np.abs(offsets) < 2
        d = np.where(near & (np.abs(np.abs(offsets) - 1) > 1e-6), offsets, 0.5)
        lobe = np.where(near, np.sinc(d) / (1 - d**2), 0.0)
        lobe = np.where(near & (np.abs(np.abs(offsets) - 1) <= 1e-6), 0.5, lobe)
        power = (lobe**2).sum(0)
        # Of equal power: a harmonic stands for f0 of bandwidth, a bin of noise for one bin, 1.5
        # being the noise bandwidth of the window.
        amplitude = np.sqrt(power * f0 * window / RATE / 1.5)
        rows.append(np.log(np.maximum(amplitude @ bank, 1e-9) / (np.ones(bins) @ bank)))
    return torch.from_numpy(np.clip(np.stack(rows), LEAST, -LEAST)).float()


class PitchInput(nn.Module):
    """Tracks of pitch -> what is added to the decoder's frames; begins as zero."""

    table: Tensor

    def __init__(self, width: int, config: SmallConfig) -> None:
        super().__init__()
        self.split = config.split
        self.register_buffer("table", comb_table(config.mel_window), persistent=False)
        self.into = nn.Linear(MEL_BANDS + 2, width, bias=False)
        nn.init.zeros_(self.into.weight)

    def forward(self, track: Tensor) -> Tensor:
        """``[B, T / 2]`` steps (0 where there is no pitch, -1 where none is known) ->
        ``[B, T, width]``."""
        comb, _ = self._combs(track)
        told = torch.stack([track > 0, track >= 0], dim=-1).repeat_interleave(2, dim=1)
        added: Tensor = self.into(torch.cat([comb, told.to(comb.dtype)], dim=-1))
        return added

    def emphasis(self, track: Tensor) -> Tensor:
        """What brings out the harmonics of a decoded log-mel, ``[B, T, 80]``: a regression flattens
        them where it is unsure, those of low voices most. The counterpart of the pitch postfilter
        of speech coders (Chen and Gersho 1995, "Adaptive postfiltering for quality enhancement of
        coded speech", section V)."""
        comb, steps = self._combs(track)
        octaves = (steps - STEP_LOW) / (STEP_HIGH - STEP_LOW)
        strength = EMPHASIS_LOW + (EMPHASIS_HIGH - EMPHASIS_LOW) * octaves.clamp(0, 1)
        # Bands of many harmonics lie evenly below noise of equal power: they stay as they are.
        found = strength[..., None] * (comb - comb[..., EVEN:].mean(-1, keepdim=True))
        return found.repeat_interleave(self.split, dim=1)

    def _combs(self, track: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the table ``[B, T, 80]`` for the frames of the decoder, zero without pitch, and
        steps ``[B, T]``."""
        values = track.float()
        padded = torch.cat([values[:, :1], values, values[:, -1:]], dim=1)

        def toward(other: Tensor) -> Tensor:
            close = ((other - values).abs() <= MAX_JUMP) & (other > 0)
            return values + 0.25 * torch.where(close, other - values, 0.0)

        pair = torch.stack([toward(padded[:, :-2]), toward(padded[:, 2:])], dim=-1)
        steps = pair.flatten(1)  # [B, T], frames lie a quarter of a knot from its middle
        voiced = (track > 0).repeat_interleave(2, dim=1)
        index = ((steps - 1) * FINE).round().long().clamp(0, len(self.table) - 1)
        return torch.where(voiced[..., None], self.table[index], 0.0), steps


class LocalTransformer(nn.Module):
    """Transformer over ``[B, columns * positions, dim]`` with local attention in time."""

    def __init__(self, config: SmallConfig, depth: int) -> None:
        super().__init__()
        self.positions = config.positions
        self.reach = round(config.reach * RATE / PATCH_HOP / config.span)
        self.head_width = config.dim // config.heads
        self.band = nn.Parameter(0.02 * torch.randn(config.positions, config.dim))
        self.blocks = nn.ModuleList(
            TransformerBlock(config.dim, config.heads, 4 * config.dim) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        columns = x.shape[1] // self.positions
        times = torch.arange(columns, device=x.device).repeat_interleave(self.positions)
        distance = (times[:, None] - times[None, :]).abs()
        x = x + self.band.repeat(columns, 1)
        mask = torch.zeros(distance.shape, device=x.device, dtype=x.dtype)
        mask = mask.masked_fill(distance > self.reach, float("-inf"))
        rotation = rotary(times, self.head_width)
        for block in self.blocks:
            x = block(x, mask, rotation)
        y: Tensor = self.norm(x)
        return y


class BandLinear(nn.Module):
    """A linear layer for every position in a column; begins as zero."""

    def __init__(self, positions: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(positions, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(positions, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, inputs]`` -> ``[B, N, outputs]``."""
        rows = x.unflatten(1, (-1, len(self.weight)))  # [B, columns, positions, inputs]
        return (torch.einsum("bcpi,pio->bcpo", rows, self.weight) + self.bias).flatten(1, 2)


def blocks_of(mel: Tensor, config: SmallConfig) -> Tensor:
    """Log-mel ``[B, T, 80]`` -> ``[B, N, frames x bands]`` of the positions, about zero mean and
    unit variance."""
    frames, bands = config.block
    grid = ((mel - MEL_MEAN) / MEL_SCALE).unflatten(2, (-1, bands)).unflatten(1, (-1, frames))
    return grid.transpose(2, 3).flatten(3).flatten(1, 2)


def frames_of(blocks: Tensor, config: SmallConfig) -> Tensor:
    """The inverse, without the scale: ``[B, N, frames x bands]`` -> ``[B, T, 80]``."""
    grid = blocks.unflatten(2, config.block).unflatten(1, (-1, config.positions))
    return grid.transpose(2, 3).flatten(3).flatten(1, 2)


class AcousticEncoder(nn.Module):
    """Patches, features, centroids and, for the detail, the synthesis spectrogram -> acoustic
    latents ``[B, N, width]``, of which the first ``latent`` have unit norm."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        feature = config.stack * config.mae_dim
        self.patch = nn.Linear(config.stack * PIXELS, config.dim)
        self.feature = nn.Linear(feature, config.dim)
        self.centroid = nn.Linear(feature, config.dim)
        self.transformer = LocalTransformer(config, config.encoder_depth)
        self.out = nn.Linear(config.dim, config.latent)
        self.config = config
        if config.detail:
            size = math.prod(config.block)
            self.block = nn.Linear(size, config.dim, bias=False)
            nn.init.zeros_(self.block.weight)
            self.detail = BandLinear(config.positions, config.dim + size, config.detail)

    def forward(self, patches: Tensor, features: Tensor, centroids: Tensor, mel: Tensor) -> Tensor:
        x = self.patch(patches) + self.feature(features) + self.centroid(centroids)
        blocks = blocks_of(mel, self.config)
        hidden = self.transformer(x + self.block(blocks) if self.config.detail else x)
        latents = self.out(hidden).float()
        latents = F.layer_norm(latents, latents.shape[-1:])
        if not self.config.detail:
            return latents
        detail = self.detail(torch.cat([hidden, blocks.to(hidden.dtype)], dim=-1))
        return torch.cat([latents, detail.float()], dim=-1)


class TokenDecoder(nn.Module):
    """Centroids, acoustic latents and the pitch -> log-mel frames."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config = config
        self.frames, self.positions = config.frames, config.positions
        self.centroid = nn.Linear(config.stack * config.mae_dim, config.dim)
        self.latent = nn.Linear(config.width, config.dim)
        self.transformer = LocalTransformer(config, config.decoder_depth)
        width = config.frame_dim // config.positions
        self.spread = nn.Linear(config.dim, config.frames * width)
        self.pitch = PitchInput(config.frame_dim, config) if config.pitch else None
        self.blocks = nn.ModuleList(
            ConvBlock(config.frame_dim, 3 * config.frame_dim, 1 / config.frame_depth)
            for _ in range(config.frame_depth)
        )
        self.norm = nn.LayerNorm(config.frame_dim, eps=1e-6)
        self.head = nn.Linear(config.frame_dim, config.split * MEL_BANDS)
        if config.detail:
            size = math.prod(config.block)
            self.detail = BandLinear(config.positions, config.detail, size)

    def forward(self, centroids: Tensor, latents: Tensor, track: Tensor | None = None) -> Tensor:
        """``[B, N, K mae_dim]``, ``[B, N, width]``, pitch -> log-mel ``[B, T, 80]``, ten or twenty
        frames per 0.16 s."""
        x = self.transformer(self.centroid(centroids) + self.latent(latents))
        batch, count, _ = x.shape
        grid = self.spread(x).view(batch, count // self.positions, self.positions, self.frames, -1)
        hidden = grid.transpose(2, 3).reshape(batch, count // self.positions * self.frames, -1)
        if self.pitch is not None and track is not None:
            hidden = hidden + self.pitch(track)
        for block in self.blocks:
            hidden = block(hidden)
        mel: Tensor = self.head(self.norm(hidden)).float().reshape(batch, -1, MEL_BANDS)
        if self.config.detail:
            detail = self.detail(latents[..., self.config.latent :])
            mel = mel + frames_of(detail.float(), self.config)
        return mel * MEL_SCALE + MEL_MEAN

    def emphasis(self, track: Tensor | None, used: Tensor) -> Tensor:
        """What files add to the decoded log-mel: 0 where the pitch is not known or not used, the
        less the more of the detail is known. ``used`` are acoustic stages, in all ``[]`` or at
        every position ``[B, N]``."""
        if self.pitch is None or track is None:
            return self.head.bias.new_zeros(())
        found = self.pitch.emphasis(track)
        if not self.config.detail:
            return found
        share = 1 - SPARED * used.float() / self.config.stages
        if share.ndim:
            columns = share.unflatten(1, (-1, self.positions)).mean(2)
            share = columns.repeat_interleave(self.config.block[0], dim=1)[..., None]
        return share * found


class TokenAutoencoder(nn.Module):
    """Semantic codebook, acoustic encoder, quantiser and decoder."""

    place: Tensor
    stage: Tensor
    known: Tensor  # stages of every position after so many acoustic streams

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config = config
        self.semantic = SemanticCodebook(config.semantic, config.stack * config.mae_dim)
        self.encoder = AcousticEncoder(config)
        self.quantiser = ResidualQuantiser(
            config.stages, config.acoustic, config.width, (config.partly, config.latent)
        )
        self.decoder = TokenDecoder(config)
        place, stage = places(config.stages, config.positions, bool(config.uneven))
        counts = F.one_hot(place, config.positions).sum(1).cumsum(0)
        for name, value in {
            "place": place,
            "stage": stage,
            "known": F.pad(counts, (0, 0, 1, 0)),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def used(self, streams: Tensor) -> Tensor:
        """Stages at every position ``[..., N]`` of so many acoustic streams ``[..., N]``, the same
        in a column."""
        positions = torch.arange(streams.shape[-1], device=streams.device) % self.config.positions
        return self.known[streams, positions]

    def entries(self, tokens: Tensor) -> Tensor:
        """Indices ``[B, N, stages]`` of the quantiser, -1 where there is none, of tokens
        ``[B, N, streams]``."""
        acoustic = tokens[..., 1:]
        if not self.config.uneven:
            return acoustic
        streams = acoustic.shape[-1]
        grid = acoustic.unflatten(1, (-1, self.config.positions)).transpose(2, 3)
        found = grid.new_full((*grid.shape[:2], self.config.positions, self.config.stages), -1)
        found[:, :, self.place[:streams], self.stage[:streams]] = grid
        return found.flatten(1, 2)

    def latents(self, patches: Tensor, features: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Semantic tokens ``[B, N]`` and latents ``[B, N, width]`` of patches ``[B, 8 T, 256]``,
        their features ``[B, 8 T, mae_dim]`` and the synthesis spectrogram."""
        patches, features = stacked(patches, self.config), stacked(features, self.config)
        tokens = self.semantic(features)
        scaled = self.semantic.standardised(features.float())
        return tokens, self.encoder(patches, scaled, self.semantic.centroids[tokens], mel)

    def encode(self, patches: Tensor, features: Tensor, mel: Tensor, streams: int) -> Tensor:
        """Tokens ``[B, N, streams]``: the semantic one and ``streams - 1`` acoustic stages."""
        return self.tokens(*self.latents(patches, features, mel), streams)

    def tokens(
        self,
        semantic: Tensor,
        latents: Tensor,
        streams: int,
        beam: int = 1,
        likely: Sequence[int] = (),
    ) -> Tensor:
        """Tokens ``[B, N, streams]`` of semantic ones ``[B, N]`` and latents ``[B, N, width]``;
        ``beam`` and ``likely`` as in :meth:`ResidualQuantiser.encode`."""
        acoustic = streams - 1
        if not self.config.uneven:
            entries = self.quantiser.encode(latents, acoustic, beam, likely)
            return torch.cat([semantic[..., None], entries], -1)
        grid = latents.unflatten(1, (-1, self.config.positions))  # [B, columns, positions, width]
        shape = (*grid.shape[:3], self.config.stages)
        found = torch.zeros(shape, dtype=torch.long, device=latents.device)
        for position, counts in enumerate(self.known.T.tolist()):
            most, ends = counts[acoustic], [counts[n] for n in likely]
            part = self.quantiser.encode(grid[:, :, position], most, beam, ends)
            found[:, :, position, :most] = part
        entries = found[:, :, self.place[:acoustic], self.stage[:acoustic]].transpose(2, 3)
        return torch.cat([semantic[..., None], entries.flatten(1, 2)], -1)

    def decode(self, tokens: Tensor, track: Tensor | None = None) -> Tensor:
        """Log-mel ``[B, T, 80]`` of tokens ``[B, N, streams]``, the later of which may be -1 where
        they are absent, and of the pitch ``[B, T / 2]``."""
        latents = self.quantiser.decode(self.entries(tokens))
        mel: Tensor = self.decoder(self.semantic.centroids[tokens[..., 0]], latents, track)
        return mel
