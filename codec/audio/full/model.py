"""The published SemantiCodec behind the file-level interface: windows of sound <-> tokens.

A column is one step of stacked patches: 0.16 s (0.32 s for K = 4) with 8 or 4 positions. Columns
are encoded in the model's one window of 10.24 s, whatever their number, with silence after them,
as the public code does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from laconic.codec.audio.full.config import GRID, PATCH_SAMPLES, RATE, STACKS, FullConfig
from laconic.codec.audio.full.decoder import FullDecoder
from laconic.codec.audio.full.encoder import PADDING, FullEncoder
from laconic.codec.audio.full.frontend import filter_banks


class FullModel:
    """Implements :class:`laconic.codec.audio.interface.AudioModel`.

    Both streams make the published codec. The semantic stream alone decodes too, with zeros for the
    acoustic code: recognisable at best, as the model was never trained without.
    """

    rate = RATE
    advised_steps = 50  # of a decoder, as published
    knots = 0

    def __init__(self, config: FullConfig, encoder: FullEncoder, decoder: FullDecoder) -> None:
        time, frequency = STACKS[config.stack]
        self.config = config
        self.encoder = encoder.eval().requires_grad_(False)
        self.decoder = decoder.eval().requires_grad_(False)
        self.hop = PATCH_SAMPLES * time
        self.positions = GRID[1] // frequency
        self.window = GRID[0] // time
        self.vocabularies = (config.semantic, config.acoustic)

    @torch.no_grad()
    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns * positions, streams]``."""
        columns = -(-wave.shape[1] // self.hop)
        assert columns <= self.window
        tokens = self.encoder(filter_banks(wave))
        return tokens[:, : columns * self.positions, :streams]

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
        """int64 ``[B, columns * positions, streams]`` -> ``[B, columns * hop]`` in [-1, 1].

        ``steps`` of DDIM (50 in the paper, 10 to 25 are good); 0 is one evaluation without noise.
        """
        semantic = F.embedding(tokens[..., 0], self.encoder.centroids)
        acoustic = torch.zeros_like(semantic)
        if tokens.shape[-1] > 1:
            acoustic = F.embedding(tokens[..., 1], self.encoder.quantizer.entries)
        codes = torch.cat([acoustic, semantic], -1)
        absent = self.config.tokens - codes.shape[1]
        codes = F.pad(codes, (0, 0, 0, absent), value=PADDING)
        sound = self.decoder(codes, steps=steps, seed=seed)
        return sound[:, : tokens.shape[1] // self.positions * self.hop].clamp(-1, 1)
