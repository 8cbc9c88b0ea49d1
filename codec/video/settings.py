"""What a user chooses about a video.

What a user chooses about a fit, and what the presets make of it.

What the video codecs can be told. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.devices import chosen
from laconic.codec.options import option
from laconic.codec.video.plan import FITTED
from laconic.formats.errors import ParameterError

DEFAULT_QUALITY = 50.0
PATIENCE = 600.0  # seconds of a preset that nobody asked for
SEARCH = "fast"  # the one preset of "motion"
PRESETS = {"fast": 1000, "medium": 5000, "slow": 25000}


def check_frames(frames: NDArray[Any]) -> None:
    """Raise ``ParameterError`` unless there are frames uint8 ``[N, H, W, 3]``, at least one."""
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ParameterError(
            f"frames are {list(frames.shape)} {frames.dtype}: expected [N, H, W, 3] uint8,"
            " at least one"
        )


@dataclass(frozen=True)
class FitSettings:
    """Settings of the fit of one chunk.

    Attributes:
        network: "motion", "grids", "hnerv-boost" or "hnerv".
        preset: "fast", "medium" or "slow": steps of the optimiser, see ``PRESETS``; "motion" has
            ``SEARCH`` alone.
        target_bytes: of this chunk's payload, an upper bound.
        quality: 0..100, when no target is given; 50 by default.
        seed: of the initial weights and the order of frames.
        device: where a network is fitted; None is the one in use, or the best there is.
    """

    network: str = "motion"
    preset: str = SEARCH
    target_bytes: int | None = None
    quality: float | None = None
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        if self.network not in ("motion", *FITTED):
            raise ParameterError(
                f"there is no network {self.network!r} to encode with: expected one of"
                f" {', '.join(('motion', *FITTED))}"
            )
        if self.preset not in PRESETS:
            raise ParameterError(
                f"there is no preset {self.preset!r}: expected one of {', '.join(PRESETS)}"
            )
        if self.network == "motion" and self.preset != SEARCH:
            raise ParameterError(
                f"'motion' has no preset {self.preset!r}, since a longer search saves too little:"
                f" leave it out, or choose {SEARCH!r}"
            )
        if self.target_bytes is not None and self.quality is not None:
            raise ParameterError("a target size and a quality were given: give one of them")
        if self.target_bytes is not None and self.target_bytes < 1:
            raise ParameterError(f"the target is {self.target_bytes} bytes: expected 1 or more")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise ParameterError(f"the quality is {self.quality}: expected 0 to 100")


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted; the values that measured best for each kind.

    Attributes:
        loss: a key of ``training.LOSSES``.
        optimiser: "adan" or "adam".
        rate: learning rate of weights.
        quantise_from: share of the steps after which codes are rounded and rate is paid.
        weights_from: share of the steps after which weights too are rounded and paid, if later:
            weights that start at zero never grow when they cost from the beginning.
        levels: steps that span eight deviations of a tensor when quantisation starts: 256 are
            the 8 bits of the published fits, from which steps drift to the bits aimed at.
        power: how the loss falls with the squared error: 1 like it, 0.5 like its root.
        batch: frames a step, until then.
    """

    loss: str = "squared"
    optimiser: str = "adan"
    rate: float = 3e-3
    quantise_from: float = 0.5
    weights_from: float = 0.0
    levels: float = 256.0
    power: float = 1.0
    batch: int = 1


RECIPES = {
    "hnerv": Recipe(optimiser="adam", rate=1e-3),
    "hnerv-boost": Recipe(loss="boosted", power=0.5),
    "grids": Recipe(rate=3e-3, quantise_from=0.0, weights_from=0.5, levels=16.0),
}


@dataclass(frozen=True)
class Aim:
    """What a fit steers to: a weight of the rate, or a number of bytes.

    Attributes:
        bpp: expected bits per pixel, from which widths are chosen.
        trade: squared error (of samples in 0..1) that one bit per pixel may save; fixed unless
            there is a target.
        target_bytes: upper bound, or None.
    """

    bpp: float
    trade: float
    target_bytes: int | None

    @classmethod
    def of(cls, settings: FitSettings, pixels: int) -> Aim:
        """From settings, for a chunk of ``pixels`` in all frames together.

        A quality q expects 26 + 0.14 q dB at 0.03 x 2^(q / 20) bits per pixel; on such a
        curve one more bit per pixel is worth 0.7 x squared error / bits per pixel.
        """
        quality = DEFAULT_QUALITY if settings.quality is None else settings.quality
        bpp = 0.03 * 2 ** (quality / 20)
        error = 10 ** -((26 + 0.14 * quality) / 10)
        if settings.target_bytes is not None:
            bpp = settings.target_bytes * 8 / pixels
            error = 1e-3
        return cls(bpp, 0.7 * error / bpp, settings.target_bytes)


# Seconds of one slow core for a megapixel: of video at quality 50, and of one step of a fit.
MOTION_SECONDS = 2.9
STEP_SECONDS = {"grids": 0.75, "hnerv": 0.75, "hnerv-boost": 1.9}
PASSES_EXPECTED = 4  # of "motion" towards a target


def expected_seconds(settings: FitSettings, pixels: int, frames: int, chunks: int) -> float:
    """How long a video takes on one slow core, within a factor of about two.

    Args:
        settings: without a quality there is a target.
        pixels: of a frame.
        frames, chunks: of the video.
    """
    if settings.network != "motion":
        return PRESETS[settings.preset] * chunks * STEP_SECONDS[settings.network] * pixels / 1e6
    seconds = MOTION_SECONDS * pixels * frames / 1e6
    if settings.quality is None:
        return PASSES_EXPECTED * seconds
    return float(seconds * 2 ** ((settings.quality - DEFAULT_QUALITY) / 25))


@dataclass(frozen=True)
class VideoOptions(EncodeSettings):
    """Options of every video encoder."""

    preset: str | None = option(
        None, "How long a network is fitted to a video; motion has fast alone.",
        choices=tuple(PRESETS), shown="medium, or fast where that takes more than ten minutes",
    )  # fmt: skip
    fps: float | None = option(
        None, "Of a folder of images: how many are shown a second.", low=0.01, high=1000,
        unit="frames", shown="as its timestamps.txt says, or 25",
    )  # fmt: skip
    chunk: int | None = option(
        None, "Frames that are fitted together.", unit="frames", low=1,
        shown="by scenes and memory",
    )  # fmt: skip
    audio: bool = option(True, "Carry the audio tracks.")
    jobs: int = option(
        1, "Chunks fitted at a time; 1 lets each start from the one before.", low=1, flag=False
    )
    spread: int = option(
        0, "Threads of a chunk as a task of the Ray cluster that this runs on; 0 fits here.",
        low=0, flag=False,
    )  # fmt: skip
    work: str | None = option(
        None, "Path of the work file that makes encoding resumable.", flag=False
    )
    fresh: bool = option(False, "Replace a work file that belongs to something else.", flag=False)


@dataclass(frozen=True)
class HnervOptions(VideoOptions):
    """Options of the encoder of fitted networks."""

    network: str | None = option(None, "What is fitted to it.", choices=FITTED, shown=FITTED[0])
    device: str | None = chosen("auto for fitted videos")


@dataclass(frozen=True)
class VideoDecodeOptions(DecodeSettings):
    """Options of every video decoder."""

    audio: bool = option(True, "Decode the audio tracks.")


@dataclass(frozen=True)
class HnervDecodeOptions(VideoDecodeOptions):
    """Options of the decoder of fitted networks."""

    device: str | None = chosen("auto for fitted videos")
