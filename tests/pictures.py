"""Small images made for tests."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.image import Image


def scene(height: int, width: int, channels: int = 3, bits: int = 8, seed: int = 0) -> NDArray[Any]:
    """Gradients, a disc, stripes and grain, ``[H, W, C]``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    base = np.stack((x / max(1, width - 1), y / max(1, height - 1), 0.5 + 0.4 * np.sin(x / 9)), -1)
    disc = np.hypot(x - width / 2, y - height / 2) < min(height, width) / 3
    base[disc] = base[disc][:, ::-1] * 0.7
    base += rng.normal(0, 0.01, base.shape)
    top = (1 << bits) - 1
    samples = np.rint(np.clip(base, 0, 1) * top).astype(np.uint8 if bits == 8 else np.uint16)
    return np.ascontiguousarray(samples[..., :channels])


def picture(
    height: int, width: int, channels: int = 3, bits: int = 8, alpha: bool = False
) -> Image:
    """An :class:`Image` of :func:`scene`, with a soft-edged alpha plane on request."""
    plane = None
    if alpha:
        top = (1 << bits) - 1
        ramp = np.clip(np.linspace(-0.5, 1.5, width), 0, 1) * np.ones((height, 1))
        plane = np.rint(ramp * top).astype(np.uint8 if bits == 8 else np.uint16)
    return Image(pixels=scene(height, width, channels, bits), alpha=plane, bit_depth=bits)


def textured(height: int, width: int, channels: int = 3) -> Image:
    """Soft blobs of colour with grain, 8 bits: nothing that a dictionary helps to code."""
    random = np.random.default_rng(5)
    field = random.normal(0, 400, (height, width, 3)) + random.normal(0, 900, (height, width, 1))
    for axis in (0, 1):
        for _ in range(3):
            field = sum(np.roll(field, k, axis) for k in range(-2, 3)) / 5
    grain = random.normal(0, 1.5, (height, width, 3))
    pixels = np.clip(np.rint(field + grain + 120), 0, 255).astype(np.uint8)
    return Image(np.ascontiguousarray(pixels[..., :channels]))
