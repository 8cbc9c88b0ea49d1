"""Symbols of a latent <-> bytes, exactly, on any machine (numerics profile FLOAT64_GUARD).

A symbol is round(y - mean), so noise in the mean cannot desynchronise a decoder. What must be
equal on both sides is the table index of every symbol. The entropy model therefore runs in
float64, where machines differ by about 1e-15, and the encoder lists explicitly every index that
lies within ``GUARD_BAND`` of a decision boundary: a decoder never decides a close call
(``entropy/guard.py``).

A payload is one stream of steps (``steps.py``). For the default model (:class:`ExactCoder`) they
are z, then per slice the anchors and the non-anchors, then the detail layer; it is the walk that
training uses (``slices.py``).

A model with an order of channels (``config.py``) that has auxiliary groups writes a stream of the
core and one for each group: every stream but the last comes after its length as a varint.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.image.config import ChannelOrder
from laconic.codec.image.grids import Grids
from laconic.codec.image.layers import depth_to_space, space_to_depth
from laconic.codec.image.model import Mlic, detail_step
from laconic.codec.image.slices import CodeStep
from laconic.codec.image.steps import Detail, Reader, Result, Steps, Writer, split_payload
from laconic.entropy import CdfTables, SymbolCheck
from laconic.formats.errors import FormatError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Coded:
    """Payload of one latent, the check over its symbols, and how many symbols there are."""

    payload: bytes
    check: SymbolCheck
    symbols: int
    y_hat: Tensor  # [1, H, W, M] float64, with a detail layer [1, H, W, M + 768]


class LatentCoder(ABC):
    """Entropy coding of latents with one model. Thread-safe: keeps no state between calls.

    ``scales`` are the lowest and highest scale of the Gaussian tables, log-spaced. Coding needs
    ``dtype`` float64 on the processor; a walk in float32, on any device, serves gradients only
    (``refine.py``).
    """

    device = torch.device("cpu")  # of the walk
    grids: Grids | None = None  # where there is context mixing

    def __init__(
        self,
        tables: CdfTables,
        scales: tuple[float, float],
        dtype: torch.dtype = torch.float64,
        order: ChannelOrder | None = None,
    ) -> None:
        self.dtype, self.order = dtype, order
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
    def encode(
        self, y: Tensor, z: Tensor | None, quality: float | None, detail: Detail | None = None,
        mixing: bool = False,
    ) -> Coded:  # fmt: skip
        """``y`` [1, H, W, M] and ``z`` [1, H/4, W/4, Z] in steps -> payload; models with a detail
        layer ask ``detail`` for its coefficients. ``mixing`` says whether contexts are mixed."""
        writer = Writer(self, self._mixed(mixing))
        writer.detail = detail
        z = None if z is None else z.cpu().double()
        y_hat = self.walk(writer, y.cpu().double(), z, (y.shape[1], y.shape[2]), quality)
        return Coded(writer.finish(), *writer.summary(), y_hat)

    def _mixed(self, mixing: bool) -> Grids | None:
        if mixing and self.grids is None:
            raise FormatError("the file asks for context mixing, which its model does not have")
        return self.grids if mixing else None

    @torch.no_grad()
    def decode(
        self, payload: bytes, height: int, width: int, quality: float | None, mixing: bool = False
    ) -> Coded:
        """Inverse of :meth:`encode` for a latent of ``height`` x ``width``.

        Raises ``FormatError`` for a payload that cannot be one of such a latent. Whether the
        symbols are right is told by the returned check.
        """
        groups = 0 if self.order is None else len(self.order.groups)
        reader = Reader(self, split_payload(payload, 1 + groups), self._mixed(mixing))
        y_hat = self.walk(reader, None, None, (height, width), quality)
        reader.finish()
        return Coded(payload, *reader.summary(), y_hat)


class ExactCoder(LatentCoder):
    """Entropy coding with the default model."""

    def __init__(
        self,
        model: Mlic,
        tables: CdfTables,
        dtype: torch.dtype = torch.float64,
        order: ChannelOrder | None = None,
    ) -> None:
        super().__init__(tables, (model.config.scale_low, model.config.scale_high), dtype, order)
        self.config = model.config
        self.grids = Grids(model.config)
        self.device = next(model.parameters()).device
        self.plan = None if order is None else order.plan(model.config.slices)
        self.h_s = exact(model.h_s, dtype)
        self.z_prior = exact(model.z_prior, dtype)
        self.y_model = exact(model.y_model, dtype)
        self.detail_scales = exact(model.detail, dtype) if model.config.detail else None

    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        assert quality is not None
        start = self.config.detail_from
        q = torch.tensor([min(quality, start)], dtype=self.dtype, device=self.device)
        z_mean, z_log_scale = self.z_prior(q)
        shape = (1, size[0] // 4, size[1] // 4, self.config.z_channels)
        grids = self.grids
        assert grids is not None
        z_hat = steps.gaussian(z, z_mean, z_log_scale.expand(shape), grids.z(*shape[1:3]))
        flat = None if y is None else y.flatten(1, 2)  # [1, N, M]

        def coding(steps: Steps) -> CodeStep:
            def code(at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor) -> Tensor:
                value = None if flat is None else flat[:, at, first:end]
                place = grids.y(*size, at.cpu().numpy(), first, end)
                return steps.gaussian(value, mean, log_scale, place)

            return code

        def parallel(tasks: Sequence[Callable[[CodeStep], Result]]) -> list[Result]:
            return steps.parallel([lambda s, t=t: t(coding(s)) for t in tasks])  # type: ignore[misc]

        hyper = self.h_s(z_hat, q)
        y_hat: Tensor = self.y_model(hyper, q, coding(steps), self.plan, parallel)
        if self.detail_scales is None or quality <= start:
            return y_hat
        log_scale = self.detail_scales(hyper, y_hat / self.y_model.unit(q))
        log_scale = log_scale - math.log(detail_step(quality, start))
        rest = None if steps.detail is None else steps.detail(y_hat).to(self.device).to(self.dtype)
        if steps.mixing is None:
            coded = steps.gaussian(rest, torch.zeros_like(log_scale), log_scale)
        else:  # in blocks of 8 x 8 pixels, [1, H/8, W/8, 192]
            log_scale = depth_to_space(log_scale, 2)
            rest = None if rest is None else depth_to_space(rest, 2)
            place = grids.detail(*log_scale.shape[1:3])
            blocks = steps.gaussian(rest, torch.zeros_like(log_scale), log_scale, place)
            coded = space_to_depth(blocks, 2)
        return torch.cat((y_hat, coded), -1)


def exact(module: Network, dtype: torch.dtype, device: str | None = None) -> Network:
    """A copy for coding (float64) or for gradients with respect to latents, on another device if
    one is named."""
    # In this order: not every device has float64.
    copied = copy.deepcopy(module).to(device).to(dtype)
    return copied.eval().requires_grad_(False)
