"""Circuits as a library: every answer against brute-force enumeration on small circuits."""

import doctest
import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from laconic.codec.lossless import circuits
from laconic.codec.lossless.circuits import integer, tree
from laconic.codec.lossless.circuits.em import _add
from laconic.codec.lossless.circuits.tree import HCLT, random_parameters
from laconic.formats.errors import FormatError, LimitError, OutputError, ParameterError

SIZES = (2, 3, 2, 4, 1, 3)
PARENTS = [np.array([1, -1, 1, 2, 2, 0]), np.arange(-1, 5), np.array([-1, 0, 0, 0, 0, 0])]


def small(which: int, states: int = 3, seed: int = 5) -> HCLT:
    data = np.random.default_rng(seed).integers(0, SIZES, (50, 6))
    return random_parameters(data, SIZES, PARENTS[which], states, seed)


def probability(circuit: HCLT, record: tuple[int, ...]) -> float:
    """p(x) from the definition: a sum over all assignments of the latents."""
    total = 0.0
    for z in itertools.product(range(circuit.states), repeat=circuit.variables):
        p = 1.0
        for i, parent in enumerate(circuit.parents):
            p *= circuit.prior[z[i]] if parent < 0 else circuit.transitions[i, z[parent], z[i]]
            p *= circuit.leaf(i)[record[i], z[i]]
        total += p
    return total


def every_record() -> np.ndarray:
    return np.array(list(itertools.product(*map(range, SIZES))))


@pytest.fixture(scope="module")
def joint() -> np.ndarray:
    """p of every record, in the shape of the domain, from the circuit's own likelihood."""
    return np.exp(circuits.log_likelihood(small(0), every_record())).reshape(SIZES)


@pytest.mark.parametrize("which", range(3))
def test_likelihoods_are_sums_over_all_latent_states(which: int) -> None:
    circuit = small(which, states=2)
    records = every_record()

    found = np.exp(circuits.log_likelihood(circuit, records))

    for n in range(0, len(records), 17):
        assert found[n] == pytest.approx(probability(circuit, tuple(records[n])), rel=1e-5)
    assert found.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("missing", [[], [0], [1, 4], [0, 2, 3], [0, 1, 2, 3, 4, 5]])
def test_marginals_sum_the_missing_variables_out(missing: list[int], joint: np.ndarray) -> None:
    mask = np.isin(np.arange(6), missing)
    records = every_record()[::7]

    found = np.exp(circuits.marginal(small(0), records, mask))

    summed = joint.sum(axis=tuple(missing), keepdims=True)
    index = tuple(np.where(mask[i], 0, records[:, i]) for i in range(6))
    np.testing.assert_allclose(found, summed[index], rtol=1e-5)


@pytest.mark.parametrize("known", [[], [2], [0, 5], [1, 2, 3, 4]])
def test_conditionals_in_any_order(known: list[int], joint: np.ndarray) -> None:
    records = np.where(np.isin(np.arange(6), known), every_record()[[3, 70, 111]], -1)

    found = circuits.conditional(small(0), records)

    for n, record in enumerate(records):
        for i in range(6):
            fixed = {k: record[k] for k in known if k != i}
            index = tuple(fixed.get(k, slice(None)) for k in range(6))
            rest = joint[index]
            axis = i - sum(k < i for k in fixed)
            expected = rest.sum(axis=tuple(a for a in range(rest.ndim) if a != axis))
            np.testing.assert_allclose(found[i][n], expected / expected.sum(), rtol=1e-4)


def test_joint_conditionals_are_ratios_of_marginals(joint: np.ndarray) -> None:
    query = np.array([[1, -1, -1, 2, -1, -1]])
    evidence = np.array([[-1, 2, -1, -1, -1, 0]])

    found = np.exp(circuits.joint_conditional(small(0), query, evidence))[0]

    assert found == pytest.approx(joint[1, 2, :, 2, :, 0].sum() / joint[:, 2, :, :, :, 0].sum())


def test_masked_arrays_and_nan_are_missing_values() -> None:
    circuit = small(0)
    hidden = np.array([[1, -1, 0, -1, 0, 2]])
    masked = np.ma.masked_array([[1, 2, 0, 3, 0, 2]], [[0, 1, 0, 1, 0, 0]])
    floats = np.array([[1, np.nan, 0, np.nan, 0, 2]])

    expected = circuits.log_likelihood(circuit, hidden)
    assert circuits.log_likelihood(circuit, masked) == pytest.approx(expected)
    assert circuits.log_likelihood(circuit, floats) == pytest.approx(expected)


def test_samples_follow_the_distribution(joint: np.ndarray) -> None:
    drawn = circuits.sample(small(0), 20_000, seed=1)

    counts = np.zeros(SIZES)
    np.add.at(counts, tuple(drawn.T), 1)
    assert np.abs(counts / 20_000 - joint).max() < 0.01


def test_samples_given_evidence_keep_it_and_follow_the_conditional() -> None:
    circuit = small(0)
    given = [[1, -1, 0, -1, -1, 2]]

    drawn = circuits.sample(circuit, 20_000, given=given, seed=2)

    assert (drawn[:, [0, 2, 5]] == [1, 0, 2]).all()
    expected = circuits.conditional(circuit, given, variables=[3])[0][0]
    assert np.abs(np.bincount(drawn[:, 3], minlength=4) / 20_000 - expected).max() < 0.015


def dependent(count: int = 1500, seed: int = 0) -> np.ndarray:
    """Records with two clusters and a chain of copies."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, count)
    first = np.where(rng.random(count) < 0.9, kind * 3, rng.integers(0, 5, count))
    second = np.where(rng.random(count) < 0.95, first, rng.integers(0, 5, count))
    return np.stack([first, second, kind, rng.integers(0, 3, count), 2 - kind], axis=1)


def test_learning_raises_the_likelihood_of_held_out_records() -> None:
    train, test = dependent(seed=0), dependent(seed=1)
    start = circuits.hclt(train, 4)

    learner = circuits.Learner(start, train, circuits.Schedule(epochs=6, batch=200))
    learned = learner.run()

    frequencies = [np.bincount(train[:, i], minlength=5) / len(train) for i in range(5)]
    independent = sum(-np.log2(f[test[:, i]]).mean() for i, f in enumerate(frequencies)) / 5
    assert circuits.bits_per_dimension(learned, test) < 0.7 * independent
    before = learner.full()
    assert learner.full() >= before - 1e-3  # EM never lowers the training likelihood (smoothed)


def test_learning_is_reproducible_and_takes_missing_values() -> None:
    data = dependent()
    data[::3, 1] = circuits.MISSING
    schedule = circuits.Schedule(epochs=2, batch=300)

    one, two = (circuits.learn(circuits.hclt(data, 3), data, schedule) for _ in range(2))

    np.testing.assert_array_equal(one.transitions, two.transitions)
    filled = circuits.complete(one, [[3, -1, 1, 0, 1]])
    assert filled[0, 1] == 3
    assert circuits.latent(one, data, 0).sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_the_tree_joins_dependent_variables_and_is_rooted_at_its_centre() -> None:
    rng = np.random.default_rng(0)
    chain = [rng.integers(0, 4, 3000)]
    for _ in range(6):
        chain.append(np.where(rng.random(3000) < 0.8, chain[-1], rng.integers(0, 4, 3000)))
    data = np.stack(chain, axis=1)

    parents = circuits.chow_liu_tree(circuits.mutual_information(data, [4] * 7))

    assert parents.tolist() == [1, 2, 3, -1, 3, 4, 5]


def test_mutual_information_equals_its_definition() -> None:
    data = dependent(400)
    found = circuits.mutual_information(data, [5, 5, 2, 3, 3])

    table = np.zeros((5, 5))
    np.add.at(table, (data[:, 0], data[:, 1]), 1 / 400)
    outer = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    seen = table > 0
    assert found[0, 1] == pytest.approx((table[seen] * np.log(table[seen] / outer[seen])).sum())


def test_a_tree_of_one_variable() -> None:
    circuit = circuits.learn(circuits.hclt(np.array([[0], [1], [1]]), 2), np.array([[0], [1], [1]]))

    assert np.exp(circuits.log_likelihood(circuit, [[1], [0]])).sum() == pytest.approx(1)


def test_circuits_are_stored_with_a_manifest(tmp_path: Path) -> None:
    circuit = small(0)
    circuits.save(circuit, tmp_path / "c.safetensors", about={"data": "none"})

    again = circuits.load(tmp_path / "c.safetensors")

    records = every_record()[::11]
    np.testing.assert_array_equal(
        circuits.log_likelihood(again, records), circuits.log_likelihood(circuit, records)
    )
    with pytest.raises(OutputError):
        circuits.save(circuit, tmp_path / "c.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="not a circuit"):
        circuits.load(tmp_path / "c.safetensors")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([[0, 0, 0, 0, 0]], "shape"),
        ([[0, 3, 0, 0, 0, 0]], "variable 1 of record 0 is 3"),
        ([[0, -2, 0, 0, 0, 0]], "variable 1"),
        ([[0.5, 0, 0, 0, 0, 0]], "fractions"),
        ([["a"] * 6], "expected integers"),
    ],
)
def test_bad_records_are_named(data: list, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        circuits.log_likelihood(small(0), data)


def test_bad_structures_are_refused() -> None:
    with pytest.raises(ParameterError, match="shape"):
        circuits.hclt(np.zeros((0, 3), int), 2)
    with pytest.raises(ParameterError, match="latent states"):
        circuits.hclt(np.zeros((3, 3), int), 0)
    with pytest.raises(ValueError, match="roots"):
        tree.downward(np.array([-1, -1]))
    with pytest.raises(ValueError, match="tree"):
        tree.downward(np.array([-1, 2, 1]))


def test_compact_circuits_survive_packing_and_stay_close() -> None:
    data = dependent()
    circuit = circuits.learn(circuits.hclt(data, 6), data, circuits.Schedule(epochs=4, batch=200))
    counts = circuits.expected_counts(circuit, data)
    seen = np.concatenate(
        [np.bincount(data[:, i], minlength=s) for i, s in enumerate(circuit.sizes)]
    )

    small_one = circuits.compact(circuit, counts, circuits.Rounding(), seen)
    packed = small_one.pack()
    again = circuits.unpack(packed)

    assert again.to_integer().digest() == small_one.to_integer().digest()
    rounded = again.to_integer().to_float()
    loss = circuits.bits_per_dimension(rounded, data) - circuits.bits_per_dimension(circuit, data)
    assert len(packed) < circuit.parameters  # below one byte each
    assert loss < 0.02


def test_damaged_compact_circuits_are_refused_or_differ() -> None:
    data = dependent(300)
    circuit = circuits.hclt(data, 3)
    counts = circuits.expected_counts(circuit, data)
    seen = np.concatenate(
        [np.bincount(data[:, i], minlength=s) for i, s in enumerate(circuit.sizes)]
    )
    packed = circuits.compact(circuit, counts, circuits.Rounding(), seen).pack()
    rng = np.random.default_rng(0)

    for length in range(0, len(packed), 3):
        try:
            circuits.unpack(packed[:length])
        except FormatError:
            continue
    for _ in range(300):
        wrong = bytearray(packed)
        wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
        try:
            circuits.unpack(bytes(wrong))
        except (FormatError, LimitError):
            continue


@pytest.mark.parametrize("which", range(3))
def test_the_walk_crosses_each_edge_at_most_twice(which: int) -> None:
    found = integer.cost(PARENTS[which])

    assert found.walk <= 2 * found.edges
    assert found.balanced_decode == 8 * found.balanced_encode


def test_a_path_costs_the_balanced_order_quadratic_work() -> None:
    path = integer.cost(np.arange(-1, 99))
    star = integer.cost(np.array([-1] + [0] * 99))

    assert path.walk == 99  # nothing ever goes up
    assert star.walk == 99 + 98
    assert path.balanced_encode > 20 * star.walk


@pytest.mark.parametrize("name", ["", ".tree", ".integer"])
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(f"laconic.codec.lossless.circuits{name}")

    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("count", [1, 2, 8, 9, 130, 1000, 2048])
@pytest.mark.parametrize("states", [1, 2, 16])
def test_counts_are_summed_in_numpys_order(count: int, states: int) -> None:
    """So that a table learned today is the one that was learned before loops were compiled."""
    rng = np.random.default_rng(count)
    rows = rng.random((count, states)).astype(np.float32)
    symbols = rng.integers(-1, 5, count)
    target = np.zeros((5, states), np.float32)

    _add(target, np.ascontiguousarray(symbols, np.int64), rows.T)

    for symbol in range(5):
        own = rows[symbols == symbol]
        if len(own):
            whole = np.add.reduceat(own, [0], axis=0)[0]
            assert np.array_equal(target[symbol], whole)
        else:
            assert not target[symbol].any()
