"""Prompt encoders: what is said once per file about the voice, as vectors and as codes.

The *voiceprint* is one vector of attentive statistics over time: the paper takes it from a
speaker-verification network; ours is learned with the codec, because no such network may ship.
The *mel prompt* is a learnable summary of the spectrogram: a few queries attend to its frames.
Both are cut into parts that are quantised, so their price is known: 8 bytes each by default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laconic.codec.audio.prompt.config import HOP, PROMPT_BINS, PROMPT_COLUMNS, RATE, PromptConfig
from laconic.codec.audio.prompt.layers import FrameBlock
from laconic.codec.audio.prompt.losses import mel_filters
from laconic.codec.audio.prompt.quantize import Product

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

    def pool(self, frames: Tensor) -> Tensor:
        weight = self.attention(frames).softmax(1)
        mean = (weight * frames).sum(1)
        variance = (weight * (frames - mean[:, None]).square()).sum(1)
        return self.leave(torch.cat([mean, variance.clamp_min(1e-5).sqrt()], 1))


class MelPrompt(nn.Module):
    """Learned queries attend to the frames; their answers make one vector of the code's width."""

    QUERIES = 4

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.frames = FrameEncoder(config)
        self.queries = nn.Parameter(torch.randn(self.QUERIES, config.prompt_width))
        self.leave = nn.Linear(self.QUERIES * config.prompt_width, config.width)
        self.quantizer = Product(config.width, config.mel_codes, config.prompt_entries)

    def pool(self, frames: Tensor) -> Tensor:
        score = self.queries @ frames.transpose(1, 2) / frames.shape[-1] ** 0.5  # [B, Q, frames]
        return self.leave((score.softmax(-1) @ frames).flatten(1))
