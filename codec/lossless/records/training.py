"""How the circuit of a table is learned.

A circuit for the records at hand, chosen by description length: model bytes plus data bits.

Training of a circuit that many files share: a recipe, checkpoints, and the model file.

A run is a folder: ``checkpoint.npz`` after every pass, ``log.tsv``, and at the end
``<name>.safetensors``. Interrupted runs go on from the checkpoint.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.compact import CompactCircuit, Rounding, column_counts, compact
from laconic.codec.lossless.circuits.em import Counts, Learner, Schedule, Smoothing, expected_counts
from laconic.codec.lossless.circuits.queries import Scratch, blocks, upward
from laconic.codec.lossless.circuits.tree import (
    HCLT,
    chow_liu_tree,
    mutual_information,
    random_parameters,
)
from laconic.codec.lossless.records.named import save_circuit
from laconic.codec.models import ModelInfo
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import FormatError, OutputError, ParameterError
from laconic.formats.records import Records

TRAIN_CELLS = 1 << 22  # cells looked at when learning, doubled by each step of effort
FEW = 32  # records that cannot pay for latent states, however many columns they have
SOME = 256  # records below which few states are tried first, if the tree promises to pay for them
VISITS = 1 << 16  # of a variable in one circuit's updates, doubled by each step of effort
EARLY = 4  # passes after which a number of states may be given up,
CLEAR = 0.01  # where that much of the smallest total lies between them as far,
LEAST = 0.8  # bytes of a model by those that its number of states makes of the smallest's
ROUNDING = Rounding(transition_step=14, leaf_step=14, transition_backoff=32, leaf_backoff=48)

Note = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """A circuit, its bytes, and the estimated size of all records with it in bits; the same
    estimates from each pass of learning, but of a circuit that needs none."""

    compact: CompactCircuit
    data: bytes
    bits: float
    passes: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """Bits of model and records together."""
        return 8 * len(self.data) + self.bits


def fit(
    symbols: NDArray[np.integer],
    sizes: tuple[int, ...],
    *,
    states: int | None = None,
    effort: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Fitted:
    """Learn a circuit for symbols ``[N, D]``.

    Args:
        states: number of latent states; None tries 8, then more or fewer until the size grows,
            1 alone for very few records, and 1, 2, 4 and so on for few.
        effort: 0..9; looks at more records and passes over them more often.
        progress: called with (states tried, states that may be tried).
    """
    rng = np.random.default_rng(seed)
    wanted = max(2000, (TRAIN_CELLS << effort) // max(1, len(sizes)))
    rows = np.arange(len(symbols))
    if len(rows) > wanted:
        rows = np.sort(rng.permutation(len(rows))[:wanted])
    sample = np.ascontiguousarray(symbols[rows])
    seen = column_counts(symbols, sizes)
    best: Fitted | None = None
    tried = 0
    tree: Tree | None = None

    def attempt(number: int) -> bool:
        """Whether that many states make the total smaller than before."""
        nonlocal best, tried, tree
        fitted: Fitted | None
        if number == 1:
            fitted = _fit_independent(sample, sizes, seen, len(symbols))
        else:
            tree = tree or tree_of(sample, sizes, seed)
            parents = tree.parents
            fitted = _fit_states(
                sample, sizes, parents, number, seen, len(symbols), effort, seed, best
            )
        tried += 1
        if progress:
            progress(min(tried, 4), 5)
        if fitted is None or (best is not None and fitted.total >= best.total):
            return False
        best = fitted
        return True

    if states is not None:
        attempt(states)
    elif len(symbols) < SOME:
        attempt(1)
        if len(symbols) >= FEW:
            tree = tree_of(sample, sizes, seed)
            if tree.gain > 0:
                for number in (2, 4, 8, 16, 32, 64):
                    if not attempt(number):
                        break
    else:
        attempt(8)
        for number in (16, 32, 64) if attempt(16) else (4, 2, 1):
            if number != 16 and not attempt(number):
                break
    if progress:
        progress(5, 5)
    assert best is not None
    return best


@dataclass(frozen=True)
class Tree:
    """Parents of the variables ``[D]``, and roughly the bits that knowing them saves in the records
    beyond those of describing the dependence; of a chain that nothing is known of, infinite."""

    parents: NDArray[np.int64]
    gain: float = np.inf


def tree_of(sample: NDArray[np.integer], sizes: tuple[int, ...], seed: int = 0) -> Tree:
    """Chow-Liu tree, with fewer bins for many variables and a chain beyond 4096 of them."""
    count = len(sizes)
    if count > 4096:
        return Tree(np.arange(-1, count - 1))
    bins = int(np.clip(6400 // count, 2, 16))
    information = mutual_information(sample, sizes, bins=bins, seed=seed)
    parents = chow_liu_tree(information)
    below = np.flatnonzero(parents >= 0)
    saved = len(sample) * information[below, parents[below]].sum() / np.log(2)
    # Information found in few records is too large by (a - 1)(b - 1) / 2 nats (Miller and Madow).
    groups = np.minimum(np.array(sizes), bins)
    saved -= ((groups[below] - 1) * (groups[parents[below]] - 1)).sum() / (2 * np.log(2))
    # The parent's number, two transitions and one more column of leaves.
    cost = np.log2(count) * len(below) + 0.5 * np.log2(len(sample)) * (groups[below] + 1).sum()
    return Tree(parents, float(saved - cost))


def _fit_independent(
    sample: NDArray[np.integer], sizes: tuple[int, ...], seen: NDArray[np.int64], records: int
) -> Fitted:
    """One state: the variables' own distributions, which need no search."""
    parents = np.arange(-1, len(sizes) - 1)
    ones = np.ones((len(sizes), 1, 1), np.float32)
    found = column_counts(sample, sizes)
    scaled = (found * (records / len(sample))).astype(np.float32)[:, None]
    circuit = HCLT(parents, sizes, ones[0, 0], ones, np.ones_like(scaled))
    prior = np.full(1, records, np.float32)
    counts = Counts(prior, ones * np.float32(records), scaled, records, 0.0)
    model = compact(circuit, counts, ROUNDING, seen)
    leaves = model.to_integer().to_float().leaves[:, 0]
    bits = -float(found[found > 0] @ np.log2(leaves[found > 0])) * records / len(sample)
    return Fitted(model, model.pack(), bits)


def _fit_states(
    sample: NDArray[np.integer],
    sizes: tuple[int, ...],
    parents: NDArray[np.int64],
    states: int,
    seen: NDArray[np.int64],
    records: int,
    effort: int,
    seed: int,
    best: Fitted | None,
) -> Fitted | None:
    """A circuit of so many states; None once it is clear that ``best`` stays smaller."""
    updates = min(16, max(1, len(sample) // 50))
    most = (VISITS << effort) // (len(sizes) * updates)
    epochs = int(np.clip(most, 3, 12 + 4 * effort))
    circuit = random_parameters(sample, sizes, parents, states, seed)
    learner = Learner(circuit, sample, Schedule(epochs=epochs), seed=seed)
    passes: list[float] = []
    while learner.done < epochs:
        passes.append(-learner.epoch() * records / float(np.log(2)))
        if best and len(passes) >= EARLY and len(best.passes) >= len(passes):
            model = LEAST * 8 * len(best.data) * states / best.compact.totals.shape[1]
            behind = passes[-1] + model - best.passes[len(passes) - 1] - 8 * len(best.data)
            if behind > CLEAR * best.total:
                return None
    circuit = learner.run()
    counts = expected_counts(circuit, sample)
    scale = np.float32(records / len(sample))
    for array in (counts.prior, counts.transitions, counts.leaves):
        array *= scale
    model = compact(circuit, counts, ROUNDING, seen)
    bits = mean_bits(model.to_integer().to_float(), sample) * records
    return Fitted(model, model.pack(), bits, tuple(passes))


def mean_bits(circuit: HCLT, data: NDArray[np.integer]) -> float:
    """Bits per record of data ``[N, D]`` under a circuit."""
    total, scratch = 0.0, Scratch()
    for part in blocks(len(data), circuit.states, circuit.variables):
        total -= float(upward(circuit, np.asfortranarray(data[part]), scratch).log_likelihood.sum())
    return total / len(data) / float(np.log(2))


Report = Callable[[str], None]


SHIPPED = Rounding(transition_step=4, leaf_step=4, transition_backoff=16, leaf_backoff=64)


@dataclass(frozen=True)
class Recipe:
    """How a circuit is trained; the defaults make ``mnist-hclt``.

    Attributes:
        states: latent states M.
        symbols: values of every variable; 0 takes the largest in the data + 1.
        held_out: records at the end of the data that are only measured.
        schedule, smoothing, rounding: see the classes.
    """

    states: int = 64
    symbols: int = 256
    held_out: int = 3000
    seed: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    smoothing: Smoothing = field(default_factory=Smoothing)
    rounding: Rounding = field(default_factory=lambda: SHIPPED)


def run(
    recipe: Recipe,
    records: Records,
    out: Path,
    *,
    name: str,
    resume: bool = False,
    report: Report = print,
) -> ModelInfo:
    """Train a circuit on an array of records and write the model file ``out / name.safetensors``.

    Raises:
        ParameterError: the records are a table, or too few. OutputError: the run exists already and
            ``resume`` is not set. FormatError: the checkpoint is damaged or of another recipe.
    """
    array = records.array
    if array is None or len(array) < 2 * recipe.held_out + 2:
        raise ParameterError(
            f"training needs an array of at least {2 * recipe.held_out + 2} records"
        )
    array = array.astype(np.uint16) if array.dtype != np.uint8 else array
    cut = len(array) - recipe.held_out
    train, test = array[:cut], array[cut:]
    checkpoint = out / "checkpoint.npz"
    if checkpoint.exists() and not resume:
        raise OutputError(f"{out} holds a run already: choose another folder or add --resume")
    out.mkdir(parents=True, exist_ok=True)
    started = checkpoint.exists()
    learner = _load(recipe, train, checkpoint) if started else _start(recipe, array, train)
    start = time.perf_counter()
    while learner.done < recipe.schedule.epochs:
        likelihood = learner.epoch()
        _save(recipe, learner, checkpoint)
        held = mean_bits(learner.circuit, test) / train.shape[1]
        bits = -likelihood / train.shape[1] / np.log(2)
        line = f"{learner.done}\t{bits:.5f}\t{held:.5f}\t{time.perf_counter() - start:.0f}"
        with (out / "log.tsv").open("a") as log:
            log.write(line + "\n")
        report(f"pass {learner.done}: {bits:.4f} bits per value, held out {held:.4f}")
    for _ in range(recipe.schedule.final):
        learner.full()
    counts = expected_counts(learner.circuit, train)
    training = {
        "records": len(train),
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "held_out_bits": round(mean_bits(learner.circuit, test) / train.shape[1], 5),
    }
    return export(
        learner.circuit, counts, train, recipe.rounding, records.header.shape, out, name, training
    )


def export(
    circuit: HCLT,
    counts: Counts,
    train: NDArray[Any],
    rounding: Rounding,
    shape: tuple[int, ...],
    out: Path,
    name: str,
    training: dict[str, Any],
) -> ModelInfo:
    """Round a circuit's expected counts and write the model file."""
    model = compact(circuit, counts, rounding, column_counts(train, circuit.sizes))
    return save_circuit(
        out / f"{name}.safetensors",
        model,
        name=name,
        shape=shape,
        training=training,
        overwrite=True,
    )


def _start(recipe: Recipe, array: NDArray[Any], train: NDArray[Any]) -> Learner:
    sizes = tuple(recipe.symbols or int(m) + 1 for m in array.max(axis=0))
    parents = chow_liu_tree(mutual_information(array, sizes, seed=recipe.seed))
    circuit = random_parameters(train, sizes, parents, recipe.states, recipe.seed)
    return Learner(circuit, train, recipe.schedule, recipe.smoothing, recipe.seed)


def _save(recipe: Recipe, learner: Learner, path: Path) -> None:
    counts = learner.counts
    assert counts is not None
    with atomic_write(path, overwrite=True) as file:
        np.savez(
            file,  # type: ignore[arg-type]
            recipe=np.frombuffer(json.dumps(asdict(recipe), sort_keys=True).encode(), np.uint8),
            done=learner.done,
            records=counts.records,
            parents=learner.circuit.parents,
            sizes=np.array(learner.circuit.sizes),
            prior=counts.prior,
            transitions=counts.transitions,
            leaves=counts.leaves,
        )


def _load(recipe: Recipe, train: NDArray[Any], path: Path) -> Learner:
    try:
        with np.load(os.fspath(path), allow_pickle=False) as file:
            saved = {key: file[key] for key in file.files}
        if saved["recipe"].tobytes() != json.dumps(asdict(recipe), sort_keys=True).encode():
            raise FormatError(f"{path} is of another recipe: choose another folder")
        sizes = tuple(int(n) for n in saved["sizes"])
        counts = Counts(
            saved["prior"],
            saved["transitions"],
            saved["leaves"],
            float(saved["records"]),
            0.0,
        )
        done = int(saved["done"])
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path} is not a checkpoint of this recipe: {error}") from error
    circuit = random_parameters(train, sizes, saved["parents"], recipe.states, recipe.seed)
    learner = Learner(circuit, train, recipe.schedule, recipe.smoothing, recipe.seed)
    learner.counts, learner.done = counts, done
    learner.circuit = learner.maximise(counts)
    return learner
