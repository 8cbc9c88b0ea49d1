"""Integer tables: exact sums, exact reproduction by the coder, storage, small loss."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.entropy import (
    CdfTables,
    categorical_tables,
    channel_indexes,
    factorized_tables,
    gaussian_boundaries,
    gaussian_scales,
    gaussian_tables,
    logistic_mixture_pmf,
    logistic_mixture_tables,
    quantize_pmf,
)
from laconic.formats.errors import FormatError, ParameterError

pmfs = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60).filter(lambda p: sum(p) > 0)


def symbol_at(model, quantile: int) -> int:
    """What a coder decodes where its 24 lowest state bits are `quantile`."""
    coder = constriction.stream.stack.AnsCoder(np.array([quantile, 1], dtype=np.uint32))
    return int(coder.decode(model))


def assert_exact(model, freqs24) -> None:
    """The model gives symbol k exactly the quantiles cumulative[k] .. cumulative[k + 1] - 1."""
    ends = np.cumsum(freqs24)
    assert ends[-1] == 1 << 24
    for symbol, (start, end) in enumerate(zip(ends - freqs24, ends, strict=True)):
        assert symbol_at(model, int(start)) == symbol
        assert symbol_at(model, int(end) - 1) == symbol


@given(pmfs, st.integers(6, 24))
def test_frequencies_are_at_least_one_and_sum_exactly(pmf, precision):
    freqs = quantize_pmf(pmf, precision)
    assert freqs.min() >= 1
    assert freqs.sum() == 1 << precision


@given(pmfs)
def test_frequencies_are_close_to_the_probabilities(pmf):
    share = np.array(pmf) / np.sum(pmf)
    assert np.abs(quantize_pmf(pmf, 24) / 2.0**24 - share).max() <= (len(pmf) + 1) / 2.0**24


def test_quantising_a_batch_equals_quantising_its_rows():
    pmf = np.random.default_rng(0).dirichlet(np.full(40, 0.05), size=30)
    rows = [quantize_pmf(row, 10) for row in pmf]
    assert np.array_equal(quantize_pmf(pmf, 10), np.stack(rows))


def test_as_many_symbols_as_units_all_get_one():
    assert quantize_pmf([1.0] + [0.0] * 15, 4).tolist() == [1] * 16


@pytest.mark.parametrize("pmf", [[], [0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_impossible_distributions_are_refused(pmf):
    with pytest.raises(ParameterError):
        quantize_pmf(pmf, 12)


def test_more_symbols_than_units_are_refused():
    with pytest.raises(ParameterError, match="raise precision"):
        quantize_pmf(np.ones(17), 4)


@settings(max_examples=40, deadline=None)
@given(pmfs.filter(lambda p: len(p) > 1), st.integers(6, 24))
def test_constriction_reproduces_the_integers_exactly(pmf, precision):
    freqs = quantize_pmf(pmf, precision)
    tables = CdfTables(precision, [0], [freqs.size], freqs)
    assert_exact(tables.model(0), freqs << 24 - precision)


@pytest.mark.parametrize(("n", "precision"), [(2, 1), (4096, 12), (65536, 16), (50000, 24)])
def test_constriction_is_exact_at_the_limits(n, precision):
    freqs = quantize_pmf(np.random.default_rng(n).dirichlet(np.full(n, 0.2)), precision)
    model = CdfTables(precision, [0], [n], freqs).model(0)
    cuts = np.cumsum(freqs) << 24 - precision
    for symbol in np.random.default_rng(1).integers(0, n - 1, 200):
        assert symbol_at(model, int(cuts[symbol]) - 1) == symbol
        assert symbol_at(model, int(cuts[symbol])) == symbol + 1


@pytest.mark.parametrize("size", [2, 4, 7, 8, 50])
def test_joint_models_are_exact_and_cost_next_to_nothing(size):
    freqs = quantize_pmf(np.random.default_rng(size).dirichlet(np.full(size, 0.3)), 24)
    joint = CdfTables(24, [0], [size], freqs).joint(0)
    assert joint is not None
    share = freqs / 2.0**24
    product = share
    for _ in range(joint.span - 1):
        product = np.multiply.outer(product, share).reshape(-1)
    ends = np.array([symbol_at(joint.model, q) for q in np.arange(0, 1 << 24, 40503).tolist()])
    exact = np.searchsorted(np.cumsum(product), np.arange(0, 1 << 24, 40503) / 2.0**24, "right")
    assert np.mean(ends == exact) > 0.97  # boundaries move by less than n^span units of 2^24
    entries = np.random.default_rng(0).integers(0, size, 40).astype(np.int32)
    out = np.empty_like(entries)
    joint.split(joint.merge(entries), out)
    assert np.array_equal(out, entries)


def test_large_tables_have_no_joint_model():
    assert categorical_tables([np.ones(100)]).joint(0) is None


def test_gaussian_tables_lose_less_than_a_thousandth_of_the_rate():
    scales = gaussian_scales()
    tables = gaussian_tables(scales)
    for index in range(len(tables)):
        share = tables.frequencies(index) / 2.0**24
        exact = gaussian_tables([scales[index]], 24, 1e-12).frequencies(0) / 2.0**24
        inside = slice(
            (exact.size - share.size) // 2, (exact.size - share.size) // 2 + share.size - 1
        )
        pmf = exact[inside]
        entropy = -(exact * np.log2(exact)).sum()
        excess = (pmf * np.log2(pmf / share[:-1])).sum()
        assert excess <= 1e-3 * entropy + 1e-4


def test_gaussian_tables_are_symmetric_and_span_the_scales():
    scales = gaussian_scales(128, 0.11, 256.0)
    assert scales[0] == pytest.approx(0.11)
    assert scales[-1] == pytest.approx(256.0)
    tables = gaussian_tables(scales)
    for index in (0, 60, 127):
        inside = tables.frequencies(index)[:-1]
        assert tables.lows[index] == -(inside.size // 2)
        assert np.abs(inside - inside[::-1]).max() <= 1


def test_gaussian_boundaries_select_the_nearest_scale_in_ratio():
    scales = gaussian_scales(16)
    boundaries = gaussian_boundaries(scales)
    values = np.geomspace(0.05, 500, 999)
    nearest = np.abs(np.log(values[:, None] / scales)).argmin(axis=1)
    assert np.array_equal(np.searchsorted(boundaries, values, side="right"), nearest)


def test_factorized_tables_give_the_missing_mass_to_the_escape():
    tables = factorized_tables([[0.25, 0.25], [0.5, 0.25, 0.125]], lowest=[-3, 7], precision=8)
    assert tables.lows.tolist() == [-3, 7]
    assert tables.frequencies(0).tolist() == [64, 64, 128]
    assert tables.frequencies(1).tolist() == [128, 64, 32, 32]
    assert channel_indexes(300, 2).dtype == np.uint16


def test_logistic_mixtures_sum_to_one_and_follow_their_means():
    rng = np.random.default_rng(3)
    weights, scales = rng.random((5, 4)), rng.uniform(0.5, 9, (5, 4))
    means = np.repeat(np.array([0.0, 50, 128, 200, 255])[:, None], 4, axis=1)
    pmf = logistic_mixture_pmf(weights, means, scales, 256)
    assert pmf.sum(axis=1) == pytest.approx(1)
    assert pmf.argmax(axis=1).tolist() == [0, 50, 128, 200, 255]
    assert len(logistic_mixture_tables(weights, means, scales, 256)) == 5


GOLDEN = {
    "precision": [8],
    "lows": [-2, 0, -(2**31)],
    "sizes": [6, 2, 3],
    "freqs": [5, 60, 120, 60, 5, 6, 255, 1, 100, 100, 56],
}


def test_stored_tables_have_the_digest_they_always_had():
    tables = CdfTables.from_arrays({k: np.array(v, np.int32) for k, v in GOLDEN.items()})
    assert (
        tables.digest().hex() == "1f1c26f8994ceece1ee0c5c42be25f89b084a0f7570f42445c3f90a287fc3382"
    )


def test_tables_survive_storage():
    tables = gaussian_tables(gaussian_scales(20))
    again = CdfTables.from_arrays(tables.to_arrays())
    assert again == tables
    assert again != gaussian_tables(gaussian_scales(21))
    assert all(array.dtype == np.int32 for array in tables.to_arrays().values())


@pytest.mark.parametrize(
    "change",
    [
        {"precision": [7]},
        {"precision": [25]},
        {"precision": []},
        {"lows": [0, 0]},
        {"lows": [0, 0, 2**31 - 1]},
        {"sizes": [6, 1, 4]},
        {"sizes": [6, 2, 4]},
        {"sizes": [-6, 12, 5]},
        {"freqs": [5, 60, 120, 60, 5, 6, 256, 0, 100, 100, 56]},
        {"freqs": [0.5] * 11},
        {"freqs": None},
    ],
)
def test_damaged_stored_tables_are_refused(change):
    stored = {k: np.array(v) for k, v in {**GOLDEN, **change}.items() if v is not None}
    with pytest.raises(FormatError):
        CdfTables.from_arrays(stored)


def test_tables_cannot_be_changed():
    tables = gaussian_tables([1.0])
    with pytest.raises(ValueError, match="read-only"):
        tables.freqs[0] = 3
