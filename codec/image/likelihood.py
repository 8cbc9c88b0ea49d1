"""Differentiable rate of training: Gaussian likelihood under uniform noise, straight-through
rounding.

The rate term sees y + noise, context and synthesis see round(y - mean) + mean (Minnen & Singh 2020,
arXiv 2007.08739). Files are coded with ``coding.py``; nothing here decides a bit of a stream.
"""

from __future__ import annotations

import torch
from torch import Tensor

LIKELIHOOD_FLOOR = 1e-9


def straight_through_round(x: Tensor) -> Tensor:
    """round(x) with the gradient of the identity."""
    return x + (x.round() - x).detach()


class LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient passes where it would push x up (Balle et al. 2018)."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        passes = (x >= ctx.bound) | (gradient < 0)
        return gradient * passes, None


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """Typed entry to :class:`LowerBound`."""
    result = LowerBound.apply(x, bound)
    assert isinstance(result, Tensor)
    return result


def gaussian_bits(residual: Tensor, log_scale: Tensor, scale_low: float) -> Tensor:
    """Bits of ``residual`` = value - mean under a Gaussian integrated over unit bins; same
    shape."""
    scale = lower_bound(log_scale.clamp_max(8.0).exp(), scale_low)
    distance = residual.abs()
    root_half = 2**-0.5
    upper = torch.erfc((distance - 0.5) / scale * root_half)
    lower = torch.erfc((distance + 0.5) / scale * root_half)
    return -torch.log2(lower_bound(0.5 * (upper - lower), LIKELIHOOD_FLOOR))
