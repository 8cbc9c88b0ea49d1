"""The codec ``pscodec``: files of content tokens with a prompt, whose bytes are part of the file.

The stream is that of ``semanticodec`` (SPEC.md, section 7); the prompt is a critical chunk ahead of
the segments, one byte per code. It is taken from the first ten seconds, so that a recording can be
encoded as it comes in, and costs the same whether the audio lasts seconds or hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from laconic.codec import models
from laconic.codec.audio.codec import SemantiCodec
from laconic.codec.audio.pscodec.config import HOP, PROMPT_COLUMNS, RATE
from laconic.codec.base import Recipes
from laconic.formats.audio import Audio, resample
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import PROMPT, Chunk
from laconic.formats.errors import FormatError, ModelError

if TYPE_CHECKING:
    from laconic.codec.audio.loading import LoadedModel
    from laconic.codec.audio.pscodec.model import PromptModel
    from laconic.codec.models import ModelInfo


class PromptCodec(SemantiCodec):
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "pscodec"
    codec_id = 8
    default_model = "pscodec-base"
    recipes: ClassVar[Recipes] = {
        "pscodec": ("minutes", "batch", "threads", "init", "config", "full", "steps", "device")
    }

    def prepare(self, model: LoadedModel, source: AudioSource) -> tuple[LoadedModel, list[Chunk]]:
        network = _network(model)
        if not network.prompt_vocabularies:
            return model, []
        block = source.peek(PROMPT_COLUMNS * HOP / RATE)
        mono = Audio(block.mean(0, keepdims=True, dtype=np.float32).clip(-1, 1), source.rate)
        wave = resample(mono, RATE).samples if source.rate != RATE else mono.samples
        import torch

        codes = network.prompt(torch.from_numpy(wave))
        data = bytes(codes[0].tolist())
        return replace(model, network=network.prompted(codes)), [Chunk(PROMPT, data)]

    def restore(self, model: LoadedModel, chunks: list[Chunk]) -> LoadedModel:
        network = _network(model)
        count = len(network.prompt_vocabularies)
        data = next((c.data for c in chunks if c.type == PROMPT), b"")
        if len(data) != count:
            raise FormatError(
                f"the prompt of the audio has {len(data)} codes: its model {model.info.name} needs"
                f" {count}; the file is damaged"
            )
        for code, size in zip(data, network.prompt_vocabularies, strict=True):
            if code >= size:
                raise FormatError(f"the prompt's code {code} is none of {size}: damaged file")
        import torch

        codes = torch.tensor([list(data)], dtype=torch.int64).view(1, count)
        return replace(model, network=network.prompted(codes))

    def import_checkpoint(self, files: Sequence[Path], **how: Any) -> ModelInfo | None:
        """No weights were published."""
        return None

    def export(self, checkpoint: Path, recipe: str, out: Path, **how: Any) -> ModelInfo | None:
        from laconic.codec.audio.pscodec.model import export_checkpoint

        return export_checkpoint(checkpoint, out, **how) if recipe in self.recipes else None

    def train(self, recipe: str, data: Sequence[Path], out: Path, **options: Any) -> str:
        from laconic.codec.audio.pscodec.config import config_of
        from laconic.codec.train import pscodec

        how = {k: options.pop(k) for k in ("resume", "threads") if k in options}
        init = options.pop("init", None)
        variant, full = options.pop("config", "base"), options.pop("full", False)
        options.pop("report", None)
        checkpoint = pscodec.run(
            pscodec.PromptRecipe(variant=variant, **options),
            config_of(variant, full=full),
            list(data),
            out,
            init=None if init is None else Path(init),
            **how,
        )
        return models.exportable(checkpoint)


def _network(model: LoadedModel) -> PromptModel:
    from laconic.codec.audio.pscodec.model import PromptModel

    if not isinstance(model.network, PromptModel):
        raise ModelError(f"the model {model.info.name} knows no prompts: it is no PSCodec")
    return model.network
