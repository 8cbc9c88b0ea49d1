"""The PSCodec network: content codes at 50 Hz and prompts once, fused before the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.pscodec import fusion
from laconic.codec.audio.pscodec.config import PromptConfig
from laconic.codec.audio.pscodec.fusion import Cascade, Weighted
from laconic.codec.audio.pscodec.losses import similarity
from laconic.codec.audio.pscodec.quantize import GroupResidual, MelPrompt, VoicePrint, prompt_mel


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
            self.voice = VoicePrint(config)
            self.mel = MelPrompt(config)
            self.fusion: nn.Module = (
                Cascade(config) if config.fusion == "cascade" else Weighted(config)
            )

    def forward(self, wave: Tensor, prompt: Tensor) -> Forward:
        """``[B, samples]`` (whole columns) with prompts from other samples of the same voices."""
        z, _, commitment = self.quantizer(self.encoder(wave))
        alike = z.new_zeros(())
        if self.config.fusion != "none":
            mel = prompt_mel(prompt)
            branches = []
            maps = [z]
            for part in (self.voice, self.mel):
                frames = part.frames(mel)
                vector, _, loss = part.quantizer(part.pool(frames))
                commitment = commitment + loss
                branches.append(vector)
                if self.config.disentangled:
                    maps.append(self._as_map(part, frames, z.shape[1]))
            for i in range(len(maps)):
                for j in range(i):
                    alike = alike + similarity(maps[i], maps[j]).abs() / 3
            z = self.fusion(z, *branches)
        return Forward(self.decoder(z), commitment, alike)

    @staticmethod
    def _as_map(part: VoicePrint | MelPrompt, frames: Tensor, columns: int) -> Tensor:
        """The prompt before pooling, projected to the code's width and stretched to its length."""
        width = frames.shape[-1]
        flat = part.leave(frames.repeat(1, 1, part.leave.in_features // width))
        return F.interpolate(flat.transpose(1, 2), size=columns, mode="linear").transpose(1, 2)

    @torch.no_grad()
    def tokens(self, wave: Tensor) -> Tensor:
        """int64 ``[B, columns, streams]``."""
        return self.quantizer(self.encoder(wave))[1]

    @torch.no_grad()
    def prompt_codes(self, wave: Tensor) -> Tensor:
        """int64 ``[B, codes]``: voiceprint, then mel; empty without prompts."""
        if self.config.fusion == "none":
            return torch.zeros(len(wave), 0, dtype=torch.int64)
        mel = prompt_mel(wave)
        found = [p.quantizer(p.pool(p.frames(mel)))[1] for p in (self.voice, self.mel)]
        return torch.cat(found, 1)

    @torch.no_grad()
    def synthesise(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """int64 ``[B, columns, streams]`` and prompt codes ``[B, codes]`` -> ``[B, samples]``."""
        z = self.quantizer.decode(tokens)
        if self.config.fusion != "none":
            voice, mel = codes.split([self.config.voice_codes, self.config.mel_codes], 1)
            z = self.fusion(z, self.voice.quantizer.decode(voice), self.mel.quantizer.decode(mel))
        return self.decoder(z)
