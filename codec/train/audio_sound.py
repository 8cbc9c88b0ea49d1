"""The vocoder trained with discriminators on what the decoder makes.

Discriminators for the vocoder: periods of the wave and resolutions of its spectrum.

Multi-period (Kong et al. 2020, arXiv 2010.05646, section 2.3) and multi-resolution spectrogram
(Jang et al. 2021, arXiv 2106.07889) discriminators with a tenth of the published channels, because
on a processor they would otherwise cost many times what the vocoder does. Least-squares losses and
feature matching as in HiFi-GAN, equations 1 to 3.

Stage ``audio-sound``: the vocoder against discriminators, on what the decoder really makes.

Half of the samples are decoded spectrograms of random rates and half the true ones, which is what a
perfect refiner would deliver. The truth of a decoded one is blurred by what its tokens leave out,
so the distances of spectra are taken from the true ones:

    L = 5 |mel(x) - mel(y)|_1 + MR-STFT(x, y) + 0.1 adversarial + 0.3 matching
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.config import CONFIGS, MEL_HOP
from laconic.codec.audio.semanticodec_small.vocoder import Consistency, Vocoder, spectral_distance
from laconic.codec.train.audio_loop import AudioRecipe
from laconic.codec.train.audio_stages import DecodedTrainer, read_stage
from laconic.codec.train.running import stoi_mean

PERIODS = (2, 3, 5, 7)
RESOLUTIONS = (256, 512, 1024)
SLOPE = 0.1


class PeriodDiscriminator(nn.Module):
    """Two-dimensional convolutions over the wave folded at one period."""

    def __init__(self, period: int, channels: tuple[int, ...] = (8, 24, 48, 64)) -> None:
        super().__init__()
        self.period = period
        widths = zip((1, *channels), channels, strict=False)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in widths
        )
        self.last = nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Features of every layer of ``[B, samples]``, the verdict last."""
        padded = F.pad(wave, (0, -wave.shape[1] % self.period))
        x = padded.view(len(wave), 1, -1, self.period)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return [*features, self.last(x)]


class SpectrumDiscriminator(nn.Module):
    """Convolutions over log magnitudes at one resolution."""

    window: Tensor

    def __init__(self, size: int, channels: int = 16) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, channels, (3, 7), (1, stride), padding=(1, 3))
            for a, stride in ((1, 2), (channels, 2), (channels, 2))
        )
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Features of every layer of ``[B, samples]``, the verdict last."""
        spectrum = torch.stft(
            wave, self.size, self.size // 4, window=self.window, center=False, return_complex=True
        )
        magnitude = torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-8).sqrt()
        x = magnitude.log().transpose(1, 2)[:, None]  # [B, 1, T, bins]
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return [*features, self.last(x)]


class Adversaries(nn.Module):
    """All discriminators."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [PeriodDiscriminator(p) for p in PERIODS]
            + [SpectrumDiscriminator(s) for s in RESOLUTIONS]
        )

    def forward(self, wave: Tensor) -> list[list[Tensor]]:
        """Features per discriminator."""
        return [member(wave) for member in self.members]

    def own_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminators minimise."""
        total = real.new_zeros(())
        both = torch.cat([real, fake.detach()])
        for member in self.members:
            p, q = member(both)[-1].float().chunk(2)
            total = total + (1 - p).square().mean() + q.square().mean()
        return total / len(self.members)

    def generator_loss(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Adversarial and feature-matching loss of the generator."""
        with torch.no_grad():
            truth = self(real)
        adversarial, matching = real.new_zeros(()), real.new_zeros(())
        for p, q in zip(truth, self(fake), strict=True):
            adversarial = adversarial + (1 - q[-1].float()).square().mean()
            for a, b in zip(p[:-1], q[:-1], strict=True):
                scale = a.float().abs().mean() + 1e-4
                matching = matching + F.l1_loss(b.float(), a.float()) / scale / (len(p) - 1)
        return adversarial / len(self.members), matching / len(self.members)


SOUND_RECIPE = AudioRecipe(
    "audio-sound", minutes=11, batch=8, seconds=1.28, muon_lr=0.004, adam_lr=4e-4, anneal=0.7
)
ADVERSARIAL = 0.15  # share of the budget after which the vocoder is told of the discriminators
RAMP = 0.3  # share of the budget over which their weight grows
ADVERSARIAL_WEIGHT, MATCHING_WEIGHT = 0.1, 0.3
TRUE_SHARE = 0.5
HEARD = 32  # frames of every sample that the discriminators hear
RATES = (0, 1, 3, 5, 12)  # acoustic stages that are measured


class SoundTrainer(DecodedTrainer):
    """Adversarial training of the vocoder."""

    model: Vocoder
    average: Vocoder

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        config = CONFIGS[recipe.model]
        vocoder = Vocoder(config.vocoder_dim, config.vocoder_depth)
        vocoder.load_state_dict(read_stage(out.parent, "audio-vocoder"))
        super().__init__(recipe, data, out, vocoder)
        self.adversaries = Adversaries().to(self.device)
        self.opponent = torch.optim.Adam(self.adversaries.parameters(), lr=5e-4, betas=(0.8, 0.9))
        self.consistency = Consistency().to(self.device)

    def extra_state(self) -> dict[str, Any]:
        return {
            "adversaries": self.adversaries.state_dict(),
            "opponent": self.opponent.state_dict(),
        }

    def load_extra(self, state: dict[str, Any]) -> None:
        self.adversaries.load_state_dict(state["adversaries"])
        self.opponent.load_state_dict(state["opponent"])

    def loss(self, wave: Tensor) -> tuple[Tensor, dict[str, float]]:
        target = self.synthesis(wave)
        with torch.no_grad():
            mel = self.tokens.decoder(*self.codes(wave))
        true = torch.from_numpy(self.crops.random.random(len(wave)) < TRUE_SHARE).to(self.device)
        out = self.model(torch.where(true[:, None, None], target, mel))
        mel_loss = F.l1_loss(self.synthesis(out), target)
        stft_loss = spectral_distance(out, wave)
        # Discriminators are the dearest part: they hear half a second of each sample.
        start = int(self.crops.random.integers(0, max(1, target.shape[1] - HEARD)))
        heard = slice(start * MEL_HOP, (start + HEARD) * MEL_HOP)
        real, fake = wave[:, heard], out[:, heard]
        own = self.adversaries.own_loss(real, fake)
        own.backward()
        self.opponent.step()
        self.opponent.zero_grad(set_to_none=True)
        loss = 5 * mel_loss + stft_loss
        figures = {"mel": mel_loss.item(), "stft": stft_loss.item(), "own": own.item()}
        ramp = min(1.0, (self.progress() - ADVERSARIAL) / RAMP)
        if ramp > 0:
            self.adversaries.requires_grad_(False)
            adversarial, matching = self.adversaries.generator_loss(real, fake)
            self.adversaries.requires_grad_(True)
            loss = loss + ramp * (ADVERSARIAL_WEIGHT * adversarial + MATCHING_WEIGHT * matching)
            figures |= {"adversarial": adversarial.item(), "matching": matching.item()}
        return loss, figures

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """STOI and log-mel distance by acoustic stages, and with the true spectrogram."""
        target = self.synthesis(self.validation)
        inputs = {"true": target}
        for stages in RATES:
            inputs[str(stages)] = self.tokens.decoder(*self.codes_at(self.validation, stages))
        entry: dict[str, Any] = {}
        for name, mel in inputs.items():
            out = self.consistency(self.average(mel), mel)
            entry[f"mel_{name}"] = round(F.l1_loss(self.synthesis(out), target).item(), 4)
            if value := stoi_mean(self.validation, out):
                entry[f"stoi_{name}"] = value["stoi"]
        return entry
