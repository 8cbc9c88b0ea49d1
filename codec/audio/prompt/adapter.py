"""A loaded PSCodec behind the file-level interface, and its extension by prompts."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from laconic.codec.audio.interface import AudioModel
from laconic.codec.audio.prompt.config import HOP, RATE, WINDOW
from laconic.codec.audio.prompt.model import PsCodec

SHORTEST = 4  # columns that frames of the STFT need around them


class PromptedModel(AudioModel, Protocol):
    """An :class:`AudioModel` whose decoder is told something once per file."""

    prompt_vocabularies: tuple[int, ...]  # alphabets of the prompt's codes

    def prompt(self, wave: Tensor) -> Tensor:
        """``[B, samples]`` -> int64 ``[B, codes]``, from the first ten seconds."""
        ...

    def prompted(self, codes: Tensor) -> PromptedModel:
        """The same network for sounds of one prompt, int64 ``[1, codes]``."""
        ...


class PromptModel:
    """Implements :class:`PromptedModel`.

    Streams of which a whole residual layer is missing leave the layer out; a missing group of
    channels is zero, which is worse than the model's rate suggests.
    """

    rate, hop, positions, window = RATE, HOP, 1, WINDOW
    knots = 0

    def __init__(self, network: PsCodec, codes: Tensor | None = None) -> None:
        self.network = network.eval().requires_grad_(False)
        self.vocabularies = network.config.vocabularies
        self.prompt_vocabularies = network.config.prompts
        empty = torch.zeros(1, len(self.prompt_vocabularies), dtype=torch.int64)
        self._codes = empty if codes is None else codes

    def prompt(self, wave: Tensor) -> Tensor:
        return self.network.prompt_codes(wave)

    def prompted(self, codes: Tensor) -> PromptModel:
        return PromptModel(self.network, codes)

    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns, streams]``."""
        columns = -(-wave.shape[1] // HOP)
        padded = F.pad(wave, (0, max(columns, SHORTEST) * HOP - wave.shape[1]))
        return self.network.tokens(padded)[:, :columns, :streams]

    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Tensor:
        """Deterministic: there is no refiner, so ``steps`` and ``seed`` change nothing."""
        columns = tokens.shape[1]
        padded = F.pad(tokens, (0, 0, 0, max(0, SHORTEST - columns)))
        sound = self.network.synthesise(padded, self._codes.expand(len(tokens), -1))
        return sound[:, : columns * HOP].clamp(-1, 1)
