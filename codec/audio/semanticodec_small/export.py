"""Network <-> model file: the matrices of the blocks as int8 with a scale per row, which halves the
file at no audible cost, everything else in half precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laconic.codec.audio.semanticodec_small.config import CONFIGS, SmallConfig
from laconic.codec.audio.semanticodec_small.model import SmallSemantiCodec
from laconic.codec.building import build
from laconic.codec.models import (
    TABLE_PREFIX,
    Arrays,
    ModelInfo,
    find,
    read_tensors,
    write_model,
)
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

CODEC = "semanticodec"
ARCHITECTURE = "small"
PARTS = {  # what stages train: prefix of the names in their checkpoints and in the model
    "audio-mae": ("encoder.", "mae."),
    "audio-vocoder": ("", "vocoder."),
    "audio-tokens": ("", "tokens."),
    "audio-decoder": ("", "tokens.decoder."),
    "audio-sound": ("", "vocoder."),
    "audio-refiner": ("", "refiner."),
}
SCALE = ".scale"  # suffix of the scales of a matrix in int8
TRAINING_ONLY = "tokens.quantiser.counts"


def write_small(
    path: Path,
    model: SmallSemantiCodec,
    *,
    name: str,
    training: dict[str, Any],
    tables: Arrays | None = None,
    overwrite: bool = False,
) -> ModelInfo:
    """Write ``model`` as a file that :func:`laconic.codec.models.find` can find; ``tables`` are the
    integers of a prior of its tokens, by names that begin with ``tables.``."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for key, value in model.state_dict().items():
        weight = value.detach().cpu().float()
        if key == TRAINING_ONLY:
            continue
        if ".blocks." in key and weight.ndim == 2:
            scale = (weight.abs().amax(1) / 127).clamp(min=1e-7).half()
            rounded = (weight / scale.float()[:, None]).round().clamp(-127, 127)
            tensors[key] = rounded.to(torch.int8).numpy()
            tensors[key + SCALE] = scale.numpy()
        else:
            tensors[key] = weight.half().numpy()
    return write_model(
        path,
        name=name,
        codec=CODEC,
        config={"architecture": ARCHITECTURE, **model.config.to_dict()},
        numerics=int(NumericsProfile.INTEGER_NETWORK if tables else NumericsProfile.INTEGER_TABLES),
        tensors={**tensors, **(tables or {})},
        training=training,
        overwrite=overwrite,
    )


def with_tables(info: ModelInfo, tables: Arrays, path: Path, *, overwrite: bool) -> ModelInfo:
    """The model ``info`` with other tables of a prior, written to ``path``."""
    return write_small(
        path,
        read_small(info),
        name=info.name,
        training=info.training,
        tables=tables,
        overwrite=overwrite,
    )


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of all stages beside ``checkpoint``, which is one of them.

    Until ``audio-sound`` has been trained the vocoder of ``audio-vocoder`` takes its place, until
    ``audio-decoder`` the decoder of ``audio-tokens``; without ``audio-refiner`` there is none: a
    refiner fits the decoder that it was trained with. What no stage has trained again is that of
    the model which a run began with, its prior too, which fits its tokens less well than one of
    ``audio-prior`` would.

    Raises ``ModelError`` when ``audio-mae``, ``audio-tokens`` or a vocoder is missing, or the model
    that a run began with is not installed.
    """
    runs = checkpoint.parent.parent
    states: dict[str, dict[str, Any]] = {}
    training: dict[str, Any] = {}
    for stage in PARTS:
        path = runs / stage / "checkpoint.pt"
        if path.exists():
            states[stage] = torch.load(path, map_location="cpu", weights_only=True)
            state = states[stage]
            if state.get("start"):
                training["started_from"] = state["start"]
            if state["recipe"] is None:  # a part of the model that the run began with
                continue
            training[stage] = history(state, path)
            training[stage].pop("started_from", None)
    for needed in ("audio-mae", "audio-tokens"):
        if needed not in states:
            raise ModelError(f"{runs} lacks the stage {needed}: train it first")
    if not {"audio-vocoder", "audio-sound"} & set(states):
        raise ModelError(f"{runs} lacks the stage audio-vocoder: train it first")
    weights: dict[str, Tensor] = {}
    for stage, state in states.items():  # later stages replace what earlier ones made
        theirs, ours = PARTS[stage]
        for key, value in state["average"].items():
            if key.startswith(theirs):
                weights[ours + key.removeprefix(theirs)] = value
    recipe = next(s["recipe"] for s in states.values() if s["recipe"] is not None)
    config = CONFIGS[recipe.get("model", "small")]
    if "audio-refiner" not in training:
        config = replace(config, refiner_depth=0)
    model = SmallSemantiCodec(config)
    begun = model.state_dict()
    tables: Arrays = {}
    if "started_from" in training:
        info = find(training["started_from"]["id"])
        begun |= {k: v for k, v in read_small(info).state_dict().items() if k in begun}
        tables = {k: v for k, v in read_tensors(info).items() if k.startswith(TABLE_PREFIX)}
    try:
        known = {k: v for k, v in weights.items() if not k.startswith("refiner.") or k in begun}
        model.load_state_dict({**begun, **known})
    except RuntimeError as error:
        raise ModelError(f"the stages in {runs} are of different sizes: {error}") from error
    return write_small(out, model, name=name, training=training, tables=tables, overwrite=overwrite)


def read_small(info: ModelInfo) -> SmallSemantiCodec:
    """The network in float32, ready to use. Raises ``ModelError`` for other files."""
    if info.codec != CODEC or info.config.get("architecture") != ARCHITECTURE:
        raise ModelError(f"model {info.name} is of the codec {info.codec!r}, not a small {CODEC!r}")
    settings = {k: v for k, v in info.config.items() if k != "architecture"}
    config = SmallConfig.from_dict(settings)
    stored = read_tensors(info)
    model = build(lambda: SmallSemantiCodec(config), stored, info, SCALE)
    weights = {
        k: torch.from_numpy(v).float()
        for k, v in stored.items()
        if not k.startswith(TABLE_PREFIX) and not k.endswith(SCALE)
    }
    weights[TRAINING_ONLY] = model.tokens.quantiser.counts
    try:
        for key in (k.removesuffix(SCALE) for k in stored if k.endswith(SCALE)):
            weights[key] = weights[key] * torch.from_numpy(stored[key + SCALE]).float()[:, None]
        model.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        raise ModelError(f"model {info.name} does not fit its configuration: {error}") from error
    return model.requires_grad_(False).eval()
