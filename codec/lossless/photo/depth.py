"""Significant bits: what is coded of 16-bit samples that hold fewer.

Cameras and scanners deliver 10, 12 or 14 bits in 16, aligned to either side or repeated to fill the
range, and gray pictures come as three equal channels. Coding the numbers behind costs nothing and
gives the model the range it knows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.header import PhotoHeader


def prepare(pixels: NDArray[Any], header: PhotoHeader) -> tuple[NDArray[np.uint16], PhotoHeader]:
    """Numbers to code, [H, W, 1 or 3], and the header that tells how to undo it.

    Args:
        pixels: uint8 or uint16 [H, W, C].
    """
    if pixels.shape[2] == 3 and _equal(pixels[..., 0], pixels[..., 1], pixels[..., 2]):
        pixels, header = pixels[..., :1], replace(header, same=True)
    numbers = pixels.astype(np.uint16)
    if pixels.dtype == np.uint8:
        return numbers, header
    used = int(np.bitwise_or.reduce(numbers, axis=None))
    for bits in range(8, 16):
        top = numbers >> np.uint16(16 - bits)
        if np.array_equal(_repeat(top, bits), numbers) and used:
            return top, replace(header, bits=bits, replicated=True)
    shift = min((used & -used).bit_length() - 1, 8) if used else 0
    bits = max(8, used.bit_length() - shift)
    return numbers >> np.uint16(shift), replace(header, bits=bits, shift=shift)


def restore(
    numbers: NDArray[np.uint16], header: PhotoHeader, channels: int, dtype: type[Any]
) -> NDArray[Any]:
    """Inverse of :func:`prepare`, [H, W, channels] of uint8 or uint16."""
    if header.replicated:
        samples = _repeat(numbers, header.bits)
    else:
        samples = numbers << np.uint16(header.shift)
    return np.broadcast_to(samples, (*samples.shape[:2], channels)).astype(dtype)


def _repeat(top: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """Numbers of `bits` bits repeated to fill 16."""
    filled: NDArray[np.uint16] = top << np.uint16(16 - bits) | top >> np.uint16(2 * bits - 16)
    return filled


def _equal(first: NDArray[Any], *others: NDArray[Any]) -> bool:
    return all(np.array_equal(first, other) for other in others)
