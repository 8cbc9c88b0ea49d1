"""Training of a circuit that many files share: a recipe, checkpoints, and the model file.

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

from laconic.codec.lossless.circuits.compact import Rounding, column_counts, compact
from laconic.codec.lossless.circuits.em import (
    Counts,
    Learner,
    Schedule,
    Smoothing,
    expected_counts,
)
from laconic.codec.lossless.circuits.hclt import HCLT, random_parameters
from laconic.codec.lossless.circuits.tree import chow_liu_tree, mutual_information
from laconic.codec.lossless.records.learning import mean_bits
from laconic.codec.lossless.records.named import save_circuit
from laconic.codec.models import ModelInfo
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import FormatError, OutputError, ParameterError
from laconic.formats.records import Records

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
