"""Training checkpoint -> model file: integer weights and tables, with proof that sums are exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from laconic.codec.lossless.photo.config import CONFIGS
from laconic.codec.lossless.photo.learn import PhotoNetwork
from laconic.codec.lossless.photo.mixture import tables
from laconic.codec.lossless.photo.network import check_bounds
from laconic.codec.models import TABLE_PREFIX, ModelInfo, write_model
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError


def write_photo(
    path: Path, network: PhotoNetwork, *, name: str, training: dict[str, Any], overwrite: bool
) -> ModelInfo:
    """Write `network` as a model file; raises ``ModelError`` if a sum could reach 2^24."""
    weights = network.integers()
    for plane in range(len(network.config.hidden)):
        check_bounds(weights, plane)
    arrays = {**weights, **{TABLE_PREFIX + k: v for k, v in tables().items()}}
    return write_model(
        path,
        name=name,
        codec="photo",
        config=network.config.to_dict(),
        numerics=int(NumericsProfile.INTEGER_NETWORK),
        tensors=arrays,
        training=training,
        overwrite=overwrite,
    )


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of a run of ``laconic train photo``."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network = PhotoNetwork(CONFIGS[state["recipe"]["config"]])
        network.load_state_dict(state["average"])
        for plane in network.networks():
            plane.balance()
    except (OSError, RuntimeError, KeyError, EOFError, TypeError) as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of a photo training: {error}"
        ) from error
    training = history(state, checkpoint)
    return write_photo(out, network, name=name, training=training, overwrite=overwrite)
