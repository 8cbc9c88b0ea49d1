"""One stream, many ways of computing: batches, threads, kernels, and a scalar reference."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import digits, table

from laconic import codec
from laconic.codec.lossless import circuits
from laconic.codec.lossless.circuits import walk
from laconic.codec.lossless.circuits.integer import IntegerCircuit, apportion
from laconic.codec.lossless.circuits.walk import message_bits
from laconic.codec.lossless.records import blocks
from laconic.codec.lossless.records.blocks import Layout, Rows, decode_rows, intervals_of
from laconic.codec.lossless.records.columns import plain_columns
from laconic.formats import Container
from laconic.formats.errors import FormatError
from laconic.formats.table import Table


@pytest.fixture(scope="module")
def circuit() -> IntegerCircuit:
    data = digits(200).reshape(200, 36)
    learned = circuits.learn(circuits.hclt(data, 5), data, circuits.Schedule(epochs=2, batch=100))
    return circuits.from_circuit(learned)


def scalar_intervals(circuit: IntegerCircuit, record: np.ndarray) -> list[tuple[int, int]]:
    """The walk for one record in Python's integers, without limits on their size."""
    bits = message_bits(circuit.states)

    def reduce(values: list[int], to: int) -> list[int]:
        shift = max(values).bit_length() - to
        return [v >> shift if shift >= 0 else v << -shift for v in values]

    states = range(circuit.states)
    alpha: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    result = []
    for visit in circuit.visits:
        node = visit.node
        table = circuit.transitions[node].astype(int).tolist()
        pred = [int(p) for p in circuit.prior]
        if visit.parent >= 0:
            above = alpha[visit.parent]
            pred = [sum(above[a] * table[a][z] for a in states) for z in states]
        pred = reduce(pred, bits)
        scale = (1 << 14) / sum(pred)
        weights = [math.floor(p * scale) for p in pred]
        weights[pred.index(max(pred))] += (1 << 14) - sum(weights)
        rows = circuit.freqs[circuit.starts[node] : circuit.starts[node + 1]].astype(int).tolist()
        symbol = int(record[node])
        start = sum(weights[z] * sum(row[z] for row in rows[:symbol]) for z in states)
        emitted = rows[symbol]
        result.append((start, sum(weights[z] * emitted[z] for z in states)))
        alpha[node] = reduce([p * e for p, e in zip(pred, emitted, strict=True)], bits)
        below[node] = emitted
        for child, parent, follows, sends in visit.ups:
            sent = circuit.transitions[child].astype(int).tolist()
            up = reduce([sum(sent[a][z] * below[child][z] for z in states) for a in states], 26)
            for wanted, store in ((sends, below), (follows, alpha)):
                if wanted:
                    mine = reduce(store[parent], 26)
                    store[parent] = reduce([m * u for m, u in zip(mine, up, strict=True)], bits)
    return result


def test_the_batched_walk_equals_a_scalar_one_in_unlimited_integers(
    circuit: IntegerCircuit,
) -> None:
    records = digits(40, seed=7).reshape(40, 36).copy()
    records[-1] = circuit.sizes - np.int64(1)  # a record that the circuit finds strange
    layout = Layout(tuple(plain_columns(circuit.sizes)))
    records = np.minimum(records, np.array(circuit.sizes) - 1)

    found = intervals_of(circuit, layout, Rows(records, np.zeros((40, 0), np.int64)))

    for n in (0, 1, 2, 39):
        expected = scalar_intervals(circuit, records[n])
        assert found.starts[n].tolist() == [s for s, _ in expected]
        assert (found.widths[n].astype(np.int64) + 1).tolist() == [w for _, w in expected]


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_streams_do_not_depend_on_the_batch(
    batch: int, circuit: IntegerCircuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = np.minimum(digits(64, seed=9).reshape(64, 36), np.array(circuit.sizes) - 1)
    layout = Layout(tuple(plain_columns(circuit.sizes)))
    rows = Rows(records, np.zeros((64, 0), np.int64))
    whole = intervals_of(circuit, layout, rows).pack(8)

    monkeypatch.setattr(blocks, "WALK", batch)

    assert intervals_of(circuit, layout, rows).pack(8) == whole
    np.testing.assert_array_equal(decode_rows(circuit, layout, whole, 64, 8).symbols, records)


@pytest.mark.parametrize("lanes", [1, 5, 64, 100])
def test_any_number_of_lanes_decodes(lanes: int, circuit: IntegerCircuit) -> None:
    records = np.minimum(digits(64, seed=9).reshape(64, 36), np.array(circuit.sizes) - 1)
    layout = Layout(tuple(plain_columns(circuit.sizes)))
    found = intervals_of(circuit, layout, Rows(records, np.zeros((64, 0), np.int64)))

    data = found.pack(min(lanes, 64))

    np.testing.assert_array_equal(decode_rows(circuit, layout, data, 64, lanes).symbols, records)
    part = decode_rows(circuit, layout, data, 64, lanes, until=9).symbols
    np.testing.assert_array_equal(part, records[:9])
    assert len(data) * 8 <= found.bits + 64 * min(lanes, 64) + 64


@pytest.mark.parametrize("states", [1, 3, 64, 1024])
def test_sums_stay_below_two_to_the_53(states: int) -> None:
    """The worst case of every product: all entries at their bounds."""
    largest = 2 ** message_bits(states) * (2**16 + 1) * states
    assert largest <= 2**53 + 2 ** (message_bits(states)) * states
    assert (2 ** message_bits(states) - 1) * 2**16 * states < 2**53
    assert 2**30 * 2**18 < 2**53
    assert 2**52 >= 2 ** (26 + 26)


def test_extreme_tables_never_lose_all_states() -> None:
    """States that exclude each other, and symbols that only the improbable ones explain."""
    parents = np.array([-1, 0, 1, 1, 0])
    weights = np.zeros((5, 4, 4), np.int64)
    weights[:] = np.eye(4, dtype=np.int64) << 40
    leaves = np.zeros((20, 4), np.int64)
    leaves[np.arange(20), np.arange(20) % 4] = 1 << 40
    from laconic.codec.lossless.circuits.integer import from_weights

    extreme = from_weights(parents, (4,) * 5, np.array([1, 0, 0, 0]), weights, leaves)
    records = np.random.default_rng(0).integers(0, 4, (300, 5))
    layout = Layout(tuple(plain_columns((4,) * 5)))

    found = intervals_of(extreme, layout, Rows(records, np.zeros((300, 0), np.int64)))

    assert (found.widths.astype(np.int64) >= 2**14 - 1).all()
    data = found.pack(16)
    np.testing.assert_array_equal(decode_rows(extreme, layout, data, 300, 16).symbols, records)


def test_distributions_sum_to_exactly_two_to_the_32(circuit: IntegerCircuit) -> None:
    for step, visit in enumerate(circuit.visits):
        size = circuit.sizes[visit.node]
        records = np.zeros((size, circuit.variables), np.int64)
        records[:, visit.node] = np.arange(size)
        starts, widths = (np.zeros(records.shape, np.uint32) for _ in range(2))
        walk.intervals(walk.plan_of(circuit), records, starts, widths)

        assert widths[:, step].astype(np.int64).sum() + size == 2**32
        assert (np.diff(starts[:, step].astype(np.int64)) - 1 == widths[:-1, step]).all()


def test_rounded_rows_keep_their_total() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2**50, (50, 30)) * (rng.random((50, 30)) < 0.3)

    found = apportion(rows, 1 << 18)

    assert (found.sum(axis=1) == 1 << 18).all()
    assert found.min() >= 1


DIGEST = """
import hashlib, sys
from laconic import codec
from laconic.formats.table import Table
data = open(sys.argv[1], "rb").read()
decoded = codec.decode(data)
assert decoded.text == open(sys.argv[2], "rb").read()
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Prescott"},
        {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD"},
        {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX"},
    ],
    ids=lambda e: " ".join(f"{k}={v}" for k, v in e.items()),
)
def test_other_threads_and_kernels_decode_the_same(
    environment: dict[str, str], tmp_path: Path
) -> None:
    text = table(300)
    stream, original = tmp_path / "t.lac", tmp_path / "t.csv"
    stream.write_bytes(codec.encode(Table(text), states=8))
    original.write_bytes(text)

    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGEST, str(stream), str(original)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr


def test_any_number_of_threads_writes_and_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from laconic.codec.lossless.records import named

    random = np.random.default_rng(0)
    array = np.cumsum(random.integers(-2, 3, (900, 6)), axis=1) + 40
    array[:, 5] = random.integers(0, 1 << 40, 900)  # places inside bins as well
    digits = random.integers(0, 2, (60, 28, 28)).astype(np.uint8)
    cases: list[tuple[np.ndarray, dict[str, Any]]] = [
        (array, {"block": 100}),
        (digits, {"block": 16, "model": "mnist-hclt"}),
    ]
    for values, options in cases:
        files = []
        for threads in (1, 2, 3):
            monkeypatch.setattr(named, "cores", lambda n=threads: n)
            files.append(codec.encode(values, codec="records", **options))
        assert files[0] == files[1] == files[2]
        assert np.array_equal(codec.decode(files[0]), values)
        rows = codec.decode(files[0], rows=(17, len(values) - 3))
        assert np.array_equal(rows, values[17:-3])
        segments = Container.from_bytes(files[0]).segments
        damaged = dataclasses.replace(segments[2], payload=segments[2].payload[:-4] + b"\1\2\3\4")
        broken = Container.from_bytes(files[0])
        broken.segments[2] = damaged
        with pytest.raises(FormatError):
            codec.decode(broken.to_bytes())
