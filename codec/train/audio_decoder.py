"""Stage ``audio-decoder``: the token decoder alone, for longer than the encoder.

Encoder and codebooks stay as they are, so tokens keep their meaning and a prior of them its use;
the decoder also learns to make what it can of the semantic stream alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from laconic.codec.audio.small.config import CONFIGS
from laconic.codec.audio.small.tokens import TokenDecoder
from laconic.codec.train.audio_decoded import DecodedTrainer
from laconic.codec.train.audio_loop import AudioRecipe
from laconic.codec.train.audio_stages import read_stage

RECIPE = AudioRecipe(
    "audio-decoder", minutes=20, batch=12, seconds=2.56, muon_lr=0.006, adam_lr=6e-4, anneal=0.7
)
RATES = (0, 1, 2, 3, 4, 5, 12)  # acoustic stages that are measured


class DecoderTrainer(DecodedTrainer):
    """Regression of log-mel spectrograms from frozen tokens."""

    model: TokenDecoder
    average: TokenDecoder

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        decoder = TokenDecoder(CONFIGS[recipe.model])
        decoder.load_state_dict(read_stage(out.parent, "audio-tokens", "decoder."))
        super().__init__(recipe, data, out, decoder)

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        return F.l1_loss(self.model(*self.codes(wave)), self.synthesis(wave)), {}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Log-mel distance by acoustic stages."""
        target = self.synthesis(self.validation)
        entry: dict[str, Any] = {}
        for stages in RATES:
            mel = self.average(*self.codes_at(self.validation, stages))
            entry[f"mel_{stages}"] = round(F.l1_loss(mel, target).item(), 4)
        return entry
