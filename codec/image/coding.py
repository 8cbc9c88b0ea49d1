"""Symbols of a latent <-> bytes, exactly, on any machine (numerics profile FLOAT64_GUARD).

A symbol is round(y - mean), so noise in the mean cannot desynchronise a decoder. What must be
equal on both sides is the table index of every symbol. The entropy model therefore runs in
float64, where machines differ by about 1e-15, and the encoder lists explicitly every index that
lies within ``GUARD_BAND`` of a decision boundary: a decoder never decides a close call
(``entropy/guard.py``).

A payload is one ANS stream of steps. A model's ``walk`` runs through them once and serves both
directions: it asks a :class:`Writer` or a :class:`Reader` for the decoded values of each step.
For the default model (:class:`ExactCoder`) that is z, then per slice the anchors and the
non-anchors, each step with its list of close calls first and channels fastest; it is the walk that
training uses (``slices.py``).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from laconic.codec.image.model import Mlic
from laconic.codec.image.reference.bottleneck import FactorizedPrior
from laconic.entropy import (
    CdfTables,
    SymbolCheck,
    SymbolDecoder,
    SymbolEncoder,
    pull_guarded,
    push_guarded,
)
from laconic.entropy.factorized import channel_indexes


@dataclass(frozen=True)
class Coded:
    """Payload of one latent, the check over its symbols, and how many symbols there are."""

    payload: bytes
    check: SymbolCheck
    symbols: int
    y_hat: Tensor  # [1, H, W, M] float64


class Steps(ABC):
    """One direction of coding. ``value`` is what the encoder has and the decoder lacks (None)."""

    def __init__(self, coder: LatentCoder) -> None:
        self.coder, self.check, self.symbols = coder, SymbolCheck(), 0

    def gaussian(self, value: Tensor | None, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Code round(value - mean) with the Gaussian tables; returns it plus the mean."""
        indexes = self.choose(self.coder.position(log_scale), self.coder.boundaries)
        residual = None if value is None else value - mean
        return self.symbols_of(residual, log_scale.shape, indexes, self.coder.tables) + mean

    def selected(
        self, value: Tensor | None, mean: Tensor, log_scale: Tensor, keep: Tensor
    ) -> Tensor:
        """As :meth:`gaussian` for elements whose logit ``keep`` is not negative; the others are
        left out and take their mean. Close calls at zero are in the stream."""
        kept = torch.from_numpy(self.choose(keep.detach().numpy(), [0.0]) != 0).reshape(keep.shape)
        some = None if value is None else value[kept]
        coded = self.gaussian(some, mean[kept], log_scale[kept])
        return mean.masked_scatter(kept, coded)

    def factorized(
        self, value: Tensor | None, shape: torch.Size, prior: FactorizedPrior, tables: CdfTables
    ) -> Tensor:
        """Code round(value - median), channels first, with one table per channel; returns it plus
        the median."""
        median = prior.medians[:, None, None]
        residual = None if value is None else value - median
        indexes = channel_indexes(shape[1], shape[2] * shape[3])
        return self.symbols_of(residual, shape, indexes, tables) + median

    @abstractmethod
    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        """Interval of each value, the same on both sides: close calls are in the stream."""

    @abstractmethod
    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> Tensor:
        """Code round(residual), with one table index for each element of ``shape``."""


class Writer(Steps):
    """Steps of an encoder."""

    def __init__(self, coder: LatentCoder) -> None:
        super().__init__(coder)
        self.encoder = SymbolEncoder("ans")

    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        return push_guarded(self.encoder, values, boundaries)

    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> Tensor:
        assert residual is not None
        rounded = residual.round()
        symbols = rounded.reshape(-1).numpy().astype(np.int32)
        self.encoder.push(symbols, indexes, tables)
        self.check.update(symbols)
        self.symbols += symbols.size
        return rounded


class Reader(Steps):
    """Steps of a decoder."""

    def __init__(self, coder: LatentCoder, payload: bytes) -> None:
        super().__init__(coder)
        self.decoder = SymbolDecoder(payload, "ans")

    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        return pull_guarded(self.decoder, values, boundaries)

    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> Tensor:
        symbols = self.decoder.pull(indexes, tables)
        self.check.update(symbols)
        self.symbols += symbols.size
        return torch.from_numpy(symbols.astype(np.float64)).reshape(shape)


class LatentCoder(ABC):
    """Entropy coding of latents with one model. Thread-safe: keeps no state between calls.

    ``scales`` are the lowest and highest scale of the Gaussian tables, log-spaced. Coding needs
    ``dtype`` float64; a walk in float32 serves gradients only (``refine.py``).
    """

    def __init__(
        self,
        tables: CdfTables,
        scales: tuple[float, float],
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.dtype = dtype
        self.tables = tables
        self.boundaries = np.arange(len(tables) - 1) + 0.5  # in steps of the scale table
        self.log_low = float(np.log(scales[0]))
        self.log_step = float(np.log(scales[1] / scales[0])) / (len(tables) - 1)

    def position(self, log_scale: Tensor) -> NDArray[np.float64]:
        """Place of each scale in the table, in steps."""
        place: NDArray[np.float64] = ((log_scale - self.log_low) / self.log_step).numpy()
        return place

    @abstractmethod
    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        """All coding steps of a latent of ``size`` (height, width); returns y_hat ``[1, H, W,
        M]``. ``y`` and ``z`` are channels-last and None when decoding."""

    @torch.no_grad()
    def encode(self, y: Tensor, z: Tensor | None, quality: float | None) -> Coded:
        """``y`` [1, H, W, M] and ``z`` [1, H/4, W/4, Z] in steps -> payload."""
        writer = Writer(self)
        z = None if z is None else z.double()
        y_hat = self.walk(writer, y.double(), z, (y.shape[1], y.shape[2]), quality)
        return Coded(writer.encoder.finish(), writer.check, writer.symbols, y_hat)

    @torch.no_grad()
    def decode(self, payload: bytes, height: int, width: int, quality: float | None) -> Coded:
        """Inverse of :meth:`encode` for a latent of ``height`` x ``width``.

        Raises ``FormatError`` for a payload that cannot be one of such a latent. Whether the
        symbols are right is told by the returned check.
        """
        reader = Reader(self, payload)
        y_hat = self.walk(reader, None, None, (height, width), quality)
        reader.decoder.finish()
        return Coded(payload, reader.check, reader.symbols, y_hat)


class ExactCoder(LatentCoder):
    """Entropy coding with the default model."""

    def __init__(self, model: Mlic, tables: CdfTables, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(tables, (model.config.scale_low, model.config.scale_high), dtype)
        self.config = model.config
        self.h_s = exact(model.h_s, dtype)
        self.z_prior = exact(model.z_prior, dtype)
        self.y_model = exact(model.y_model, dtype)

    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        q = torch.tensor([quality], dtype=self.dtype)
        z_mean, z_log_scale = self.z_prior(q)
        shape = (1, size[0] // 4, size[1] // 4, self.config.z_channels)
        z_hat = steps.gaussian(z, z_mean, z_log_scale.expand(shape))
        flat = None if y is None else y.flatten(1, 2)  # [1, N, M]

        def code(at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor) -> Tensor:
            value = None if flat is None else flat[:, at, first:end]
            return steps.gaussian(value, mean, log_scale)

        return self.y_model(self.h_s(z_hat, q), q, code)


def exact(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy for coding (float64) or for gradients with respect to latents."""
    return copy.deepcopy(module).to(dtype).eval().requires_grad_(False)
