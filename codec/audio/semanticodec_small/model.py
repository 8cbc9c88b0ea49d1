"""The whole small model behind the interface of :mod:`laconic.codec.audio.windows`.

    samples -> analysis spectrogram -> masked autoencoder -> tokens                     (encode)
    tokens -> decoder -> log-mel [-> refiner] -> vocoder -> consistency -> samples     (decode)

The token stages carry what there is to know; the refiner and the vocoder invent the rest. Use the
full-size architecture of :mod:`laconic.codec.audio` to run published checkpoints; this one is some
fifty times smaller and is meant for a processor.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.audio.pitch import HOP as PITCH_HOP
from laconic.codec.audio.semanticodec_small.config import RATE, SmallConfig
from laconic.codec.audio.semanticodec_small.mae import (
    Analysis,
    MaskedAutoencoder,
    Synthesis,
    patches_of,
)
from laconic.codec.audio.semanticodec_small.tokens import TokenAutoencoder
from laconic.codec.audio.semanticodec_small.vocoder import Consistency, Refiner, Vocoder
from laconic.formats.errors import ParameterError

Given = TypeVar("Given", Tensor, Tensor | None)


class SmallSemantiCodec(nn.Module):
    """Implements :class:`laconic.codec.audio.windows.AudioModel`."""

    rate = RATE

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config = config
        self.hop, self.positions, self.window = config.hop, config.positions, config.window
        self.vocabularies = (config.semantic, *(config.acoustic,) * config.stages)
        self.knots = config.hop // PITCH_HOP if config.pitch else 0
        self.analysis, self.synthesis = Analysis(), Synthesis()
        self.mae = MaskedAutoencoder(config)
        self.tokens = TokenAutoencoder(config)
        self.refiner = Refiner(config) if config.refiner_depth else None
        self.refines = self.refiner is not None
        self.vocoder = Vocoder(config.vocoder_dim, config.vocoder_depth)
        self.consistency = Consistency()

    @torch.no_grad()
    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns * positions, streams]``.

        Raises ``ParameterError`` for more samples than a window holds, or streams than there are.
        """
        self._check(-(-wave.shape[-1] // self.hop), streams)
        padded = self._padded(wave)
        patches = patches_of(self.analysis(padded))
        return self.tokens.encode(patches, self.mae(patches), streams)

    @torch.no_grad()
    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Tensor:
        """int64 ``[B, columns * positions, streams]`` -> ``[B, columns * hop]`` in [-1, 1], by the
        ``pitch`` ``[B, columns * knots]`` if it is known and the model uses it, and louder by the
        ``gains`` ``[B, columns]`` in nepers.

        Raises ``ParameterError`` for more columns than a window holds, a part of a column, or
        tokens outside their alphabets.
        """
        self._check(-(-tokens.shape[1] // self.positions), tokens.shape[2])
        if tokens.shape[1] % self.positions:
            raise ParameterError(
                f"{tokens.shape[1]} tokens per stream are no whole columns of {self.positions}"
            )
        tokens, pitch, gains = self._here(tokens), self._here(pitch), self._here(gains)
        limits = torch.tensor(self.vocabularies[: tokens.shape[2]], device=tokens.device)
        least = -1 if self.knots and tokens.shape[2] > 1 else 0
        present = tokens[..., : max(1, tokens.shape[2] + least)]
        if (
            bool((present < 0).any())
            or bool((tokens < least).any())
            or bool((tokens >= limits).any())
        ):
            raise ParameterError("tokens outside their alphabets: they are of another model")
        mel = self._mel(tokens, pitch)
        if steps:
            if self.refiner is None:
                raise ParameterError("this model has no refiner: leave the steps out")
            mel = self.refiner.refine(mel, steps, seed)
        if gains is not None:
            mel = mel + self._by_frame(gains)[..., None]
        wave: Tensor = self.vocoder(mel)
        rounds = self.config.rounds
        wave = self.consistency.fast(wave, mel, rounds) if rounds else self.consistency(wave, mel)
        return wave.clamp(-1, 1)

    def _by_frame(self, gains: Tensor) -> Tensor:
        """``[B, columns]`` -> ``[B, frames]``, without jumps."""
        frames = self.config.frames
        steps = gains.float().repeat_interleave(frames, dim=1)
        padded = F.pad(steps[:, None], (frames // 2, frames // 2), mode="replicate")
        return F.avg_pool1d(padded, frames + 1, stride=1)[:, 0]

    @torch.no_grad()
    def loudness(self, wave: Tensor) -> Tensor:
        """Log magnitudes ``[B, columns]`` of ``[B, samples]``."""
        return self._loudness(self.synthesis(self._padded(wave)))

    @torch.no_grad()
    def decoded_loudness(self, tokens: Tensor, pitch: Tensor | None) -> Tensor:
        """Log magnitudes ``[B, columns]`` of what tokens decode to."""
        return self._loudness(self._mel(self._here(tokens), self._here(pitch)))

    def _here(self, x: Given) -> Given:
        """On the device of the network; float64, which not every device has, as float32."""
        if x is None:
            return x
        return (x.float() if x.dtype == torch.float64 else x).to(self.synthesis.bank.device)

    def _padded(self, wave: Tensor) -> Tensor:
        """Whole columns."""
        return F.pad(self._here(wave).float(), (0, -wave.shape[-1] % self.hop))

    def _mel(self, tokens: Tensor, pitch: Tensor | None) -> Tensor:
        """Log-mel of tokens, its harmonics brought out where the pitch is known."""
        mel = self.tokens.decode(tokens, pitch)
        told = self.tokens.decoder.pitch
        return mel if told is None or pitch is None else mel + told.emphasis(pitch)

    def _loudness(self, mel: Tensor) -> Tensor:
        # The bands' filters have equal areas: their widths weigh the energies.
        widths = (self.synthesis.bank > 0).sum(0)
        energy = (2 * mel).exp() @ widths.to(mel.dtype)  # [B, frames]
        return energy.unflatten(1, (-1, self.config.frames)).mean(-1).clamp(min=1e-12).log() / 2

    def strengths(self, stream: int) -> NDArray[np.float64]:
        """Squared lengths of the entries of an acoustic stream."""
        found: NDArray[np.float64] = (
            self.tokens.quantiser.codebooks[stream - 1].cpu().double().square().sum(1).numpy()
        )
        return found

    def _check(self, columns: int, streams: int) -> None:
        if not 1 <= columns <= self.window:
            raise ParameterError(
                f"a window of {columns} columns: this model takes 1 to {self.window} of"
                f" {self.hop} samples at once"
            )
        if not 1 <= streams <= len(self.vocabularies):
            raise ParameterError(f"{streams} streams: this model has {len(self.vocabularies)}")
