"""Symbols of a latent <-> bytes, exactly, on any machine (numerics profile FLOAT64_GUARD).

A symbol is round(y - mean), so noise in the mean cannot desynchronise a decoder. What must be
equal on both sides is the table index of every symbol. The entropy model therefore runs in
float64, where machines differ by about 1e-15, and the encoder lists explicitly every index that
lies within ``GUARD_BAND`` of a decision boundary: a decoder never decides a close call
(``entropy/guard.py``).

A payload is one ANS stream: z, then per slice the anchors and the non-anchors, each step with its
list of close calls first and channels fastest. The walk over the slices is the one that training
uses (``slices.py``).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.image.model import Mlic
from laconic.entropy import (
    CdfTables,
    SymbolCheck,
    SymbolDecoder,
    SymbolEncoder,
    pull_guarded,
    push_guarded,
)


@dataclass(frozen=True)
class Coded:
    """Payload of one latent, the check over its symbols, and how many symbols there are."""

    payload: bytes
    check: SymbolCheck
    symbols: int
    y_hat: Tensor  # [1, H, W, M] float64


class ExactCoder:
    """Entropy coding of latents with one model. Thread-safe: keeps no state between calls."""

    def __init__(self, model: Mlic, tables: CdfTables) -> None:
        config = model.config
        self.tables = tables
        self.config = config
        self.boundaries = np.arange(config.scale_count - 1) + 0.5  # in steps of the scale table
        self.log_low = float(np.log(config.scale_low))
        self.log_step = float(np.log(config.scale_high / config.scale_low)) / (
            config.scale_count - 1
        )
        self.h_s = _exact(model.h_s)
        self.z_prior = _exact(model.z_prior)
        self.y_model = _exact(model.y_model)

    def position(self, log_scale: Tensor) -> NDArray[np.float64]:
        """Place of each scale in the table, in steps."""
        place: NDArray[np.float64] = ((log_scale - self.log_low) / self.log_step).numpy()
        return place

    @torch.no_grad()
    def encode(self, y: Tensor, z: Tensor, quality: float) -> Coded:
        """``y`` [1, H, W, M] and ``z`` [1, H/4, W/4, Z] in steps -> payload."""
        y, z = y.double(), z.double()
        q = torch.tensor([quality], dtype=torch.float64)
        encoder, check = SymbolEncoder("ans"), SymbolCheck()

        def push(residual: Tensor, log_scale: Tensor) -> Tensor:
            rounded = residual.round()
            symbols = rounded.reshape(-1).numpy().astype(np.int32)
            indexes = push_guarded(encoder, self.position(log_scale), self.boundaries)
            encoder.push(symbols, indexes, self.tables)
            check.update(symbols)
            return rounded

        z_mean, z_log_scale = self.z_prior(q)
        z_hat = push(z - z_mean, z_log_scale.expand_as(z)) + z_mean
        flat = y.flatten(1, 2)  # [1, N, M]

        def code(at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor) -> Tensor:
            return push(flat[:, at, first:end] - mean, log_scale) + mean

        y_hat = self.y_model(self.h_s(z_hat, q), q, code)
        return Coded(encoder.finish(), check, y.numel() + z.numel(), y_hat)

    @torch.no_grad()
    def decode(self, payload: bytes, height: int, width: int, quality: float) -> Coded:
        """Inverse of :meth:`encode` for a latent of ``height`` x ``width``.

        Raises ``FormatError`` for a payload that cannot be one of such a latent. Whether the
        symbols are right is told by the returned check.
        """
        q = torch.tensor([quality], dtype=torch.float64)
        z_mean, z_log_scale = self.z_prior(q)
        shape = (1, height // 4, width // 4, self.config.z_channels)
        total = height * width * self.config.latent + shape[1] * shape[2] * shape[3]
        decoder, check = SymbolDecoder(payload, "ans"), SymbolCheck()

        def pull(log_scale: Tensor) -> Tensor:
            indexes = pull_guarded(decoder, self.position(log_scale), self.boundaries)
            symbols = decoder.pull(indexes, self.tables)
            check.update(symbols)
            return torch.from_numpy(symbols.astype(np.float64)).reshape(log_scale.shape)

        z_hat = pull(z_log_scale.expand(shape)) + z_mean

        def code(at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor) -> Tensor:
            return pull(log_scale) + mean

        y_hat = self.y_model(self.h_s(z_hat, q), q, code)
        decoder.finish()
        return Coded(payload, check, total, y_hat)


def _exact(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).double().eval().requires_grad_(False)
