"""The semantic half of the small SemantiCodec: mel front end and masked auto-encoder.

Blocks of the small model: ConvNeXt over frames, transformer over tokens.

The feed-forward parts use squared ReLU (So et al. 2021, arXiv 2109.08668): on a processor GELU
costs as much time as the matrix product before it.

Spectrograms: the analysis side (patches for the encoder) and the synthesis side (vocoder).

Both are logarithms of mel magnitudes with centred zero padding, so that ``n`` hops of samples give
exactly ``n`` frames. They differ in rate: 10 ms by 128 bands for the encoder, as in SemantiCodec
(Liu et al. 2024, arXiv 2405.00233, section III), 16 ms by 80 bands for the vocoder, because a
frame every 256 samples costs the vocoder 40 % less.

Masked spectrogram autoencoder: where the semantic features come from.

AudioMAE (Huang et al. 2022, arXiv 2207.06405) at a sixtieth of its size: 16 x 16 patches of the
log-mel spectrogram, most of them hidden, the encoder sees the rest and a throw-away decoder
predicts the hidden ones. The feature of a patch is the mean of the last blocks' outputs, each
after the final norm, as in SemantiCodec (Liu et al. 2024, section III-A). Windows of every length
are trained, so that the last window of a file needs no padding.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.config import (
    BANDS,
    MEL_BANDS,
    MEL_HOP,
    MEL_WINDOW,
    PATCH,
    PATCH_ROWS,
    PATCHES,
    RATE,
    SmallConfig,
)


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    return F.relu(x).square()


class ConvBlock(nn.Module):
    """ConvNeXt block over time (Liu et al. 2022, in one dimension as in Vocos)."""

    def __init__(self, dim: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)
        self.gain = nn.Parameter(torch.full((dim,), scale))

    def forward(
        self, x: Tensor, shift: Tensor | None = None, scale: Tensor | None = None
    ) -> Tensor:
        """``[B, T, dim]`` -> same; ``shift`` and ``scale`` ``[B, 1, dim]`` modulate the norm."""
        y = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        if shift is not None and scale is not None:
            y = y * (1 + scale) + shift
        return x + self.gain * self.down(squared_relu(self.up(y)))


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, rotation: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """``[B, N, dim]`` -> same; ``mask`` ``[N, N]`` is added to the scores."""
        batch, length, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [B, heads, N, dim / heads]
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, dim))
        return x + self.down(squared_relu(self.up(self.norm2(x))))


def rotary(times: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``[N, width / 2]`` of rotary positions (Su et al. 2021)."""
    rates = 100.0 ** (-torch.arange(width // 2, device=times.device) / (width // 2))
    angle = times[:, None].float() * rates
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the halves of ``[..., N, width]`` as pairs."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def sincos(count: int, dim: int) -> Tensor:
    """Fixed sine and cosine positions ``[count, dim]``."""
    rates = 10_000.0 ** (-torch.arange(dim // 2) / (dim // 2))
    angle = torch.arange(count)[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], dim=1)


FLOOR = 1e-5  # of mel magnitudes before the logarithm
ANALYSIS_HOP = 160
ANALYSIS_WINDOW = 400  # 25 ms
FFT = 1024
ANALYSIS_MEAN, ANALYSIS_SCALE = -7.0, 2.5  # about the mean and deviation of speech


def mel_bank(bands: int, window: int = FFT, rate: int = RATE) -> Tensor:
    """Slaney's filters ``[window / 2 + 1, bands]`` up to half the rate, each of area 1; to the bit
    those of torchaudio, whose binary part does not load beside every build of torch.

    The lowest filters may fall between two bins and be empty.
    """
    with torch.device("cpu"):  # constants: needed also where a network is sketched without memory
        linear, start, step = 200.0 / 3, 1000.0, math.log(6.4) / 27
        turn, end = start / linear, rate / 2
        top = turn + math.log(end / start) / step if end >= start else end / linear
        mels = torch.linspace(0.0, top, bands + 2)
        edges = linear * mels
        above = mels >= turn
        edges[above] = start * torch.exp(step * (mels[above] - turn))
        slopes = edges[None] - torch.linspace(0, rate // 2, window // 2 + 1)[:, None]
        widths = edges[1:] - edges[:-1]
        falling, rising = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
        bank = torch.minimum(falling, rising).clamp_min(0)
        bank *= (2.0 / (edges[2:] - edges[:-2]))[None]
    return bank


class LogMel(nn.Module):
    """``[B, samples]`` -> ``[B, samples / hop, bands]``, natural logarithms."""

    window: Tensor
    bank: Tensor

    def __init__(self, bands: int, hop: int, window: int) -> None:
        super().__init__()
        self.hop = hop
        left = (FFT - window) // 2
        padded = F.pad(torch.hann_window(window), (left, FFT - window - left))
        self.register_buffer("window", padded, persistent=False)
        self.register_buffer("bank", mel_bank(bands), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        edge = FFT - self.hop
        padded = F.pad(wave.float(), (edge // 2, edge - edge // 2))
        spectrum = torch.stft(
            padded, FFT, self.hop, window=self.window, center=False, return_complex=True
        )
        magnitude = torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-14).sqrt()
        mel = (magnitude.transpose(1, 2) @ self.bank).float()  # half precision in training
        return mel.clamp(min=FLOOR).log()


class Analysis(LogMel):
    """What the encoder sees: ``[B, samples / 160, 128]``, about zero mean and unit variance."""

    def __init__(self) -> None:
        super().__init__(BANDS, ANALYSIS_HOP, ANALYSIS_WINDOW)

    def forward(self, wave: Tensor) -> Tensor:
        return (super().forward(wave) - ANALYSIS_MEAN) / ANALYSIS_SCALE


class Synthesis(LogMel):
    """What the vocoder hears: ``[B, samples / hop, 80]``."""

    def __init__(self, hop: int = MEL_HOP, window: int = MEL_WINDOW) -> None:
        super().__init__(MEL_BANDS, hop, window)


def energies(mel: Tensor, bank: Tensor) -> Tensor:
    """Energies ``[B, T]`` of the frames of a log-mel ``[B, T, bands]``: the bands' filters have
    equal areas, so their widths weigh."""
    widths = (bank > 0).sum(0)
    return (2 * mel).exp() @ widths.to(mel.dtype)


PIXELS = PATCH * PATCH


def patches_of(spectrogram: Tensor) -> Tensor:
    """``[B, 16 T, 128]`` -> ``[B, 8 T, 256]``, time-major, frequency inner."""
    batch, frames, bands = spectrogram.shape
    grid = spectrogram.view(batch, frames // PATCH, PATCH, bands // PATCH, PATCH)
    return grid.transpose(2, 3).reshape(batch, -1, PIXELS)


def stacked(tokens: Tensor, config: SmallConfig) -> Tensor:
    """Join neighbouring patches: ``[B, 8 T, C]`` -> ``[B, 8 T / K, K C]``, K = ``config.stack``."""
    batch, count, width = tokens.shape
    shape = (batch, count // (8 * config.span), config.span, config.positions, config.rows, width)
    grid = tokens.reshape(shape).transpose(2, 3)  # [B, columns, positions, span, rows, C]
    return grid.reshape(batch, -1, config.stack * width)


class MaskedAutoencoder(nn.Module):
    """The encoder; :class:`MaskedDecoder` is only needed to train it."""

    position: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        dim = config.mae_dim
        self.features = config.mae_features
        self.embed = nn.Linear(PIXELS, dim)
        self.register_buffer("position", grid_positions(dim), persistent=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, config.mae_heads, 4 * dim) for _ in range(config.mae_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def embedded(self, patches: Tensor) -> Tensor:
        """Patches ``[B, 8 T, 256]`` -> tokens with positions ``[B, 8 T, dim]``."""
        embedded: Tensor = self.embed(patches) + self.position[: patches.shape[1]]
        return embedded

    def forward(self, patches: Tensor) -> Tensor:
        """Features ``[B, 8 T, dim]`` of patches ``[B, 8 T, 256]``, T <= 64."""
        x = self.embedded(patches)
        total = torch.zeros_like(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i >= len(self.blocks) - self.features:
                total = total + self.norm(x)
        return total / self.features

    def visible(self, patches: Tensor, keep: Tensor) -> Tensor:
        """Last block's output for the patches ``keep`` ``[B, visible]`` alone."""
        x = self.embedded(patches)
        x = x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class MaskedDecoder(nn.Module):
    """Predicts hidden patches from visible tokens."""

    position: Tensor

    def __init__(self, width: int, dim: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(width, dim)
        self.hidden = nn.Parameter(torch.zeros(dim))
        self.register_buffer("position", grid_positions(dim), persistent=False)
        self.blocks = nn.ModuleList(TransformerBlock(dim, 4, 4 * dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, PIXELS)

    def forward(self, visible: Tensor, keep: Tensor, count: int) -> Tensor:
        """All ``count`` patches ``[B, count, 256]``."""
        y = self.embed(visible)
        x = self.hidden.to(y.dtype).expand(len(y), count, -1)
        x = x.scatter(1, keep[:, :, None].expand_as(y), y) + self.position[:count]
        for block in self.blocks:
            x = block(x)
        prediction: Tensor = self.head(self.norm(x))
        return prediction


def grid_positions(dim: int) -> Tensor:
    """Fixed two-dimensional positions ``[512, dim]``: half the width for time, half for bands."""
    time = sincos(PATCHES, dim // 2).repeat_interleave(PATCH_ROWS, dim=0)
    rows = sincos(PATCH_ROWS, dim // 2).repeat(PATCHES, 1)
    return torch.cat([time, rows], dim=1)


def masked_loss(encoder: MaskedAutoencoder, decoder: MaskedDecoder, patches: Tensor) -> Tensor:
    """Mean squared error on four fifths of the patches, each normalised by its own mean and
    deviation (He et al. 2022, section 3; masking as in AudioMAE)."""
    batch, count, _ = patches.shape
    order = torch.rand(batch, count, device=patches.device).argsort(dim=1)
    keep = order[:, : max(1, count // 5)]
    prediction = decoder(encoder.visible(patches, keep), keep, count).float()
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    target = (patches - mean) / (variance + 1e-2).sqrt()
    hidden = torch.ones(batch, count, device=patches.device).scatter(1, keep, 0.0)
    error = (prediction - target).square().mean(-1)
    return (error * hidden).sum() / hidden.sum()
