"""Stage ``audio-mae``: the masked autoencoder, on windows of 2.56, 5.12 and 10.24 s in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from laconic.codec.audio.small.config import CONFIGS, PATCH_HOP, PATCHES, SmallConfig
from laconic.codec.audio.small.frontend import Analysis
from laconic.codec.audio.small.mae import (
    MaskedAutoencoder,
    MaskedDecoder,
    masked_loss,
    patches_of,
)
from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.sounds import validation_crops

RECIPE = AudioRecipe("audio-mae", minutes=8, batch=12, seconds=10.24, anneal=0.6)


class MaePair(nn.Module):
    """Encoder and throw-away decoder."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.encoder = MaskedAutoencoder(config)
        self.decoder = MaskedDecoder(config.mae_dim)


class MaeTrainer(AudioTrainer):
    """Masked prediction of spectrogram patches."""

    model: MaePair
    average: MaePair

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        super().__init__(recipe, data, out, MaePair(CONFIGS[recipe.model]))
        self.analysis = Analysis().to(self.device)
        self.validation = validation_crops(self.held_out, 32 * PATCH_HOP).to(self.device)

    def batch(self) -> Tensor:
        shorter = (1, 2, 4)[self.step % 3]
        seconds = self.recipe.seconds / shorter
        columns = max(1, min(PATCHES, round(seconds * 16_000 / PATCH_HOP)))
        return self.crops.batch(self.recipe.batch * shorter, columns * PATCH_HOP).to(self.device)

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        patches = patches_of(self.analysis(wave))
        return masked_loss(self.model.encoder, self.model.decoder, patches), {}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        generator = torch.random.get_rng_state()
        torch.manual_seed(0)
        patches = patches_of(self.analysis(self.validation))
        loss = masked_loss(self.average.encoder, self.average.decoder, patches)
        torch.random.set_rng_state(generator)
        return {"masked_mse": round(loss.item(), 4)}
