"""Many threads and forked processes give what one call gives."""

from __future__ import annotations

import multiprocessing
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
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


def test_eight_threads_of_mixed_calls_give_equal_bytes() -> None:
    expected = [operation(n) for n in range(6)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(operation, range(96)))
    assert found == expected * 16


def test_workers_forked_with_torch_loaded_give_equal_bytes() -> None:
    expected = [operation(n) for n in range(6)]
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(operation, range(6), timeout=300)) == expected
