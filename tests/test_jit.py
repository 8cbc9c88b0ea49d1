"""Compiled loops: the same bytes uncompiled, no reads out of bounds, any place for a cache."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = """
import numpy as np
from laconic.entropy.jit import jit

@jit
def three(x):
    return 3 * x

@jit
def total(values):
    found = 0
    for n in range(values.size):
        found += three(int(values[n]))
    return found

print(total(np.arange(5)))
"""

CODECS = """
import hashlib
import numpy as np
from laconic.codec.lossless.photo import wave
from laconic.codec.lossless.photo.network import load_model
from laconic.codec.lossless import circuits
from laconic.codec.lossless.circuits import walk
from laconic.entropy import LaneDecoder, LaneEncoder, gaussian_scales, gaussian_tables
from laconic.entropy import context_mixing as mixing
from laconic.formats.errors import LaconicError

random = np.random.default_rng(0)
model = load_model("photo")
tile = np.clip(np.cumsum(random.integers(-9, 10, (3, 4, 3)), axis=1) + 99, 0, 255)
tile = tile.astype(np.uint16)
stream = wave.encode_tile(model, tile, 8)
assert (wave.decode_tile(model, stream, tile.shape, 8) == tile).all()
wide = (tile * 257).astype(np.uint16)
deep = wave.encode_tile(model, wide[:2, :2], 16)
assert (wave.decode_tile(model, deep, (2, 2, 3), 16) == wide[:2, :2]).all()

records = random.integers(0, 4, (12, 5))
circuit = circuits.from_circuit(circuits.hclt(records, 3))
starts, widths = (np.zeros(records.shape, np.uint32) for _ in range(2))
walk.intervals(walk.plan_of(circuit), records, starts, widths)
encoder = LaneEncoder(4)
for first in range(0, 12, 4):
    for step in range(5):
        part = slice(first, first + 4)
        encoder.push(starts[part, step], widths[part, step].astype(np.int64) + 1)
lanes = encoder.finish()
decoder = LaneDecoder(lanes, 4)
found = [walk.read(walk.plan_of(circuit), decoder, 4) for _ in range(3)]
assert (np.concatenate(found) == records).all()
decoder.finish()

tables = gaussian_tables(gaussian_scales(64, 0.11, 256.0))
layout = mixing.Layout(np.array([0, 0, 1]), np.array([[-1], [0], [1]]))
part = mixing.Part(np.arange(30), 0, 3, np.array([(0, -1, 2), (-1, 0, 1), (-1, 1, 1)]))
indexes = random.integers(0, 64, 90)
levels = np.rint(random.normal(0, 1, 90) * 1.1 ** indexes).astype(np.int32)
encoder = mixing.MixingEncoder()
encoder.push(mixing.GridContexts(layout, 5, 6), part, levels, indexes, tables)
mixed = encoder.finish()
plain = np.where(mixing.binary(tables).plain[indexes], levels, 0)

def read_mixed(data):
    decoder = mixing.MixingDecoder(data)
    found = decoder.pull(mixing.GridContexts(layout, 5, 6), part, plain, indexes, tables)
    decoder.finish()
    return found

assert (read_mixed(mixed) == levels).all()
print(hashlib.sha256(stream + deep + lanes + mixed).hexdigest())
"""

DAMAGE = """
for number in range({count}):
    for good, read in (
        (stream, lambda data: wave.decode_tile(model, data, tile.shape, 8)),
        (deep, lambda data: wave.decode_tile(model, data, (2, 2, 3), 16)),
        (lanes, lambda data: walk.read(walk.plan_of(circuit), LaneDecoder(data, 4), 4)),
        (mixed, read_mixed),
    ):
        data = bytearray(good)
        for _ in range(3):
            data[random.integers(len(data))] = random.integers(256)
        if number % 3 == 0:
            del data[random.integers(len(data)) :]
        if number % 3 == 1:
            data += random.bytes(8)
        try:
            read(bytes(data))
        except LaconicError:
            pass
"""


def run(code: str, folder: Path, **environment: str) -> str:
    script = folder / "script.py"
    script.write_text(code)
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_bytes_are_the_same_without_a_compiler(tmp_path: Path) -> None:
    compiled = run(CODECS, tmp_path)

    assert len(compiled) == 2 * hashlib.sha256().digest_size
    assert run(CODECS, tmp_path, LACONIC_NO_JIT="1") == compiled


def test_damaged_streams_read_nothing_out_of_bounds(tmp_path: Path) -> None:
    """Compiled with checks of every index, which raise `IndexError`."""
    environment = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}

    assert run(CODECS + DAMAGE.format(count=200), tmp_path, **environment)


def test_numba_is_imported_when_a_loop_is_first_called(tmp_path: Path) -> None:
    names = "laconic.cli.main, laconic.codec, laconic.entropy"
    code = f"import sys, {names}; print('numba' in sys.modules)"

    assert run(code, tmp_path) == "False"


def test_a_machine_without_numba_runs_the_same_functions(tmp_path: Path) -> None:
    assert run("import sys; sys.modules['numba'] = None" + SMALL, tmp_path) == "30"


@pytest.mark.parametrize("place", ["/dev/null/nowhere", "/proc/nowhere"])
def test_no_place_for_a_cache_is_no_error(place: str, tmp_path: Path) -> None:
    assert run(SMALL, tmp_path, NUMBA_CACHE_DIR=place) == "30"


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    full = """
from numba.core.caching import IndexDataCacheFile
def no_space(*_):
    raise OSError(28, "No space left on device")
IndexDataCacheFile.save = no_space
"""
    assert run(full + SMALL, tmp_path, NUMBA_CACHE_DIR=str(tmp_path)) == "30"


def test_processes_that_start_at_once_share_a_cache(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SMALL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    several = [
        subprocess.Popen(
            [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]

    assert [process.communicate()[0].strip() for process in several] == ["30"] * 3
    assert list((tmp_path / "cache").rglob("*.nbi"))
