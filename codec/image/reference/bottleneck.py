"""Factorised prior of a hyper-latent and the holder of Gaussian settings, under published names.

Balle, Minnen, Singh, Hwang and Johnston, "Variational image compression with a scale hyperprior",
ICLR 2018 (arXiv 1802.01436), appendix 6.1: the cumulative of each channel is a small monotone
network. Files are coded with integer tables made from it once (:meth:`FactorizedPrior.tables`).
"""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.likelihood import LIKELIHOOD_FLOOR, lower_bound
from laconic.codec.image.reference.layers import Bound
from laconic.entropy import CdfTables, factorized_tables
from laconic.formats.errors import ModelError

FILTERS = (1, 3, 3, 3, 3, 1)
TAIL_MASS = 2.0**-16
Channels = list[int] | slice  # which of the prior's channels
EVERY = slice(None)
MAX_REACH = 4096  # symbols on either side of the median that a table may cover


class FactorizedPrior(nn.Module):
    """Density of each channel of z; keys as in CompressAI 1.2.7 and later.

    Values are in steps of ``width``: one, but for models that quantise z more coarsely or finely
    (:meth:`scaled`).
    """

    width: float | Tensor = 1.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quantiles = nn.Parameter(torch.tensor([-10.0, 0.0, 10.0]).repeat(channels, 1, 1))
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))
        edge = math.log(2 / 1e-9 - 1)
        self.register_buffer("target", torch.tensor([-edge, 0.0, edge]))
        self.likelihood_lower_bound = Bound(LIKELIHOOD_FLOOR)
        scale = 10 ** (1 / (len(FILTERS) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for inner, outer in pairwise(FILTERS):
            start = math.log(math.expm1(1 / scale / outer))
            self.matrices.append(nn.Parameter(torch.full((channels, outer, inner), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, outer, 1) - 0.5))
            if outer > 1:
                self.factors.append(nn.Parameter(torch.zeros(channels, outer, 1)))

    @property
    def medians(self) -> Tensor:
        """Value that rounds to symbol 0, ``[C]``."""
        return self.quantiles[:, 0, 1] / self.width

    def scaled(self, width: Tensor) -> FactorizedPrior:
        """The same density for values counted in steps of ``width``."""
        other = copy.copy(self)
        other.width = width
        return other

    def logits(self, x: Tensor, channels: Channels = EVERY) -> Tensor:
        """Logit of the cumulative at ``x`` ``[C, K]``, eq. 30-33."""
        x = x[:, None]  # [C, 1, K]
        for i, matrix in enumerate(self.matrices):
            x = F.softplus(matrix[channels]) @ x + self.biases[i][channels]
            if i < len(self.factors):
                x = x + torch.tanh(self.factors[i][channels]) * torch.tanh(x)
        return x[:, 0]

    def likelihood(self, x: Tensor, channels: Channels = EVERY) -> Tensor:
        """Mass of the bin of one step around ``x`` ``[C, K]``."""
        lower = self.logits((x - 0.5) * self.width, channels)
        upper = self.logits((x + 0.5) * self.width, channels)
        sign = -torch.sign(lower + upper).detach()  # differences of small numbers, not near 1
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()

    def bits(self, z: Tensor, channels: Channels = EVERY) -> Tensor:
        """Bits of each element of ``z`` ``[B, C, H, W]``, which has these channels."""
        columns = z.transpose(0, 1).reshape(z.shape[1], -1)
        mass = lower_bound(self.likelihood(columns, channels), LIKELIHOOD_FLOOR)
        b, c, h, w = z.shape
        return -torch.log2(mass).reshape(c, b, h, w).transpose(0, 1)

    @torch.no_grad()
    def tables(self) -> CdfTables:
        """Integer tables of round(z - median), one per channel.

        Raises ``ModelError`` when the density is no density (weights that are not finite).
        """
        prior = {k: v.double() for k, v in self.state_dict().items()}
        exact = FactorizedPrior(self.quantiles.shape[0]).double()
        exact.load_state_dict(prior, strict=False)
        exact.width = self.width
        reach = 8
        while True:
            steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
            mass = exact.likelihood(exact.medians[:, None] + steps)  # [C, 2r+1]
            covered = mass.sum(1)
            if not torch.isfinite(mass).all() or (covered <= 0).any():
                raise ModelError(
                    "the prior of the hyper-latent is not finite: the checkpoint is damaged"
                )
            if (1 - covered <= TAIL_MASS).all() or reach >= MAX_REACH:
                break
            reach *= 2
        lows, rows, tails = [], [], []
        for row in mass.numpy():
            keep = np.flatnonzero(row > TAIL_MASS / 16)
            first, last = (int(keep[0]), int(keep[-1])) if keep.size else (reach, reach)
            lows.append(first - reach)
            rows.append(row[first : last + 1])
            tails.append(max(1 - float(rows[-1].sum()), 2.0**-24))
        return factorized_tables(rows, lows, tail_masses=tails)


class GaussianSettings(nn.Module):
    """Buffers of CompressAI's Gaussian conditional; our own tables do its work."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))
        self.register_buffer("scale_table", torch.zeros(0))
        self.register_buffer("scale_bound", torch.tensor([0.11]))
        self.likelihood_lower_bound = Bound(LIKELIHOOD_FLOOR)
        self.lower_bound_scale = Bound(0.11)
