"""Close calls are decided by the encoder; noise below the band is harmless, above it is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.entropy import (
    SymbolCheck,
    SymbolDecoder,
    SymbolEncoder,
    gaussian_scales,
    gaussian_tables,
    guard_indexes,
    pull_guarded,
    push_guarded,
)
from laconic.formats.errors import FormatError, ParameterError

BAND = 1e-9
SCALES = gaussian_scales(64)
TABLES = gaussian_tables(SCALES)
STEPS = np.arange(63) + 0.5  # boundaries between scales, in steps of the table


def values_near_boundaries(n: int, spread: float, seed: int) -> np.ndarray:
    """Values of which half lie within `spread` of a boundary."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 63, n)
    near = rng.random(n) < 0.5
    values[near] = rng.choice(STEPS, near.sum()) + rng.uniform(-spread, spread, near.sum())
    return values


def encode(values: np.ndarray, seed: int) -> tuple[bytes, int, np.ndarray]:
    encoder, check = SymbolEncoder(), SymbolCheck()
    indexes = push_guarded(encoder, values, STEPS, BAND)
    symbols = np.rint(np.random.default_rng(seed).normal(0, SCALES[indexes])).astype(np.int32)
    encoder.push(symbols, indexes, TABLES)
    check.update(symbols)
    return encoder.finish(), check.value32(), symbols


def decode(data: bytes, values: np.ndarray) -> tuple[int, np.ndarray]:
    decoder, check = SymbolDecoder(data), SymbolCheck()
    symbols = decoder.pull(pull_guarded(decoder, values, STEPS, BAND), TABLES)
    check.update(symbols)
    return check.value32(), symbols


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.999), st.sampled_from([1e-15, 1e-9, 3e-9, 1e-3]))
def test_noise_below_the_band_never_matters(seed, share, spread):
    values = values_near_boundaries(300, spread, seed)
    data, check, symbols = encode(values, seed)
    noise = np.random.default_rng(seed + 1).choice([-1.0, 1.0], 300) * share * BAND
    decoded_check, decoded = decode(data, values + noise)
    assert np.array_equal(decoded, symbols)
    assert decoded_check == check


def test_noise_above_the_band_is_detected():
    for seed in range(60):
        values = values_near_boundaries(2000, 4e-9, seed)
        data, check, symbols = encode(values, seed)
        noise = np.random.default_rng(seed + 1).choice([-1.0, 1.0], 2000) * 100 * BAND
        try:
            decoded_check, decoded = decode(data, values + noise)
        except FormatError:
            continue
        assert not np.array_equal(decoded, symbols)
        assert decoded_check != check


def test_without_the_guard_tiny_noise_breaks_a_stream():
    """The scenario that the guard exists for does occur in these tests."""
    values = values_near_boundaries(2000, 1e-15, 0)
    plain, _ = guard_indexes(values, STEPS, BAND)
    moved, _ = guard_indexes(values + 1e-13, STEPS, BAND)
    assert (plain != moved).any()


def test_close_values_are_those_within_the_band():
    values = np.array([0.5, 0.5 + 2e-9, 0.5 - 5e-10, 1.0, -np.inf, np.inf, 62.5 + 9e-10])
    indexes, close = guard_indexes(values, STEPS, BAND)
    assert indexes.tolist() == [1, 1, 0, 1, 0, 63, 63]
    assert close.tolist() == [0, 2, 6]


def test_no_close_call_costs_nothing():
    encoder = SymbolEncoder()
    for _ in range(1000):
        push_guarded(encoder, [0.0, 1.0, 2.0], STEPS)
    assert len(encoder.finish()) <= 8


def test_no_values_and_no_boundaries_work():
    encoder = SymbolEncoder()
    assert push_guarded(encoder, [], STEPS).shape == (0,)
    assert push_guarded(encoder, [3.0], []).tolist() == [0]
    decoder = SymbolDecoder(encoder.finish())
    assert pull_guarded(decoder, [], STEPS).shape == (0,)
    assert pull_guarded(decoder, [3.0], []).tolist() == [0]


@pytest.mark.parametrize(
    ("values", "boundaries", "band"),
    [([np.nan], [1.0], 1e-9), ([1.0], [2.0, 1.0], 1e-9), ([1.0], [1.0], 0.0)],
)
def test_wrong_arguments_are_refused(values, boundaries, band):
    with pytest.raises(ParameterError):
        guard_indexes(values, boundaries, band)


def test_impossible_corrections_are_refused():
    everything_close = np.full(8, 1.0)
    encoder = SymbolEncoder()
    push_guarded(encoder, everything_close, [1.0])
    data = encoder.finish()
    with pytest.raises(FormatError, match="8 close calls among 5 values"):
        pull_guarded(SymbolDecoder(data), everything_close[:5], [1.0])
