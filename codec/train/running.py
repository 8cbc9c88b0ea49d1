"""The frame of a training run: its folder and checkpoints, and what an interruption keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from laconic.formats.errors import FormatError, ParameterError


class Resumable(Protocol):
    """A trainer that keeps its state in ``checkpoint``."""

    @property
    def checkpoint(self) -> Path: ...

    def load(self) -> None: ...

    def save(self) -> None: ...

    def run(self) -> None: ...


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; an interruption leaves the one before."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The checkpoint of :func:`save_state`; raises ``FormatError`` for any other file."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever a damaged file provokes
        raise FormatError(f"{path} cannot be resumed from: {error}") from error
    if not isinstance(state, dict):
        raise FormatError(f"{path} cannot be resumed from: it is no checkpoint of a training")
    return state


def log_held_out(out: Path, entry: dict[str, Any]) -> None:
    """Append what was measured on held-out data to the run's ``log.jsonl``, and print it."""
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")
    print("held-out", json.dumps(entry), flush=True)


def run_trainer(
    make: Callable[[], Resumable], out: Path, *, resume: bool, threads: int | None
) -> Path:
    """Make the trainer of the folder ``out`` and run it; returns the checkpoint's path.

    Raises ``ParameterError`` for an existing run without ``resume``, before anything is loaded.
    """
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    if (out / "checkpoint.pt").exists() and not resume:
        raise ParameterError(f"{out} holds a run already: add --resume or choose another folder")
    trainer = make()
    if resume and trainer.checkpoint.exists():
        trainer.load()
    try:
        trainer.run()
    except KeyboardInterrupt:
        trainer.save()
        raise
    return trainer.checkpoint
