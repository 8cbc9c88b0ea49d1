"""Images the network was not made for: other depths, and files that are kept as they are.

Significant bits: what is coded of 16-bit samples that hold fewer.

Cameras and scanners deliver 10, 12 or 14 bits in 16, aligned to either side or repeated to fill the
range, and gray images come as three equal channels. Coding the numbers behind costs nothing and
gives the model the range it knows.

Synthetic images: an image file of a well-kept format inside the container.

Screenshots and drawings repeat themselves over distances that no causal neighbourhood spans; WebP's
and PNG's dictionaries find that. The codec keeps the smaller, so that no file is larger than a PNG
that Pillow optimises and its envelope; tools that search PNG's filters for minutes may find less.
Payload: byte 0 WebP lossless or 1 PNG, then that file.

Changes of a model's weights that travel with an image (``--effort``).

The decoder adds them to the integer weights and works as before, so decoding costs the same. A
change is a multiple of a step of its tensor; multiples are mostly zero and follow a two-sided
geometric distribution whose parameter is stored. Finding them is the matter of `learn`.

Layout: the number of planes; for each tensor of each plane (`network.TENSORS`) a byte, high nibble
the step as a power of two, low nibble the distribution, 255 for a tensor without changes; then one
ANS stream of `laconic.entropy` with the multiples of the others.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.codec.lossless.photo.header import WEIGHT_LIMIT, PhotoHeader
from laconic.codec.lossless.photo.network import TENSORS, PhotoModel
from laconic.entropy import CdfTables, SymbolDecoder, SymbolEncoder, ideal_bits
from laconic.formats.errors import FormatError, LaconicError, Limits, ModelError
from laconic.formats.image import Image


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


WEBP, PNG = 0, 1
_KINDS = {WEBP: b"RIFF", PNG: b"\x89PNG"}
_WEBP_SIDE = 16383
_WEBPS = (  # quality and method of WebP's attempts, each slower and smaller than the one before ...
    (0, 2, 1.15),  # ... none of which is made where the one before is this factor off,
    (75, 4, 1.06),  # more than it ever gained on the images looked at
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
        raise FormatError("the image file inside is of an unknown kind: the file is damaged")
    try:
        # Limited to the size announced, before anything is unpacked.
        image = read(payload[1:], replace(limits, pixels=shape[0] * shape[1]))
    except LaconicError as error:
        raise FormatError(f"the image file inside is damaged: {error}") from error
    pixels, plane = image.pixels[..., : shape[2]], image.alpha
    if pixels.shape != shape or image.bit_depth != bit_depth:
        raise FormatError(
            f"the image file inside has shape {list(pixels.shape)} and {image.bit_depth} bits:"
            f" expected {list(shape)} and {bit_depth}"
        )
    if plane is None and alpha:
        plane = np.full(shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    return pixels, plane if alpha else None


def _quick_png(samples: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    _pil(samples).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _webp(samples: NDArray[Any], quality: int, method: int) -> bytes:
    pil = _pil(samples)
    mode = "RGBA" if samples.shape[2] in (2, 4) else "RGB"
    buffer = io.BytesIO()
    how = {"lossless": True, "exact": True, "method": method, "quality": quality}
    pil.convert(mode).save(buffer, "WEBP", **how)
    return bytes([WEBP]) + buffer.getvalue()


def _pngs(image: Image, samples: NDArray[Any]) -> list[bytes]:
    if image.bit_depth == 16:
        from laconic.formats.image_writer import png16

        plain = Image(pixels=image.pixels, alpha=image.alpha, bit_depth=16)
        candidates = [png16(plain, 9)]
        if samples.shape[2] == 1:
            candidates.append(_save(Pillow.fromarray(np.ascontiguousarray(samples[..., 0]))))
    else:
        candidates = [_save(_pil(samples))]
        indexed = _indexed(samples)
        if indexed is not None:
            candidates.append(_save(indexed))
    return [bytes([PNG]) + data for data in candidates]


def _save(pil: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    pil.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _pil(samples: NDArray[Any]) -> Pillow.Image:
    plane = samples[..., 0] if samples.shape[2] == 1 else samples
    return Pillow.fromarray(np.ascontiguousarray(plane))


def _indexed(samples: NDArray[Any]) -> Pillow.Image | None:
    """The image with a palette, if it is opaque and has at most 256 colours."""
    if samples.shape[2] not in (1, 3):
        return None
    rgb = np.broadcast_to(samples, (*samples.shape[:2], 3)).astype(np.uint32)
    code = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    colours, index = np.unique(code, return_inverse=True)
    if colours.size > 256:
        return None
    pil = Pillow.fromarray(index.reshape(code.shape).astype(np.uint8), "L")
    pil.putpalette(np.stack((colours >> 16, colours >> 8 & 255, colours & 255), 1)
                       .astype(np.uint8).tobytes())  # fmt: skip
    return pil


Integers = Mapping[str, NDArray[Any]]
UNCHANGED = 255
SHAPES = 15
_REACH = 40  # multiples beyond are escaped
_PRECISION = 20
_NUMERATORS = (1, 2, 3, 4, 6, 8, 11, 14, 18, 22, 28, 34, 42, 50, 58)  # of 64: decay per step


@cache
def change_tables() -> CdfTables:
    """One two-sided geometric distribution per shape, made of integers alone."""
    freqs: list[int] = []
    for numerator in _NUMERATORS:
        tail, share = [], 1 << (_PRECISION - 2)
        for _ in range(_REACH):
            share = share * numerator // 64
            tail.append(max(1, share))
        both = 2 * sum(tail) + 1
        scale = 1 << _PRECISION
        if both >= scale:
            tail = [max(1, f * (scale // 2) // both) for f in tail]
            both = 2 * sum(tail) + 1
        freqs += [*reversed(tail), scale - both, *tail, 1]
    size = 2 * _REACH + 2
    return CdfTables(_PRECISION, lows=[-_REACH] * SHAPES, sizes=[size] * SHAPES, freqs=freqs)


def pack_changes(changes: Integers, steps: Mapping[str, int], planes: int) -> bytes:
    """Bytes of `changes`, arrays of multiples of 2^steps[name], names as in the model."""
    tables = change_tables()
    heads, encoder = bytearray(), SymbolEncoder("ans")
    for name in _names(planes):
        multiples = changes.get(name)
        if multiples is None or not multiples.any():
            heads.append(UNCHANGED)
            continue
        flat = multiples.reshape(-1)
        costs = [ideal_bits(flat, np.full(flat.size, s, np.uint8), tables) for s in range(SHAPES)]
        shape = int(np.argmin(costs))
        heads.append(steps[name] << 4 | shape)
        encoder.push(flat, np.full(flat.size, shape, np.uint8), tables)
    return bytes([planes]) + bytes(heads) + encoder.finish()


def adapt(model: PhotoModel, data: bytes) -> PhotoModel:
    """The model with the changes of `data`.

    Raises ``FormatError`` for damaged data, or changes after which the network is not provably
    exact.
    """
    planes = data[0] if data else 0
    if planes not in (1, 3):
        raise FormatError("the image's changes of the model are damaged")
    heads, tables = data[1 : 1 + planes * len(TENSORS)], change_tables()
    if len(heads) < planes * len(TENSORS):
        raise FormatError("the image's changes of the model are truncated")
    decoder = SymbolDecoder(data[1 + len(heads) :], "ans")
    tensors = dict(model.tensors)
    for name, head in zip(_names(planes), heads, strict=True):
        if head == UNCHANGED:
            continue
        step, shape = head >> 4, head & 15
        if shape >= SHAPES:
            raise FormatError("the image's changes of the model are damaged")
        old = tensors[name]
        multiples = decoder.pull(np.full(old.size, shape, np.uint8), tables).astype(np.int64)
        new = old.astype(np.int64) + (multiples << step).reshape(old.shape)
        if np.abs(new).max() > (WEIGHT_LIMIT if new.ndim == 2 else 1 << 30):
            raise FormatError("the image's changes of the model are out of range")
        tensors[name] = new.astype(np.int32)
    decoder.finish()
    try:
        return model.adapted(tensors)
    except ModelError as error:
        raise FormatError(f"the image's changes of the model are damaged: {error}") from error


def _names(planes: int) -> list[str]:
    return [f"{plane}.{tensor}" for plane in range(planes) for tensor in TENSORS]
