"""Where stages find what earlier stages made: folders of runs side by side, named by stage."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from laconic.formats.errors import ParameterError


def has_stage(runs: Path, stage: str) -> bool:
    """Whether ``runs/stage`` holds a checkpoint."""
    return (runs / stage / "checkpoint.pt").exists()


def read_stage(runs: Path, stage: str, prefix: str = "") -> dict[str, Tensor]:
    """Averaged weights of ``runs/stage/checkpoint.pt`` whose names begin with ``prefix``, which is
    cut off. Raises ``ParameterError`` when the stage has not been trained."""
    path = runs / stage / "checkpoint.pt"
    if not path.exists():
        raise ParameterError(
            f"{path} is missing: train {stage} first, with --out {runs / stage}; the stages of one"
            " model lie side by side"
        )
    average = torch.load(path, map_location="cpu", weights_only=True)["average"]
    return {k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)}
