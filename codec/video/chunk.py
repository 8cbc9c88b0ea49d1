"""Chunks of video: what the stream around them needs to know.

`Fit` turns frames into a payload, `decode` a payload into a decoder that evaluates any frame. Both
choose by the kind of network: `laconic.codec.video.motion`, `laconic.codec.video.motion1` for kind
4, or one of the others. All but the first need torch, which is imported when a chunk asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.decode import Clip, HybridDecoder, decode_hybrid
from laconic.codec.video.motion.fit import HybridFit
from laconic.codec.video.plan import KINDS
from laconic.codec.video.settings import FitSettings
from laconic.formats.errors import DEFAULT_LIMITS, Limits
from laconic.formats.frame import read_varint

PLANAR = ("motion",)  # networks whose fits take a `Clip`
__all__ = ["Clip", "Fit", "FitSettings", "HybridDecoder", "decode"]


def _kind(settings: FitSettings) -> Any:
    if settings.network == "motion":
        return HybridFit
    from laconic.codec.video import fit

    return fit.Fit


class Fit:
    """A fit of the kind that the settings name: a `HybridFit` or a `fit.Fit`."""

    def __new__(  # type: ignore[misc]
        cls,
        frames: NDArray[np.uint8] | Clip,
        settings: FitSettings,
        init: Mapping[str, Any] | None = None,
    ) -> Any:
        """See ``laconic.codec.video.fit.Fit``; "motion" takes a `Clip`, the others RGB."""
        return _kind(settings)(frames, settings, init)

    @classmethod
    def resume(
        cls, frames: NDArray[np.uint8] | Clip, settings: FitSettings, state: Mapping[str, Any]
    ) -> Any:
        """A fit that goes on where its ``state()`` was taken."""
        return _kind(settings).resume(frames, settings, state)


def decode(
    payload: bytes,
    frames: int,
    width: int,
    height: int,
    limits: Limits = DEFAULT_LIMITS,
    device: str | None = None,
) -> Any:
    """Decode the integers of a payload: a `HybridDecoder`, or a decoder of the modules
    ``chunk_module`` and ``motion1.decoder``.

    Args:
        payload: of ``Fit.payload``.
        frames, width, height: of the chunk.
        device: where a fitted network is evaluated.

    Raises:
        FormatError: damaged. LimitError: too large. UnsupportedError: a newer kind of network.
    """
    limits.check("the number of frames", frames, limits.frames)
    limits.check_pixels(width, height)
    kind = read_varint(payload, 0)[0]
    if kind == KINDS["motion"]:
        return decode_hybrid(payload, frames, width, height, limits)
    if kind == KINDS["motion-1"]:
        from laconic.codec.video.motion1.decoder import decode_motion

        return decode_motion(payload, frames, width, height, limits)
    from laconic.codec.video import chunk_module

    return chunk_module.decode(payload, frames, width, height, limits, device)
