"""Stage ``audio-tokens``: k-means on the features, then the token autoencoder.

    L = what is heard of the difference of the spectrograms + 0.1 |z - quantised z|^2

(:class:`~laconic.codec.audio.semanticodec_small.heard.Heard`).

For the first part of the budget the latents pass unquantised; then every codebook starts as k-means
of what the encoder makes and the rest of the run is trained through the quantiser, each sample with
a random number of stages, few more often than many, and a third of them with as many as fill the
default bound of 1.5 kbit/s. Detail begins with the quantiser, as principal components of what the
decoder lacks and linear guesses of them; it is trained by samples of many stages and by some whose
latents pass unquantised, as few stages hardly code it. The codebooks settle towards the end: what
their moving averages forget in a step falls.
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
from laconic.codec.audio.semanticodec_small.tokens import TokenAutoencoder, blocks_of
from laconic.codec.audio.semanticodec_small.vocoder import MEL_SCALE
from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.audio_stages import read_stage
from laconic.codec.train.recordings import DOMAINS, tracks_of, validation_crops

TOKENS_RECIPE = AudioRecipe("audio-tokens", minutes=30, batch=16, seconds=2.56, anneal=0.5)
CONTINUOUS = 0.12  # share of the budget without quantiser
COMMITMENT = 0.1
FURTHER = 0.16  # of the learning rates, in a run that goes on
FOCUS, FOCUSED = 0.33, 4  # share of the samples with exactly so many acoustic stages
FORGETS, FORGETS_FURTHER, FORGETS_LATE = 0.02, 0.01, 0.003  # share of codebooks in a step
SETTLING, SETTLED = 0.5, 0.8  # shares of the budget between which it falls
EXACT = 0.08  # share of the samples that pass unquantised, where there is detail
RIDGE = 0.003  # of the variance, in the first guesses of detail
SEMANTIC_ONLY = 0.06  # share of the samples that have no acoustic stage
UNTOLD = 0.1  # share of the samples whose pitch the decoder is not told
BATCHES = 40  # from which detail and codebooks begin
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

    def continuation(self) -> AudioRecipe:
        """Smaller rates than of a new run, warmed up for longer as the optimisers know nothing yet,
        and falling from early on."""
        usual = self.recipe
        return replace(
            usual.further(),
            muon_lr=FURTHER * usual.muon_lr,
            adam_lr=FURTHER * usual.adam_lr,
            warmup=2 * usual.warmup,
            anneal=0.8,
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
    def start_quantiser(self, first: int = 0) -> None:
        """Cluster the latents of the encoder as it is, from the acoustic stage ``first`` on."""
        found = []
        for _ in range(BATCHES):
            wave = self.batch()
            patches = patches_of(self.analysis(wave))
            with self.autocast():
                _, latents = self.model.latents(patches, self.mae(patches), self.synthesis(wave))
            found.append(latents.flatten(0, 1))
        self.model.quantiser.fit(torch.cat(found), first=first)

    @torch.no_grad()
    def start_detail(self) -> None:
        """Begin the linear maps of the detail: of what the decoder lacks to its principal
        components, scaled so that an error of a latent is worth the same in both parts."""
        encoder, decoder, plain = self.model.encoder, self.model.decoder, self.config.latent
        inputs: list[Tensor] = []
        handle = encoder.detail.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        lacks, steps = [], []
        for _ in range(BATCHES):
            wave = self.batch()
            patches = patches_of(self.analysis(wave))
            target, track = self.synthesis(wave), tracks_of(wave)
            semantic, latents = self.model.latents(patches, self.mae(patches), target)
            centroids = self.model.semantic.centroids[semantic]
            mel = decoder(centroids, latents, track)
            lacks.append(blocks_of(target, self.config) - blocks_of(mel, self.config))
            moved = latents.clone()
            moved[..., :plain] += 0.1 * torch.randn_like(moved[..., :plain])
            change = (decoder(centroids, moved, track) - mel) / MEL_SCALE
            steps.append(change.square().sum() / (moved - latents).square().sum())
        handle.remove()
        scale = torch.stack(steps).mean().rsqrt()
        by_position = (-1, self.config.positions)
        y = torch.cat([x.unflatten(1, by_position).flatten(0, 1) for x in lacks])
        x = torch.cat([x.float().unflatten(1, by_position).flatten(0, 1) for x in inputs])
        for i in range(self.config.positions):
            mean = y[:, i].mean(0)
            wanted = y[:, i] - mean
            _, vectors = torch.linalg.eigh(wanted.T @ wanted)
            path = vectors[:, -self.config.detail :].flip(1)  # [block, detail]
            decoder.detail.weight[i] = path.T / scale
            decoder.detail.bias[i] = mean
            level = x[:, i].mean(0)
            known = x[:, i] - level
            moments = known.T @ known
            moments.diagonal().add_(RIDGE * moments.diagonal().mean())
            guess = torch.linalg.solve(moments, known.T @ (wanted @ path)) * scale
            encoder.detail.weight[i] = guess
            encoder.detail.bias[i] = -level @ guess
        self.average.load_state_dict(self.model.state_dict())

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad():
            patches = patches_of(self.analysis(wave))
            features = self.mae(patches)
            target = self.synthesis(wave)
        tokens, latents = self.model.latents(patches, features, target)
        commitment = latents.new_zeros(())
        used = self.stages(*latents.shape[:2])
        if self.model.quantiser.ready:
            self.model.quantiser.decay = self.kept()
            latents, commitment = self.quantised(latents, used)
        track = tracks_of(wave)
        untold = self.crops.random.random(len(wave)) < UNTOLD
        track[torch.from_numpy(untold)] = -1
        mel = self.model.decoder(self.model.semantic.centroids[tokens], latents, track)
        loss, parts = self.heard(mel, target, self.model.decoder.emphasis(track, used), self.step)
        figures = {k: v.item() for k, v in parts.items()}
        return loss + COMMITMENT * commitment, {**figures, "commitment": commitment.item()}

    def quantised(self, latents: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``[B, N, width]`` of so many stages as are ``used`` with straight-through
        gradient, and the commitment loss."""
        found = self.model.quantiser(latents, used)
        passing = self.model.quantiser.passing(used)
        passed = found + passing * (latents - latents.detach())
        if self.config.detail:
            exact = self.crops.random.random(len(latents)) < EXACT
            used[exact] = self.config.stages  # all that is known
            passed[exact] = latents[exact]
        commitment = (passing * (latents - found).square()).sum() / passing.sum()
        return passed, commitment

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
        return self.model.used(torch.from_numpy(found).to(self.device))

    def prepare(self) -> None:
        if not self.model.semantic.centroids.any():
            self.start_semantic()
        if self.start is None and self.progress() <= CONTINUOUS:
            return
        if self.config.detail and not self.model.decoder.detail.weight.any():
            self.start_detail()
        if not self.model.quantiser.ready:
            self.start_quantiser()
        elif not self.model.quantiser.codebooks[-1].any():
            self.start_quantiser(self.config.partly)

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Log-mel distance by acoustic stages, and entropies of the first streams in bits."""
        patches = patches_of(self.analysis(self.validation))
        target = self.synthesis(self.validation)
        features = self.mae(patches)
        track = tracks_of(self.validation)
        semantic, latents = self.average.latents(patches, features, target)
        mel = self.average.decoder(self.average.semantic.centroids[semantic], latents, track)
        entry: dict[str, Any] = {"mel_unquantised": round(F.l1_loss(mel, target).item(), 4)}
        if not self.model.quantiser.ready:
            return entry
        tokens = self.average.tokens(semantic, latents, 1 + self.config.stages)
        for stages in sorted({*RATES, self.config.stages}):
            mel = self.average.decode(tokens[..., : 1 + stages], track)
            entry[f"mel_{stages}"] = round(F.l1_loss(mel, target).item(), 4)
            entry[f"envelope_{stages}"] = round(self.heard.envelope(mel, target).item(), 4)
        used = [len(tokens[..., i].unique()) for i in range(4)]
        return {**entry, "used": used}
