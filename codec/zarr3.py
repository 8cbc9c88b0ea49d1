"""Laconic as a codec of zarr's format 3: ``serializer=LaconicCodec()``.

zarr finds it by its entry point when an array is read. It turns a chunk into bytes, so it stands
where ``bytes`` stands otherwise, and needs no compressor after it. ``codec.numcodec`` is the same
for format 2.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer

from laconic.codec.numcodec import from_bytes, to_bytes


@dataclass(frozen=True)
class LaconicCodec(ArrayBytesCodec):
    """Chunks as ``.lac`` files; without arguments it is lossless.

    Attributes:
        codec: name of a codec, None for the choice of ``codec.numcodec.to_bytes``.
        options: keywords of :func:`laconic.codec.encode` that JSON can hold.
    """

    is_fixed_size = False

    codec: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LaconicCodec:
        """From the metadata of an array."""
        configuration = dict(data.get("configuration") or {})
        return cls(configuration.pop("codec", None), configuration)

    def to_dict(self) -> dict[str, Any]:
        """What stands in the metadata of an array."""
        return {"name": "laconic", "configuration": {"codec": self.codec, **self.options}}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before a chunk is encoded."""
        raise NotImplementedError

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        chunk = np.ascontiguousarray(chunk_data.as_numpy_array())
        data = await asyncio.to_thread(to_bytes, chunk, self.codec, self.options)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        samples = await asyncio.to_thread(from_bytes, chunk_data.to_bytes())
        kept = samples.view(chunk_spec.dtype.to_native_dtype()).reshape(chunk_spec.shape)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(kept)
