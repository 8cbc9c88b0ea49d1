"""Layers of PSCodec: ConvNeXt blocks for frames, HiFi-GAN's residual blocks for samples.

Encoders and decoders of PSCodec: ``[B, samples]`` <-> ``[B, columns, width]`` at 50 Hz.

The waveform pair is HiFi-Codec's: strided convolutions with residual blocks of three kernels, and
a HiFi-GAN generator. The spectral pair does the same work on STFT frames and costs about a
hundredth: choose it where there is no GPU.

How the decoder hears the prompts.

``Weighted`` is the first version of the paper: content, voiceprint and mel prompt are added with
learned weights ("adaptive feature weighted fusion"). ``Cascade`` stands for the attention of
PSCodec-CasAN: the content attends to the mel prompt's parts, and the result to the voiceprint's,
each behind a gate that starts closed. The paper's inner structure of CasAN is not public: ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.pscodec.config import HOP, STRIDES, PromptConfig

SLOPE = 0.1


class FrameBlock(nn.Module):
    """ConvNeXt block on ``[B, T, width]``: depthwise 7, norm, three times as wide, back."""

    def __init__(self, width: int, kernel: int = 7) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 3 * width)
        self.outer = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.outer(F.gelu(self.inner(self.norm(y))))


class SampleBlock(nn.Module):
    """HiFi-GAN residual block of three dilations on ``[B, C, N]``; ``groups`` adds GroupNorm."""

    def __init__(self, channels: int, kernel: int, groups: int = 0) -> None:
        super().__init__()

        def pair(dilation: int) -> nn.Sequential:
            spread = nn.Conv1d(
                channels, channels, kernel, dilation=dilation, padding=dilation * (kernel // 2)
            )
            plain = nn.Conv1d(channels, channels, kernel, padding=kernel // 2)
            norms = [nn.GroupNorm(groups, channels) if groups else nn.Identity() for _ in range(2)]
            activation = nn.LeakyReLU(SLOPE)
            return nn.Sequential(norms[0], activation, spread, norms[1], activation, plain)

        self.pairs = nn.ModuleList(pair(d) for d in (1, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        for pair in self.pairs:
            x = x + pair(x)
        return x


def mean_of(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    """Average of several blocks on the same input."""
    return torch.stack([block(x) for block in blocks]).mean(0)


FFT = 4 * HOP
BINS = FFT // 2 + 1
ENCODER_KERNELS, DECODER_KERNELS = (11, 7, 3), (3, 7, 11)
UP_KERNELS = (16, 11, 8, 4)
LOUDEST = 6.0  # log magnitude


def frames_of(wave: Tensor) -> Tensor:
    """Complex spectra ``[B, BINS, columns]`` of frames centred on columns."""
    side = (FFT - HOP) // 2
    padded = F.pad(wave[:, None], (side, side), mode="reflect")[:, 0]
    window = torch.hann_window(FFT, device=wave.device)
    return torch.stft(padded, FFT, HOP, window=window, center=False, return_complex=True)


def wave_of(spectra: Tensor) -> Tensor:
    """Inverse of :func:`frames_of` by overlap and addition: ``[B, columns * HOP]``."""
    window = torch.hann_window(FFT, device=spectra.device)
    frames = torch.fft.irfft(spectra, FFT, dim=1) * window[:, None]  # [B, FFT, columns]
    columns = frames.shape[2]
    length = (columns - 1) * HOP + FFT

    def overlap(x: Tensor) -> Tensor:
        return F.fold(x, (1, length), (1, FFT), stride=(1, HOP))[:, 0, 0]

    weight = overlap((window**2)[None, :, None].expand(1, FFT, columns))
    side = (FFT - HOP) // 2
    return (overlap(frames) / weight.clamp_min(1e-3))[:, side : side + columns * HOP]


class SpectralEncoder(nn.Module):
    """Log magnitudes of STFT frames through ConvNeXt blocks."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.enter = nn.Linear(BINS, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(FrameBlock(width) for _ in range(config.encoder_blocks)))
        self.leave = nn.Linear(width, config.width)

    def forward(self, wave: Tensor, hint: Tensor | None = None) -> Tensor:
        """``hint`` ``[B, encoder width]`` is what the prompts tell the encoder."""
        log = torch.log(frames_of(wave).abs().clamp_min(1e-4)).transpose(1, 2)
        x = self.norm(self.enter(log))
        return self.leave(self.blocks(x if hint is None else x + hint[:, None]))


class SpectralDecoder(nn.Module):
    """ConvNeXt blocks, then magnitudes and phases of STFT frames, overlapped and added (Vocos,
    arXiv 2306.00814)."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.enter = nn.Linear(config.width, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(FrameBlock(width) for _ in range(config.decoder_blocks)))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * BINS)

    def forward(self, z: Tensor) -> Tensor:
        x = self.last(self.blocks(self.norm(self.enter(z))))
        log, phase = self.head(x).transpose(1, 2).chunk(2, 1)
        return wave_of(torch.polar(log.clamp(max=LOUDEST).exp(), phase))


class WaveEncoder(nn.Module):
    """HiFi-Codec's encoder: four strided convolutions that double the channels, each followed by
    the mean of three residual blocks."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        channels = config.encoder_width
        self.enter = nn.Conv1d(1, channels, 7, padding=3)
        self.downs, self.blocks = nn.ModuleList(), nn.ModuleList()
        for stride, kernel in zip(STRIDES, reversed(UP_KERNELS), strict=True):
            padding = (kernel - stride + 1) // 2
            self.downs.append(nn.Conv1d(channels, 2 * channels, kernel, stride, padding))
            channels *= 2
            groups = max(1, channels // 16)
            self.blocks.append(
                nn.ModuleList(SampleBlock(channels, k, groups) for k in ENCODER_KERNELS)
            )
        self.leave = nn.Conv1d(channels, config.width, 3, padding=1)

    def forward(self, wave: Tensor, hint: Tensor | None = None) -> Tensor:
        """``hint`` ``[B, encoder width]`` is what the prompts tell the encoder."""
        x = self.enter(wave[:, None])
        x = x if hint is None else x + hint[..., None]
        for down, blocks, stride in zip(self.downs, self.blocks, STRIDES, strict=True):
            assert isinstance(blocks, nn.ModuleList)
            length = x.shape[2] // stride
            x = mean_of(blocks, down(F.leaky_relu(x, SLOPE))[..., :length])
        return self.leave(x).transpose(1, 2)


class WaveDecoder(nn.Module):
    """HiFi-GAN V1 generator at 320 samples per column."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        channels = config.decoder_width
        self.enter = nn.Conv1d(config.width, channels, 7, padding=3)
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(reversed(STRIDES), UP_KERNELS, strict=True):
            extra = (kernel - rate) % 2
            self.ups.append(
                nn.ConvTranspose1d(
                    channels, channels // 2, kernel, rate, (kernel - rate + extra) // 2, extra
                )
            )
            channels //= 2
            self.blocks.append(nn.ModuleList(SampleBlock(channels, k) for k in DECODER_KERNELS))
        self.leave = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, z: Tensor) -> Tensor:
        x = self.enter(z.transpose(1, 2))
        for up, blocks in zip(self.ups, self.blocks, strict=True):
            assert isinstance(blocks, nn.ModuleList)
            x = mean_of(blocks, up(F.leaky_relu(x, SLOPE)))
        return torch.tanh(self.leave(F.leaky_relu(x)))[:, 0]


class Weighted(nn.Module):
    """softmax-weighted sum of three projected branches, times three. The prompts' begin at zero, so
    that a decoder learns to speak before it is told who speaks."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(3))
        branches = [nn.Linear(config.width, config.width) for _ in range(3)]
        for prompt in branches[1:]:
            nn.init.zeros_(prompt.weight)
            nn.init.zeros_(prompt.bias)
        self.project = nn.ModuleList(branches)

    def forward(self, content: Tensor, voice: Tensor, mel: Tensor) -> Tensor:
        """``[B, T, width]``, twice ``[B, width]`` -> ``[B, T, width]``."""
        w = 3 * self.weights.softmax(0)
        z, v, m = (f(x) for f, x in zip(self.project, (content, voice, mel), strict=True))
        return w[0] * z + (w[1] * v + w[2] * m)[:, None]


class CrossAttention(nn.Module):
    """The content's frames attend to the parts of one prompt."""

    HEADS = 4

    def __init__(self, width: int, codes: int) -> None:
        super().__init__()
        self.codes = codes
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.pair = nn.Linear(width // codes, 2 * width)
        self.place = nn.Parameter(0.02 * torch.randn(codes, width // codes))
        self.leave = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, content: Tensor, prompt: Tensor) -> Tensor:
        parts = prompt.unflatten(1, (self.codes, -1)) + self.place  # [B, codes, width / codes]
        key, value = self.pair(parts).chunk(2, -1)

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.HEADS, -1)).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            heads(self.query(self.norm(content))), heads(key), heads(value)
        )
        answer = self.leave(mixed.transpose(1, 2).flatten(2))
        return content + torch.tanh(self.gate) * answer


class Cascade(nn.Module):
    """Attention to the mel prompt, then of the result to the voiceprint."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.mel = CrossAttention(config.width, config.mel_codes)
        self.voice = CrossAttention(config.width, config.voice_codes)

    def forward(self, content: Tensor, voice: Tensor, mel: Tensor) -> Tensor:
        """``[B, T, width]``, twice ``[B, width]`` -> ``[B, T, width]``."""
        return self.voice(self.mel(content, mel), voice)
