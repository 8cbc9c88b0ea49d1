"""Network <-> model file: half-precision weights and integer tables; export of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from laconic.codec.building import build
from laconic.codec.image.config import CONFIGS, MlicConfig
from laconic.codec.image.model import Mlic
from laconic.codec.image.order import KEY
from laconic.codec.models import ModelInfo, read_tensors, write_model
from laconic.entropy import CdfTables, NumericsProfile, gaussian_scales, gaussian_tables
from laconic.formats.errors import FormatError, ModelError

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


def read_mlic(info: ModelInfo) -> tuple[Mlic, CdfTables]:
    """The network in float32 and the coding tables of a model file; raises ``ModelError``."""
    if info.codec != "mlic" or info.numerics != NumericsProfile.FLOAT64_GUARD:
        raise ModelError(f"model {info.name} is made for the codec {info.codec!r}, not for 'mlic'")
    stored = read_tensors(info)
    config = MlicConfig.from_dict({k: v for k, v in info.config.items() if k != KEY})
    network = build(lambda: Mlic(config), stored, info)
    weights, tables = {}, {}
    for name, array in stored.items():
        if name.startswith(TABLE_PREFIX):
            tables[name.removeprefix(TABLE_PREFIX)] = array
        else:
            weights[name] = torch.from_numpy(array).float()
    try:
        network.load_state_dict(weights)
        return network, CdfTables.from_arrays(tables)
    except (RuntimeError, FormatError) as error:
        raise ModelError(f"model {info.name} does not fit its configuration: {error}") from error


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of a run of ``laconic train``."""
    from laconic.codec.train.running import history

    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        config: MlicConfig = CONFIGS[state["recipe"]["config"]]
        model = Mlic(config)
        model.load_state_dict(state["average"])
    except (OSError, RuntimeError, KeyError, EOFError, TypeError) as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of an image training: {error}"
        ) from error
    training = history(state, checkpoint)
    return write_mlic(out, model, name=name, training=training, overwrite=overwrite)
