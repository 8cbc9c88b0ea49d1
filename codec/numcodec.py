"""Laconic as a codec of numcodecs, and so of zarr's format 2: ``compressor=Laconic()``.

numcodecs finds it by its entry point when an array is read; nobody has to import this module.
``codec.zarr3`` is the codec of zarr's format 3, on the same two functions. Choose
:func:`laconic.codec.encode` for files: a chunk is a ``.lac`` file without a name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numcodecs.abc import Codec as Numcodec
from numcodecs.compat import ndarray_copy
from numpy.typing import NDArray

from laconic.codec import api, registry
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image

SMALLEST = 16  # samples a side of what is coded as an image


def to_bytes(chunk: NDArray[Any], codec: str | None, options: dict[str, Any]) -> bytes:
    """A chunk of any shape as a ``.lac`` file.

    Args:
        chunk: an array; axes before the last two (or, with 3 channels, three) are stacked.
        codec: name of a codec of images or tables. None: ``photo`` for samples of 8 and 16 bits in
            planes of at least 16 x 16, ``records`` for all else; both are lossless.
        options: further keywords of :func:`laconic.codec.encode`.

    Raises:
        ParameterError: the codec is for neither images nor tables, or cannot code such samples.
    """
    if chunk.dtype == bool:
        chunk = chunk.view(np.uint8)
    inner = 3 if chunk.ndim >= 3 and chunk.shape[-1] == 3 else 2  # axes of an image
    if codec is None:
        samples = chunk.dtype.kind == "u" and chunk.dtype.itemsize <= 2 and chunk.dtype.isnative
        large = chunk.ndim >= 2 and min(chunk.shape[-inner:][:2]) >= SMALLEST
        codec = "photo" if samples and large else "records"
    media = registry.get(codec.partition(":")[0]).media
    if media == Media.IMAGE and chunk.ndim >= 2 and chunk.size and chunk.dtype.isnative:
        chunk = chunk.reshape(-1, *chunk.shape[1 - inner :])
    elif media != Media.DATA:
        raise ParameterError(
            f"the codec {codec} does not code chunks of shape {list(chunk.shape)} and type"
            f" {chunk.dtype}: choose records, which codes arrays of any shape"
        )
    elif chunk.ndim < 2:
        chunk = chunk.reshape(-1, 1)
    return api.encode(np.ascontiguousarray(chunk), codec=codec, **options)


def from_bytes(data: bytes) -> NDArray[Any]:
    """The samples of a chunk, C-contiguous; their number is right, their shape is not kept."""
    decoded = api.decode(data)
    return np.ascontiguousarray(decoded.pixels if isinstance(decoded, Image) else decoded)


class Laconic(Numcodec):
    """Chunks as ``.lac`` files; ``Laconic()`` is lossless, ``Laconic("mlic", quality=60)`` is not.

    Args:
        codec: name of a codec, with a colon and a model if wanted; see :func:`to_bytes`.
        options: keywords of :func:`laconic.codec.encode` that JSON can hold.
    """

    codec_id = "laconic"

    def __init__(self, codec: str | None = None, **options: Any) -> None:
        self.codec, self.options = codec, options

    def encode(self, buf: Any) -> bytes:
        """The bytes of a chunk in the order in which it lies in memory."""
        chunk = np.asarray(buf)
        if chunk.flags.f_contiguous and not chunk.flags.c_contiguous:
            chunk = chunk.T
        return to_bytes(chunk, self.codec, self.options)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The samples, C-contiguous; numcodecs does not keep shapes, zarr does."""
        return ndarray_copy(from_bytes(bytes(buf)), out)

    def get_config(self) -> dict[str, Any]:
        """What stands in the metadata of an array."""
        return {"id": self.codec_id, "codec": self.codec, **self.options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Laconic:
        """Inverse of :meth:`get_config`."""
        return cls(**{k: v for k, v in config.items() if k != "id"})
