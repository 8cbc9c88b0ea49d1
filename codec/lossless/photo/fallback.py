"""Synthetic pictures: a picture file of a well-kept format inside the container.

Screenshots and drawings repeat themselves over distances that no causal neighbourhood spans; WebP's
and PNG's dictionaries find that. The codec keeps the smaller, so that no file is larger than a PNG
that Pillow optimises and its envelope; tools that search PNG's filters for minutes may find less.
Payload: byte 0 WebP lossless or 1 PNG, then that file.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.formats.errors import FormatError, LaconicError
from laconic.formats.image import Image
from laconic.formats.limits import Limits

WEBP, PNG = 0, 1
_KINDS = {WEBP: b"RIFF", PNG: b"\x89PNG"}
_WEBP_SIDE = 16383
_WEBPS = (  # quality and method of WebP's attempts, each slower and smaller than the one before ...
    (0, 2, 1.15),  # ... none of which is made where the one before is this factor off,
    (75, 4, 1.06),  # more than it ever gained on the pictures looked at
    (75, 6, 0.0),
)
_CLOSE = 1.02  # an attempt within this factor of the best is worth a harder one
_CLOSE_PNG = 1.3  # the same for PNG, whose quick attempt is further from the slow one
_SMALL = 1 << 15  # samples up to which everything is tried


def encode_file(image: Image, best: int, *, effort: int = 0) -> bytes | None:
    """The smallest payload if it is smaller than `best` bytes, else None."""
    samples = image.pixels
    if image.alpha is not None:
        samples = np.concatenate((samples, image.alpha[..., None]), axis=2)
    found: list[bytes] = []
    small = samples.size <= _SMALL
    thorough = image.bit_depth == 16 or small
    if image.bit_depth == 8 and max(samples.shape[:2]) <= _WEBP_SIDE:
        for quality, method, far in _WEBPS:
            data = _webp(samples, quality, method)
            if not small and far and len(data) > far * best:
                break
        found.append(data)
        if len(data) < _CLOSE * best:
            thorough = True
            if effort or small or len(data) < best:
                found.append(_webp(samples, 100, 6))
    if not thorough:
        thorough = len(_quick_png(samples)) < _CLOSE_PNG * best
    if thorough or not found:
        found += _pngs(image, samples)
    smallest = min(found, key=len)
    return smallest if len(smallest) < best else None


def decode_file(
    payload: bytes, shape: tuple[int, int, int], bit_depth: int, alpha: bool, limits: Limits
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Pixels [H, W, C] of that shape and the alpha plane; raises ``FormatError``."""
    from laconic.formats.image_reader import read

    if not payload or not payload[1:].startswith(_KINDS.get(payload[0], b"?")):
        raise FormatError("the picture file inside is of an unknown kind: the file is damaged")
    try:
        # Limited to the size announced, before anything is unpacked.
        picture = read(payload[1:], replace(limits, pixels=shape[0] * shape[1]))
    except LaconicError as error:
        raise FormatError(f"the picture file inside is damaged: {error}") from error
    pixels, plane = picture.pixels[..., : shape[2]], picture.alpha
    if pixels.shape != shape or picture.bit_depth != bit_depth:
        raise FormatError(
            f"the picture file inside has shape {list(pixels.shape)} and {picture.bit_depth} bits:"
            f" expected {list(shape)} and {bit_depth}"
        )
    if plane is None and alpha:
        plane = np.full(shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    return pixels, plane if alpha else None


def _quick_png(samples: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    _picture(samples).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _webp(samples: NDArray[Any], quality: int, method: int) -> bytes:
    picture = _picture(samples)
    mode = "RGBA" if samples.shape[2] in (2, 4) else "RGB"
    buffer = io.BytesIO()
    how = {"lossless": True, "exact": True, "method": method, "quality": quality}
    picture.convert(mode).save(buffer, "WEBP", **how)
    return bytes([WEBP]) + buffer.getvalue()


def _pngs(image: Image, samples: NDArray[Any]) -> list[bytes]:
    if image.bit_depth == 16:
        from laconic.formats.image_writer import png16

        plain = Image(pixels=image.pixels, alpha=image.alpha, bit_depth=16)
        candidates = [png16(plain)]
        if samples.shape[2] == 1:
            candidates.append(_save(Pillow.fromarray(np.ascontiguousarray(samples[..., 0]))))
    else:
        candidates = [_save(_picture(samples))]
        indexed = _indexed(samples)
        if indexed is not None:
            candidates.append(_save(indexed))
    return [bytes([PNG]) + data for data in candidates]


def _save(picture: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _picture(samples: NDArray[Any]) -> Pillow.Image:
    plane = samples[..., 0] if samples.shape[2] == 1 else samples
    return Pillow.fromarray(np.ascontiguousarray(plane))


def _indexed(samples: NDArray[Any]) -> Pillow.Image | None:
    """The picture with a palette, if it is opaque and has at most 256 colours."""
    if samples.shape[2] not in (1, 3):
        return None
    rgb = np.broadcast_to(samples, (*samples.shape[:2], 3)).astype(np.uint32)
    code = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    colours, index = np.unique(code, return_inverse=True)
    if colours.size > 256:
        return None
    picture = Pillow.fromarray(index.reshape(code.shape).astype(np.uint8), "L")
    picture.putpalette(np.stack((colours >> 16, colours >> 8 & 255, colours & 255), 1)
                       .astype(np.uint8).tobytes())  # fmt: skip
    return picture
