"""The coders give back what they were given, in the size that the tables promise."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from laconic.entropy import (
    CdfTables,
    SymbolDecoder,
    SymbolEncoder,
    categorical_tables,
    gaussian_scales,
    gaussian_tables,
    ideal_bits,
    jit,
)
from laconic.formats.errors import FormatError, ParameterError

BACKENDS = ("range", "ans")
GAUSSIAN = gaussian_tables(gaussian_scales())
FEW = CdfTables(
    8,
    lows=[-2, 0, -(2**31), 2**31 - 2],
    sizes=[6, 2, 3, 3],
    freqs=[5, 60, 120, 60, 5, 6, 255, 1, 100, 100, 56, 1, 254, 1],
)
MANY = categorical_tables(np.random.default_rng(0).random((700, 5)), precision=12)
TABLES = {"gaussian": GAUSSIAN, "few": FEW, "many": MANY}

any_symbol = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([-(2**31), 2**31 - 1, 0]),
)


@st.composite
def steps(draw):
    """A list of (symbols, indexes, tables) with lengths from none to several hundred."""
    result = []
    for _ in range(draw(st.integers(0, 4))):
        tables = TABLES[draw(st.sampled_from(sorted(TABLES)))]
        n = draw(st.integers(0, 700))
        symbols = draw(hnp.arrays(np.int32, n, elements=any_symbol, fill=st.integers(-2, 2)))
        kind = np.uint8 if len(tables) <= 256 else np.uint16
        index = st.integers(0, len(tables) - 1)
        result.append((symbols, draw(hnp.arrays(kind, n, elements=index, fill=index)), tables))
    return result


def encode(steps, backend) -> bytes:
    encoder = SymbolEncoder(backend)
    for symbols, indexes, tables in steps:
        encoder.push(symbols, indexes, tables)
    return encoder.finish()


def gaussian_step(n, seed=0, indexes=None):
    rng = np.random.default_rng(seed)
    if indexes is None:
        indexes = np.minimum(rng.exponential(20, n), 127).astype(np.uint8)
    symbols = np.rint(rng.normal(0, gaussian_scales()[indexes])).astype(np.int32)
    return symbols, indexes, GAUSSIAN


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=120, deadline=None)
@given(steps=steps())
def test_any_integers_survive_several_steps_with_different_tables(backend, steps):
    decoder = SymbolDecoder(encode(steps, backend), backend)
    for symbols, indexes, tables in steps:
        decoded = decoder.pull(indexes, tables)
        assert decoded.dtype == np.int32
        assert np.array_equal(decoded, symbols)
    decoder.finish()


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=120, deadline=None)
@given(steps=steps())
def test_even_symbols_that_defy_their_tables_cost_little_more_than_ideal(backend, steps):
    ideal = sum(ideal_bits(*step) for step in steps) / 8
    assert len(encode(steps, backend)) <= ideal * 1.03 + 8


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 5000), seed=st.integers(0, 10**6), same=st.none() | st.integers(0, 127))
def test_symbols_that_follow_their_tables_have_the_ideal_size(backend, n, seed, same):
    indexes = None if same is None else np.full(n, same, np.uint8)
    step = gaussian_step(n, seed, indexes)
    assert len(encode([step], backend)) <= ideal_bits(*step) / 8 * 1.001 + 8


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale_index", [None, 0, 20, 60, 127])
def test_a_large_step_has_the_ideal_size_within_a_thousandth(backend, scale_index):
    n = 300_000
    same = None if scale_index is None else np.full(n, scale_index, np.uint8)
    step = gaussian_step(n, indexes=same)
    data = encode([step], backend)
    assert len(data) <= ideal_bits(*step) / 8 * 1.001 + 8
    assert np.array_equal(SymbolDecoder(data, backend).pull(step[1], GAUSSIAN), step[0])


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 32), data=st.data())
def test_raw_bits_survive_between_symbols(backend, width, data):
    values = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=20))
    encoder = SymbolEncoder(backend)
    encoder.push([1, 2], [0, 1], MANY)
    encoder.push_bits(np.array(values, dtype=np.int64), width)
    encoder.push([4], [699], MANY)
    stream = encoder.finish()
    assert len(stream) <= (len(values) * width + 3 * 12) / 8 + 8
    decoder = SymbolDecoder(stream, backend)
    assert decoder.pull([0, 1], MANY).tolist() == [1, 2]
    assert decoder.pull_bits(len(values), width).tolist() == values
    assert decoder.pull([699], MANY).tolist() == [4]
    decoder.finish()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_encoded_is_no_bytes(backend):
    encoder = SymbolEncoder(backend)
    encoder.push([], np.zeros(0, np.uint8), GAUSSIAN)
    encoder.push_bits([], 5)
    assert encoder.finish() == b""
    decoder = SymbolDecoder(b"", backend)
    assert decoder.pull([], GAUSSIAN).shape == (0,)
    assert decoder.pull_bits(0, 5).shape == (0,)
    decoder.finish()


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint32])
def test_symbols_of_any_integer_type_and_shape_are_taken(kind):
    symbols = np.array([[1, 0], [3, 90]], dtype=kind)
    data = encode([(symbols, np.zeros((2, 2), np.int64), GAUSSIAN)], "range")
    assert SymbolDecoder(data).pull(np.zeros(4, np.uint8), GAUSSIAN).tolist() == [1, 0, 3, 90]


@pytest.mark.parametrize(
    ("symbols", "indexes"),
    [([2**31], [0]), ([-(2**31) - 1], [0]), ([0.5], [0]), ([1, 2], [0]), ([1], [4]), ([1], [-1])],
)
def test_wrong_arguments_are_refused(symbols, indexes):
    with pytest.raises(ParameterError):
        SymbolEncoder().push(np.array(symbols), np.array(indexes), FEW)
    with pytest.raises(ParameterError):
        ideal_bits(np.array(symbols), np.array(indexes), FEW)


def test_wrong_widths_back_ends_and_late_symbols_are_refused():
    with pytest.raises(ParameterError, match="unsigned integers of 3 bits"):
        SymbolEncoder().push_bits([8], 3)
    with pytest.raises(ParameterError, match="1 to 32"):
        SymbolDecoder(b"").pull_bits(1, 33)
    with pytest.raises(ParameterError, match="'range' or 'ans'"):
        SymbolEncoder("huffman")  # type: ignore[arg-type]
    encoder = SymbolEncoder()
    encoder.finish()
    with pytest.raises(ParameterError, match="finished"):
        encoder.push([1], [0], GAUSSIAN)


@pytest.mark.parametrize(
    ("backend", "digest"),
    [("range", "0918974949ab65f5"), ("ans", "4a1afc8df50378c0")],
)
def test_streams_have_the_bytes_they_always_had(backend, digest):
    """Integers from a fixed recurrence, so that no library version changes the input."""
    state, values = 1, []
    for _ in range(6000):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        values.append(state >> 16)
    draws = np.array(values)
    indexes = (draws[:3000] % 16 // 5).astype(np.uint8)  # runs longer and shorter than 256
    symbols = draws[3000:] % 7 - 3
    symbols[::500] *= 99999
    encoder = SymbolEncoder(backend)
    encoder.push(symbols, indexes, FEW)
    encoder.push_bits(draws[:9], 15)
    data = encoder.finish()
    assert hashlib.sha256(data).hexdigest()[:16] == digest


@settings(max_examples=60, deadline=None)
@given(steps=steps(), damage=st.none() | st.tuples(st.integers(0, 10**6), st.integers(1, 255)))
def test_the_compiled_loop_reads_what_the_library_reads_damaged_streams_too(steps, damage):
    stream = bytearray(encode(steps, "ans"))
    if damage and stream:
        stream[damage[0] % len(stream)] ^= damage[1]
    found = []
    for fast in (True, False, None):  # None: in turn
        decoder, result = None, []
        try:
            decoder = SymbolDecoder(bytes(stream), "ans")
            for number, (_, indexes, tables) in enumerate(steps):
                compiled = number % 2 == 0 if fast is None else fast
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("laconic.entropy.coder.worth_compiling", lambda _, c=compiled: c)
                    result.append(decoder.pull(indexes, tables).tolist())
                result.append(decoder.pull_bits(2, 9).tolist())
            decoder.finish()
        except FormatError as error:
            result.append(str(error))
        found.append(result)
    assert found[0] == found[1] == found[2]


def test_numba_is_worth_its_import_for_many_symbols(monkeypatch):
    monkeypatch.delenv("LACONIC_NO_JIT", raising=False)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    assert not jit.worth_compiling(1000)
    assert jit.worth_compiling(1_000_000)
    monkeypatch.setenv("LACONIC_NO_JIT", "1")
    assert not jit.worth_compiling(1_000_000)
