"""From the numbers of a frame and its references to its planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion.blocks import (
    BLOCK,
    chroma_planes,
    luma_plane,
    smooth_from_means,
    widened,
)
from laconic.codec.video.motion.field import NONE, SECOND, FrameCode
from laconic.codec.video.motion.smoothing import smoothed
from laconic.codec.video.motion.warp import Reference

STEPS_PER_OCTAVE, OFFSETS_PER_OCTAVE = 32, 8
SHIFTS = 32  # units of the shift of reconstructed codes towards zero


@dataclass(frozen=True)
class Scale:
    """Steps and reconstruction points.

    Attributes:
        step: index of the step of layer 0, which is 2^(index / 32).
        offsets: of each further layer, in eighths of an octave; the last one is for all deeper.
        shifts: for codes of one and for larger ones, of frame 0 and of the others, in
            1 / ``SHIFTS`` of a step towards zero.
    """

    step: int
    offsets: tuple[int, ...]
    shifts: tuple[int, int, int, int]

    def of(self, layer: int) -> float:
        """Step of a layer."""
        extra = self.offsets[min(layer, len(self.offsets)) - 1] if layer else 0
        return float(2.0 ** (self.step / STEPS_PER_OCTAVE + extra / OFFSETS_PER_OCTAVE))

    def values(self, codes: NDArray[np.int64], layer: int) -> Tensor:
        """Coefficients of codes."""
        q = torch.from_numpy(codes)
        ones, more = self.shifts[2:] if layer else self.shifts[:2]
        size = q.abs()
        off = torch.where(size == 1, ones / SHIFTS, more / SHIFTS)
        return torch.where(size > 0, q.sign() * (size - off), 0.0).float() * self.of(layer)


def mean_planes(means: NDArray[np.int64], step: float, smooth: bool) -> Tensor:
    """Planes ``[3, 16 h, 16 w]`` of codes of block means ``[3, h, w]``."""
    values = torch.from_numpy(means).float() * (step / BLOCK)
    if smooth:
        return smooth_from_means(values)
    return widened(values)


def predict(code: FrameCode, refs: list[Reference], step: float) -> Tensor:
    """Prediction ``[3, H, W]``: displaced references, their mean, or block means."""
    if not refs:
        return mean_planes(code.means, step, True)
    wide = widened(torch.from_numpy(code.modes))
    out = first = refs[0].moved(code.vectors[0])
    if bool((code.modes != 1).any()):
        second = refs[1].moved(code.vectors[1])
        out = torch.where(wide == 0, (first + second) / 2, first)
        out = torch.where(wide == SECOND, second, out)
    if bool((code.modes == NONE).any()):
        out = torch.where(wide == NONE, mean_planes(code.means, step, False), out)
    return out


def residual(code: FrameCode, scale: Scale, layer: int) -> Tensor:
    """What codes add to the prediction ``[3, H, W]``."""
    quarters = torch.from_numpy(code.quarters != 0)
    luma = luma_plane(scale.values(code.luma, layer), quarters)
    if not code.chroma.any():
        return torch.cat([luma[None], luma.new_zeros(2, *luma.shape)])
    return torch.cat([luma[None], chroma_planes(scale.values(code.chroma, layer))])


def decoded(
    code: FrameCode, refs: list[Reference], scale: Scale, layer: int, shares: NDArray[np.int64]
) -> Tensor:
    """The planes of a frame ``[3, H, W]``, filtered."""
    step = scale.of(layer)
    plain = predict(code, refs, step) + residual(code, scale, layer)
    return smoothed(plain, code, layer, step, shares)
