"""A loaded PSCodec behind the file-level interface, and its extension by prompts."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from laconic.codec.audio.interface import AudioModel
from laconic.codec.audio.prompt.config import HOP, RATE, WINDOW
from laconic.codec.audio.prompt.model import PsCodec
from laconic.formats.errors import ParameterError


class PromptedModel(AudioModel, Protocol):
    """An :class:`AudioModel` whose decoder is told something once per sound."""

    prompt_vocabularies: tuple[int, ...]  # alphabets of the prompt's codes

    def prompt(self, wave: Tensor) -> Tensor:
        """``[B, samples]`` -> int64 ``[B, codes]``, from the first ten seconds."""
        ...

    def use_prompt(self, codes: Tensor) -> None:
        """Prompt of all sounds decoded from now on, int64 ``[1, codes]``."""
        ...


class PromptModel:
    """Implements :class:`PromptedModel`."""

    rate, hop, positions, window = RATE, HOP, 1, WINDOW

    def __init__(self, network: PsCodec) -> None:
        self.network = network.eval().requires_grad_(False)
        self.vocabularies = network.config.vocabularies
        self.prompt_vocabularies = network.config.prompts
        self._codes = torch.zeros(1, len(self.prompt_vocabularies), dtype=torch.int64)

    def prompt(self, wave: Tensor) -> Tensor:
        return self.network.prompt_codes(wave)

    def use_prompt(self, codes: Tensor) -> None:
        assert codes.shape == self._codes.shape
        self._codes = codes

    def encode(self, wave: Tensor, streams: int) -> Tensor:
        groups = self.network.config.groups
        if streams % groups or not 0 < streams <= len(self.vocabularies):
            raise ParameterError(
                f"this model codes whole layers of {groups} streams, up to"
                f" {len(self.vocabularies)}: {streams} streams were asked for"
            )
        padded = F.pad(wave, (0, -wave.shape[1] % HOP))
        least = 4  # columns that frames of the STFT need around them
        short = max(0, least * HOP - padded.shape[1])
        tokens = self.network.tokens(F.pad(padded, (0, short)), streams)
        return tokens[:, : padded.shape[1] // HOP]

    def decode(self, tokens: Tensor, *, steps: int, seed: int) -> Tensor:
        """Deterministic: there is no refiner, so ``steps`` and ``seed`` change nothing."""
        return self.network.synthesise(tokens, self._codes.expand(len(tokens), -1))
