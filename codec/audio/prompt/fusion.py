"""How the decoder hears the prompts.

``Weighted`` is the first version of the paper: content, voiceprint and mel prompt are added with
learned weights ("adaptive feature weighted fusion"). ``Cascade`` stands for the attention of
PSCodec-CasAN: the content attends to the mel prompt's parts, and the result to the voiceprint's,
each behind a gate that starts closed. The paper's inner structure of CasAN is not public: ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.prompt.config import PromptConfig


class Weighted(nn.Module):
    """softmax-weighted sum of three projected branches, times three."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(3))
        self.project = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(3))

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
