"""Circuits as bytes: in files of data and in model files.

A circuit in few bytes: rounded square roots of expected counts, entropy coded.

A count c is known to about +- sqrt(c), so its square root has the same uncertainty everywhere, and
rounding it to steps of about 1 spends the bits where they pay (the "half a logarithm of n per
parameter" of minimum description length). Entries that round to 0 share the column's own
distribution. From the levels to the coding tables only integers are involved.

Circuits on disk: parameters as safetensors, everything else as a JSON manifest in its metadata.

For files that are small and give the same coding tables everywhere choose ``compact.py``.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from laconic.codec.lossless.circuits.em import COUNT, MAX_LEVEL, Counts, Ints, LevelCoder
from laconic.codec.lossless.circuits.integer import (
    MAX_STATES,
    MAX_SYMBOLS,
    IntegerCircuit,
    from_weights,
)
from laconic.codec.lossless.circuits.tree import HCLT, downward
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, LimitError
from laconic.formats.frame import read_varint, write_varint

FINE = 256  # units of a weight in one unit of a count
MAX_TABLE = 1 << 28  # entries of all tables


@dataclass(frozen=True)
class Rounding:
    """Steps of the square roots in eighths, and counts given to the column's distribution in units
    of 1/64, for transitions and leaves."""

    transition_step: int = 8
    leaf_step: int = 8
    transition_backoff: int = 32
    leaf_backoff: int = 64


@dataclass(frozen=True)
class CompactCircuit:
    """Levels of a circuit: l stands for a count of (l * step / 8)^2.

    Attributes:
        parents: ``[D]``, -1 at the root; sizes: symbols of each variable.
        totals: of the states ``[D, M]``, step 1.
        marginals: of the symbols ``[sum of sizes]``, step 1.
        transitions: ``[D, M, M]`` as [i, a, z]; zeros at the root.
        leaves: ``[sum of sizes, M]``.
    """

    parents: NDArray[np.int64]
    sizes: tuple[int, ...]
    rounding: Rounding
    totals: Ints
    marginals: Ints
    transitions: NDArray[np.int16]
    leaves: NDArray[np.int16]

    def to_integer(self) -> IntegerCircuit:
        """The coding tables."""
        about = self.rounding
        popularity = self.totals**2  # [D, M]
        whole = np.maximum(popularity.sum(axis=1, keepdims=True), 1)
        backoff = FINE * about.transition_backoff * popularity // whole
        squares = (self.transitions.astype(np.int64) * about.transition_step) ** 2
        transitions = FINE * squares + backoff[:, None, :]
        root = int(np.flatnonzero(self.parents < 0)[0])
        transitions[root] = 1
        leaves = FINE * (self.leaves.astype(np.int64) * about.leaf_step) ** 2
        sizes = np.array(self.sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
        seen = self.marginals**2
        total = np.maximum(np.repeat(np.add.reduceat(seen, starts), sizes), 1)
        # One part in 64 of the back-off is even, for symbols that the data does not hold.
        share = FINE * about.leaf_backoff * seen // total * 63 // 64
        share += FINE * about.leaf_backoff // 64 // np.repeat(sizes, sizes)
        leaves += share[:, None]
        return from_weights(self.parents, self.sizes, popularity[root], transitions, leaves)

    def pack(self) -> bytes:
        """Bytes of the circuit; see :func:`unpack`."""
        about = self.rounding
        shape = bytearray(write_varint(len(self.sizes)) + write_varint(self.totals.shape[1]))
        for value in (about.transition_step, about.leaf_step, about.transition_backoff):
            shape += write_varint(value)
        shape += write_varint(about.leaf_backoff)
        records = int((self.totals[0] ** 2).sum())
        shape += write_varint(records)
        tree = bytearray()
        for node, parent in enumerate(self.parents.tolist()):
            step = 0 if parent < 0 else node - parent
            tree += write_varint(2 * step if step >= 0 else -2 * step - 1)
        for size in self.sizes:
            tree += write_varint(size)
        squeezed = zlib.compress(bytes(tree), 9)
        small = len(squeezed) < len(tree)
        body = squeezed if small else bytes(tree)
        shape += write_varint(2 * len(body) + small) + body
        coder = LevelCoder()
        _code(self, coder, records)
        return bytes(shape) + coder.finish()


def unpack(data: bytes, expected: tuple[int, ...] | None = None) -> CompactCircuit:
    """Inverse of :meth:`CompactCircuit.pack`, for untrusted data; ``expected`` are the sizes that
    the circuit must have.

    Layout: varints D, M, transition step, leaf step, both back-offs, records; a varint 2 n + z and
    n bytes of tree, a zlib stream if z (D varints of zigzag distance to the parent, 0 at the root,
    then D varints of sizes); the levels (``em.py``): totals, marginals, transitions, leaves.

    Raises:
        FormatError: damaged. LimitError: tables beyond 2^28 entries, or too large for the data.
    """
    numbers, offset = [], 0
    for _ in range(8):
        value, offset = read_varint(data, offset)
        numbers.append(value)
    count, states, records, packed = numbers[0], numbers[1], numbers[6], numbers[7]
    rounding = Rounding(*numbers[2:6])
    if not 1 <= states <= MAX_STATES or not 1 <= count <= 1 << 20:
        raise FormatError(f"a circuit of {count} variables with {states} states: damaged file")
    if max(numbers[2:4]) > 64 or min(numbers[2:4]) < 1 or max(numbers[4:6]) > 1 << 16:
        raise FormatError("a circuit's rounding is impossible: damaged file")
    if expected is not None and count != len(expected):
        raise FormatError("the circuit does not fit the columns: the file is damaged")
    if count * states * states > MAX_TABLE:
        raise LimitError(f"a circuit has {count} tables of {states} x {states}: the limit is 2^28")
    tree = data[offset : offset + (packed >> 1)]
    if len(tree) != packed >> 1:
        raise FormatError("a circuit is truncated")
    if packed & 1:
        tree = _inflate(tree, 10 * count)
    parents, sizes = _read_tree(tree, count)
    if sum(sizes) * states > MAX_TABLE:
        raise LimitError(f"a circuit has {sum(sizes)} x {states} leaf entries: the limit is 2^28")
    if expected not in (None, sizes):
        raise FormatError("the circuit does not fit the columns: the file is damaged")
    entries = 8 * count * states * states + 4 * count * states * max(sizes)
    DEFAULT_LIMITS.check_expansion("the tables of a circuit", entries, len(data))
    empty = CompactCircuit(
        parents,
        sizes,
        rounding,
        np.zeros((count, states), np.int64),
        np.zeros(sum(sizes), np.int64),
        np.zeros((count, states, states), np.int16),
        np.zeros((sum(sizes), states), np.int16),
    )
    coder = LevelCoder(data[offset + (packed >> 1) :])
    result = _code(empty, coder, records)
    coder.finish()
    return result


def compact(circuit: HCLT, counts: Counts, rounding: Rounding, marginals: Ints) -> CompactCircuit:
    """Round expected counts to levels.

    Args:
        circuit: tree and sizes.
        counts: of the training data.
        rounding: steps and back-offs.
        marginals: how often each symbol occurs in the data, ``[sum of sizes]``.
    """

    def levels(values: NDArray[np.floating], step: int) -> NDArray[np.int16]:
        rounded = np.rint(np.sqrt(np.maximum(values, 0)) * np.float32(8 / step))
        return np.minimum(rounded, MAX_LEVEL).astype(np.int16)

    root = circuit.order[0]
    totals = counts.transitions.sum(axis=1)  # [D, M]
    totals[root] = counts.prior
    roots = levels(totals, 8).astype(np.int64)
    transitions = levels(counts.transitions, rounding.transition_step)
    transitions *= roots[:, None, :] > 0
    transitions[root] = 0
    seen = levels(marginals.astype(np.float64), 8).astype(np.int64)
    leaves = levels(counts.leaves, rounding.leaf_step)
    leaves *= seen[:, None] > 0
    return CompactCircuit(
        circuit.parents, circuit.sizes, rounding, roots, seen, transitions, leaves
    )


def column_counts(data: NDArray[np.integer], sizes: tuple[int, ...]) -> Ints:
    """Occurrences of every symbol of every column, ``[sum of sizes]``."""
    parts = [np.bincount(data[data[:, i] >= 0, i], minlength=s) for i, s in enumerate(sizes)]
    return np.concatenate(parts).astype(np.int64)


def _code(model: CompactCircuit, coder: LevelCoder, records: int) -> CompactCircuit:
    """Write or read all levels; returns the model with what was coded."""
    about, count, states = model.rounding, len(model.sizes), model.totals.shape[1]
    total = np.full((count, 1), COUNT * records, np.int64)
    even = np.ones((count, states), np.int64)
    totals = coder.rows(model.totals[:, None], even, total, 8)[:, 0]
    widest = max(model.sizes)
    inside = np.arange(widest)[None] < np.array(model.sizes)[:, None]  # [D, widest]
    grid = np.zeros((count, widest), np.int64)
    grid[inside] = model.marginals
    seen = coder.rows(grid[:, None], inside.astype(np.int64), total, 8)[:, 0]
    root = int(np.flatnonzero(model.parents < 0)[0])
    others = np.flatnonzero(model.parents >= 0)
    transitions = np.zeros_like(model.transitions)
    if states > 1:
        transitions[others] = coder.rows(
            model.transitions[others].astype(np.int64),
            totals[others] ** 2,
            COUNT * totals[model.parents[others]] ** 2,
            about.transition_step,
        )
    leaf = np.zeros((count, states, widest), np.int64)
    leaf.swapaxes(1, 2)[inside] = model.leaves
    leaf = coder.rows(leaf, seen**2, COUNT * totals**2, about.leaf_step)
    assert root not in others
    return replace(
        model,
        totals=totals,
        marginals=seen[inside],
        transitions=transitions,
        leaves=leaf.swapaxes(1, 2)[inside].astype(np.int16),
    )


def _inflate(data: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        result = stream.decompress(data, limit)
    except zlib.error as error:
        raise FormatError(f"a circuit's tree is damaged: {error}") from error
    if not stream.eof or stream.unused_data:
        raise FormatError("a circuit's tree has a wrong length: damaged file")
    return result


def _read_tree(data: bytes, count: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    values, offset = [], 0
    for _ in range(2 * count):
        value, offset = read_varint(data, offset)
        values.append(value)
    if offset != len(data):
        raise FormatError("a circuit's tree has a wrong length: damaged file")
    steps = np.array([v // 2 if v % 2 == 0 else -(v + 1) // 2 for v in values[:count]], np.int64)
    parents = np.where(steps == 0, -1, np.arange(count) - steps)
    sizes = tuple(values[count:])
    if min(sizes) < 1 or max(sizes) > MAX_SYMBOLS:
        raise FormatError("a circuit's variable has an impossible number of symbols: damaged file")
    if ((parents < -1) | (parents >= count)).any():
        raise FormatError("a circuit's tree names a variable that does not exist: damaged file")
    try:
        downward(parents)
    except ValueError as error:
        raise FormatError(f"{error}: damaged file") from error
    return parents, sizes


FORMAT = "laconic-hclt-1"
_SHAPES = {"parents": 1, "sizes": 1, "prior": 1, "transitions": 3, "leaves": 2}


def save(
    circuit: HCLT,
    path: str | os.PathLike[str],
    *,
    about: dict[str, object] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a circuit; ``about`` is kept as JSON beside it. Atomic; raises ``OutputError``."""
    manifest = {
        "format": FORMAT,
        "variables": circuit.variables,
        "states": circuit.states,
        "about": about or {},
    }
    tensors = {
        "parents": circuit.parents.astype(np.int64),
        "sizes": np.array(circuit.sizes, np.int64),
        "prior": circuit.prior,
        "transitions": circuit.transitions,
        "leaves": circuit.leaves,
    }
    data = to_bytes(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        metadata={"circuit": json.dumps(manifest, sort_keys=True)},
    )
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(data)


def load(path: str | os.PathLike[str]) -> HCLT:
    """Read a circuit; raises ``FormatError`` if the file is none or its parts do not fit."""
    try:
        with safe_open(Path(path), framework="numpy") as file:
            manifest = json.loads((file.metadata() or {})["circuit"])
            tensors = {name: file.get_tensor(name) for name in _SHAPES}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"{os.fspath(path)} is not a circuit ({type(error).__name__}: {error})"
        ) from error
    count, states = tensors["sizes"].size, tensors["prior"].size
    expected = {
        "parents": (count,),
        "sizes": (count,),
        "prior": (states,),
        "transitions": (count, states, states),
        "leaves": (int(tensors["sizes"].sum()), states),
    }
    if manifest.get("format") != FORMAT or any(
        tensors[name].shape != shape for name, shape in expected.items()
    ):
        raise FormatError(f"{os.fspath(path)} holds a circuit whose parts do not fit each other")
    circuit = HCLT(
        tensors["parents"],
        tuple(int(n) for n in tensors["sizes"]),
        tensors["prior"],
        tensors["transitions"],
        tensors["leaves"],
    )
    try:
        _ = circuit.order
    except ValueError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from error
    return circuit
