"""Coding tiles in several processes: what a wavefront of small steps needs to use two cores.

A front is a few hundred samples, too little for threads under Python's lock, so each helper is a
process of its own that imports NumPy and nothing heavier. It reads requests from its standard input
(a JSON line and bytes) until that is closed. `python -m laconic.codec.lossless.photo.workers` is
the helper; it never runs the caller's main module, unlike the pools of `multiprocessing`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.adapter import adapt
from laconic.codec.lossless.photo.network import PhotoModel, load_model
from laconic.codec.lossless.photo.wave import decode_tiles, encode_tiles
from laconic.formats.errors import FormatError, LaconicError

MOST = 8
SMALL = 1 << 16  # samples below which a helper's start costs more than it gains
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Workers:
    """Codes batches of tiles with one model, here or in helpers.

    Args:
        model: name, id or path.
        adapter: changes of its weights (`adapter`), or b"".
        processes: how many; by default one for each core (or as OMP_NUM_THREADS says).
    """

    def __init__(self, model: str, adapter: bytes = b"", processes: int | None = None) -> None:
        self._name, self._adapter = model, adapter
        self.model = _model(model, adapter)
        self.processes = _cores() if processes is None else processes

    def encode(self, batches: Sequence[NDArray[np.uint16]], bits: int) -> list[list[bytes]]:
        """Streams of batches of tiles [T, H, W, C]."""
        if self._alone(sum(b.size for b in batches), len(batches)):
            return [encode_tiles(self.model, batch, bits) for batch in batches]

        def call(batch: NDArray[np.uint16]) -> list[bytes]:
            request = {"op": "encode", "shape": batch.shape, "bits": bits}
            reply, data = self._ask(request, batch.astype("<u2").tobytes())
            return _cut(data, reply["lengths"])

        return self._map(call, batches)

    def decode(
        self, batches: Sequence[tuple[Sequence[bytes], tuple[int, int, int]]], bits: int
    ) -> list[NDArray[np.uint16]]:
        """Tiles [T, H, W, C] of batches of streams with the shape [H, W, C] of their tiles.

        Raises ``FormatError`` as :func:`decode_tiles` does.
        """
        samples = sum(len(streams) * int(np.prod(shape)) for streams, shape in batches)
        if self._alone(samples, len(batches)):
            return [decode_tiles(self.model, streams, shape, bits) for streams, shape in batches]

        def call(batch: tuple[Sequence[bytes], tuple[int, int, int]]) -> NDArray[np.uint16]:
            streams, shape = batch
            request = {
                "op": "decode", "shape": shape, "bits": bits, "lengths": [len(s) for s in streams],
            }  # fmt: skip
            _, data = self._ask(request, b"".join(streams))
            return np.frombuffer(data, "<u2").reshape(len(streams), *shape).astype(np.uint16)

        return self._map(call, batches)

    def _alone(self, samples: int, batches: int) -> bool:
        return self.processes < 2 or batches < 2 or samples < SMALL or not sys.executable

    def _map(self, call: Any, batches: Sequence[Any]) -> list[Any]:
        with ThreadPoolExecutor(min(self.processes, len(batches))) as threads:
            return list(threads.map(call, batches))

    def _ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        request |= {"model": self._name, "adapter": len(self._adapter), "bytes": len(data)}
        helper = _take_helper()
        try:
            assert helper.stdin is not None
            assert helper.stdout is not None
            _send(helper.stdin, request, self._adapter + data)
            reply = json.loads(helper.stdout.readline() or b"{}")
            result = helper.stdout.read(reply.get("bytes", 0))
        except BaseException:
            helper.kill()
            helper.wait()
            raise
        if "bytes" not in reply:
            helper.wait()
            raise LaconicError("a helper process of the photo codec ended: see what it printed")
        _idle(os.getpid()).put(helper)
        if "damaged" in reply:
            raise FormatError(reply["damaged"])
        return reply, result


def _cores() -> int:
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return min(MOST, int(said))
    return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


@lru_cache(maxsize=2)
def _model(name: str, adapter: bytes) -> PhotoModel:
    model = load_model(name)
    return adapt(model, adapter) if adapter else model


@lru_cache(maxsize=1)
def _idle(process: int) -> SimpleQueue[subprocess.Popen[bytes]]:
    """Helpers without work; those of a parent process are not ours."""
    return SimpleQueue()


def _take_helper() -> subprocess.Popen[bytes]:
    idle = _idle(os.getpid())
    while not idle.empty():
        helper = idle.get()
        if helper.poll() is None:
            return helper
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    return subprocess.Popen(
        [sys.executable, "-m", "laconic.codec.lossless.photo.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _send(target: Any, head: dict[str, Any], data: bytes) -> None:
    target.write(json.dumps(head).encode() + b"\n")
    target.write(data)
    target.flush()


def _cut(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    ends = np.cumsum([0, *lengths]).tolist()
    return [data[a:b] for a, b in pairwise(ends)]


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while line := requests.readline():
        request = json.loads(line)
        adapter = requests.read(request["adapter"])
        data = requests.read(request["bytes"])
        model = _model(request["model"], adapter)
        shape = tuple(request["shape"])
        if request["op"] == "encode":
            tiles = np.frombuffer(data, "<u2").reshape(shape).astype(np.uint16)
            streams = encode_tiles(model, tiles, request["bits"])
            reply = b"".join(streams)
            head: dict[str, Any] = {"lengths": [len(s) for s in streams]}
        else:
            try:
                streams = _cut(data, request["lengths"])
                samples = decode_tiles(model, streams, shape, request["bits"])  # type: ignore[arg-type]
                reply, head = samples.astype("<u2").tobytes(), {}
            except FormatError as error:
                reply, head = b"", {"damaged": str(error)}
        _send(replies, {**head, "bytes": len(reply)}, reply)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
