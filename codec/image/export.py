"""Training checkpoint -> model file that ships: half-precision weights and integer tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from laconic.codec.image.config import CONFIGS, MlicConfig
from laconic.codec.image.model import Mlic
from laconic.codec.models import ModelInfo, write_model
from laconic.entropy import NumericsProfile, gaussian_scales, gaussian_tables
from laconic.formats.errors import ModelError

TABLE_PREFIX = "tables."


def model_tensors(model: Mlic) -> dict[str, np.ndarray[Any, Any]]:
    """Weights as float16 and the Gaussian tables of the configuration as integers."""
    config = model.config
    tensors = {k: v.detach().cpu().half().numpy() for k, v in model.state_dict().items()}
    scales = gaussian_scales(config.scale_count, config.scale_low, config.scale_high)
    arrays = gaussian_tables(scales).to_arrays()
    return {**tensors, **{TABLE_PREFIX + k: v for k, v in arrays.items()}}


def write_mlic(
    path: Path, model: Mlic, *, name: str, training: dict[str, Any], overwrite: bool = False
) -> ModelInfo:
    """Write ``model`` as a file that :func:`laconic.codec.models.find` can find."""
    return write_model(
        path,
        name=name,
        codec="mlic",
        config=model.config.to_dict(),
        numerics=int(NumericsProfile.FLOAT64_GUARD),
        tensors=model_tensors(model),
        training=training,
        overwrite=overwrite,
    )


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of a run of ``laconic train``."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        config: MlicConfig = CONFIGS[state["recipe"]["config"]]
        model = Mlic(config)
        model.load_state_dict(state["average"])
    except (OSError, RuntimeError, KeyError, EOFError, TypeError) as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of an image training: {error}"
        ) from error
    training: dict[str, Any] = {
        "recipe": state["recipe"],
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60, 1),
    }
    log = checkpoint.parent / "log.jsonl"
    if log.exists():
        training["held_out"] = json.loads(log.read_text().splitlines()[-1])
    return write_mlic(out, model, name=name, training=training, overwrite=overwrite)
