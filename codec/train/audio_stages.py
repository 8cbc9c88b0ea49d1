"""Where stages find what earlier stages made: folders of runs side by side, named by stage.

A model that is installed can take the place of earlier runs, so that a later stage goes on from it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laconic.codec import models
from laconic.codec.audio.small.config import CONFIGS
from laconic.codec.audio.small.export import PARTS, read_small
from laconic.codec.train.running import save_state
from laconic.formats.errors import ModelError, ParameterError

AFTER = {"audio-tokens": "audio-mae", "audio-decoder": "audio-tokens"}  # what is of no use without


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


def begin_from(name: str, size: str, runs: Path, stage: str) -> dict[str, Any]:
    """Unpack the installed model ``name`` into the stages before ``stage`` that ``runs`` lacks, but
    for what a stage that was trained here has made stale.

    Returns ``stage``'s own part of it as ``weights`` and where it comes from as ``start``.

    Raises ``ModelError`` when there is no such model or it is of another kind or size.
    """
    info = models.find(name)
    network = read_small(info)
    wanted = CONFIGS[size]
    # What an older model lacks begins as zero, a refiner anew.
    free = {k: getattr(wanted, k) for k in ("pitch", "rounds", "refiner_depth")}
    if replace(network.config, **free) != wanted:
        raise ModelError(
            f"model {name} is of another size than {size!r}: train the size that it was made with"
        )
    weights = network.state_dict()
    start = {"name": info.name, "id": info.id, **info.training}

    def part(of: str) -> dict[str, Tensor]:
        ours, theirs = PARTS[of]
        found = {k: v for k, v in weights.items() if k.startswith(theirs)}
        return {ours + k.removeprefix(theirs): v.clone() for k, v in found.items()}

    stale: set[str] = set()  # stages that were trained here, and what the model has after them
    for earlier in list(PARTS)[: list(PARTS).index(stage)]:
        if has_stage(runs, earlier):
            path = runs / earlier / "checkpoint.pt"
            if torch.load(path, map_location="cpu", weights_only=True)["recipe"] is not None:
                stale.add(earlier)
        elif AFTER.get(earlier) in stale:
            stale.add(earlier)
        else:
            (runs / earlier).mkdir(parents=True, exist_ok=True)
            state = {"average": part(earlier), "start": start, "step": 0, "seconds": 0.0}
            save_state(runs / earlier / "checkpoint.pt", {**state, "recipe": None})
    return {"weights": part(stage), "start": start}
