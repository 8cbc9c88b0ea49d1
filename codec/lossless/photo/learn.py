"""The network as torch module: the same function as `network.IntegerNetwork`, differentiable.

With `quantised` the weights and activations are rounded on the way (straight-through gradients),
as in "Integer Networks for Data Compression with Latent-Variable Models" (Balle, Johnston and
Minnen, ICLR 2019); steps are powers of two, hence float32 computes exactly what the integer
network does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.lossless.photo.context import LOW, scale_table
from laconic.codec.lossless.photo.header import (
    EXACT,
    HIDDEN_BITS,
    HIDDEN_LIMIT,
    INTEGER_BITS,
    SKIP_BITS,
    WEIGHT_BITS,
    WEIGHT_LIMIT,
    PhotoConfig,
)
from laconic.codec.lossless.photo.mixture import LOG_SCALE_HIGH, LOG_SCALE_LOW


def _rounded(x: Tensor, bits: int) -> Tensor:
    """Nearest multiple of 2^-bits, with the gradient of the identity."""
    scale = float(1 << bits)
    return x + ((x * scale).round() / scale - x).detach()


def _floored(x: Tensor, bits: int) -> Tensor:
    scale = float(1 << bits)
    return x + ((x * scale).floor() / scale - x).detach()


class PlaneNetwork(nn.Module):
    """Inputs of one plane to the parameters of its mixture."""

    def __init__(self, inputs: int, hidden: tuple[int, int], components: int) -> None:
        super().__init__()
        first, second = hidden
        self.w1 = nn.Parameter(torch.randn(first, inputs) * (1.4 / inputs**0.5))
        self.b1 = nn.Parameter(torch.zeros(first))
        self.w2 = nn.Parameter(torch.randn(second, first) * (1.4 / first**0.5))
        self.b2 = nn.Parameter(torch.zeros(second))
        outputs = 3 * components
        self.w3 = nn.Parameter(torch.randn(outputs, second) * (0.2 / second**0.5))
        self.skip = nn.Parameter(torch.zeros(outputs, inputs))
        spread = torch.linspace(-0.3, 0.3, components)
        self.b3 = nn.Parameter(
            torch.cat((torch.zeros(components), spread, torch.linspace(-1.5, 0, components)))
        )
        self.quantised = False

    def forward(self, x: Tensor) -> Tensor:
        """x [n, F] in units (multiples of 2^-INPUT_BITS) to outputs [n, 3 * K]."""
        w1, b1, w2, b2, w3, skip, b3 = (
            _rounded(p, INTEGER_BITS[name]) if self.quantised else p
            for name, p in (
                ("w1", self.w1), ("b1", self.b1), ("w2", self.w2), ("b2", self.b2),
                ("w3", self.w3), ("skip", self.skip), ("b3", self.b3),
            )
        )  # fmt: skip
        top = HIDDEN_LIMIT / (1 << HIDDEN_BITS)
        h = torch.addmm(b1, x, w1.t()).clamp(0, top)
        if self.quantised:
            h = _floored(h, HIDDEN_BITS)
        h = torch.addmm(b2, h, w2.t()).clamp(0, top)
        if self.quantised:
            h = _floored(h, HIDDEN_BITS)
        return torch.addmm(torch.addmm(b3, x, skip.t()), h, w3.t())

    @torch.no_grad()
    def clip(self) -> None:
        """Keep the weights in the range of the integers."""
        for w in (self.w1, self.w2, self.w3):
            w.clamp_(-WEIGHT_LIMIT / (1 << WEIGHT_BITS), WEIGHT_LIMIT / (1 << WEIGHT_BITS))
        self.skip.clamp_(-WEIGHT_LIMIT / (1 << SKIP_BITS), WEIGHT_LIMIT / (1 << SKIP_BITS))

    @torch.no_grad()
    def balance(self) -> None:
        """Scale hidden units down whose sums could reach 2^24, and what follows them up: the same
        function, within the limits that `network.check_bounds` proves."""
        for w, b, after, name, limit in (
            (self.w1, self.b1, self.w2, "w1", -2 * LOW),
            (self.w2, self.b2, self.w3, "w2", HIDDEN_LIMIT),
        ):
            sums = torch.maximum(w.clamp(min=0).sum(1), (-w).clamp(min=0).sum(1))
            reach = sums * limit * (1 << INTEGER_BITS[name])
            reach += b.abs() * (1 << INTEGER_BITS["b" + name[1]])
            factor = (0.95 * EXACT / reach).clamp(max=1)
            w.mul_(factor[:, None])
            b.mul_(factor)
            after.div_(factor)
        self.clip()

    @torch.no_grad()
    def load_integers(self, tensors: Mapping[str, NDArray[Any]], plane: int) -> None:
        """Take the weights of a model's plane; inputs that it lacks get none."""
        for name, p in self.named_parameters():
            values = torch.from_numpy(np.asarray(tensors[f"{plane}.{name}"], np.float32))
            p.zero_()
            p[..., : values.shape[-1]] = values / (1 << INTEGER_BITS[name])


class PhotoNetwork(nn.Module):
    """The networks of all planes."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        self.config = config
        self.planes = nn.ModuleList(
            PlaneNetwork(inputs, hidden, config.components)
            for inputs, hidden in zip(config.inputs, config.hidden, strict=True)
        )

    def networks(self) -> list[PlaneNetwork]:
        """The networks in the order of the planes."""
        return [plane for plane in self.planes if isinstance(plane, PlaneNetwork)]

    def quantise(self, on: bool) -> None:
        """Round weights and activations from now on, or stop it."""
        for plane in self.networks():
            plane.quantised = on

    @torch.no_grad()
    def integers(self) -> dict[str, NDArray[np.int32]]:
        """The weights as integers, named ``<plane>.<tensor>``."""
        return {
            f"{number}.{name}": (p.detach() * (1 << INTEGER_BITS[name]))
            .round()
            .to(torch.int32)
            .numpy()
            for number, plane in enumerate(self.networks())
            for name, p in plane.named_parameters()
        }

    def load_integers(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`integers`."""
        for number, plane in enumerate(self.networks()):
            plane.load_integers(tensors, number)


_SCALE = torch.from_numpy(scale_table().astype(np.float32))


def bits_of(out: Tensor, base: Tensor, scale: Tensor, value: Tensor, levels: int) -> Tensor:
    """Code length in bits of each sample, [n].

    Args:
        out: outputs of a :class:`PlaneNetwork`, [n, 3 * K]: logits, means, log scales.
        base: in half levels, [n]. scale: index of the activity, [n].
        value: the samples, [n]. levels: number of sample values.
    """
    logit, mean, log_scale = out.chunk(3, dim=1)
    s = _SCALE[scale.long()][:, None]
    mu = base[:, None] * 0.5 + s * mean
    inverse = torch.exp(-log_scale.clamp(LOG_SCALE_LOW, LOG_SCALE_HIGH)) / s
    v = value[:, None]
    above = torch.sigmoid((v + 0.5 - mu) * inverse)
    below = torch.sigmoid((v - 0.5 - mu) * inverse)
    above = torch.where(v >= levels - 1, torch.ones_like(above), above)
    below = torch.where(v <= 0, torch.zeros_like(below), below)
    p = (torch.softmax(logit, dim=1) * (above - below)).sum(1)
    return -torch.log2(p.clamp_min(0) * (1 - levels * 2.0**-24) + 2.0**-24)
