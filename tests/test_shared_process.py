"""Many threads, forked and spawned processes, and many calls give what one call gives."""

from __future__ import annotations

import multiprocessing
import os
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from laconic import codec
from laconic.formats.table import Table

GOLDEN = Path(__file__).parent / "golden"
GRAY = np.arange(400).astype(np.uint8).reshape(20, 20)
TABLE = b"a,b\n" + b"".join(b"%d,x%d\n" % (n * n, n % 3) for n in range(60))
assert torch.get_num_threads() > 0  # forks below happen with torch loaded


def operation(number: int) -> int:
    """A check of what one of several calls returns."""
    match number % 6:
        case 0:
            data = codec.encode(GRAY, lossless=True)
        case 1:
            data = codec.encode(Table(TABLE), codec="records")
        case 2:
            data = codec.decode(GOLDEN / "records-1" / "wide-integers.lac").tobytes()
        case 3:
            data = codec.encode(GRAY, quality=30)
        case 4:
            data = codec.decode(GOLDEN / "mlic-1" / "gray-33x70.lac").pixels.tobytes()
        case _:
            data = repr(codec.probe(GOLDEN / "hnerv-1" / "motion-1x1.lac")).encode()
    return zlib.crc32(data)


@pytest.mark.parametrize("each", [25, pytest.param(200, marks=pytest.mark.heavy)])
def test_eight_threads_of_mixed_calls_give_equal_bytes(each: int) -> None:
    expected = [operation(n) for n in range(6)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(operation, range(8 * each)))
    assert found == [expected[n % 6] for n in range(8 * each)]


def used() -> tuple[int, int, int]:
    """MiB in memory, open files, and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20, len(os.listdir("/proc/self/fd")), threads()


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux")
def test_three_hundred_encodings_leak_nothing() -> None:
    work = (0, 1, 3)  # the encodings
    for n in work * 8:
        operation(n)
    before = used()
    for n in work * 100:
        operation(n)
    after = used()
    assert after[0] <= before[0] + 16
    assert all(now <= then for now, then in zip(after[1:], before[1:], strict=True))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_started_with_torch_loaded_give_equal_bytes(method: str) -> None:
    expected = [operation(n) for n in range(6)]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(operation, range(6), timeout=300)) == expected
