"""Architectures that checkpoints can be imported as: how to recognise, build and run each.

One row per architecture; a row's parts are imported when it is used. ``checkpoints.py`` turns
files into models with it and the codecs ``mlic++`` and ``compressai`` load those models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from laconic.codec import devices, models
from laconic.codec.image.compressai.published import KINDS, kind_of
from laconic.codec.image.config import KEY
from laconic.codec.image.interface import ImageModel
from laconic.codec.models import ModelInfo
from laconic.entropy import CdfTables, NumericsProfile, gaussian_scales, gaussian_tables
from laconic.formats.errors import FormatError, ModelError

Shapes = Mapping[str, tuple[int, ...]]
Weights = Mapping[str, NDArray[Any]]
Y_TABLES, Z_TABLES = "tables.", "z_tables."


class Architecture(Protocol):
    """How one family of checkpoints becomes a model."""

    codec: str  # the codec whose files name such models

    def matches(self, shapes: Shapes) -> bool:
        """Whether the keys are those of this architecture; shapes may still be wrong."""
        ...

    def recognise(self, shapes: Shapes) -> dict[str, Any]:
        """Configuration from shapes; raises ``ModelError``."""
        ...

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """The network with fresh weights, whose ``prior_tables`` are the integer tables of its
        factorised prior; raises ``ModelError`` for a wrong configuration."""
        ...

    def adapt(
        self,
        info: ModelInfo,
        network: Any,
        tables: CdfTables,
        z_tables: CdfTables,
        device: torch.device,
    ) -> ImageModel:
        """The loaded network behind the file-level interface, its transforms on a device."""
        ...


class MlicPlusPlusArchitecture:
    """The MLIC++ of 2024 (83.5 M parameters) and of 2023 (116.7 M); MLICv2 with ``second``."""

    codec = "mlic++"

    def __init__(self, *, second: bool = False) -> None:
        self.second = second

    def matches(self, shapes: Shapes) -> bool:
        second = "guided.merge.weight" in shapes
        return "local_context.0.norm1.weight" in shapes and second == self.second

    def recognise(self, shapes: Shapes) -> dict[str, Any]:
        from laconic.codec.image.mlicpp.config import recognise

        return recognise(shapes).to_dict()

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        from laconic.codec.image.mlicpp.config import ReferenceConfig
        from laconic.codec.image.mlicpp.model import MlicPlusPlus

        return MlicPlusPlus(ReferenceConfig.from_dict(config))

    def adapt(
        self,
        info: ModelInfo,
        network: Any,
        tables: CdfTables,
        z_tables: CdfTables,
        device: torch.device,
    ) -> ImageModel:
        from laconic.codec.image.mlicpp.model import ReferenceModel

        return ReferenceModel(info, network, tables, z_tables, device)


class ZooArchitecture:
    """One model of CompressAI's zoo."""

    codec = "compressai"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def matches(self, shapes: Shapes) -> bool:
        return kind_of(shapes) == self.kind

    def recognise(self, shapes: Shapes) -> dict[str, Any]:
        from laconic.codec.image.compressai.published import recognise

        config = recognise(shapes, self.kind)
        facts: dict[str, Any] = {"channels": config.channels, "latent": config.latent}
        if config.groups:
            facts["groups"] = list(config.groups)
        if config.variable_z:
            facts["variable_z"] = True
        return facts

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        from laconic.codec.image.compressai import groups
        from laconic.codec.image.compressai.networks import ZooConfig, ZooNetwork

        needed = {"channels", "latent"} | ({"groups"} if self.kind.startswith("elic") else set())
        optional = {"variable_z"} if self.kind.endswith("-vbr") else set()
        if not needed <= set(config) <= needed | optional:
            raise ModelError(
                f"the model's configuration is {sorted(config)}: expected {sorted(needed)};"
                " import its checkpoint again"
            )
        facts = dict(config)
        made = ZooConfig(self.kind, **{**facts, "groups": tuple(facts.get("groups", ()))})
        return groups.GroupedNetwork(made) if self.kind in groups.KINDS else ZooNetwork(made)

    def adapt(
        self,
        info: ModelInfo,
        network: Any,
        tables: CdfTables,
        z_tables: CdfTables,
        device: torch.device,
    ) -> ImageModel:
        from laconic.codec.image.compressai.adapter import ZooModel

        return ZooModel(info, network, tables, z_tables, device)


ARCHITECTURES: dict[str, Architecture] = {
    "mlic++": MlicPlusPlusArchitecture(),
    "mlicv2": MlicPlusPlusArchitecture(second=True),
    **{kind: ZooArchitecture(kind) for kind in KINDS},
}


def recognise(shapes: Shapes, name: str | None) -> str:
    """Name of the architecture of a checkpoint, or ``name`` if it is one.

    Raises ``ModelError`` when nothing matches.
    """
    if name is not None:
        if name not in ARCHITECTURES:
            raise ModelError(f"there is no architecture {name!r}: choose one of {_names()}")
        return name
    for known, architecture in ARCHITECTURES.items():
        if architecture.matches(shapes):
            return known
    some = ", ".join(sorted(shapes)[:3])
    raise ModelError(
        f"the checkpoint (tensors {some}, ...) is of none of the architectures {_names()}"
    )


def _names() -> str:
    return ", ".join(ARCHITECTURES)


@dataclass(frozen=True)
class Assembled:
    """A network with a checkpoint's weights, ready to be written as a model."""

    architecture: str
    config: dict[str, Any]
    network: nn.Module


def assemble(weights: Weights, name: str | None) -> Assembled:
    """Build the network that a checkpoint describes and load it.

    Raises ``ModelError``: no such architecture, tensors missing, left over or of other shapes, or
    values that are not finite.
    """
    shapes = {key: tuple(array.shape) for key, array in weights.items()}
    known = recognise(shapes, name)
    config = ARCHITECTURES[known].recognise(shapes)
    network = build(ARCHITECTURES[known], config, weights, f"the checkpoint is no {known}")
    return Assembled(known, config, network)


def build(
    architecture: Architecture, config: Mapping[str, Any], weights: Weights, complaint: str
) -> nn.Module:
    """The network of a configuration with these arrays as its parameters; buffers stay as
    constructed. Nothing is allocated before names, shapes and values are known to be right.

    Raises ``ModelError``, whose sentence begins with ``complaint``.
    """
    try:
        with torch.device("meta"):
            sketch = architecture.build(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ModelError(f"{complaint}: {error}") from error
    _check(sketch, weights, complaint)
    network = architecture.build(config)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(weights[key])))
    return network


def _check(network: nn.Module, weights: Weights, complaint: str) -> None:
    """Raise ``ModelError`` unless the arrays can be the parameters of the network."""
    parameters = dict(network.named_parameters())
    if missing := sorted(set(parameters) - set(weights)):
        raise ModelError(f"{complaint}: it lacks {_some(missing)}")
    buffers = {key for key, _ in network.named_buffers()}
    if extra := sorted(set(weights) - set(parameters) - buffers):
        raise ModelError(f"{complaint}: it has {_some(extra)}, which that architecture has not")
    for key, parameter in parameters.items():
        array = weights[key]
        if tuple(array.shape) != tuple(parameter.shape):
            raise ModelError(
                f"{complaint}: {key} is {list(array.shape)}, expected {list(parameter.shape)}"
            )
        if array.dtype.kind != "f":
            raise ModelError(f"{complaint}: {key} is {array.dtype}, expected floats")
        if not np.isfinite(array).all():
            raise ModelError(
                f"{complaint} that can be used: {key} has values that are not finite; its training"
                " went wrong"
            )


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 1} more tensors" if len(keys) > 1 else ""
    return keys[0] + more


def model_tensors(network: Any) -> dict[str, NDArray[Any]]:
    """Parameters of a built network as float32 and the coding tables as integers. Raises
    ``ModelError``."""
    tensors = {k: p.detach().float().numpy() for k, p in network.named_parameters()}
    gaussian = gaussian_tables(gaussian_scales())
    for prefix, tables in ((Y_TABLES, gaussian), (Z_TABLES, network.prior_tables())):
        tensors |= {prefix + k: v for k, v in tables.to_arrays().items()}
    return tensors


@lru_cache(maxsize=2)
def _load(identity: str, path: Path, device: torch.device) -> ImageModel:
    info = models.read_info(path)
    config = dict(info.config)
    name = str(config.pop("arch", None))
    config.pop(KEY, None)  # of channels: the adapter reads it
    if name not in ARCHITECTURES or info.numerics != NumericsProfile.FLOAT64_GUARD:
        raise ModelError(
            f"the model {info.name} is of the architecture {name!r}: known are {_names()}; install"
            " a newer Laconic"
        )
    architecture = ARCHITECTURES[name]
    parts: dict[str, dict[str, NDArray[Any]]] = {"": {}, Y_TABLES: {}, Z_TABLES: {}}
    for key, array in models.read_tensors(info).items():
        prefix = next((p for p in (Y_TABLES, Z_TABLES) if key.startswith(p)), "")
        parts[prefix][key.removeprefix(prefix)] = array
    network = build(architecture, config, parts[""], f"the model {info.name} is not what it says")
    network.eval().requires_grad_(False)
    try:
        tables = [CdfTables.from_arrays(parts[p]) for p in (Y_TABLES, Z_TABLES)]
    except FormatError as error:
        raise ModelError(f"the model {info.name} is damaged: {error}") from error
    return architecture.adapt(info, network, tables[0], tables[1], device)


def load_model(codec: str, name_or_id: str | None, device: str = devices.PROCESSOR) -> ImageModel:
    """The model of that name, id or path for a codec, loaded once for each device; None is the only
    one installed.

    Raises ``ModelError``, and ``ParameterError`` for a device that is not here.
    """
    if name_or_id is None:
        installed = [m for m in models.list_models() if m.codec == codec]
        if len(installed) != 1:
            here = ", ".join(m.name for m in installed) or "none is installed"
            raise ModelError(
                f"the codec {codec!r} needs the name of a model ({here}): import a checkpoint with"
                ' "laconic models import", then give --model'
            )
        name_or_id = installed[0].id
    info = models.find(name_or_id)
    if info.codec != codec:
        raise ModelError(
            f"the model {info.name} is made for the codec {info.codec!r}, not for {codec!r}"
        )
    return _load(info.id, info.path, devices.device(device))
