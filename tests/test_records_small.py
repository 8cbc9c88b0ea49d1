"""The preset `small`: exact integers, round trips, and nets that would not be exact."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tables import digits

from laconic import codec
from laconic.codec.lossless.records.named import save_network
from laconic.codec.lossless.records.schema import Budget, squeeze, unsqueeze
from laconic.codec.lossless.records.small import (
    NEIGHBOURS,
    RADIUS,
    SmallNetwork,
    exponentials,
)
from laconic.codec.lossless.records.small_training import SmallRecipe, run_small
from laconic.formats.errors import FormatError, ParameterError
from laconic.formats.records import from_array


def network(hidden: int = 16, seed: int = 0) -> SmallNetwork:
    rng = np.random.default_rng(seed)

    def weights(*shape: int, scale: int = 40) -> np.ndarray:
        return np.rint(rng.normal(0, scale, shape)).clip(-511, 511).astype("<i2")

    return SmallNetwork(
        6,
        6,
        {
            "place_y": weights(6, hidden).astype("<i4") * 20,
            "place_x": weights(6, hidden).astype("<i4") * 20,
            "w1": weights(60, hidden),
            "w2": weights(hidden, hidden),
            "b2": weights(hidden).astype("<i4") * 9,
            "w3": weights(hidden, 256),
            "b3": weights(256).astype("<i4") * 99,
        },
    ).check()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    save_network(tmp_path / "n.safetensors", network(), name="net", training={})
    return tmp_path


def test_pictures_come_back(store: Path) -> None:
    pictures = digits(90)

    data = codec.encode(pictures, codec="records", model="net", block=40)

    np.testing.assert_array_equal(codec.decode(data), pictures)
    np.testing.assert_array_equal(codec.decode(data, rows=(70, 75)), pictures[70:75])
    noise = np.random.default_rng(0).integers(0, 256, (20, 6, 6)).astype(np.uint8)
    again = codec.decode(codec.encode(noise, codec="records", model="net"))
    np.testing.assert_array_equal(again, noise)
    with pytest.raises(ParameterError, match="shape"):
        codec.encode(pictures[:, :5], codec="records", model="net")


def test_only_pixels_that_came_before_are_seen() -> None:
    assert len(NEIGHBOURS) == 60
    net = network()
    padded = np.random.default_rng(0).integers(0, 65, (2, 11, 16)).astype(np.float32)
    before = net.frequencies(padded, 2, 3)
    padded[:, RADIUS + 2, RADIUS + 3 :] = 0
    padded[:, RADIUS + 3 :] = 64

    np.testing.assert_array_equal(net.frequencies(padded, 2, 3), before)
    assert (before.sum(axis=1) == 2**32).all()
    assert before.min() >= 1


def test_frequencies_equal_those_of_integer_arithmetic() -> None:
    net = network()
    padded = np.random.default_rng(1).integers(0, 65, (3, 11, 16)).astype(np.float32)
    found = net.frequencies(padded, 4, 1)
    t = {k: v.astype(object) for k, v in net.tensors.items()}
    for n in range(3):
        seen = [int(padded[n, RADIUS + 4 + dy, RADIUS + 1 + dx]) for dy, dx in NEIGHBOURS]
        h = np.array(seen, object) @ t["w1"] + t["place_y"][4] + t["place_x"][1]
        h = np.array([min(max(v >> 6, 0), 2047) for v in h], object) @ t["w2"] + t["b2"]
        out = np.array([min(max(v >> 6, 0), 2047) for v in h], object) @ t["w3"] + t["b3"]
        logits = [v >> 6 for v in out]
        weights = [int(exponentials()[min(max(logits) - v, 1152)]) for v in logits]
        share = (2**32 - 256) / sum(weights)
        freqs = [int(w * share) + 1 for w in weights]
        freqs[weights.index(max(weights))] += 2**32 - sum(freqs)
        assert found[n].tolist() == freqs


def test_the_table_of_exponentials_is_rounded_correctly() -> None:
    table = exponentials()

    assert table[0] == 2**30
    assert abs(table - 2**30 * np.exp(-np.arange(1153) / 64)).max() <= 0.5 + 1e-6


def test_networks_whose_sums_would_not_be_exact_are_refused() -> None:
    wild = network()
    tensors = {**wild.tensors, "w2": np.full((16, 16), 511, "<i2"), "b2": np.full(16, 2**24, "<i4")}
    with pytest.raises(FormatError, match=r"2\^24"):
        SmallNetwork(6, 6, tensors).check()
    with pytest.raises(FormatError, match="misshapen"):
        SmallNetwork(5, 6, wild.tensors).check()


@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Prescott"},
        {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX"},
    ],
    ids=str,
)
def test_other_threads_and_kernels_decode_the_same(
    environment: dict[str, str], store: Path
) -> None:
    path = store / "x.lac"
    path.write_bytes(codec.encode(digits(60), codec="records", model="net"))
    code = "import sys; from laconic import codec; print(codec.decode(sys.argv[1]).sum())"

    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == digits(60).sum()


def test_training_learns_and_goes_on_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    recipe = SmallRecipe(hidden=8, steps=40, batch=64, held_out=50)
    records = from_array(digits(600))

    def stop(line: str) -> None:
        if line.startswith("step 20:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_small(recipe, records, tmp_path / "a", name="a", report=stop)
    one = run_small(recipe, records, tmp_path / "a", name="a", resume=True, report=lambda _: None)
    two = run_small(recipe, records, tmp_path / "b", name="b", report=lambda _: None)

    assert one.id == two.id
    assert one.training["held_out_bits"] < 7.9
    with pytest.raises(ParameterError, match="gray images"):
        run_small(recipe, from_array(digits(600).reshape(600, 36)), tmp_path, name="c")


def test_slow_compression_is_left_out_only_where_it_cannot_win() -> None:
    text = b"".join(b"%d,%d\n" % (n, n * n % 977) for n in range(3000))
    best = squeeze(text)

    assert squeeze(text, len(best)) == best
    assert squeeze(text, 10)[0] != best[0]  # another method, and nobody keeps it
    assert len(squeeze(text, 10)) > 10
    assert unsqueeze(squeeze(text, 10), Budget(len(text))) == text
