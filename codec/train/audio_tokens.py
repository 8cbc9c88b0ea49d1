"""Stage ``audio-tokens``: k-means on the features, then the token autoencoder.

    L = what is heard of the difference of the spectrograms + 0.1 |z - quantised z|^2

(:class:`~laconic.codec.audio.semanticodec_small.heard.Heard`).

For the first part of the budget the latents pass unquantised; then every codebook starts as k-means
of what the encoder makes and the rest of the run is trained through the quantiser, each sample with
a random number of stages, few more often than many, and a third of them with as many as fill the
default bound of 1.5 kbit/s. The codebooks settle towards the end: what their moving averages forget
in a step falls.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from laconic.codec.audio.semanticodec_small.config import CONFIGS, PATCH_HOP, PATCHES
from laconic.codec.audio.semanticodec_small.heard import Heard
from laconic.codec.audio.semanticodec_small.mae import (
    Analysis,
    MaskedAutoencoder,
    Synthesis,
    patches_of,
    stacked,
)
from laconic.codec.audio.semanticodec_small.tokens import TokenAutoencoder
from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.audio_stages import read_stage
from laconic.codec.train.recordings import DOMAINS, tracks_of, validation_crops

TOKENS_RECIPE = AudioRecipe("audio-tokens", minutes=30, batch=16, seconds=2.56, anneal=0.5)
CONTINUOUS = 0.12  # share of the budget without quantiser
COMMITMENT = 0.1
SHARE = 0.4  # of a run that goes on in the mean of its weights and those it started from
FOCUS, FOCUSED = 0.33, 4  # share of the samples with exactly so many acoustic stages
FORGETS, FORGETS_FURTHER, FORGETS_LATE = 0.02, 0.01, 0.003  # share of codebooks in a step
SETTLING, SETTLED = 0.5, 0.8  # shares of the budget between which it falls
SEMANTIC_ONLY = 0.06  # share of the samples that have no acoustic stage
UNTOLD = 0.1  # share of the samples whose pitch the decoder is not told
RATES = (1, 2, 3, 4, 5, 12)  # acoustic stages that are measured


class TokenTrainer(AudioTrainer):
    """Regression of log-mel spectrograms through tokens; the masked autoencoder is frozen."""

    model: TokenAutoencoder
    average: TokenAutoencoder

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        self.config = CONFIGS[recipe.model]
        super().__init__(recipe, data, out, TokenAutoencoder(self.config))
        self.analysis = Analysis().to(self.device)
        synthesis = Synthesis(self.config.mel_hop, self.config.mel_window)
        self.synthesis = synthesis.to(self.device)
        self.heard = Heard(self.config).to(self.device)
        self.mae = MaskedAutoencoder(self.config).to(self.device).requires_grad_(False).eval()
        self.mae.load_state_dict(read_stage(out.parent, "audio-mae", "encoder."))
        chosen = [c for c in self.held_out if c.domain == "speech"] or self.held_out
        self.validation = validation_crops(chosen, 32 * PATCH_HOP).to(self.device)

    def begin(self, weights: dict[str, Tensor], start: dict[str, Any]) -> None:
        super().begin(weights, start)
        for model in (self.model, self.average):
            model.quantiser.counts.fill_(1.0)  # as after a fit: models do not hold the counts

    def continuation(self, start: dict[str, Any]) -> AudioRecipe:
        """Smaller rates than of a new run, warmed up for longer as the optimisers know nothing yet,
        and falling from early on; and a share of the result, which keeps what the start could do
        and the losses do not ask for, unless it decoded another spectrogram."""
        usual = self.recipe
        own = [self.config.mel_hop, self.config.mel_window]
        alike = start.get("spectrogram", own) == own
        return replace(
            usual.further(),
            muon_lr=0.4 * usual.muon_lr,
            adam_lr=0.4 * usual.adam_lr,
            warmup=2 * usual.warmup,
            anneal=0.8,
            share=SHARE if alike else 1.0,
        )

    def start_semantic(self) -> None:
        """Cluster the features of the training recordings."""
        features = {d: self._features(d) for d in DOMAINS if d in self.crops.by_domain}
        self.model.semantic.fit(features)  # the average copies buffers

    @torch.no_grad()
    def _features(self, domain: str, limit: int = 60_000) -> Tensor:
        """Stacked features ``[N, K mae_dim]`` of crops of one domain."""
        parts: list[Tensor] = []
        while sum(map(len, parts)) < limit // (2 if domain != "general" else 1):
            wave = torch.stack([self.crops.crop(domain, PATCHES * PATCH_HOP) for _ in range(8)])
            with self.autocast():
                features = self.mae(patches_of(self.analysis(wave.to(self.device))))
            parts.append(stacked(features.float(), self.config).flatten(0, 1))
        return torch.cat(parts)

    @torch.no_grad()
    def start_quantiser(self) -> None:
        """Cluster the latents of the encoder as it is."""
        found = []
        for _ in range(40):
            patches = patches_of(self.analysis(self.batch()))
            with self.autocast():
                found.append(self.model.latents(patches, self.mae(patches))[1].flatten(0, 1))
        self.model.quantiser.fit(torch.cat(found))

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad():
            patches = patches_of(self.analysis(wave))
            features = self.mae(patches)
            target = self.synthesis(wave)
        tokens, latents = self.model.latents(patches, features)
        commitment = latents.new_zeros(())
        if self.model.quantiser.ready:
            self.model.quantiser.decay = self.kept()
            latents, commitment = self.model.quantiser(latents, self.stages(*latents.shape[:2]))
        track = tracks_of(wave)
        untold = self.crops.random.random(len(wave)) < UNTOLD
        track[torch.from_numpy(untold)] = -1
        mel = self.model.decoder(self.model.semantic.centroids[tokens], latents, track)
        loss, parts = self.heard(mel, target, self.model.decoder.emphasis(track), self.step)
        figures = {k: v.item() for k, v in parts.items()}
        return loss + COMMITMENT * commitment, {**figures, "commitment": commitment.item()}

    def kept(self) -> float:
        """What the codebooks keep of their averages in a step."""
        begins = FORGETS if self.start is None else FORGETS_FURTHER
        settled = min(1.0, max(0.0, (self.progress() - SETTLING) / (SETTLED - SETTLING)))
        return 1 - begins - settled * (FORGETS_LATE - begins)

    def stages(self, samples: int, positions: int) -> Tensor:
        """Stages that are used, ``[samples, positions]``: few more often than many, in a part of
        the columns one less, as files have it, and a third of the samples those of the default."""
        random = self.crops.random
        used = 1 + np.floor(self.config.stages * random.random(samples) ** 2).astype(np.int64)
        used[random.random(samples) < SEMANTIC_ONLY] = 0
        columns = positions // self.config.positions
        less = random.random((samples, columns)) < random.choice([0.0, 0.0, 0.5], (samples, 1))
        found = np.maximum(used[:, None] - less, 0).repeat(self.config.positions, axis=1)
        found[random.random(samples) < FOCUS] = min(FOCUSED, self.config.stages)
        return torch.from_numpy(found).to(self.device)

    def prepare(self) -> None:
        if not self.model.semantic.centroids.any():
            self.start_semantic()
        if not self.model.quantiser.ready and self.progress() > CONTINUOUS:
            self.start_quantiser()

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Log-mel distance by acoustic stages, and entropies of the first streams in bits."""
        patches = patches_of(self.analysis(self.validation))
        target = self.synthesis(self.validation)
        features = self.mae(patches)
        track = tracks_of(self.validation)
        if not self.model.quantiser.ready:
            tokens, latents = self.average.latents(patches, features)
            mel = self.average.decoder(self.average.semantic.centroids[tokens], latents, track)
            return {"mel_unquantised": round(F.l1_loss(mel, target).item(), 4)}
        tokens = self.average.encode(patches, features, 1 + self.config.stages)
        entry: dict[str, Any] = {}
        for stages in RATES:
            mel = self.average.decode(tokens[..., : 1 + stages], track)
            entry[f"mel_{stages}"] = round(F.l1_loss(mel, target).item(), 4)
            entry[f"envelope_{stages}"] = round(self.heard.envelope(mel, target).item(), 4)
        used = [len(tokens[..., i].unique()) for i in range(4)]
        return {**entry, "used": used}
