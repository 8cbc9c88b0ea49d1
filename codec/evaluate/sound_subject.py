"""Audio codecs of the registry as subjects of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from laconic.codec import api
from laconic.codec.evaluate.items import Item
from laconic.formats.audio import Audio
from laconic.formats.container import Media


class RegisteredSoundCodec:
    """An audio codec at several numbers of streams."""

    media = Media.AUDIO
    suffix = ".lac"
    qualities: Sequence[float | None] = (0, 8, 17, 33, 50, 67, 100)
    scale = "quality 0..100"

    def __init__(self, name: str, model: str | None) -> None:
        self.name, self.model = name, model
        self.label = name if model is None else f"{name}@{model}"

    @cached_property
    def _tiny(self) -> bytes:
        noise = np.random.default_rng(0).standard_normal((1, 16000)) * 0.1
        return api.encode(Audio(noise.astype(np.float32), 16000), codec=self.name, model=self.model)

    def prepare(self) -> None:
        """Load the model."""
        api.decode(self._tiny)

    def describe(self) -> dict[str, Any]:
        """The model that is used."""
        info = api.probe(self._tiny)
        return {"codec": self.name, "codec_version": info.codec_version, "model": info.model,
                "model_id": info.model_id, "steps": info.settings["steps"]}  # fmt: skip

    def encode(self, item: Item, quality: float | None) -> bytes:
        """The bytes of a file."""
        return api.encode(
            item.audio, codec=self.name, quality=quality, model=self.model, verify=False
        )

    def decode(self, data: bytes, item: Item) -> Audio:
        """The sound."""
        decoded: Audio = api.decode(data, limits=item.limits)
        return decoded
