"""What the stages after the tokens share: spectrograms as the decoder really makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from laconic.codec.audio.small.config import CONFIGS, PATCH_HOP
from laconic.codec.audio.small.frontend import Analysis, Synthesis
from laconic.codec.audio.small.mae import MaskedAutoencoder, patches_of
from laconic.codec.audio.small.tokens import TokenAutoencoder
from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.audio_stages import has_stage, read_stage
from laconic.codec.train.sounds import validation_crops

SEMANTIC_ONLY = 0.08  # share of the samples that are decoded from the semantic stream alone


class DecodedTrainer(AudioTrainer):
    """Draws decoded spectrograms from the frozen token stages."""

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path, model: nn.Module) -> None:
        super().__init__(recipe, data, out, model)
        config = CONFIGS[recipe.model]
        self.stages = config.stages
        self.analysis, self.synthesis = Analysis().to(self.device), Synthesis().to(self.device)
        self.mae = MaskedAutoencoder(config).to(self.device).requires_grad_(False).eval()
        self.mae.load_state_dict(read_stage(out.parent, "audio-mae", "encoder."))
        self.tokens = TokenAutoencoder(config).to(self.device).requires_grad_(False).eval()
        self.tokens.load_state_dict(read_stage(out.parent, "audio-tokens"))
        if recipe.config != "audio-decoder" and has_stage(out.parent, "audio-decoder"):
            self.tokens.decoder.load_state_dict(read_stage(out.parent, "audio-decoder"))
        chosen = [c for c in self.held_out if c.domain == "speech"] or self.held_out
        self.validation = validation_crops(chosen, 32 * PATCH_HOP).to(self.device)

    @torch.no_grad()
    def codes(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Centroids and quantised latents of ``[B, samples]``, each sample at a random rate."""
        patches = patches_of(self.analysis(wave))
        semantic, latents = self.tokens.latents(patches, self.mae(patches))
        draws = self.crops.random.random(len(wave))
        used = 1 + np.floor(self.stages * draws**2).astype(np.int64)
        used[self.crops.random.random(len(wave)) < SEMANTIC_ONLY] = 0
        quantised, _ = self.tokens.quantiser(latents, torch.from_numpy(used).to(self.device))
        return self.tokens.semantic.centroids[semantic], quantised

    @torch.no_grad()
    def codes_at(self, wave: Tensor, stages: int) -> tuple[Tensor, Tensor]:
        """Centroids and quantised latents with that many acoustic stages, or all there are."""
        patches = patches_of(self.analysis(wave))
        streams = 1 + min(stages, self.stages)
        tokens = self.tokens.encode(patches, self.mae(patches), streams)
        latents = self.tokens.quantiser.decode(tokens[..., 1:])
        return self.tokens.semantic.centroids[tokens[..., 0]], latents
