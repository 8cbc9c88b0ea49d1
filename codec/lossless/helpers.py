"""Helper processes: how codecs that compute in small NumPy steps use several cores.

A step of these codecs handles a few hundred samples or records, too little for threads under
Python's lock, so each helper is a process of its own that imports NumPy and nothing heavier. It
reads requests from its standard input (a JSON line and bytes) until that is closed. `python -m
laconic.codec.lossless.helpers` is the helper; it never runs the caller's main module, unlike the
pools of `multiprocessing`. What the requests mean is the matter of the modules in ANSWERS; whether
a helper or the caller computes makes no difference to the result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, BinaryIO, TypeVar

from laconic.formats.errors import FormatError, LaconicError

Head = dict[str, Any]
Part = TypeVar("Part")
Result = TypeVar("Result")

MOST = 8
ANSWERS = {
    "records": "laconic.codec.lossless.records.workers",
}
"""Modules with a function ``answer(request, data) -> (head, data)``."""
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Processes to use: one for each core, or as OMP_NUM_THREADS says; one in a helper."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if not sys.executable:
        return 1
    if said.isdigit() and int(said):
        return min(MOST, int(said))
    return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def share(call: Callable[[Part], Result], parts: Sequence[Part], processes: int) -> list[Result]:
    """``call`` of every part, as many at a time as there are processes; each asks a helper."""
    with ThreadPoolExecutor(min(processes, len(parts))) as threads:
        return list(threads.map(call, parts))


def ask(codec: str, request: Head, *blobs: bytes) -> tuple[Head, list[bytes]]:
    """What a helper answers to a request of that codec.

    Raises ``FormatError`` where the answering module did, ``LaconicError`` if the helper died.
    """
    helper = _take_helper()
    try:
        assert helper.stdin is not None
        assert helper.stdout is not None
        _send(helper.stdin, {**request, "codec": codec}, blobs)
        reply, answer = _receive(helper.stdout)
    except BaseException:
        helper.kill()
        helper.wait()
        raise
    if reply is None:
        helper.wait()
        raise LaconicError(f"a helper process of the codec {codec} ended: see what it printed")
    _idle(os.getpid()).put(helper)
    if "damaged" in reply:
        raise FormatError(reply["damaged"])
    return reply, answer


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
        [sys.executable, "-m", "laconic.codec.lossless.helpers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _send(target: Any, head: Head, blobs: Sequence[bytes]) -> None:
    target.write(json.dumps({**head, "sizes": [len(b) for b in blobs]}).encode() + b"\n")
    for blob in blobs:
        target.write(blob)
    target.flush()


def _receive(source: Any) -> tuple[Head | None, list[bytes]]:
    line = source.readline()
    if not line:
        return None, []
    head = json.loads(line)
    return head, [source.read(size) for size in head["sizes"]]


def cut(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Pieces of those lengths."""
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    return [data[a:b] for a, b in pairwise(ends)]


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while True:
        request, blobs = _receive(requests)
        if request is None:
            return
        try:
            head, answer = import_module(ANSWERS[request["codec"]]).answer(request, blobs)
        except FormatError as error:
            head, answer = {"damaged": str(error)}, []
        _send(replies, head, answer)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
