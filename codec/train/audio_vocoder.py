"""Stage ``audio-vocoder``: spectral losses on true spectrograms.

    L = 5 |mel(x) - mel(y)|_1 + MR-STFT(x, y)

The vocoder meets its adversaries and the decoded spectrograms in later stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from laconic.codec.audio.small.config import CONFIGS
from laconic.codec.audio.small.frontend import Synthesis
from laconic.codec.audio.small.vocoder import Vocoder, spectral_distance
from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.measures import stoi_mean
from laconic.codec.train.sounds import validation_crops

RECIPE = AudioRecipe("audio-vocoder", minutes=22, batch=16, seconds=1.024)


class VocoderTrainer(AudioTrainer):
    """Spectral training of the vocoder alone."""

    model: Vocoder

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        config = CONFIGS[recipe.model]
        super().__init__(recipe, data, out, Vocoder(config.vocoder_dim, config.vocoder_depth))
        self.mel = Synthesis().to(self.device)
        speech = [c for c in self.held_out if c.domain == "speech"]
        self.validation = validation_crops(speech or self.held_out, 40_960).to(self.device)

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        mel = self.mel(wave)
        out = self.model(mel)
        mel_loss = F.l1_loss(self.mel(out), mel)
        stft_loss = spectral_distance(out, wave)
        return 5 * mel_loss + stft_loss, {"mel": mel_loss.item(), "stft": stft_loss.item()}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        mel = self.mel(self.validation)
        out = self.average(mel)
        return {
            "mel": round(F.l1_loss(self.mel(out), mel).item(), 4),
            "stft": round(spectral_distance(out, self.validation).item(), 4),
            **stoi_mean(self.validation, out),
        }
