"""Chunks of arrays through numcodecs and zarr, which find the codec by themselves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import scene

from laconic.formats.errors import ParameterError

numcodecs = pytest.importorskip("numcodecs", reason="needs numcodecs: laconic[zarr]")
numcodec = pytest.importorskip("laconic.codec.numcodec")
RNG = np.random.default_rng(0)
CHUNKS = {
    "gray": scene(24, 33, 1)[..., 0],
    "colour": scene(24, 33),
    "sixteen bits": scene(24, 33, 1, bits=16)[..., 0],
    "volume": np.stack([scene(20, 24, 1, seed=n)[..., 0] for n in range(3)]),
    "stack of colour": np.stack([scene(20, 24, seed=n) for n in range(2)]),
    "narrow": scene(40, 5, 1)[..., 0],
    "line": RNG.integers(0, 9, 50, dtype=np.int32),
    "table": RNG.integers(-3, 9, (50, 4), dtype=np.int64),
    "float": np.round(RNG.normal(size=(40, 3)), 1).astype(np.float32),
    "big-endian": RNG.integers(0, 900, (30, 20)).astype(">u2"),
    "bool": RNG.integers(0, 2, (20, 20)).astype(bool),
    "one": np.array([[7]], np.uint8),
}


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS.keys())
def test_chunks_of_any_shape_come_back(chunk: NDArray[Any]) -> None:
    codec = numcodecs.get_codec({"id": "laconic", "codec": None})  # found by its entry point
    out = np.empty_like(chunk)

    data = codec.encode(chunk)
    codec.decode(data, out)

    assert codec.decode(data).tobytes() == chunk.tobytes()
    assert (out == chunk).all()


def test_chunks_come_back_in_the_order_in_which_they_lie_in_memory() -> None:
    turned = np.asfortranarray(CHUNKS["gray"])
    codec = numcodec.Laconic()

    assert codec.decode(codec.encode(turned)).tobytes() == turned.tobytes(order="A")


def test_configurations_come_back() -> None:
    codec = numcodec.Laconic("mlic", quality=30, verify=False)

    config = json.loads(json.dumps(codec.get_config()))

    assert numcodecs.get_codec(config).get_config() == codec.get_config()


def test_colour_may_be_lossy() -> None:
    chunk = scene(64, 80)
    codec = numcodec.Laconic("mlic", quality=60)

    data = codec.encode(chunk)
    again = codec.decode(data)

    assert len(data) < chunk.nbytes / 8
    assert again.shape == chunk.shape
    assert 0 < np.abs(again.astype(int) - chunk).mean() < 6


def test_what_a_codec_cannot_code_is_said() -> None:
    with pytest.raises(ParameterError, match=r"shape \[50\].*choose records"):
        numcodec.Laconic("photo").encode(CHUNKS["line"])
    with pytest.raises(ParameterError, match="semanticodec does not code chunks"):
        numcodec.Laconic("semanticodec").encode(CHUNKS["gray"])


@pytest.mark.parametrize("format", [2, 3])
def test_zarr_arrays_are_read_by_a_process_that_knows_nothing_of_laconic(
    format: int, tmp_path: Path
) -> None:
    zarr = pytest.importorskip("zarr", reason="needs zarr: laconic[zarr]")
    if format == 3:
        zarr3 = pytest.importorskip("laconic.codec.zarr3", reason="needs zarr 3")
        how = {"serializer": zarr3.LaconicCodec("photo", {"effort": 0}), "compressors": None}
    elif zarr.__version__ >= "3":
        how = {"compressors": numcodec.Laconic()}
    else:
        pytest.skip("zarr 2 has another function")
    pixels = scene(50, 70)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=pixels.shape, chunks=(32, 32, 3), dtype=pixels.dtype,
        zarr_format=format, **how,
    )  # fmt: skip
    array[:] = pixels

    code = "import sys, zarr, numpy; numpy.save('back.npy', zarr.open('a.zarr', mode='r')[10:, 5:])"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)

    assert (np.load(tmp_path / "back.npy") == pixels[10:, 5:]).all()
    stored = sum(p.stat().st_size for p in (tmp_path / "a.zarr").rglob("*") if p.is_file())
    assert stored < pixels.nbytes
