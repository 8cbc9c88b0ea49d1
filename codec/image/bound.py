"""No lossy file is larger than the lossless one of the same image.

Where the model has to spend more on an image than exact coding needs (noise at the highest
qualities, images of a few pixels, patterns), the file is one of the codec ``photo``, which is
exact. Coding every photograph twice would be slow, so it is tried only where it can pay: when a
quick estimate of the lossless size comes near.
"""

from __future__ import annotations

import io
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.codec import registry
from laconic.codec.image.options import ImageOptions
from laconic.formats.container import Media
from laconic.formats.image import Image

SMALL = 1 << 12  # samples up to which it is always tried
POSSIBLE = 0.6  # of the entropy of residuals: less was never reached
REPEATED = 1.6  # times the file: a quick PNG of this size is a reason
_ROWS = 64  # at most so many pairs of rows are looked at


def no_larger(
    image: Image, settings: ImageOptions, data: bytes, target: int | None, screen: bool
) -> bytes:
    """``data``, or the lossless file if that is smaller, or fits the target size as well;
    ``screen``: some of the image may be one."""
    most = max(len(data), target or 0)
    if not _worth_trying(image, most, screen):
        return data
    codec = registry.default(Media.IMAGE, lossless=True)
    has = {f.name for f in fields(codec.options)}
    shared = {n: getattr(settings, n) for n in ("strip", "verify", "note", "limits") if n in has}
    lossless = codec.encode(image, codec.options(**shared))
    return lossless if len(lossless) <= most else data


def _worth_trying(image: Image, size: int, screen: bool) -> bool:
    samples = image.pixels.size
    if samples <= SMALL:
        return True
    step = max(2, image.height // _ROWS)
    above = image.pixels[: image.height - 1 : step].astype(np.int32)
    below = image.pixels[1::step][: above.shape[0]].astype(np.int32)
    flat = above.shape[0] == 0 or image.width == 1
    if flat or 8 * size >= POSSIBLE * samples * _entropy(above, below):
        return True
    if image.bit_depth != 8 or not screen:
        return False
    plane = image.pixels[..., 0] if image.channels == 1 else image.pixels
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(plane)).save(buffer, "PNG", compress_level=1)
    return buffer.tell() < REPEATED * size


def _entropy(above: NDArray[Any], below: NDArray[Any]) -> float:
    """Bits of a sample's difference from the plane through its neighbours, in green and relative
    to it; channels apart."""
    bent = below[:, 1:] - below[:, :-1] - above[:, 1:] + above[:, :-1]
    if bent.shape[2] == 3:
        bent[..., 0] -= bent[..., 1]
        bent[..., 2] -= bent[..., 1]
    bits = 0.0
    for channel in range(bent.shape[2]):
        counts = np.unique(bent[..., channel], return_counts=True)[1]
        share = counts / counts.sum()
        bits -= float((share * np.log2(share)).sum())
    return bits / bent.shape[2]
