"""Circuits that are shipped or trained once and named by files: load, save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from laconic.codec import models
from laconic.codec.lossless.circuits.compact import CompactCircuit, unpack
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.records.small import SmallNetwork
from laconic.entropy import NumericsProfile
from laconic.formats.errors import LimitError, ModelError

CODEC = "records"


@dataclass(frozen=True)
class NamedCircuit:
    """A circuit, or a network of the preset `small`, with a fixed domain: records of ``shape`` with
    values 0..sizes[i]-1."""

    info: models.ModelInfo
    circuit: IntegerCircuit | SmallNetwork
    shape: tuple[int, ...]


def save_circuit(
    path: Path,
    circuit: CompactCircuit,
    *,
    name: str,
    shape: tuple[int, ...],
    training: Mapping[str, Any],
    overwrite: bool = False,
) -> models.ModelInfo:
    """Write a circuit as a model file: its compact bytes in one tensor."""
    config = {
        "kind": "hclt",
        "shape": list(shape),
        "states": int(circuit.totals.shape[1]),
        "variables": len(circuit.sizes),
        "weights": circuit.transitions.size + circuit.leaves.size,
        "tables": circuit.to_integer().digest().hex()[:24],
    }
    return models.write_model(
        path,
        name=name,
        codec=CODEC,
        config=config,
        numerics=int(NumericsProfile.INTEGER_TABLES),
        tensors={"circuit": np.frombuffer(circuit.pack(), np.uint8)},
        training=training,
        overwrite=overwrite,
    )


def save_network(
    path: Path,
    network: SmallNetwork,
    *,
    name: str,
    training: Mapping[str, Any],
    overwrite: bool = False,
) -> models.ModelInfo:
    """Write a network of the preset `small` as a model file of integers."""
    config = {
        "kind": "small",
        "shape": [network.height, network.width],
        "weights": int(sum(a.size for a in network.tensors.values())),
    }
    return models.write_model(
        path,
        name=name,
        codec=CODEC,
        config=config,
        numerics=int(NumericsProfile.INTEGER_NETWORK),
        tensors=network.tensors,
        training=training,
        overwrite=overwrite,
    )


def load_circuit(name_or_id: str) -> NamedCircuit:
    """The circuit of that name, id or path, loaded once.

    Raises:
        ModelError: there is none, it is damaged, or it is a model of another codec.
    """
    info = models.find(name_or_id)
    return _load(info.id, info.path)


@lru_cache(maxsize=4)
def _load(identity: str, path: Path) -> NamedCircuit:
    info = models.read_info(path)
    kind = info.config.get("kind")
    if info.codec != CODEC or kind not in ("hclt", "small"):
        raise ModelError(
            f"{info.name} is a model of the codec {info.codec!r}: expected a circuit for records"
        )
    if kind == "small":
        return _load_small(info)
    try:
        circuit = unpack(models.read_tensors(info)["circuit"].tobytes()).to_integer()
        shape = tuple(int(n) for n in info.config["shape"])
    except (LimitError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{path} holds no circuit: {error}") from error
    if circuit.digest().hex()[:24] != info.config.get("tables"):
        raise ModelError(f"{path} gives other tables here than where it was made: report this")
    return NamedCircuit(info, circuit, shape)


def _load_small(info: models.ModelInfo) -> NamedCircuit:
    try:
        height, width = (int(n) for n in info.config["shape"])
        network = SmallNetwork(height, width, models.read_tensors(info)).check()
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{info.path} holds no network of the preset small: {error}") from error
    return NamedCircuit(info, network, (height, width))
