"""Distortion of decoded pictures and frames: PSNR and MS-SSIM on the samples a viewer sees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import ParameterError

LUMA = np.array([0.299, 0.587, 0.114])  # BT.601, as JPEG and the literature on Kodak


def _same(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape or a.dtype != b.dtype or not np.issubdtype(a.dtype, np.integer):
        raise ParameterError(
            f"pictures of {list(a.shape)} {a.dtype} and {list(b.shape)} {b.dtype} cannot be"
            " compared: expected equal shapes and integer samples"
        )


def psnr(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """Peak signal-to-noise ratio in dB over all samples of all channels; infinite if equal.

    >>> round(psnr(np.zeros((2, 2), np.uint8), np.full((2, 2), 5, np.uint8)), 2)
    34.15
    """
    _same(a, b)
    return _psnr(a.astype(np.float64) - b.astype(np.float64), bit_depth)


def psnr_y(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """PSNR in dB of the luma 0.299 R + 0.587 G + 0.114 B, unrounded, of ``[H, W, 1 or 3]``."""
    _same(a, b)
    difference = a.astype(np.float64) - b.astype(np.float64)
    if a.ndim == 3 and a.shape[2] == 3:
        difference = difference @ LUMA
    return _psnr(difference, bit_depth)


def _psnr(difference: NDArray[Any], bit_depth: int) -> float:
    error = float(np.mean(difference**2))
    peak = (1 << bit_depth) - 1
    return math.inf if error == 0 else float(10 * np.log10(peak * peak / error))


def ms_ssim(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """Multi-scale structural similarity, mean over channels, of ``[H, W, C]`` pictures.

    Wang et al. 2003, as computed by pytorch-msssim. Both sides must exceed 160 pixels, else
    ``ParameterError``.
    """
    _same(a, b)
    if a.ndim != 3 or min(a.shape[:2]) <= 160:
        raise ParameterError(
            f"MS-SSIM needs [H, W, C] pictures larger than 160 x 160: these are {list(a.shape)}"
        )
    import torch
    from pytorch_msssim import ms_ssim as compute

    x, y = (torch.from_numpy(p.astype(np.float32)).permute(2, 0, 1)[None] for p in (a, b))
    return float(compute(x, y, data_range=(1 << bit_depth) - 1))


def decibels(similarity: float) -> float:
    """MS-SSIM on the scale -10 log10(1 - x) on which curves are straight.

    >>> round(decibels(0.99), 6)
    20.0
    """
    return math.inf if similarity >= 1 else -10 * math.log10(1 - similarity)
