"""Models: where weights lie, what identifies them, how they are loaded and exported.

A model is one safetensors file: half-precision weights, integer coding tables, and in its metadata
a JSON manifest. A stream names its model by the first 6 bytes of the SHA-256 of the *canonical
manifest* (codec, configuration, numerics profile, hash of every tensor), so re-saving a file
changes nothing and any change of a weight or a table changes the name. Loading checks the hash.

Files are looked for in the package, then in the package ``laconic-models-extra`` if it is
installed (``codec/models_extra``: models that only old files need), then in the user's store:
``$LACONIC_MODELS`` or ``~/.local/share/laconic/models``. A newer model may take over a name; the
older one is then found by its id, which is what files give.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from laconic.codec import registry
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import ModelError, OutputError

Arrays = Mapping[str, NDArray[Any]]
ID_BYTES = 6
TABLE_PREFIX = "tables."  # within the names of tensors that are not learned
DEFAULT_MODEL = "mlic-visual"
SUFFIX = ".safetensors"
MAX_DEPTH = 16  # of a manifest
EXTRA = "laconic_models_extra"
IN_EXTRA = {  # models of that package, by id: one that is missing is named with its command
    "dc6100030907": "mlic-base",
    "48af99000a7b": "mlic-base",
    "414d192e6a82": "mlic-base",
    "94ec8e7885f1": "mlic-base",
    "90249a5299c3": "mlic-base",
    "1d85274e6498": "mlic-base",
    "bbc363a4b541": "mlic-small",
    "7e767318c33e": "mlic-visual",
    "a4d4dd12b3ca": "mlic-visual",
    "915e105a9f2e": "mnist-hclt",
    "177d2819da25": "mnist-small",
    "c94c9b80d248": "semanticodec-small",
    "f5c284374696": "semanticodec-small-2",
    "a675618d3142": "semanticodec-small-3",
    "b3c50bbb8280": "semanticodec-small-4",
    "7d0c7c4cf805": "semanticodec-small-5",
    "ca6e29aeed24": "semanticodec-small-6",
    "688df91209fb": "semanticodec-small-7",
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without loading its weights."""

    name: str
    id: str  # 12 hexadecimal digits
    codec: str
    parameters: int
    bytes: int
    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    numerics: int = 0
    training: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**self.__dict__, "path": str(self.path)}


def manifest_id(
    codec: str, config: Mapping[str, Any], numerics: int, tensors: Arrays
) -> tuple[str, str]:
    """``(id, canonical manifest)`` of a model: 12 hexadecimal digits and the JSON they hash."""
    hashes = {}
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        head = f"{array.dtype.str}{list(array.shape)}".encode()
        hashes[name] = hashlib.sha256(head + array.tobytes()).hexdigest()
    manifest = json.dumps(
        {"codec": codec, "config": dict(config), "numerics": numerics, "tensors": hashes},
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(manifest.encode()).hexdigest()[: 2 * ID_BYTES], manifest


def write_model(
    path: Path,
    *,
    name: str,
    codec: str,
    config: Mapping[str, Any],
    numerics: int,
    tensors: Arrays,
    training: Mapping[str, Any],
    overwrite: bool = False,
) -> ModelInfo:
    """Write a model file atomically; ``tensors`` hold weights (float16) and tables (integers)."""
    identity, _ = manifest_id(codec, config, numerics, tensors)
    sizes = (a.size for key, a in tensors.items() if TABLE_PREFIX not in key)
    weights = int(config.get("weights") or sum(sizes))  # tables of circuits stand for weights
    about = {
        "name": name,
        "id": identity,
        "codec": codec,
        "config": dict(config),
        "numerics": numerics,
        "parameters": weights,
        "training": dict(training),
    }
    data = save(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()},
        metadata={"laconic": json.dumps(about, sort_keys=True)},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(data)
    return read_info(path)


def read_info(path: Path) -> ModelInfo:
    """Facts of a model file from its metadata. Raises ``ModelError`` if it is none of ours."""
    try:
        state = path.stat()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    return _read_info(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _read_info(path: Path, changed: int, size: int) -> ModelInfo:
    """A file that has not changed is not read again."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["laconic"])
        _check_numbers(about)
        return ModelInfo(
            name=str(about["name"]),
            id=str(about["id"]),
            codec=str(about["codec"]),
            parameters=int(about["parameters"]),
            bytes=size,
            path=path,
            config=dict(about["config"]),
            numerics=int(about["numerics"]),
            training=dict(about["training"]),
        )
    except (
        OSError, SafetensorError, KeyError, ValueError, TypeError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise ModelError(
            f"{path} is not a Laconic model ({type(error).__name__}: {error}): expected a"
            ' safetensors file made by "laconic models export"'
        ) from error


def _check_numbers(value: Any, depth: int = 0) -> None:
    """Raise ``ValueError`` for what no manifest holds: numbers that are not finite or beyond 2^53,
    and nesting."""
    if isinstance(value, int | float) and not abs(value) <= 2.0**53:
        raise ValueError(f"the number {value}")
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_numbers(part, depth + 1)


def read_tensors(info: ModelInfo) -> dict[str, NDArray[Any]]:
    """Weights and tables of a model; raises ``ModelError`` when they are not what its id names."""
    try:
        with safe_open(info.path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise ModelError(f"{info.path} cannot be read: {error}") from error
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(
                f"{info.path} cannot be used: {name} has values that are not finite; its training"
                " went wrong"
            )
    identity, _ = manifest_id(info.codec, info.config, info.numerics, tensors)
    if identity != info.id:
        raise ModelError(
            f"{info.path} calls itself {info.id} but its contents are {identity}: the file is"
            " damaged, install the model again"
        )
    return tensors


def search_path() -> list[Path]:
    """Folders that hold models, in order of preference."""
    user = os.environ.get("LACONIC_MODELS")
    default = Path.home() / ".local" / "share" / "laconic" / "models"
    spec = find_spec(EXTRA)
    extra = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    shipped = [p for p in sorted(Path(__file__).parent.glob("*/weights")) if p not in extra]
    return [*shipped, *extra, Path(user) if user else default]


_named: list[Path] = []  # files that are found by their ids in this process


def use(name: str) -> None:
    """Find a model file, wherever it is, by its id as well from now on, and by its name unless the
    store has one of that name; a name of the store is just looked up. Raises ``ModelError``."""
    path = find(name).path
    if path not in _named:
        _named.append(path)


def _files() -> Iterator[Path]:
    """Every model file on the search path, in order of preference."""
    for folder in search_path():
        yield from sorted(folder.glob("*.safetensors"), key=lambda path: path.stem)


def _readable(*first: Path) -> Iterator[ModelInfo]:
    """Every readable model on the search path, in order of preference."""
    for path in (*first, *_files(), *_named):
        with suppress(ModelError):
            yield read_info(path)


def unreadable() -> dict[Path, str]:
    """The model files that are left out, and why."""
    found = {}
    for path in _files():
        try:
            read_info(path)
        except ModelError as error:
            found[path] = str(error)
    return found


def list_models() -> list[ModelInfo]:
    """The models that names stand for, by name; unreadable files are left out. A second model of a
    name has to be called by its id."""
    found: dict[str, ModelInfo] = {}
    for info in _readable():
        found.setdefault(info.name, info)
    return sorted(found.values(), key=lambda m: m.name)


def find(name_or_id: str) -> ModelInfo:
    """The model of that name, id (12 hexadecimal digits) or path.

    Raises ``ModelError`` naming the models at hand when there is none.
    """
    models = list_models()
    for info in _readable(*_named):
        if name_or_id == info.id:
            return info
    for info in models:
        if name_or_id == info.name:
            return info
    path = Path(name_or_id)
    if path.suffix == ".safetensors" and "\0" not in name_or_id and path.is_file():
        return read_info(path)
    left_out = unreadable()
    for path, reason in left_out.items():
        if path.stem == name_or_id:
            raise ModelError(reason)
    for identity, name in IN_EXTRA.items():
        if name_or_id in (identity, name):
            raise ModelError(
                f"model {identity} ({name}) is in a package of its own, which is not installed:"
                f" pip install {EXTRA.replace('_', '-')}"
            )
    here = ", ".join(f"{m.name} ({m.id})" for m in models) or "none"
    more = f"; unreadable are {', '.join(p.name for p in left_out)}" if left_out else ""
    raise ModelError(
        f"model {name_or_id} was not found: available are {here}{more}; put its .safetensors file"
        f" into {search_path()[-1]} or set LACONIC_MODELS"
    )


def store_path(name: str, *, overwrite: bool) -> Path:
    """Where an imported model of that name goes. Raises ``ModelError`` for a name that is none and
    ``OutputError`` when it is taken."""
    if not NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is no name for a model: use letters, digits and . _ + - (at most 64); give"
            " one with --name"
        )
    path = search_path()[-1] / f"{name}.safetensors"
    taken = [m for m in list_models() if m.name == name and m.path != path]
    if taken or (path.exists() and not overwrite):
        raise OutputError(
            f"there is already a model {name}: choose another --name"
            + ("" if taken else ", or replace it with --force")
        )
    return path


def import_checkpoint(
    checkpoint: Path | Sequence[Path],
    *,
    arch: str | None = None,
    name: str | None = None,
    multiplier: float | None = None,
    overwrite: bool = False,
) -> ModelInfo:
    """Put a published checkpoint into the user's store as a model.

    Every codec is asked whether the files are its own, those registered last first, so that a
    package can take what the built-in ones would refuse.

    Raises ``ModelError`` if they are nobody's, and ``OutputError`` for a name that is taken.
    """
    files = [checkpoint] if isinstance(checkpoint, Path) else list(checkpoint)
    for codec in reversed([*registry.codecs()]):
        made = codec.import_checkpoint(
            files, arch=arch, name=name, multiplier=multiplier, overwrite=overwrite
        )
        if made is not None:
            return made
    raise ModelError(f"{', '.join(map(str, files))}: no codec imports such checkpoints")


def exportable(checkpoint: Path) -> str:
    """What to do with the checkpoint of a training."""
    return f"{checkpoint}: export it with laconic models export {checkpoint} --name NAME -o FILE"


def export(checkpoint: Path, out: Path, *, name: str, overwrite: bool = False) -> ModelInfo:
    """Turn a training checkpoint into a model file: averaged weights and tables.

    Raises ``ModelError`` if it is the checkpoint of no training of ours.
    """
    import torch

    try:
        recipe = torch.load(checkpoint, map_location="cpu", weights_only=True)["recipe"]["config"]
    except Exception as error:
        raise ModelError(f"{checkpoint} is not a checkpoint of a training: {error}") from error
    for codec in reversed([*registry.codecs()]):
        made = codec.export(checkpoint, recipe, out, name=name, overwrite=overwrite)
        if made is not None:
            return made
    raise ModelError(f"{checkpoint} is of a training {recipe!r}, which no codec here exports")
