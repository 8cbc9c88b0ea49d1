"""The stages of the training of the small SemantiCodec, each with its recipe.

Runs lie in folders side by side, named by stage, where later stages find what earlier ones made; an
installed model can take their place. In their order:

* ``audio-mae``: the masked autoencoder, on windows of 2.56, 5.12 and 10.24 s in turn;
* ``audio-vocoder``: spectral losses on true spectrograms, 5 |mel(x) - mel(y)|_1 + MR-STFT(x, y); it
  meets its adversaries and decoded spectrograms later (``audio_sound.py``);
* ``audio-decoder``: the token decoder alone, for longer than the encoder. Encoder and codebooks
  stay as they are, so tokens keep their meaning and a prior of them its use; the decoder also
  learns to make what it can of the semantic stream alone;
* ``audio-refiner``: flow matching from decoded to true spectrograms.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec import models
from laconic.codec.audio.semanticodec_small.config import CONFIGS, PATCH_HOP, PATCHES, SmallConfig
from laconic.codec.audio.semanticodec_small.mae import (
    Analysis,
    MaskedAutoencoder,
    MaskedDecoder,
    Synthesis,
    masked_loss,
    patches_of,
)
from laconic.codec.audio.semanticodec_small.model import PARTS, read_small, resized
from laconic.codec.audio.semanticodec_small.tokens import TokenAutoencoder, TokenDecoder
from laconic.codec.audio.semanticodec_small.vocoder import Refiner, Vocoder, spectral_distance
from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.recordings import tracks_of, validation_crops
from laconic.codec.train.running import save_state, stoi_mean
from laconic.formats.errors import ModelError, ParameterError

AFTER = {"audio-tokens": "audio-mae", "audio-decoder": "audio-tokens"}  # what is of no use without
VOCODER_RECIPE = AudioRecipe("audio-vocoder", minutes=22, batch=16, seconds=1.024)
SEMANTIC_ONLY = 0.08  # share of the samples that are decoded from the semantic stream alone
DECODER_RECIPE = AudioRecipe(
    "audio-decoder", minutes=20, batch=12, seconds=2.56, muon_lr=0.006, adam_lr=6e-4, anneal=0.7
)
FREE = (  # what of a size may differ from that of the model which a run begins with
    "pitch", "rounds", "refiner_depth", "vocoder_depth", "mel_hop", "mel_window", "stages",
    "detail", "uneven",
)  # fmt: skip
GROWS = ("split", "stages", "detail")  # and what may not become less
RATES = (0, 1, 2, 3, 4, 5, 12)  # acoustic stages that are measured
MAE_RECIPE = AudioRecipe("audio-mae", minutes=8, batch=12, seconds=10.24, anneal=0.6)
REFINER_RECIPE = AudioRecipe("audio-refiner", minutes=9, batch=8, seconds=2.56)
MEASURED_STAGES = 5  # acoustic stages that are measured


def has_stage(runs: Path, stage: str) -> bool:
    """Whether ``runs/stage`` holds a checkpoint."""
    return (runs / stage / "checkpoint.pt").exists()


def read_stage(runs: Path, stage: str, prefix: str = "") -> dict[str, Tensor]:
    """Averaged weights of ``runs/stage/checkpoint.pt`` whose names begin with ``prefix``, which is
    cut off. Raises ``ParameterError`` when the stage has not been trained."""
    path = runs / stage / "checkpoint.pt"
    if not path.exists():
        raise ParameterError(
            f"{path} is missing: train {stage} first, with --out {runs / stage}; the stages of one"
            " model lie side by side"
        )
    average = torch.load(path, map_location="cpu", weights_only=True)["average"]
    return {k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)}


def begin_from(name: str, size: str, runs: Path, stage: str) -> dict[str, Any]:
    """Unpack the installed model ``name`` into the stages before ``stage`` that ``runs`` lacks, but
    for what a stage that was trained here has made stale.

    Returns ``stage``'s own part of it as ``weights`` and where it comes from as ``start``.

    Raises ``ModelError`` when there is no such model or it is of another kind or size.
    """
    info = models.find(name)
    network = read_small(info)
    wanted = CONFIGS[size]
    # What an older model lacks begins as zero, a refiner anew; the decoder's last layer is resized.
    same = replace(network.config, **{k: getattr(wanted, k) for k in FREE}) == wanted
    less = any(getattr(network.config, k) > getattr(wanted, k) for k in GROWS)
    if not same or less or network.config.detail not in (0, wanted.detail):
        raise ModelError(
            f"model {name} is of another size than {size!r}: train the size that it was made with"
        )
    weights = resized(network.state_dict(), network.config, wanted)
    start = {"name": info.name, "id": info.id, **info.training}

    def part(of: str) -> dict[str, Tensor]:
        ours, theirs = PARTS[of]
        found = {k: v for k, v in weights.items() if k.startswith(theirs)}
        return {ours + k.removeprefix(theirs): v.clone() for k, v in found.items()}

    stale: set[str] = set()  # stages that were trained here, and what the model has after them
    for earlier in list(PARTS)[: list(PARTS).index(stage)]:
        if has_stage(runs, earlier):
            path = runs / earlier / "checkpoint.pt"
            if torch.load(path, map_location="cpu", weights_only=True)["recipe"] is not None:
                stale.add(earlier)
        elif AFTER.get(earlier) in stale:
            stale.add(earlier)
        else:
            (runs / earlier).mkdir(parents=True, exist_ok=True)
            state = {"average": part(earlier), "start": start, "step": 0, "seconds": 0.0}
            save_state(runs / earlier / "checkpoint.pt", {**state, "recipe": None})
    return {"weights": part(stage), "start": start}


class VocoderTrainer(AudioTrainer):
    """Spectral training of the vocoder alone."""

    model: Vocoder

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        config = CONFIGS[recipe.model]
        super().__init__(recipe, data, out, Vocoder(config.vocoder_dim, config.vocoder_depth))
        self.mel = Synthesis(config.mel_hop, config.mel_window).to(self.device)
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


class DecodedTrainer(AudioTrainer):
    """Draws decoded spectrograms from the frozen token stages."""

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path, model: nn.Module) -> None:
        super().__init__(recipe, data, out, model)
        config = CONFIGS[recipe.model]
        self.stages = config.stages
        self.analysis = Analysis().to(self.device)
        self.synthesis = Synthesis(config.mel_hop, config.mel_window).to(self.device)
        self.mae = MaskedAutoencoder(config).to(self.device).requires_grad_(False).eval()
        self.mae.load_state_dict(read_stage(out.parent, "audio-mae", "encoder."))
        self.tokens = TokenAutoencoder(config).to(self.device).requires_grad_(False).eval()
        self.tokens.load_state_dict(read_stage(out.parent, "audio-tokens"))
        if recipe.config != "audio-decoder" and has_stage(out.parent, "audio-decoder"):
            self.tokens.decoder.load_state_dict(read_stage(out.parent, "audio-decoder"))
        chosen = [c for c in self.held_out if c.domain == "speech"] or self.held_out
        self.validation = validation_crops(chosen, 32 * PATCH_HOP).to(self.device)

    @torch.no_grad()
    def codes(self, wave: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centroids, quantised latents and the pitch of ``[B, samples]``, each sample at a random
        rate."""
        patches = patches_of(self.analysis(wave))
        mel = self.synthesis(wave)
        semantic, latents = self.tokens.latents(patches, self.mae(patches), mel)
        draws = self.crops.random.random(len(wave))
        used = 1 + np.floor(self.stages * draws**2).astype(np.int64)
        used[self.crops.random.random(len(wave)) < SEMANTIC_ONLY] = 0
        streams = torch.from_numpy(used).to(self.device)[:, None].expand(latents.shape[:2])
        quantised = self.tokens.quantiser(latents, self.tokens.used(streams))
        return self.tokens.semantic.centroids[semantic], quantised, tracks_of(wave)

    @torch.no_grad()
    def codes_at(self, wave: Tensor, stages: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same with that many acoustic stages, or all there are."""
        patches = patches_of(self.analysis(wave))
        streams = 1 + min(stages, self.stages)
        tokens = self.tokens.encode(patches, self.mae(patches), self.synthesis(wave), streams)
        latents = self.tokens.quantiser.decode(self.tokens.entries(tokens))
        return self.tokens.semantic.centroids[tokens[..., 0]], latents, tracks_of(wave)


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
        coarse = self.tokens.decoder(*self.codes_at(self.validation, MEASURED_STAGES))
        entry: dict[str, Any] = {}
        for steps in (0, 2, 4):
            mel = self.average.refine(coarse, steps, 0) if steps else coarse
            entry[f"mel_{steps}_steps"] = round(F.l1_loss(mel, target).item(), 4)
            lively = mel.diff(dim=1).square().mean() / target.diff(dim=1).square().mean()
            entry[f"lively_{steps}_steps"] = round(lively.sqrt().item(), 3)
        return entry
