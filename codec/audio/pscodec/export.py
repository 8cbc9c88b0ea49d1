"""PSCodec as a model file, and as a model that codes files.

A loaded PSCodec behind the file-level interface, and its extension by prompts.

Training checkpoint -> model file in half precision, and model file -> network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from laconic.codec import models
from laconic.codec.audio.pscodec.config import HOP, RATE, WINDOW, PromptConfig
from laconic.codec.audio.pscodec.model import PsCodec
from laconic.codec.audio.windows import AudioModel
from laconic.codec.building import build
from laconic.codec.models import ModelInfo
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

SHORTEST = 4  # columns that frames of the STFT need around them


class PromptedModel(AudioModel, Protocol):
    """An :class:`AudioModel` whose decoder is told something once per file."""

    prompt_vocabularies: tuple[int, ...]  # alphabets of the prompt's codes

    def prompt(self, wave: Tensor) -> Tensor:
        """``[B, samples]`` -> int64 ``[B, codes]``, from the first ten seconds."""
        ...

    def prompted(self, codes: Tensor) -> PromptedModel:
        """The same network for recordings of one prompt, int64 ``[1, codes]``."""
        ...


class PromptModel:
    """Implements :class:`PromptedModel`.

    Streams of which a whole residual layer is missing leave the layer out; a missing group of
    channels is zero, which is worse than the model's rate suggests.
    """

    rate, hop, positions, window = RATE, HOP, 1, WINDOW
    knots = 0

    def __init__(self, network: PsCodec, codes: Tensor | None = None) -> None:
        self.network = network.eval().requires_grad_(False)
        self.vocabularies = network.config.vocabularies
        self.prompt_vocabularies = network.config.prompts
        empty = torch.zeros(1, len(self.prompt_vocabularies), dtype=torch.int64)
        self._codes = empty if codes is None else codes

    def to(self, device: torch.device) -> PromptModel:
        """Work on a device from now on."""
        self.network.to(device)
        return self

    def _here(self, x: Tensor) -> Tensor:
        return x.to(next(self.network.parameters()).device)

    def prompt(self, wave: Tensor) -> Tensor:
        return self.network.prompt_codes(self._here(wave))

    def prompted(self, codes: Tensor) -> PromptModel:
        return PromptModel(self.network, codes)

    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns, streams]``."""
        columns = -(-wave.shape[1] // HOP)
        padded = F.pad(self._here(wave), (0, max(columns, SHORTEST) * HOP - wave.shape[1]))
        return self.network.tokens(padded)[:, :columns, :streams]

    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Tensor:
        """Deterministic: there is no refiner, so ``steps`` and ``seed`` change nothing."""
        columns = tokens.shape[1]
        padded = F.pad(self._here(tokens), (0, 0, 0, max(0, SHORTEST - columns)))
        waves = self.network.synthesise(padded, self._here(self._codes).expand(len(tokens), -1))
        return waves[:, : columns * HOP].clamp(-1, 1)


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
