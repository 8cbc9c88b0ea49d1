"""Circuits on disk: parameters as safetensors, everything else as a JSON manifest in its metadata.

For files that are small and give the same coding tables everywhere choose ``compact.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from laconic.codec.lossless.circuits.hclt import HCLT
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import FormatError

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
