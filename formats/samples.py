"""Samples of any type as integers.

Images and tensors of other libraries as arrays of samples, without importing them.

Floats as the integers of their bits, ordered by their size: exact, NaN included.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import ParameterError


def as_samples(source: Any) -> Any:
    """What :func:`laconic.codec.encode` can take: a ``PIL.Image`` becomes the bytes of a file that
    holds it exactly, a tensor ``[C, H, W]`` or ``[H, W]`` (floats in 0..1 or integers) an array
    ``[H, W, C]``; anything else is returned as it is.

    Raises ``ParameterError`` for tensors of other shapes or ranges, and images that cannot be
    held exactly.
    """
    if any(c.__module__.startswith("PIL.") and c.__name__ == "Image" for c in type(source).__mro__):
        return file_of(source)
    if hasattr(source, "detach") and hasattr(source, "numpy"):
        return _from_tensor(source.detach().cpu().numpy())
    if not isinstance(source, np.ndarray) and hasattr(source, "__array__"):
        return np.asarray(source)
    return source


def file_of(picture: Any) -> bytes:
    """A ``PIL.Image`` as a TIFF file; a palette with transparency is laid out before."""
    info = picture.info
    if "transparency" in info and picture.mode in ("P", "L", "RGB", "1"):
        picture = picture.convert("LA" if picture.mode == "L" else "RGBA")
    elif picture.mode in ("PA", "La", "RGBa"):
        picture = picture.convert("RGBA")
    buffer = io.BytesIO()
    options: dict[str, Any] = {}
    if exif := picture.getexif():
        options["exif"] = exif
    if info.get("icc_profile"):
        options["icc_profile"] = info["icc_profile"]
    try:
        picture.save(buffer, "TIFF", **options)
    except (OSError, ValueError) as error:
        raise ParameterError(f"an image of mode {picture.mode} cannot be encoded") from error
    return buffer.getvalue()


def _from_tensor(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = np.moveaxis(array, 0, 2)
    elif array.ndim != 2:
        raise ParameterError(
            f"the tensor has shape {list(array.shape)}: expected [C, H, W] with 1 or 3 channels,"
            " or [H, W]"
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ParameterError("the tensor has values outside 0..1: scale them first")
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    return np.ascontiguousarray(array)


_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def unsigned(size: int) -> str:
    """The type of the bits of a float of ``size`` bytes."""
    return f"<u{size}"


def ordered(bits: NDArray[Any]) -> NDArray[Any]:
    """Bits of floats -> integers that grow with the floats."""
    top = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    return np.where(bits & top, ~bits, bits | top)


def plain(numbers: NDArray[Any]) -> NDArray[Any]:
    """Inverse of :func:`ordered`."""
    top = numbers.dtype.type(1 << (8 * numbers.itemsize - 1))
    return np.where(numbers & top, numbers & ~top, ~numbers)


def halves(numbers: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The upper and lower 32 bits."""
    return (numbers >> _HALF).astype(np.int64), (numbers & _LOW).astype(np.int64)


def joined(high: NDArray[np.int64], low: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Inverse of :func:`halves`."""
    return high.astype(np.uint64) << _HALF | low.astype(np.uint64)


def to_whole(array: NDArray[Any]) -> NDArray[np.int64]:
    """Floats ``[N, D]`` as whole numbers ``[N, D]``, of 64 bits ``[N, 2 D]``: upper and lower."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    numbers = ordered(little.view(unsigned(little.itemsize)))
    if little.itemsize < 8:
        return numbers.astype(np.int64)
    return np.stack(halves(numbers), axis=2).reshape(len(array), -1)


def from_whole(whole: NDArray[np.int64], size: int) -> NDArray[Any]:
    """Inverse of :func:`to_whole` for floats of ``size`` bytes, little-endian."""
    wide = size == 8
    numbers = joined(whole[:, ::2], whole[:, 1::2]) if wide else whole.astype(unsigned(size))
    return np.ascontiguousarray(plain(numbers)).view(f"<f{size}")
