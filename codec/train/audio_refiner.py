"""Stage ``audio-refiner``: flow matching from decoded to true spectrograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from laconic.codec.audio.small.config import CONFIGS
from laconic.codec.audio.small.refiner import Refiner
from laconic.codec.train.audio_decoded import DecodedTrainer
from laconic.codec.train.audio_loop import AudioRecipe

RECIPE = AudioRecipe("audio-refiner", minutes=9, batch=8, seconds=2.56)
STAGES = 5  # acoustic stages that are measured


class RefinerTrainer(DecodedTrainer):
    """Flow matching from decoded to true spectrograms."""

    model: Refiner
    average: Refiner

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        super().__init__(recipe, data, out, Refiner(CONFIGS[recipe.model]))

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad():
            mel = self.tokens.decoder(*self.codes(wave))
        return self.model.loss(self.synthesis(wave), mel), {}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Log-mel distance and the ratio of deviations over time (1 is as lively as the truth)."""
        target = self.synthesis(self.validation)
        coarse = self.tokens.decoder(*self.codes_at(self.validation, STAGES))
        entry: dict[str, Any] = {}
        for steps in (0, 2, 4):
            mel = self.average.refine(coarse, steps, 0) if steps else coarse
            entry[f"mel_{steps}_steps"] = round(F.l1_loss(mel, target).item(), 4)
            lively = mel.diff(dim=1).square().mean() / target.diff(dim=1).square().mean()
            entry[f"lively_{steps}_steps"] = round(lively.sqrt().item(), 3)
        return entry
