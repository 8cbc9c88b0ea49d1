"""Lossless coding of alpha planes, tile by tile, with the smaller of two well-kept formats.

Alpha is mostly flat or anti-aliased edges, which WebP lossless and PNG code well; a constant plane
takes three bytes. First byte: 0 constant (uint16 value follows), 1 WebP lossless, 2 PNG.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.formats.errors import FormatError

CONSTANT, WEBP, PNG = 0, 1, 2


def encode_alpha(plane: NDArray[Any]) -> bytes:
    """uint8 or uint16 ``[H, W]`` -> bytes."""
    if (plane == plane[0, 0]).all():
        return struct.pack(">BH", CONSTANT, int(plane[0, 0]))
    picture = Pillow.fromarray(np.ascontiguousarray(plane))
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    best = bytes([PNG]) + png.getvalue()
    if plane.dtype == np.uint8:
        webp = io.BytesIO()
        picture.convert("RGB").save(webp, "WEBP", lossless=True, quality=100, method=4)
        if len(webp.getvalue()) + 1 < len(best):
            best = bytes([WEBP]) + webp.getvalue()
    return best


def decode_alpha(data: bytes, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Inverse of :func:`encode_alpha` for a plane of that shape; raises ``FormatError``."""
    if len(data) == 3 and data[0] == CONSTANT:
        return np.full(shape, struct.unpack(">H", data[1:])[0], dtype=dtype)
    if not data or data[0] not in (WEBP, PNG):
        raise FormatError("a tile's alpha plane is of an unknown kind: the file is damaged")
    expected = "WEBP" if data[0] == WEBP else "PNG"
    try:
        with Pillow.open(io.BytesIO(data[1:]), formats=[expected]) as picture:
            if picture.size != (shape[1], shape[0]):
                raise FormatError("a tile's alpha plane has the wrong size: the file is damaged")
            plane = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise FormatError(f"a tile's alpha plane is damaged: {error}") from error
    plane = plane[..., 0] if plane.ndim == 3 else plane
    return plane.astype(dtype)
