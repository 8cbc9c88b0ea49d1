"""Quantisers of PSCodec: of the signal and of the prompts.

Vector quantisers: one codebook, groups of residual codebooks (GRVQ), product codes of prompts.

Entries follow running means of what they stand for and unused ones are put onto vectors of the
batch, which keeps codebooks alive in short trainings; HiFi-Codec moves them by gradient instead.
Gradients pass straight through.

Prompt encoders: what is said once per file about the voice, as vectors and as codes.

The *voiceprint* is one vector of attentive statistics over time, learned with the codec; or, as in
the paper, that of a speaker-verification network (:mod:`laconic.codec.audio.speaker`), which has
heard thousands of voices.
The *mel prompt* is a learnable summary of the spectrogram: a few queries attend to its frames.
Both are cut into parts that are quantised, so their price is known: 8 bytes each by default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.pscodec.config import HOP, PROMPT_BINS, PROMPT_COLUMNS, RATE, PromptConfig
from laconic.codec.audio.pscodec.fusion import FrameBlock
from laconic.codec.audio.pscodec.losses import mel_filters
from laconic.codec.audio.speaker import WIDTH, SpeakerNetwork

DECAY = 0.95
DEAD = 0.3  # vectors a batch, as a running mean; entries below are moved


class Codebook(nn.Module):
    """Nearest of ``entries`` vectors of ``width``."""

    embed: Tensor
    count: Tensor
    total: Tensor

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.register_buffer("embed", torch.randn(entries, width) / width**0.5)
        self.register_buffer("count", torch.zeros(entries))
        self.register_buffer("total", torch.zeros(entries, width))

    def indices(self, x: Tensor) -> Tensor:
        """``[..., width]`` -> int64 ``[...]``."""
        flat = x.reshape(-1, x.shape[-1])
        score = self.embed.square().sum(1) - 2 * flat @ self.embed.t()
        return score.argmin(1).view(x.shape[:-1])

    def lookup(self, indices: Tensor) -> Tensor:
        """int64 ``[...]`` -> ``[..., width]``."""
        return F.embedding(indices, self.embed)

    @torch.no_grad()
    def follow(self, x: Tensor, indices: Tensor) -> None:
        """Move entries towards the vectors that chose them."""
        flat, chosen = x.reshape(-1, x.shape[-1]), indices.flatten()
        size = len(self.embed)
        if not self.count.any():  # first batch: start on its vectors
            start = flat[torch.randint(len(flat), (size,), device=flat.device)]
            self.embed.copy_(start + 1e-3 * torch.randn_like(start))
            self.count.fill_(1.0)
            self.total.copy_(self.embed)
            return
        hits = torch.bincount(chosen, minlength=size).to(flat)
        sums = torch.zeros_like(self.total).index_add_(0, chosen, flat)
        self.count.lerp_(hits, 1 - DECAY)
        self.total.lerp_(sums, 1 - DECAY)
        dead = self.count < DEAD * min(1.0, len(flat) / size)
        fresh = flat[torch.randint(len(flat), (int(dead.sum()),), device=flat.device)]
        self.count[dead] = 1.0
        self.total[dead] = fresh
        self.embed.copy_(self.total / self.count.clamp_min(1e-5)[:, None])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantised vectors with straight-through gradient, indices, commitment loss."""
        indices = self.indices(x)
        if self.training:
            self.follow(x.detach(), indices)
        y = self.lookup(indices)
        return x + (y - x).detach(), indices, F.mse_loss(x, y)


class GroupResidual(nn.Module):
    """GRVQ: channels in groups, each with a chain of codebooks for what the former ones leave.

    Streams are ordered layer by layer, so that fewer layers make a lower rate.
    """

    def __init__(self, width: int, groups: int, layers: int, entries: int) -> None:
        super().__init__()
        self.groups, self.layers = groups, layers
        self.books = nn.ModuleList(
            Codebook(entries, width // groups) for _ in range(groups * layers)
        )

    def book(self, layer: int, group: int) -> Codebook:
        found = self.books[layer * self.groups + group]
        assert isinstance(found, Codebook)
        return found

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[B, T, width]`` -> quantised, int64 ``[B, T, streams]``, commitment loss."""
        outputs, loss = [], z.new_zeros(())
        indices: dict[tuple[int, int], Tensor] = {}
        for group, part in enumerate(z.chunk(self.groups, -1)):
            residual, known = part, torch.zeros_like(part)
            for layer in range(self.layers):
                y, chosen, commitment = self.book(layer, group)(residual)
                indices[layer, group] = chosen
                loss = loss + commitment / len(self.books)
                known, residual = known + y, residual - y.detach()
            outputs.append(known)
        streams = [indices[la, g] for la in range(self.layers) for g in range(self.groups)]
        return torch.cat(outputs, -1), torch.stack(streams, -1), loss

    def decode(self, tokens: Tensor) -> Tensor:
        """int64 ``[B, T, streams]`` -> ``[B, T, width]``; streams that are missing add nothing."""
        parts = [torch.zeros(()).to(self.book(0, 0).embed)] * self.groups
        width = self.book(0, 0).embed.shape[1]
        for stream, chosen in enumerate(tokens.unbind(-1)):
            layer, group = divmod(stream, self.groups)
            parts[group] = parts[group] + self.book(layer, group).lookup(chosen)
        return torch.cat([p.expand(*tokens.shape[:-1], width) for p in parts], -1)


class Product(nn.Module):
    """A vector in ``codes`` equal parts, each with a codebook of its own."""

    def __init__(self, width: int, codes: int, entries: int) -> None:
        super().__init__()
        self.books = nn.ModuleList(Codebook(entries, width // codes) for _ in range(codes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[B, width]`` -> quantised, int64 ``[B, codes]``, commitment loss."""
        found = [b(p) for b, p in zip(self.books, x.chunk(len(self.books), -1), strict=True)]
        loss = torch.stack([f[2] for f in found]).mean()
        return torch.cat([f[0] for f in found], -1), torch.stack([f[1] for f in found], -1), loss

    def decode(self, codes: Tensor) -> Tensor:
        """int64 ``[B, codes]`` -> ``[B, width]``."""
        parts = []
        for book, code in zip(self.books, codes.unbind(-1), strict=True):
            assert isinstance(book, Codebook)
            parts.append(book.lookup(code))
        return torch.cat(parts, -1)


FFT = 1024
BLOCKS = 2


def prompt_mel(wave: Tensor) -> Tensor:
    """``[B, samples]`` -> ``[B, frames, 64]``, log mel every 20 ms, at most the first 10 s.

    The level is removed, so that the prompt tells the voice and not the recording's gain.
    """
    wave = wave[:, : PROMPT_COLUMNS * HOP]
    window = torch.hann_window(FFT, device=wave.device)
    if wave.shape[1] < FFT:
        wave = nn.functional.pad(wave, (0, FFT - wave.shape[1]))
    power = torch.stft(wave, FFT, HOP, window=window, return_complex=True).abs()
    mel = mel_filters(FFT, PROMPT_BINS, RATE).to(wave) @ power
    log = torch.log(mel.clamp_min(1e-4)).transpose(1, 2)
    return log - log.mean((1, 2), keepdim=True)


class FrameEncoder(nn.Module):
    """Frames of the prompt's spectrogram, ``[B, frames, prompt width]``."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(PROMPT_BINS, config.prompt_width)
        self.blocks = nn.Sequential(*(FrameBlock(config.prompt_width) for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(config.prompt_width)

    def forward(self, mel: Tensor) -> Tensor:
        return self.norm(self.blocks(self.enter(mel)))


class VoicePrint(nn.Module):
    """Attentive mean and deviation over time, then one vector of the code's width."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.frames = FrameEncoder(config)
        self.attention = nn.Linear(config.prompt_width, config.prompt_width)
        self.leave = nn.Linear(2 * config.prompt_width, config.width)
        self.quantizer = Product(config.width, config.voice_codes, config.prompt_entries)

    def summary(self, wave: Tensor, mel: Tensor) -> Tensor:
        """``[B, samples]`` and its :func:`prompt_mel` -> ``[B, width]``."""
        return self.pool(self.frames(mel))

    def pool(self, frames: Tensor) -> Tensor:
        weight = self.attention(frames).softmax(1)
        mean = (weight * frames).sum(1)
        variance = (weight * (frames - mean[:, None]).square()).sum(1)
        return self.leave(torch.cat([mean, variance.clamp_min(1e-5).sqrt()], 1))


class SpeakerPrint(SpeakerNetwork):
    """A speaker network's vector, then a layer that is learned."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.leave = nn.Linear(WIDTH, config.width)
        self.quantizer = Product(config.width, config.voice_codes, config.prompt_entries)

    def summary(self, wave: Tensor, mel: Tensor) -> Tensor:
        """``[B, samples]`` -> ``[B, width]``; the spectrogram is not read."""
        return self.leave(WIDTH**0.5 * self.vector(wave[:, : PROMPT_COLUMNS * HOP]))


class MelPrompt(nn.Module):
    """Learned queries attend to the frames; their answers make one vector of the code's width."""

    QUERIES = 4

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.frames = FrameEncoder(config)
        self.queries = nn.Parameter(torch.randn(self.QUERIES, config.prompt_width))
        self.leave = nn.Linear(self.QUERIES * config.prompt_width, config.width)
        self.quantizer = Product(config.width, config.mel_codes, config.prompt_entries)

    def summary(self, wave: Tensor, mel: Tensor) -> Tensor:
        """``[B, samples]`` and its :func:`prompt_mel` -> ``[B, width]``."""
        return self.pool(self.frames(mel))

    def pool(self, frames: Tensor) -> Tensor:
        score = self.queries @ frames.transpose(1, 2) / frames.shape[-1] ** 0.5  # [B, Q, frames]
        return self.leave((score.softmax(-1) @ frames).flatten(1))
