"""The toolkit's own film codec as a subject of evaluations, beside FFmpeg's encoders.

The variant is a preset or a kind of network, or both as ``NETWORK+PRESET``; ``fast`` is the default
preset here, since every point is a fit of its own. Sound is left out, as the baselines do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec import api
from laconic.codec.base import FilmSettings
from laconic.codec.evaluate.items import Item
from laconic.codec.video.header import CODEC_VERSION, NETWORKS
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError

PRESETS = ("fast", "medium", "slow")


class RegisteredFilmCodec:
    """A film codec of the registry."""

    media = Media.VIDEO
    suffix = ".lac"
    qualities: Sequence[float | None] = (10, 30, 50, 70)
    scale = "quality 0..100"

    def __init__(self, name: str, variant: str | None) -> None:
        self.name, self.preset = name, "fast"
        self.network: str | None = None
        for part in (variant or "").split("+") if variant else ():
            if part in PRESETS:
                self.preset = part
            elif part in NETWORKS:
                self.network = part
            else:
                known = ", ".join((*PRESETS, *NETWORKS))
                raise ParameterError(f"{name} has no variant {part!r}: expected among {known}")
        self.label = name if variant is None else f"{name}@{variant}"

    def prepare(self) -> None:
        """Load torch and the networks."""
        import laconic.codec.video.chunk  # noqa: F401

    def describe(self) -> dict[str, Any]:
        """What decides the bytes."""
        network = self.network or "default"
        return {"codec": self.name, "codec_version": CODEC_VERSION, "network": network,
                "preset": self.preset, "scale": self.scale}  # fmt: skip

    def encode(self, item: Item, quality: float | None) -> bytes:
        return api.encode(
            item.path,
            codec=self.name,
            model=self.network,
            quality=quality,
            preset=self.preset,
            film=FilmSettings(audio=False),
            verify=False,
            limits=item.limits,
        )

    def decode(self, data: bytes, item: Item) -> Iterator[NDArray[np.uint8]]:
        for frame in api.decode(data, limits=item.limits).stored():
            yield np.broadcast_to(frame, (*frame.shape[:2], 3))
