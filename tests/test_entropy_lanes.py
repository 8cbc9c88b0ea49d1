"""Interleaved rANS: sizes, order, damage."""

import numpy as np
import pytest

from laconic.entropy.lanes import LaneDecoder, LaneEncoder
from laconic.formats.errors import FormatError, ParameterError


def coded(count: int = 4000, lanes: int = 16, seed: int = 0):
    """Symbols of random distributions with totals of 2^32: (starts, freqs, stream)."""
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.integers(1, 2**32, (count, 2), dtype=np.uint64), axis=1)
    freqs = np.maximum(edges[:, 1] - edges[:, 0], 1)
    starts = np.minimum(edges[:, 0], 2**32 - freqs)
    encoder = LaneEncoder(lanes)
    for first in range(0, count, lanes):
        encoder.push(starts[first : first + lanes], freqs[first : first + lanes])
    return starts, freqs, encoder.finish()


def decode(starts, freqs, data, lanes):
    decoder = LaneDecoder(data, lanes)
    for first in range(0, len(starts), lanes):
        part = slice(first, first + lanes)
        slots = decoder.slots(len(starts[part]))
        assert ((starts[part] <= slots) & (slots - starts[part] < freqs[part])).all()
        decoder.advance(starts[part], freqs[part])
    decoder.finish()


@pytest.mark.parametrize("lanes", [1, 3, 16, 5000])
def test_slots_fall_into_the_intervals_that_were_encoded(lanes):
    starts, freqs, data = coded(lanes=lanes)
    decode(starts, freqs, data, lanes)


@pytest.mark.parametrize("lanes", [1, 16, 64])
def test_the_size_is_ideal_but_for_a_thousandth_and_eight_bytes_a_lane(lanes):
    _, freqs, data = coded(40_000, lanes)
    ideal = (32 - np.log2(freqs.astype(float))).sum() / 8
    assert ideal < len(data) <= 1.001 * ideal + 8 * lanes + 8


def test_certain_symbols_cost_nothing():
    encoder = LaneEncoder(2)
    for _ in range(1000):
        encoder.push([0, 0], [2**32, 2**32])
    assert len(encoder.finish()) == 16


def test_the_rarest_symbols_are_codable():
    starts, freqs = np.full(300, 2**32 - 1), np.ones(300, int)
    encoder = LaneEncoder(3)
    for first in range(0, 300, 3):
        encoder.push(starts[first : first + 3], freqs[first : first + 3])
    data = encoder.finish()
    decode(starts.astype(np.uint64), freqs.astype(np.uint64), data, 3)
    assert len(data) == 24 + 4 * 300


def test_every_truncation_is_found():
    starts, freqs, data = coded(400, 4)
    for length in range(0, len(data), 5):
        with pytest.raises((FormatError, AssertionError)):
            decode(starts, freqs, data[:length], 4)


def test_flipped_bits_are_found_at_the_end_at_the_latest():
    starts, freqs, data = coded(400, 4)
    rng = np.random.default_rng(1)
    for _ in range(200):
        wrong = bytearray(data)
        wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
        with pytest.raises((FormatError, AssertionError)):
            decode(starts, freqs, bytes(wrong), 4)


@pytest.mark.parametrize(
    ("starts", "freqs"),
    [([0], [0]), ([1], [2**32]), ([0, 0], [1]), ([0] * 3, [1] * 3), ([-1], [4])],
)
def test_impossible_intervals_are_refused(starts, freqs):
    with pytest.raises(ParameterError):
        LaneEncoder(2).push(starts, freqs)


@pytest.mark.parametrize("lanes", [0, -1, 1 << 17])
def test_impossible_numbers_of_lanes_are_refused(lanes):
    with pytest.raises(ParameterError, match="lanes"):
        LaneEncoder(lanes)
