"""Stage ``audio-sound``: token decoder, bridge and vocoder together, on what the tokens hold.

The vocoder learns to live with decoded spectrograms of random rates; a quarter of the samples keep
the true spectrogram, which is what a perfect refiner would deliver. The encoder and its codebooks
stay as they are, so tokens keep their meaning. First with the spectral losses and then, for the
last part, against discriminators too (m is the spectrogram that the decoder passes on):

    L = 5 |mel(x) - mel(y)|_1 + MR-STFT(x, y) + 2 |mel(x) - m|_1 + 0.1 adversarial + 0.3 matching
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.small.config import CONFIGS, MEL_HOP, SmallConfig
from laconic.codec.audio.small.tokens import TokenDecoder
from laconic.codec.audio.small.vocoder import Vocoder, spectral_distance
from laconic.codec.train.adversaries import Adversaries
from laconic.codec.train.audio_decoded import DecodedTrainer
from laconic.codec.train.audio_loop import AudioRecipe
from laconic.codec.train.audio_stages import read_stage
from laconic.codec.train.measures import stoi_mean

RECIPE = AudioRecipe("audio-sound", minutes=44, batch=8, seconds=1.28)
DECODER_LR = 3e-4
ADVERSARIAL = 0.65  # share of the budget after which the discriminators take part
RAMP = 0.08  # share of the budget over which their weight grows
ADVERSARIAL_WEIGHT, MATCHING_WEIGHT = 0.1, 0.3
HEARD = 32  # frames of every sample that the discriminators hear
TRUE_SHARE = 0.25
RATES = (0, 1, 3, 5, 12)  # acoustic stages that are measured


class Sound(nn.Module):
    """Token decoder, vocoder and the bridge that carries the decoder's hidden state over."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.decoder = TokenDecoder(config)
        self.bridge = nn.Linear(config.frame_dim, config.vocoder_dim)
        self.vocoder = Vocoder(config.vocoder_dim, config.vocoder_depth)
        nn.init.zeros_(self.bridge.weight)
        nn.init.zeros_(self.bridge.bias)

    def forward(self, mel: Tensor, hidden: Tensor) -> Tensor:
        wave: Tensor = self.vocoder(mel, self.bridge(hidden))
        return wave


class SoundTrainer(DecodedTrainer):
    """Everything behind the tokens but the refiner."""

    model: Sound
    average: Sound

    def __init__(self, recipe: AudioRecipe, data: list[Path], out: Path) -> None:
        sound = Sound(CONFIGS[recipe.model])
        sound.vocoder.load_state_dict(read_stage(out.parent, "audio-vocoder"))
        sound.decoder.load_state_dict(read_stage(out.parent, "audio-tokens", "decoder."))
        super().__init__(recipe, data, out, sound)
        self.group([(sound.decoder, DECODER_LR)])  # it is trained already: no large steps
        self.adversaries = Adversaries().to(self.device)
        self.opponent = torch.optim.Adam(self.adversaries.parameters(), lr=5e-4, betas=(0.8, 0.9))

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
        mel, hidden = self.model.decoder(*self.drawn(wave))
        decoded_loss = F.l1_loss(mel, target)
        true = torch.from_numpy(self.crops.random.random(len(wave)) < TRUE_SHARE).to(self.device)
        mel = torch.where(true[:, None, None], target, mel)
        out = self.model(mel, hidden)
        mel_loss = F.l1_loss(self.synthesis(out), target)
        stft_loss = spectral_distance(out, wave)
        loss = 5 * mel_loss + stft_loss + 2 * decoded_loss
        figures = {"mel": mel_loss.item(), "stft": stft_loss.item(), "decoded": decoded_loss.item()}
        if self.progress() >= ADVERSARIAL:
            # Discriminators are the dearest part: they hear half a second of each sample.
            start = int(self.crops.random.integers(0, max(1, mel.shape[1] - HEARD)))
            heard = slice(start * MEL_HOP, (start + HEARD) * MEL_HOP)
            real, fake = wave[:, heard], out[:, heard]
            own = self.adversaries.own_loss(real, fake)
            own.backward()
            self.opponent.step()
            self.opponent.zero_grad(set_to_none=True)
            self.adversaries.requires_grad_(False)
            adversarial, matching = self.adversaries.generator_loss(real, fake)
            self.adversaries.requires_grad_(True)
            ramp = min(1.0, (self.progress() - ADVERSARIAL) / RAMP)
            loss = loss + ramp * (ADVERSARIAL_WEIGHT * adversarial + MATCHING_WEIGHT * matching)
            figures |= {
                "own": own.item(),
                "adversarial": adversarial.item(),
                "match": matching.item(),
            }
        return loss, figures

    def measure(self) -> dict[str, Any]:
        """STOI and log-mel distance by acoustic stages, and with the true spectrogram."""
        target = self.synthesis(self.validation)
        entry: dict[str, Any] = {}
        for stages in RATES:
            mel, hidden = self.average.decoder(*self.drawn_at(self.validation, stages))
            out = self.average(mel, hidden)
            entry[f"mel_{stages}"] = round(F.l1_loss(self.synthesis(out), target).item(), 4)
            if value := stoi_mean(self.validation, out):
                entry[f"stoi_{stages}"] = value["stoi"]
        return entry
