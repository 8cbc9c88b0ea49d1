"""The codec ``pscodec``: files of content tokens with a prompt, whose bytes are part of the file.

The stream is that of ``semanticodec`` (SPEC.md, section 7); the prompt is a critical chunk ahead of
the segments, one byte per code. It is taken from the first ten seconds, so that a sound can be
encoded as it comes in, and costs the same whether the sound lasts seconds or hours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from laconic.codec.audio.codec import SemantiCodec
from laconic.codec.audio.loading import LoadedModel
from laconic.codec.audio.prompt.adapter import PromptModel
from laconic.codec.audio.prompt.config import HOP, PROMPT_COLUMNS, RATE
from laconic.formats.audio import Audio, resample
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import PROMPT, Chunk
from laconic.formats.errors import FormatError, ModelError


class PromptCodec(SemantiCodec):
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "pscodec"
    codec_id = 8
    default_model = "pscodec-base"

    def prepare(self, model: LoadedModel, source: AudioSource) -> tuple[LoadedModel, list[Chunk]]:
        network = _network(model)
        if not network.prompt_vocabularies:
            return model, []
        block = source.peek(PROMPT_COLUMNS * HOP / RATE)
        mono = Audio(block.mean(0, keepdims=True, dtype=np.float32).clip(-1, 1), source.rate)
        wave = resample(mono, RATE).samples if source.rate != RATE else mono.samples
        codes = network.prompt(torch.from_numpy(wave))
        data = bytes(codes[0].tolist())
        return replace(model, network=network.prompted(codes)), [Chunk(PROMPT, data)]

    def restore(self, model: LoadedModel, chunks: list[Chunk]) -> LoadedModel:
        network = _network(model)
        count = len(network.prompt_vocabularies)
        data = next((c.data for c in chunks if c.type == PROMPT), b"")
        if len(data) != count:
            raise FormatError(
                f"the prompt of the sound has {len(data)} codes: its model {model.info.name} needs"
                f" {count}; the file is damaged"
            )
        for code, size in zip(data, network.prompt_vocabularies, strict=True):
            if code >= size:
                raise FormatError(f"the prompt's code {code} is none of {size}: damaged file")
        codes = torch.tensor([list(data)], dtype=torch.int64).view(1, count)
        return replace(model, network=network.prompted(codes))


def _network(model: LoadedModel) -> PromptModel:
    if not isinstance(model.network, PromptModel):
        raise ModelError(f"the model {model.info.name} knows no prompts: it is no PSCodec")
    return model.network
