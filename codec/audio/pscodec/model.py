"""PSCodec as a network, as a model file and as a model that codes files.

Content codes come at 50 Hz and prompts once; they are fused before the decoder. Files hold half
precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec import models
from laconic.codec.audio.pscodec import fusion
from laconic.codec.audio.pscodec.config import HOP, RATE, WINDOW, PromptConfig
from laconic.codec.audio.pscodec.fusion import Cascade, Weighted
from laconic.codec.audio.pscodec.losses import similarity
from laconic.codec.audio.pscodec.quantize import (
    GroupResidual,
    MelPrompt,
    SpeakerPrint,
    VoicePrint,
    prompt_mel,
)
from laconic.codec.audio.windows import AudioModel
from laconic.codec.building import build
from laconic.codec.models import ModelInfo
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

SHORTEST = 4  # columns that frames of the STFT need around them
CODEC = "pscodec"
ARCHITECTURE = "prompt"
TRAINING_ONLY = (".count", ".total")  # running means of codebooks


@dataclass
class Forward:
    """What training needs of one pass."""

    wave: Tensor  # [B, samples]
    commitment: Tensor
    similarity: Tensor  # SSIM of the pairs of branches, averaged


class PsCodec(nn.Module):
    """Network of any configuration."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.config = config
        spectral = config.spectral
        self.encoder: nn.Module = (
            fusion.SpectralEncoder(config) if spectral else fusion.WaveEncoder(config)
        )
        self.quantizer = GroupResidual(config.width, config.groups, config.layers, config.entries)
        self.decoder: nn.Module = (
            fusion.SpectralDecoder(config) if spectral else fusion.WaveDecoder(config)
        )
        if config.fusion != "none":
            self.voice = (SpeakerPrint if config.speaker else VoicePrint)(config)
            self.mel = MelPrompt(config)
            self.fusion: nn.Module = (
                Cascade(config) if config.fusion == "cascade" else Weighted(config)
            )
        if config.told:
            self.tell = nn.Linear(2 * config.width, config.encoder_width)
            nn.init.zeros_(self.tell.weight)
            nn.init.zeros_(self.tell.bias)

    def forward(self, wave: Tensor, prompt: Tensor) -> Forward:
        """``[B, samples]`` (whole columns) with prompts from other samples of the same voices."""
        alike = wave.new_zeros(())
        if self.config.fusion == "none":
            z, _, commitment = self.quantizer(self.encoder(wave))
            return Forward(self.decoder(z), commitment, alike)
        mel = prompt_mel(prompt)
        voice, _, loss = self.voice.quantizer(self.voice.summary(prompt, mel))
        scene, _, more = self.mel.quantizer(self.mel.summary(prompt, mel))
        z, _, commitment = self.quantizer(self.encoder(wave, self._hint(voice, scene)))
        if self.config.disentangled:
            assert isinstance(self.voice, VoicePrint)  # the configuration sees to it
            maps = [z, *(self._as_map(p, mel, z.shape[1]) for p in (self.voice, self.mel))]
            for i, j in ((0, 1), (0, 2), (1, 2)):
                alike = alike + similarity(maps[i], maps[j]).abs() / 3
        wave = self.decoder(self.fusion(z, voice, scene))
        return Forward(wave, commitment + loss + more, alike)

    def _hint(self, voice: Tensor, mel: Tensor) -> Tensor | None:
        """What the encoder is told of prompts ``[B, width]``: ``[B, encoder width]``."""
        return self.tell(torch.cat([voice, mel], 1)) if self.config.told else None

    def _vectors(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Both prompts ``[B, width]`` of their codes ``[B, codes]``."""
        voice, mel = codes.split([self.config.voice_codes, self.config.mel_codes], 1)
        return self.voice.quantizer.decode(voice), self.mel.quantizer.decode(mel)

    @staticmethod
    def _as_map(part: VoicePrint | MelPrompt, mel: Tensor, columns: int) -> Tensor:
        """The prompt before pooling, projected to the code's width and stretched to its length."""
        frames = part.frames(mel)
        width = frames.shape[-1]
        flat = part.leave(frames.repeat(1, 1, part.leave.in_features // width))
        return F.interpolate(flat.transpose(1, 2), size=columns, mode="linear").transpose(1, 2)

    @torch.no_grad()
    def tokens(self, wave: Tensor, codes: Tensor) -> Tensor:
        """int64 ``[B, columns, streams]`` of ``[B, samples]`` with prompt codes ``[B, codes]``."""
        hint = self._hint(*self._vectors(codes)) if self.config.told else None
        return self.quantizer(self.encoder(wave, hint))[1]

    @torch.no_grad()
    def prompt_codes(self, wave: Tensor) -> Tensor:
        """int64 ``[B, codes]``: voiceprint, then mel; empty without prompts."""
        if self.config.fusion == "none":
            return torch.zeros(len(wave), 0, dtype=torch.int64)
        mel = prompt_mel(wave)
        return torch.cat([p.quantizer(p.summary(wave, mel))[1] for p in (self.voice, self.mel)], 1)

    @torch.no_grad()
    def synthesise(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """int64 ``[B, columns, streams]`` and prompt codes ``[B, codes]`` -> ``[B, samples]``."""
        z = self.quantizer.decode(tokens)
        if self.config.fusion != "none":
            z = self.fusion(z, *self._vectors(codes))
        return self.decoder(z)


class PromptedModel(AudioModel, Protocol):
    """An :class:`AudioModel` whose decoder is told something once per file."""

    prompt_vocabularies: tuple[int, ...]  # alphabets of the prompt's codes

    def prompt(self, wave: Tensor) -> Tensor:
        """``[B, samples]`` -> int64 ``[B, codes]``, from the first ten seconds."""
        ...

    def prompted(self, codes: Tensor) -> PromptedModel:
        """The same network for recordings of one prompt, int64 ``[1, codes]``."""
        ...


class PromptModel:
    """Implements :class:`PromptedModel`.

    Streams of which a whole residual layer is missing leave the layer out; a missing group of
    channels is zero, which is worse than the model's rate suggests.
    """

    rate, hop, positions, window = RATE, HOP, 1, WINDOW
    knots = 0

    def __init__(self, network: PsCodec, codes: Tensor | None = None) -> None:
        self.network = network.eval().requires_grad_(False)
        self.vocabularies = network.config.vocabularies
        self.prompt_vocabularies = network.config.prompts
        empty = torch.zeros(1, len(self.prompt_vocabularies), dtype=torch.int64)
        self._codes = empty if codes is None else codes

    def to(self, device: torch.device) -> PromptModel:
        """Work on a device from now on."""
        self.network.to(device)
        return self

    def _here(self, x: Tensor) -> Tensor:
        return x.to(next(self.network.parameters()).device)

    def prompt(self, wave: Tensor) -> Tensor:
        return self.network.prompt_codes(self._here(wave))

    def prompted(self, codes: Tensor) -> PromptModel:
        return PromptModel(self.network, codes)

    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns, streams]``."""
        columns = -(-wave.shape[1] // HOP)
        padded = F.pad(self._here(wave), (0, max(columns, SHORTEST) * HOP - wave.shape[1]))
        codes = self._here(self._codes).expand(len(padded), -1)
        return self.network.tokens(padded, codes)[:, :columns, :streams]

    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
        start: int = 0,
    ) -> Tensor:
        """Deterministic: there is no refiner, so ``steps`` and ``seed`` change nothing."""
        columns = tokens.shape[1]
        padded = F.pad(self._here(tokens), (0, 0, 0, max(0, SHORTEST - columns)))
        waves = self.network.synthesise(padded, self._here(self._codes).expand(len(tokens), -1))
        return waves[:, : columns * HOP].clamp(-1, 1)


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Write the averaged weights of a run. Raises ``ModelError`` for a checkpoint that is none."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    try:
        config = PromptConfig.from_dict(state["network"])
        average = state["average"]
        training = history(state, checkpoint)
    except KeyError as error:
        raise ModelError(f"{checkpoint} is no checkpoint of a PSCodec: it lacks {error}") from error
    return models.write_model(
        out,
        name=name,
        codec=CODEC,
        config={"architecture": ARCHITECTURE, **config.to_dict()},
        numerics=int(NumericsProfile.INTEGER_TABLES),
        tensors={k: v.half().numpy() for k, v in average.items() if not k.endswith(TRAINING_ONLY)},
        training=training,
        overwrite=overwrite,
    )


def read_prompt(info: ModelInfo) -> PromptModel:
    """The network of a model file in float32. Raises ``ModelError`` for other files."""
    settings = {k: v for k, v in info.config.items() if k != "architecture"}
    config = PromptConfig.from_dict(settings)
    tensors = models.read_tensors(info)
    network = build(lambda: PsCodec(config), tensors, info)
    state = network.state_dict()
    stored = {k: torch.from_numpy(v).float() for k, v in tensors.items()}
    kept = {k: v for k, v in state.items() if k.endswith(TRAINING_ONLY)}
    try:
        network.load_state_dict({**kept, **stored})
    except RuntimeError as error:
        raise ModelError(f"model {info.name} does not fit its configuration: {error}") from error
    return PromptModel(network)
