"""Context mixing: what was written comes back on every machine, in fewer bytes where there is
something to learn, and damage is found or gives other symbols."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.codec.image.grids import Place
from laconic.codec.image.steps import thrifty
from laconic.entropy import CdfTables, SymbolEncoder, gaussian_scales, gaussian_tables
from laconic.entropy.context_mixing import (
    GridContexts,
    Layout,
    Learned,
    MixingDecoder,
    MixingEncoder,
    Part,
    binary,
    joined,
)
from laconic.entropy.mixing_loops import CHANCE, LOGARITHM, ONE, REACH, UNIT
from laconic.formats.errors import FormatError, ParameterError

TABLES = gaussian_tables(gaussian_scales(64, 0.11, 64.0))
SCALES = gaussian_scales(64, 0.11, 64.0)
HEIGHT, WIDTH = 12, 10
LAYOUT = Layout(
    np.array([0, 0, 0, 1, 1]),
    np.array([[-1, -1], [0, -1], [1, 0], [-1, -1], [3, -1]]),
)
BEFORE = np.array([(0, -1, 2), (-1, 0, 2), (-1, 1, 1)])
AROUND = np.array([(0, -1, 2), (0, 1, 2), (-1, 0, 2), (1, 0, 2)])


def parts() -> list[Part]:
    """Channels 0 to 2 everywhere, then the others in the two halves of a checkerboard."""
    cells = np.arange(HEIGHT * WIDTH)
    odd = (cells // WIDTH + cells % WIDTH) % 2 == 1
    none = np.zeros((0, 3), np.int64)
    return [
        Part(cells, 0, 3, BEFORE),
        Part(cells[odd], 3, 5, none),
        Part(cells[~odd], 3, 5, AROUND),
    ]


def content(seed: int, wrong: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Symbols and table indexes of each part; magnitudes are off by a smooth factor up to
    e^wrong, in the same places for all channels."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((HEIGHT, WIDTH))
    smooth = np.sin(rows / 3 + seed) * np.cos(columns / 2)
    found = []
    for part in parts():
        count = part.cells.size * (part.last - part.first)
        indexes = random.integers(0, len(TABLES), count)
        factor = np.exp(wrong * smooth.reshape(-1)[part.cells])
        spread = SCALES[indexes] * np.repeat(factor, part.last - part.first)
        found.append((np.rint(random.normal(0, 1, count) * spread).astype(np.int32), indexes))
    return found


def write(coded: list[tuple[np.ndarray, np.ndarray]], start: Learned | None = None) -> bytes:
    grid, encoder = GridContexts(LAYOUT, HEIGHT, WIDTH, start), MixingEncoder()
    for part, (symbols, indexes) in zip(parts(), coded, strict=True):
        encoder.push(grid, part, symbols, indexes, TABLES)
    return encoder.finish()


def read(
    data: bytes, coded: list[tuple[np.ndarray, np.ndarray]], start: Learned | None = None
) -> list[np.ndarray]:
    """What a decoder finds that is given the plain symbols of ``coded``."""
    grid, decoder = GridContexts(LAYOUT, HEIGHT, WIDTH, start), MixingDecoder(data)
    found = []
    for part, (symbols, indexes) in zip(parts(), coded, strict=True):
        plain = np.where(binary(TABLES).plain[indexes], symbols, 0)
        found.append(decoder.pull(grid, part, plain, indexes, TABLES))
    decoder.finish()
    return found


@pytest.mark.parametrize("seed", range(8))
def test_symbols_come_back(seed: int) -> None:
    coded = content(seed, 1.0)

    found = read(write(coded), coded)

    assert all((f == symbols).all() for f, (symbols, _) in zip(found, coded, strict=True))


def test_the_largest_symbols_come_back_from_every_table() -> None:
    coded = content(0, 0.0)
    extremes = (2**31 - 1, -(2**31) + 1, 70_000, -4096, 15, -1)
    for symbols, indexes in coded:
        loose = np.flatnonzero(~binary(TABLES).plain[indexes])
        symbols[loose] = np.resize(extremes, loose.size)

    found = read(write(coded), coded)

    assert all((f == symbols).all() for f, (symbols, _) in zip(found, coded, strict=True))


def static_bytes(coded: list[tuple[np.ndarray, np.ndarray]]) -> int:
    """Bytes of the symbols that mixing codes, with their tables alone."""
    encoder = SymbolEncoder("ans")
    for symbols, indexes in coded:
        loose = ~binary(TABLES).plain[indexes]
        encoder.push(symbols[loose], indexes[loose], TABLES)
    return len(encoder.finish())


def test_scales_that_are_off_in_places_cost_fewer_bytes() -> None:
    coded = content(3, 1.5)

    assert len(write(coded)) < 0.97 * static_bytes(coded)


def test_scales_that_are_right_cost_next_to_nothing_more() -> None:
    coded = content(4, 0.0)

    assert len(write(coded)) < 1.02 * static_bytes(coded)


def test_what_was_learned_serves_the_next_grid() -> None:
    coded = content(5, 1.5)
    grid, encoder = GridContexts(LAYOUT, HEIGHT, WIDTH), MixingEncoder()
    for part, (symbols, indexes) in zip(parts(), coded, strict=True):
        encoder.push(grid, part, symbols, indexes, TABLES)
    following = content(6, 1.5)

    data = write(following, grid.learned)
    found = read(data, following, grid.learned)

    assert len(data) < len(write(following))
    assert all((f == symbols).all() for f, (symbols, _) in zip(found, following, strict=True))


def test_signs_like_those_of_neighbours_cost_fewer_bytes() -> None:
    indexes = np.full(HEIGHT * WIDTH * 3, 40)
    symbols = np.abs(np.random.default_rng(1).normal(0, SCALES[40], indexes.size))
    same = np.ceil(symbols).astype(np.int32)
    mixed = same * np.random.default_rng(2).choice((-1, 1), same.size)
    sizes = []
    for values in (same, mixed):
        grid, encoder = GridContexts(LAYOUT, HEIGHT, WIDTH), MixingEncoder()
        encoder.push(grid, parts()[0], values, indexes, TABLES)
        sizes.append(len(encoder.finish()))

    assert sizes[0] < sizes[1] - 0.5 * indexes.size / 8


def test_an_empty_part_takes_no_bytes() -> None:
    grid, encoder = GridContexts(LAYOUT, HEIGHT, WIDTH), MixingEncoder()
    part, none = Part(np.zeros(0, np.int64), 0, 3, BEFORE), np.zeros(0, np.int64)
    encoder.push(grid, part, none, none, TABLES)

    assert encoder.finish() == b""

    decoder = MixingDecoder(b"")
    assert decoder.pull(grid, part, none, none, TABLES).size == 0
    decoder.finish()


def test_symbols_and_cells_must_agree() -> None:
    grid, encoder = GridContexts(LAYOUT, HEIGHT, WIDTH), MixingEncoder()

    with pytest.raises(ParameterError, match="one of each"):
        encoder.push(grid, parts()[0], np.zeros(7, np.int32), np.zeros(7, np.int64), TABLES)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=500))
def test_random_bytes_give_symbols_or_a_format_error(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        read(data, content(7, 0.5))


def test_every_shorter_or_longer_stream_is_found_out() -> None:
    coded = content(8, 0.5)
    data = write(coded)

    for changed in (*(data[:n] for n in range(0, len(data), 5)), data + b"\1\2"):
        try:
            found = read(changed, coded)
        except FormatError:
            continue
        assert any((f != symbols).any() for f, (symbols, _) in zip(found, coded, strict=True))


def test_tables_round_far_from_where_rounding_changes() -> None:
    """A library whose logarithms and exponentials are off in the last place makes the same."""
    exact = UNIT * np.log2(np.arange(1, LOGARITHM.size, dtype=np.float64))
    chances = ONE / (1 + np.exp2(-np.arange(-REACH - 1, REACH + 1, dtype=np.float64) / UNIT))

    for values in (exact, chances):
        distance = np.abs(values - np.floor(values) - 0.5)
        assert distance.min() > 1e-6
    assert (LOGARITHM[1:] == np.rint(exact)).all()
    assert CHANCE.min() == 4
    assert (np.diff(CHANCE) >= 0).all()


def test_tables_that_are_not_about_zero_or_far_too_wide_are_left_to_the_other_coder() -> None:
    """A hostile model's tables must not decide how much is allocated."""
    tables = CdfTables(4, lows=[-(2**30), 5, -1, -9], sizes=[3] * 4, freqs=[8, 7, 1] * 4)

    assert binary(tables).plain.tolist() == [True, True, False, True]
    place = Place("y", 1, 4, parts()[0], thrift=0.1, largest=2)
    rounded = thrifty(torch.full((4,), 1.51), np.arange(4), tables, place)
    assert rounded.tolist() == [2, 2, 2, 2]


def test_stored_contexts_of_another_layout_are_refused() -> None:
    fresh = Learned.nothing(LAYOUT)

    with pytest.raises(FormatError, match="layout"):
        joined(LAYOUT, [fresh.common, fresh.channel[1:], fresh.sign, fresh.weight])
