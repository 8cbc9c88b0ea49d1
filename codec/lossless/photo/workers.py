"""Coding batches of tiles, here or in helper processes (`laconic.codec.lossless.helpers`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from laconic.codec.lossless.helpers import Head, ask, cores, cut, share
from laconic.codec.lossless.photo.adapter import adapt
from laconic.codec.lossless.photo.network import PhotoModel, load_model
from laconic.codec.lossless.photo.wave import Samples, decode_tiles, encode_tiles

SMALL = 1 << 16  # samples below which a helper's start costs more than it gains


class Workers:
    """Codes batches of tiles with one model.

    Args:
        model: name, id or path.
        adapter: changes of its weights (`adapter`), or b"".
        processes: how many; by default one for each core (or as OMP_NUM_THREADS says).
    """

    def __init__(self, model: str, adapter: bytes = b"", processes: int | None = None) -> None:
        self._name, self._adapter = model, adapter
        self.model = _model(model, adapter)
        self.processes = cores() if processes is None else processes

    def encode(
        self, batches: Sequence[Samples], bits: int, lossy: Sequence[Samples] | None = None
    ) -> list[list[bytes]]:
        """Streams of batches of tiles [T, H, W, C]; `lossy` are those of the lossy picture, for
        models that see one."""
        seen: Sequence[Samples | None] = [None] * len(batches) if lossy is None else lossy
        if self._alone(sum(b.size for b in batches), len(batches)):
            sides = zip(batches, seen, strict=True)
            return [encode_tiles(self.model, tiles, bits, side) for tiles, side in sides]

        def call(batch: tuple[Samples, Samples | None]) -> list[bytes]:
            tiles, side = batch
            request = {"op": "encode", "shape": tiles.shape[1:], "bits": bits}
            reply, (data,) = self._ask(request, _bytes(tiles), side)
            return cut(data, reply["lengths"])

        return share(call, list(zip(batches, seen, strict=True)), self.processes)

    def decode(
        self,
        batches: Sequence[tuple[Sequence[bytes], tuple[int, int, int]]],
        bits: int,
        lossy: Sequence[Samples] | None = None,
    ) -> list[Samples]:
        """Tiles [T, H, W, C] of batches of streams with the shape [H, W, C] of their tiles.

        Raises ``FormatError`` as :func:`decode_tiles` does.
        """
        seen: Sequence[Samples | None] = [None] * len(batches) if lossy is None else lossy
        samples = sum(len(streams) * int(np.prod(shape)) for streams, shape in batches)
        if self._alone(samples, len(batches)):
            return [
                decode_tiles(self.model, streams, shape, bits, side)
                for (streams, shape), side in zip(batches, seen, strict=True)
            ]

        def call(batch: tuple[Any, Samples | None]) -> Samples:
            (streams, shape), side = batch
            request = {
                "op": "decode", "shape": shape, "bits": bits, "lengths": [len(s) for s in streams],
            }  # fmt: skip
            _, (data,) = self._ask(request, b"".join(streams), side)
            return _samples(data, shape)

        return share(call, list(zip(batches, seen, strict=True)), self.processes)

    def _alone(self, samples: int, batches: int) -> bool:
        return self.processes < 2 or batches < 2 or samples < SMALL

    def _ask(self, request: Head, data: bytes, lossy: Samples | None) -> tuple[Head, list[bytes]]:
        side = b"" if lossy is None else _bytes(lossy)
        return ask("photo", {**request, "model": self._name}, self._adapter, data, side)


@lru_cache(maxsize=2)
def _model(name: str, adapter: bytes) -> PhotoModel:
    model = load_model(name)
    return adapt(model, adapter) if adapter else model


def answer(request: Head, blobs: list[bytes]) -> tuple[Head, list[bytes]]:
    """What a helper does: requests of :class:`Workers`."""
    adapter, data, side = blobs
    model, bits = _model(request["model"], adapter), request["bits"]
    height, width, channels = request["shape"]
    shape = (height, width, channels)
    lossy = _samples(side, shape) if side else None
    if request["op"] == "encode":
        streams = encode_tiles(model, _samples(data, shape), bits, lossy)
        return {"lengths": [len(s) for s in streams]}, [b"".join(streams)]
    streams = cut(data, request["lengths"])
    return {}, [_bytes(decode_tiles(model, streams, shape, bits, lossy))]


def _bytes(samples: Samples) -> bytes:
    return samples.astype("<u2").tobytes()


def _samples(data: bytes, shape: Sequence[int]) -> Samples:
    """Tiles [T, H, W, C] of that shape [H, W, C]."""
    tiles: Samples = np.frombuffer(data, "<u2").reshape(-1, *shape).astype(np.uint16)
    return tiles
