"""One stream, many ways of computing it: threads, processes, BLAS kernels, scalar code."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import photo_arrays as arrays
import pytest
from pictures import picture, scene, textured

from laconic import codec
from laconic.codec.lossless.photo import features, loops, network, wave
from laconic.codec.lossless.photo.header import EXACT, HIDDEN_LIMIT, INPUT_BITS, WEIGHT_LIMIT
from laconic.codec.lossless.photo.network import load_model
from laconic.codec.lossless.photo.wave import Workers
from laconic.formats.errors import ModelError

DIGEST = """
import hashlib, sys
sys.path.insert(0, {tests!r})
{setup}
from pictures import picture, textured
from laconic import codec
for image, path in zip((textured(150, 180), picture(60, 50, bits=16)), sys.argv[1:]):
    data = codec.encode(image, lossless=True, tile=64)
    print(hashlib.sha256(data).hexdigest())
    assert (codec.decode(path).pixels == image.pixels).all()
assert "torch" not in sys.modules or {setup!r}
"""
VARIANTS = {
    "one thread": ("", {"OMP_NUM_THREADS": "1"}),
    "two threads": ("", {"OMP_NUM_THREADS": "2"}),
    "old kernels": ("", {"OPENBLAS_CORETYPE": "Prescott"}),
    "middling kernels": ("", {"OPENBLAS_CORETYPE": "Haswell"}),
    "baseline instructions, torch loaded": (
        "import torch",
        {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Streams of the circuit for 8 and 16 bits."""
    folder = tmp_path_factory.mktemp("photo")
    paths = []
    for image in (textured(150, 180), picture(60, 50, bits=16)):
        paths.append(folder / f"{image.bit_depth}.lac")
        paths[-1].write_bytes(codec.encode(image, lossless=True, tile=64))
        assert codec.probe(paths[-1]).settings["coded as"] == "circuit"
    return paths


@pytest.mark.parametrize("name", VARIANTS)
def test_streams_are_byte_identical_on_other_arithmetic(name: str, streams: list[Path]) -> None:
    setup, environment = VARIANTS[name]
    code = DIGEST.format(setup=setup, tests=str(Path(__file__).parent))
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, streams)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in streams]
    assert result.stdout.split() == hashes


def tiles_of(height: int, width: int, count: int = 2) -> list[np.ndarray]:
    return [scene(height, width, seed=s).astype(np.uint16) for s in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_threads_writes_the_same_bytes(count: int) -> None:
    tiles = tiles_of(60, 50, count)
    alone, shared = Workers("photo", threads=1), Workers("photo", threads=2)

    streams = list(shared.encode(tiles, 8))

    assert streams == list(alone.encode(tiles, 8))
    parts = [(stream, (60, 50, 3), None) for stream in streams]
    assert all(map(np.array_equal, tiles, shared.decode(parts, 8)))


def planes_to_see(height: int, width: int, bits: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    top = 1 << bits
    tile = np.cumsum(random.integers(-9, 10, (height, width, 3)), axis=1) * (top >> 7) + top // 2
    tile[:, width // 2 :] = random.integers(0, top, (height, width - width // 2, 3))
    return wave.planes_of(np.clip(tile, 0, top - 1).astype(np.uint16))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (3, 4), (13, 12)])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("based", [False, True])
def test_the_loops_see_what_arrays_see(height: int, width: int, bits: int, based: bool) -> None:
    planes = planes_to_see(height, width, bits, 1)
    lossy = planes_to_see(height, width, bits, 2) if based else None
    y, x = (a.reshape(-1) for a in np.indices((height, width)))
    for plane in range(3):
        expected = arrays.seen(planes, plane, y, x, bits, lossy)
        inputs = np.empty((y.size, features.inputs_of(plane, based=based)), np.float32)
        base, scale = np.empty(y.size, np.float32), np.empty(y.size, np.int64)
        side = wave.UNSEEN if lossy is None else lossy
        loops.draw(plane, y, x, planes, side, bits, inputs, base, scale)

        assert np.array_equal(inputs.T, expected.inputs)
        assert np.array_equal(base, expected.base)
        assert np.array_equal(scale, expected.scale)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("based", [False, True])
@pytest.mark.parametrize(("height", "width"), [(14, 17), (9, 40)])
def test_the_loops_give_the_intervals_that_arrays_give(
    bits: int, based: bool, height: int, width: int
) -> None:
    """Near the border and far from it, where samples are seen many at a time."""
    model = load_model("photo-preview" if based else "photo")
    planes = planes_to_see(height, width, bits, 3)
    lossy = planes_to_see(height, width, bits, 4) if based else None
    steps = width + 3 * (height - 1) + 2 * features.LAG
    starts, widths = (
        np.concatenate(parts)
        for parts in zip(
            *(wave.intervals(model, planes, part, bits, lossy) for part in ((0, 31), (31, steps))),
            strict=True,
        )
    )
    table = arrays.Arithmetic(model.tables)
    found = iter(zip(starts.tolist(), widths.tolist(), strict=True))
    for step in range(steps):
        for plane in range(3):
            for y in range(height):
                x = step - features.LAG * plane - 3 * y
                if not 0 <= x < width:
                    continue
                f = arrays.seen(planes, plane, np.array([y]), np.array([x]), bits, lossy)
                out = arrays.network(model, plane, f.inputs)
                m = table.mixture(out, f.base, f.scale)
                value = planes[plane, y, x] + (planes[0, y, x] if plane else 0)
                interval = table.interval(m, np.array([float(value)]), 1 << bits)
                assert next(found) == tuple(int(number[0]) for number in interval)


def scalar_outputs(tensors: dict[str, np.ndarray], plane: int, x: np.ndarray) -> list[int]:
    """The network of one sample in Python's own integers."""
    w1, b1, w2, b2, w3, skip, b3 = (tensors[f"{plane}.{name}"].tolist() for name in network.TENSORS)

    def dot(weights: list[int], values: list[int]) -> int:
        return sum(w * v for w, v in zip(weights, values, strict=True))

    values = [int(v) for v in x]
    h = [min(max(dot(w, values) + b, 0) >> 7, HIDDEN_LIMIT) for w, b in zip(w1, b1, strict=True)]
    h = [min(max(dot(w, h) + b, 0) >> 8, HIDDEN_LIMIT) for w, b in zip(w2, b2, strict=True)]
    return [dot(w, h) + dot(s, values) + b for w, s, b in zip(w3, skip, b3, strict=True)]


def outputs_of(model: network.PhotoModel, plane: int, x: np.ndarray) -> np.ndarray:
    """Inputs [n, F] to outputs [n, 3 * K]."""
    out = np.empty((len(x), 15), np.float32)
    inputs = np.ascontiguousarray(x, dtype=np.float32)
    loops.outputs(
        plane, inputs, model.circuit, loops.scratch(model.circuit, (3, len(x), 3 * len(x))), out
    )
    return out


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_the_network_equals_scalar_integers(plane: int) -> None:
    model, random = load_model("photo"), np.random.default_rng(plane)
    x = random.integers(features.LOW, features.HIGH + 1, (6, features.INPUTS[plane]))
    x[0], x[1] = features.LOW, features.HIGH

    for sample, out in zip(x, outputs_of(model, plane, x), strict=True):
        assert out.astype(np.int64).tolist() == scalar_outputs(dict(model.tensors), plane, sample)


def test_the_encoder_and_a_scalar_decoder_agree() -> None:
    """A decoder of one sample at a time in Python integers reads what the fast coder wrote."""
    model, tile = load_model("photo"), scene(5, 7)[..., :1].astype(np.uint16)
    table = arrays.Arithmetic(model.tables)
    stream = wave.encode_tile(model, tile, 8)
    height, width = tile.shape[:2]
    steps: dict[int, list[tuple[int, int]]] = {}
    for y in range(height):
        for x in range(width):
            steps.setdefault(x + 3 * y, []).append((y, x))
    fronts = [steps[t] for t in sorted(steps)]
    lanes = [max(len(f) for f in fronts[i:]) for i in range(len(fronts))] + [0]
    head = -(-lanes[0] // 4)
    sizes = [5 + (stream[i // 4] >> 2 * (i % 4) & 3) for i in range(lanes[0])]
    states, at = [], head
    for size in sizes:
        states.append(int.from_bytes(stream[at : at + size], "little"))
        at += size
    words = [int.from_bytes(stream[i : i + 4], "little") for i in range(at, len(stream), 4)]
    plane = np.zeros(height * width + 1, np.float32)
    plane[-1] = 128
    for number, front in enumerate(fronts):
        found = []
        for lane, (y, x) in enumerate(front):
            spot = (np.array([y], np.int32), np.array([x], np.int32))
            near = arrays.neighbour_index(*spot, height, width, features.OWN[0], causal=True)
            f = arrays.features(0, plane.take(near), [], 0)
            out = np.array(scalar_outputs(dict(model.tensors), 0, f.inputs[:, 0]), np.float32)
            m = table.mixture(out[:, None], f.base, f.scale)
            slot = states[lane] & (1 << 24) - 1
            edges = [0, *(int(table.cumulative(m, np.array([float(v)]), 256)[0])
                          for v in range(1, 256)), 1 << 24]  # fmt: skip
            value = max(v for v in range(256) if edges[v] <= slot)
            states[lane] = (edges[value + 1] - edges[value]) * (states[lane] >> 24)
            states[lane] += slot - edges[value]
            if states[lane] < 1 << 32:
                states[lane] = states[lane] << 32 | words.pop(0)
            found.append((y * width + x, value))
        for place, value in found:
            plane[place] = value
        words = [s - (1 << 32) for s in states[lanes[number + 1] : lanes[number]]] + words
        assert all(0 <= w < 1 << 32 for w in words)

    assert not any(words)
    assert np.array_equal(plane[:-1].reshape(height, width), tile[..., 0])


def test_every_level_keeps_a_unit_and_the_units_sum_up() -> None:
    tables = arrays.Arithmetic(features.MixtureTables(features.tables()))
    random = np.random.default_rng(0)
    out = random.integers(-(1 << 23), 1 << 23, (15, 40)).astype(np.float32)
    out[:, 20:] *= np.float32(2**-7)
    base = random.integers(-600, 1200, 40).astype(np.float32)
    scale = random.integers(3, 100, 40).astype(np.int32)
    m = tables.mixture(out, base, scale)

    widths = [tables.interval(m, np.full(40, float(v)), 256)[1] for v in range(256)]

    assert (np.array(widths) >= 1).all()
    assert (np.sum(widths, axis=0) == 1 << 24).all()


def test_the_shipped_model_is_provably_exact() -> None:
    model = load_model("photo")

    assert all(network.check_bounds(model.tensors, plane) < EXACT for plane in range(3))


def test_a_model_whose_sums_could_round_is_refused() -> None:
    model = load_model("photo")
    heavy = dict(model.tensors)
    heavy["0.w2"] = np.full_like(heavy["0.w2"], WEIGHT_LIMIT)
    wide = dict(model.tensors)
    wide["1.w1"] = wide["1.w1"].copy()
    wide["1.w1"][0, 0] = WEIGHT_LIMIT + 1

    with pytest.raises(ModelError, match="not exact"):
        model.adapted(heavy)
    with pytest.raises(ModelError, match="exceeds"):
        model.adapted(wide)


def test_the_trained_network_is_the_integer_network() -> None:
    torch = pytest.importorskip("torch")
    from laconic.codec.lossless.photo.header import CONFIGS
    from laconic.codec.lossless.photo.learn import PhotoNetwork

    model = load_model("photo")
    twin = PhotoNetwork(CONFIGS["photo"])
    twin.load_integers(model.tensors)
    twin.quantise(True)
    random = np.random.default_rng(3)
    for plane in range(3):
        x = random.integers(-200, 200, (features.INPUTS[plane], 50)).astype(np.float32)
        with torch.no_grad():
            out = twin.networks()[plane](torch.from_numpy(x.T.copy()) * 2.0**-INPUT_BITS)
        assert np.array_equal(out.numpy().T * 2**14, outputs_of(model, plane, x.T).T)
    assert all(np.array_equal(v, model.tensors[k]) for k, v in twin.integers().items())
