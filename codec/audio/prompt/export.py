"""Training checkpoint -> model file in half precision, and model file -> network."""

from __future__ import annotations

from pathlib import Path

import torch

from laconic.codec import models
from laconic.codec.audio.prompt.adapter import PromptModel
from laconic.codec.audio.prompt.config import PromptConfig
from laconic.codec.audio.prompt.model import PsCodec
from laconic.codec.building import build
from laconic.codec.models import ModelInfo
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

CODEC = "pscodec"
ARCHITECTURE = "prompt"
TRAINING_ONLY = (".count", ".total")  # running means of codebooks


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Write the averaged weights of a run. Raises ``ModelError`` for a checkpoint that is none."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    try:
        config = PromptConfig.from_dict(state["network"])
        average = state["average"]
        training = history(state, checkpoint)
    except KeyError as error:
        raise ModelError(f"{checkpoint} is no checkpoint of a PSCodec: it lacks {error}") from error
    return models.write_model(
        out,
        name=name,
        codec=CODEC,
        config={"architecture": ARCHITECTURE, **config.to_dict()},
        numerics=int(NumericsProfile.INTEGER_TABLES),
        tensors={k: v.half().numpy() for k, v in average.items() if not k.endswith(TRAINING_ONLY)},
        training=training,
        overwrite=overwrite,
    )


def read_prompt(info: ModelInfo) -> PromptModel:
    """The network of a model file in float32. Raises ``ModelError`` for other files."""
    settings = {k: v for k, v in info.config.items() if k != "architecture"}
    config = PromptConfig.from_dict(settings)
    tensors = models.read_tensors(info)
    network = build(lambda: PsCodec(config), tensors, info)
    state = network.state_dict()
    stored = {k: torch.from_numpy(v).float() for k, v in tensors.items()}
    kept = {k: v for k, v in state.items() if k.endswith(TRAINING_ONLY)}
    try:
        network.load_state_dict({**kept, **stored})
    except RuntimeError as error:
        raise ModelError(f"model {info.name} does not fit its configuration: {error}") from error
    return PromptModel(network)
