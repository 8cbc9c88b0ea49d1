"""Samples of other libraries and types as ours.

Images and tensors as images and arrays of samples, without importing their libraries before.

Floats as the integers of their bits, ordered by their size: exact, NaN included.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import ParameterError

if TYPE_CHECKING:
    from laconic.formats.image import Image


def as_samples(source: Any) -> Any:
    """What :func:`laconic.codec.encode` can take: a ``PIL.Image`` becomes an image of ours, a
    tensor ``[C, H, W]`` or ``[H, W]`` (floats in 0..1 or integers) an array ``[H, W, C]``;
    anything else is returned as it is.

    Raises ``ParameterError`` for tensors of other shapes or ranges, and images that cannot be
    held exactly.
    """
    if any(c.__module__.startswith("PIL.") and c.__name__ == "Image" for c in type(source).__mro__):
        return from_pillow(source)
    if hasattr(source, "detach") and hasattr(source, "numpy"):
        return _from_tensor(source.detach().cpu().numpy())
    if not isinstance(source, np.ndarray) and hasattr(source, "__array__"):
        return np.asarray(source)
    return source


def from_pillow(
    opened: Any,
    *,
    exif: Any = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
    density: Any = None,
    comment: Any = None,
) -> Image:
    """A ``PIL.Image``, upright, with what it says beside its samples; what is given here takes the
    place of its own.

    One that stands at the first of several frames stands for all of them; frames that were sought
    or copied are images of their own. Raises ``ParameterError`` for modes that cannot be held
    exactly.
    """
    from laconic.formats.errors import DEFAULT_LIMITS
    from laconic.formats.image_metadata import density_of, metadata_of, stored_tags
    from laconic.formats.image_reader import read

    opened.load()
    tags, notice = stored_tags(opened.getexif() if exif is None else exif)
    frames = 1 if opened.format == "MPO" else int(getattr(opened, "n_frames", 1))
    image: Image = read(_file_of(opened, tags), DEFAULT_LIMITS)
    about = metadata_of(opened, exif=False)
    if icc and not image.changes:
        image.icc = icc
    image.xmp, image.iptc = xmp or about.xmp, about.iptc
    image.texts, image.density = about.texts, density_of(density) or about.density
    if comment:
        text = comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)
        image.texts = {**image.texts, "Comment": text}
    image.notices += about.notices + ([notice] if notice else [])
    image.frames = frames if frames > 1 and opened.tell() == 0 else 1
    return image


def _file_of(opened: Any, exif: bytes | None) -> bytes:
    """A TIFF file, which holds every mode of Pillow exactly, so that one reader judges all; a
    palette with transparency is laid out before."""
    mode, whole = opened.mode, opened
    if "transparency" in opened.info and mode in ("P", "L", "RGB", "1"):
        whole = opened.convert("LA" if mode == "L" else "RGBA")
    elif mode in ("PA", "RGBa"):
        whole = opened.convert("RGBA")
    elif mode == "La":
        whole = opened.convert("LA")
    if mode in ("La", "RGBa") and whole.convert(mode).tobytes() != opened.tobytes():
        raise ParameterError(
            f"an image of mode {mode} has its alpha multiplied in, which cannot be undone exactly:"
            f" convert it first, with image.convert({whole.mode!r})"
        )
    buffer = io.BytesIO()
    options: dict[str, Any] = {"compression": "raw"}  # that of its source may lose something
    if exif:
        options["exif"] = exif
    if opened.info.get("icc_profile"):
        options["icc_profile"] = opened.info["icc_profile"]
    try:
        # A copy, since options of a call of save that is under way would go before these.
        whole.copy().save(buffer, "TIFF", **options)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"an image of mode {mode} cannot be encoded: convert it first, such as with"
            " image.convert('RGB')"
        ) from error
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
