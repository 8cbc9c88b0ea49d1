"""Stage ``audio-tokens``: k-means on the features, then the token autoencoder.

    L = |mel - decoded mel|_1 + 0.3 |difference of bands below 2 kHz|_1 + 0.5 (1 - r)
        + 0.1 |z - quantised z|^2

The second term asks for the ripple of the harmonics, which the first lets go cheaply. r is the mean
correlation over time of the envelopes of third octaves, on which it depends whether speech is
understood (Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted
noisy speech", IEEE TASLP 2011, equation 5 without its clipping): the first term treats a weak
sound between words like the middle of a vowel.

For the first part of the budget the latents pass unquantised; then every codebook starts as k-means
of what the encoder makes and the rest of the run is trained through the quantiser, each sample with
a random number of stages, few more often than many.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from laconic.codec.audio.semanticodec_small.config import (
    CONFIGS,
    MEL_BANDS,
    PATCH_HOP,
    PATCHES,
    RATE,
)
from laconic.codec.audio.semanticodec_small.mae import (
    Analysis,
    MaskedAutoencoder,
    Synthesis,
    mel_bank,
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
RIPPLE, RIPPLE_BANDS = 0.3, 44  # weight, bands below 2 kHz
ENVELOPE = 0.5  # weight of what the envelopes' correlation lacks
OCTAVE_THIRDS, LOWEST = 15, 150.0  # bands, Hz of the first one's centre
SEGMENT, SEGMENT_STEP = 24, 6  # frames: 384 ms, and from one segment to the next
QUIET = 0.01  # of the loudest segment's deviation; what is below is not compared
SEMANTIC_ONLY = 0.06  # share of the samples that have no acoustic stage
UNTOLD = 0.1  # share of the samples whose pitch the decoder is not told
RATES = (1, 2, 3, 4, 5, 12)  # acoustic stages that are measured


def third_octaves() -> Tensor:
    """``[80, 15]``: which mel bands each third octave collects."""
    bank = mel_bank(MEL_BANDS)
    bins = torch.linspace(0, RATE / 2, len(bank))
    centres = (bins[:, None] * bank).sum(0) / bank.sum(0).clamp_min(1e-12)
    third = torch.round(3 * torch.log2(centres.clamp_min(1.0) / LOWEST))
    return (third[:, None] == torch.arange(OCTAVE_THIRDS)).float()


def envelope_distance(mel: Tensor, target: Tensor, thirds: Tensor) -> Tensor:
    """One minus the mean correlation of third-octave envelopes of log-mel ``[B, T, 80]``, in
    segments of 384 ms."""

    def deviations(x: Tensor) -> Tensor:
        power = (2 * x.float()).exp() @ thirds
        segments = (power + 1e-10).sqrt().unfold(1, SEGMENT, SEGMENT_STEP)  # [B, S, 15, 24]
        return segments - segments.mean(-1, keepdim=True)

    with torch.autocast(mel.device.type, enabled=False):
        ours, theirs = deviations(mel), deviations(target)
    size = theirs.norm(dim=-1)  # [B, S, 15]
    heard = (size > QUIET * size.amax((1, 2), keepdim=True)).float()
    alike = (ours * theirs).sum(-1) / (ours.norm(dim=-1) * size + 1e-8)  # equation 5
    return 1 - (heard * alike).sum() / heard.sum().clamp_min(1.0)


class TokenTrainer(AudioTrainer):
    """Regression of log-mel spectrograms through tokens; the masked autoencoder is frozen."""

    model: TokenAutoencoder
    average: TokenAutoencoder

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        self.config = CONFIGS[recipe.model]
        super().__init__(recipe, data, out, TokenAutoencoder(self.config))
        self.analysis, self.synthesis = Analysis().to(self.device), Synthesis().to(self.device)
        self.thirds = third_octaves().to(self.device)
        self.mae = MaskedAutoencoder(self.config).to(self.device).requires_grad_(False).eval()
        self.mae.load_state_dict(read_stage(out.parent, "audio-mae", "encoder."))
        chosen = [c for c in self.held_out if c.domain == "speech"] or self.held_out
        self.validation = validation_crops(chosen, 32 * PATCH_HOP).to(self.device)

    def begin(self, weights: dict[str, Tensor], start: dict[str, Any]) -> None:
        super().begin(weights, start)
        for model in (self.model, self.average):
            model.quantiser.counts.fill_(1.0)  # as after a fit: models do not hold the counts

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
            latents, commitment = self.model.quantiser(latents, self.stages(*latents.shape[:2]))
        track = tracks_of(wave)
        untold = self.crops.random.random(len(wave)) < UNTOLD
        track[torch.from_numpy(untold)] = -1
        mel = self.model.decoder(self.model.semantic.centroids[tokens], latents, track)
        distance = F.l1_loss(mel, target)
        ripple = F.l1_loss(
            mel[..., :RIPPLE_BANDS].diff(dim=-1), target[..., :RIPPLE_BANDS].diff(dim=-1)
        )
        envelope = envelope_distance(mel, target, self.thirds)
        loss = distance + RIPPLE * ripple + ENVELOPE * envelope + COMMITMENT * commitment
        return loss, {
            "mel": distance.item(),
            "ripple": ripple.item(),
            "envelope": envelope.item(),
            "commitment": commitment.item(),
        }

    def stages(self, samples: int, positions: int) -> Tensor:
        """Stages that are used, ``[samples, positions]``: few more often than many, and in a part
        of the columns one less, as files have it."""
        random = self.crops.random
        used = 1 + np.floor(self.config.stages * random.random(samples) ** 2).astype(np.int64)
        used[random.random(samples) < SEMANTIC_ONLY] = 0
        columns = positions // self.config.positions
        less = random.random((samples, columns)) < random.choice([0.0, 0.0, 0.5], (samples, 1))
        found = np.maximum(used[:, None] - less, 0).repeat(self.config.positions, axis=1)
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
            envelope = envelope_distance(mel, target, self.thirds)
            entry[f"envelope_{stages}"] = round(envelope.item(), 4)
        used = [len(tokens[..., i].unique()) for i in range(4)]
        return {**entry, "used": used}
