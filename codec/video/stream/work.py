"""The work file: what fitting has reached, so that a killed encoder goes on where it was.

A safetensors file beside the target (``clip.lac.work``), replaced in one step every now and then,
with the payloads of finished chunks, the states of unfinished ones and, for the chain, the weights
that the next chunk starts from. Its key names the film and all settings that decide the stream: a
file with another key is never continued.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from laconic.formats.atomic import atomic_write
from laconic.formats.errors import FormatError, OutputError

VERSION = 1
NAME = "laconic work"


@dataclass(frozen=True)
class Fitted:
    """A chunk's payload, its symbol check, and the PSNR of each frame decoded from it."""

    payload: bytes
    check: int
    psnr: tuple[float, ...] = ()


@dataclass
class Work:
    """Progress of one encoding. ``path`` None keeps it in memory only."""

    key: str
    path: Path | None = None
    done: dict[int, Fitted] = field(default_factory=dict)
    states: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    warm: Mapping[str, Any] | None = None
    warm_of: int = -1  # the chunk that ``warm`` comes from

    def save(self) -> None:
        """Replace the file. Raises ``OutputError``, and the file of before stays."""
        if self.path is None:
            return
        from safetensors.torch import save

        tensors: dict[str, Any] = {}
        facts: dict[str, Any] = {
            "version": VERSION,
            "key": self.key,
            "done": {str(n): [f.check, list(f.psnr)] for n, f in self.done.items()},
            "states": {str(n): _split(s, f"states/{n}", tensors) for n, s in self.states.items()},
            "warm": None if self.warm is None else _split(self.warm, "warm", tensors),
            "warm_of": self.warm_of,
        }
        for n, fitted in self.done.items():
            tensors[f"done/{n}"] = _tensor(np.frombuffer(fitted.payload, np.uint8))
        data = save(tensors, {NAME: json.dumps(facts)})
        try:
            with atomic_write(self.path, overwrite=True) as file:
                file.write(data)
        except OutputError as error:
            kept = "what was saved before is kept" if self.path.exists() else "nothing was saved"
            raise OutputError(
                f"{error} by the unfinished encoding; {kept}: make room and run the same command"
                " again"
            ) from error

    def remove(self) -> None:
        """Delete the file, if there is one."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def load(path: Path) -> Work:
    """Read a work file. Raises ``FormatError`` for anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[NAME])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if facts["version"] != VERSION:
            raise FormatError(f"{path} was written by another version: delete it to begin anew")
        done = {
            int(n): Fitted(tensors[f"done/{n}"].numpy().tobytes(), int(check), tuple(psnr))
            for n, (check, psnr) in facts["done"].items()
        }
        states = {
            int(n): _joined(layout, f"states/{n}", tensors) for n, layout in facts["states"].items()
        }
        warm = None if facts["warm"] is None else _joined(facts["warm"], "warm", tensors)
        return Work(str(facts["key"]), path, done, states, warm, int(facts["warm_of"]))
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} is no work file: delete it to begin anew") from error


def _tensor(array: Any) -> Any:
    import torch

    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.array(array, order="C"))  # numbers of torch's own kinds
    return array.detach().cpu().contiguous().clone()


def _split(value: Any, name: str, tensors: dict[str, Any]) -> Any:
    """The JSON-able layout of nested mappings; arrays go to ``tensors`` under their path."""
    import torch

    if isinstance(value, np.ndarray | torch.Tensor):
        tensors[name] = _tensor(value)
        return {"array": "numpy" if isinstance(value, np.ndarray) else "torch"}
    if isinstance(value, Mapping):
        return {"map": {str(k): _split(v, f"{name}/{k}", tensors) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_split(v, f"{name}/{k}", tensors) for k, v in enumerate(value)]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{name} is a {type(value).__name__}: it cannot be kept in a work file")
    return {"value": value}


def _joined(layout: Any, name: str, tensors: Mapping[str, Any]) -> Any:
    """Inverse of :func:`_split`."""
    ((kind, inner),) = layout.items()
    if kind == "array":
        return tensors[name].numpy() if inner == "numpy" else tensors[name]
    if kind == "map":
        return {k: _joined(v, f"{name}/{k}", tensors) for k, v in inner.items()}
    if kind in ("list", "tuple"):
        values = (_joined(v, f"{name}/{k}", tensors) for k, v in enumerate(inner))
        return list(values) if kind == "list" else tuple(values)
    return inner
