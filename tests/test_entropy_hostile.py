"""Damaged streams give other symbols or FormatError, and nothing else."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.entropy import (
    CdfTables,
    SymbolCheck,
    SymbolDecoder,
    SymbolEncoder,
    gaussian_scales,
    gaussian_tables,
    pull_guarded,
    push_guarded,
)
from laconic.formats.errors import FormatError, ParameterError

BACKENDS = ("range", "ans")
GAUSSIAN = gaussian_tables(gaussian_scales(32))
ESCAPING = CdfTables(8, lows=[-1], sizes=[3], freqs=[1, 1, 254])


def read_everything(data: bytes, backend) -> None:
    """What a codec does with a payload: symbols, escapes, bits and corrections."""
    decoder = SymbolDecoder(data, backend)
    indexes = np.arange(900, dtype=np.uint16) % 32
    assert decoder.pull(indexes, GAUSSIAN).shape == (900,)
    assert decoder.pull(np.zeros(600, np.uint8), GAUSSIAN).dtype == np.int32
    assert decoder.pull_bits(3, 30).max() < 2**30
    assert pull_guarded(decoder, np.linspace(0, 9, 50), [1.0, 2.0, 3.0]).max() <= 3
    assert decoder.pull(np.zeros(40, np.uint8), ESCAPING).shape == (40,)
    decoder.finish()


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=250, deadline=None)
@given(data=st.binary(max_size=400))
def test_random_bytes(backend, data):
    with contextlib.suppress(FormatError):
        read_everything(data, backend)


def written(backend) -> bytes:
    rng = np.random.default_rng(7)
    encoder = SymbolEncoder(backend)
    indexes = np.arange(900, dtype=np.uint16) % 32
    scales = gaussian_scales(32)
    encoder.push(np.rint(rng.normal(0, scales[indexes])).astype(int), indexes, GAUSSIAN)
    encoder.push(np.zeros(600, int), np.zeros(600, np.uint8), GAUSSIAN)
    encoder.push_bits(rng.integers(0, 2**30, 3), 30)
    push_guarded(encoder, np.linspace(0, 9, 50), [1.0, 2.0, 3.0])
    encoder.push(rng.integers(-(2**31), 2**31, 40), np.zeros(40, np.uint8), ESCAPING)
    return encoder.finish()


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_truncation_and_many_flipped_bits(backend):
    data = written(backend)
    read_everything(data, backend)
    damaged = [data[:n] for n in range(0, len(data), 3)]
    for bit in range(0, len(data) * 8, 41):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for mutant in damaged:
        with contextlib.suppress(FormatError):
            read_everything(mutant, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_most_wrong_lengths_are_noticed_at_the_end(backend):
    data = written(backend)
    missed = 0
    mutants = [data + bytes([k]) * n for k in (1, 77, 255) for n in (8, 40)]
    mutants += [data[:-n] for n in range(1, 200) if data[-n - 1]]
    for mutant in mutants:
        with contextlib.suppress(FormatError):
            read_everything(mutant, backend)
            missed += 1
    assert missed <= (0.25 if backend == "range" else 0.02) * len(mutants)


@pytest.mark.parametrize("backend", BACKENDS)
def test_zero_byte_at_the_end_is_refused(backend):
    with pytest.raises(FormatError, match="zero byte"):
        SymbolDecoder(written(backend) + b"\0", backend)


@pytest.mark.parametrize("low", [-1, 2**31 - 3])
def test_escape_beyond_int32_is_refused(low):
    """Encode a distance of 2^32 above a table; the symbol it stands for does not exist."""
    far = CdfTables(8, lows=[-(2**31)], sizes=[2], freqs=[1, 255])
    near = CdfTables(8, lows=[low], sizes=[2], freqs=[1, 255])
    encoder = SymbolEncoder()
    encoder.push([2**31 - 1], [0], far)
    with pytest.raises(FormatError, match="int32"):
        SymbolDecoder(encoder.finish()).pull([0], near)


def test_check_finds_every_change_of_one_symbol():
    symbols = np.arange(-50, 50)
    check = SymbolCheck()
    check.update(symbols[:30].astype(np.int16))
    check.update(symbols[30:].astype(np.int64).reshape(7, 10))
    whole = SymbolCheck()
    whole.update(symbols)
    assert check.value32() == whole.value32()
    assert check.value16() == whole.value16() < 2**16
    for place in range(symbols.size):
        other = symbols.copy()
        other[place] += 1
        changed = SymbolCheck()
        changed.update(other)
        assert changed.value32() != whole.value32()
        assert changed.value16() != whole.value16()


@pytest.mark.parametrize("symbols", [[0.5], [2**31]])
def test_check_takes_only_int32(symbols):
    with pytest.raises(ParameterError):
        SymbolCheck().update(symbols)
