"""The frame of a training run: its folder, resuming, and what an interruption keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from laconic.formats.errors import ParameterError


class Resumable(Protocol):
    """A trainer that keeps its state in ``checkpoint``."""

    @property
    def checkpoint(self) -> Path: ...

    def load(self) -> None: ...

    def save(self) -> None: ...

    def run(self) -> None: ...


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
