"""Coding of tiles along a wavefront, several tiles of one shape in step.

Sample (y, x) is coded at step x + 3 y, when all its causal neighbours (at most two to the right in
the row above, three in the row above that) are known; all samples of a step are one front, and one
call of the network. Planes follow each other, so that a plane sees the earlier ones whole. The
encoder knows all samples and needs no front: it computes everything in large blocks and runs only
the coder step by step. Both compute the same numbers (`tests/test_photo_exact.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.context import (
    EARLIER,
    OWN,
    SLOPE,
    Floats,
    Indexes,
    features,
    neighbour_index,
)
from laconic.codec.lossless.photo.mixture import Mixture
from laconic.codec.lossless.photo.network import PhotoModel
from laconic.codec.lossless.photo.rans import LaneDecoder, LaneEncoder

BLOCK = 8192  # samples that the encoder handles at a time


@dataclass(frozen=True)
class Schedule:
    """Order of the samples of a tile and where their neighbours are."""

    order: Indexes  # [H * W], place in the plane of each sample in coding order
    steps: NDArray[np.intp]  # first sample of each step, and the end
    own: Indexes  # [A, H * W], neighbours in coding order
    around: Indexes  # [B, H * W]

    @property
    def fronts(self) -> NDArray[np.intp]:
        """Samples of each step."""
        return np.diff(self.steps)


@lru_cache(maxsize=4)
def schedule(height: int, width: int) -> Schedule:
    """The schedule of tiles of that shape."""
    y, x = np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width))
    step = x + SLOPE * y
    order = np.argsort(step, kind="stable").astype(np.int32)
    counts = np.bincount(step)
    counts = counts[counts > 0]
    y, x = y[order], x[order]
    return Schedule(
        order,
        np.concatenate(([0], np.cumsum(counts))),
        neighbour_index(y, x, height, width, OWN[0], causal=True),
        neighbour_index(y, x, height, width, EARLIER[1], causal=False),
    )


def _planes(shape: tuple[int, ...], octaves: int) -> list[Floats]:
    """Zeroed planes [T, H * W + 1] of difference to green, with the constant at the end."""
    tiles, height, width, channels = shape
    planes = [np.zeros((tiles, height * width + 1), np.float32) for _ in range(channels)]
    planes[0][:, -1] = 128 << octaves
    return planes


CHANNEL = (1, 0, 2)  # channel of each plane of RGB: green, red, blue


def _mixture(
    model: PhotoModel,
    planes: Sequence[Floats],
    plan: Schedule,
    span: slice,
    plane: int,
    octaves: int,
    offset: Indexes,
) -> tuple[Mixture, Floats | None]:
    """Distributions of the samples `span` of all tiles [T * n], and green at them."""
    count = len(OWN[plane])
    own = (plan.own[:count, None, span] + offset).reshape(count, -1)
    earlier = []
    if plane:
        around = (plan.around[:, None, span] + offset).reshape(len(plan.around), -1)
        earlier = [planes[p].reshape(-1).take(around) for p in range(plane)]
    f = features(plane, planes[plane].reshape(-1).take(own), earlier, octaves)
    out = model.networks[plane](f.inputs)
    return model.tables.mixture(out, f.base, f.scale), earlier[0][0] if plane else None


def encode_tiles(model: PhotoModel, tiles: NDArray[np.uint16], bits: int) -> list[bytes]:
    """Streams of tiles [T, H, W, C] of samples below 2^bits, C = 1 or 3, bits 8 to 16."""
    count, height, width, channels = tiles.shape
    plan = schedule(height, width)
    planes = _planes(tiles.shape, bits - 8)
    samples = tiles.reshape(count, -1, channels)
    for number, plane in enumerate(planes):
        plane[:, :-1] = samples[..., CHANNEL[number] if channels == 3 else 0]
        if number:
            plane[:, :-1] -= planes[0][:, :-1]
    starts = np.empty((channels, count, height * width), np.uint64)
    widths = np.empty_like(starts)
    step = max(1, BLOCK // count)
    offset = (np.arange(count, dtype=np.int32) * np.int32(height * width + 1))[:, None]
    for number in range(channels):
        for first in range(0, height * width, step):
            span = slice(first, min(first + step, height * width))
            mixture, green = _mixture(model, planes, plan, span, number, bits - 8, offset)
            value = planes[number].take(plan.order[span], axis=1).reshape(-1).astype(np.float64)
            if green is not None:
                value += green
            start, width_ = model.tables.interval(mixture, value, 1 << bits)
            starts[number, :, span] = start.reshape(count, -1)
            widths[number, :, span] = width_.reshape(count, -1)
    fronts = np.tile(plan.fronts, channels)
    coder = LaneEncoder(count, fronts)
    for number in reversed(range(channels)):
        for step in reversed(range(len(plan.steps) - 1)):
            span = slice(plan.steps[step], plan.steps[step + 1])
            coder.push(starts[number, :, span], widths[number, :, span])
    return coder.finish()


def decode_tiles(
    model: PhotoModel, streams: Sequence[bytes], shape: tuple[int, int, int], bits: int
) -> NDArray[np.uint16]:
    """Inverse of :func:`encode_tiles`: tiles [T, H, W, C] of that shape (H, W, C).

    Raises ``FormatError`` where a stream cannot be one of such tiles.
    """
    height, width, channels = shape
    count = len(streams)
    plan = schedule(height, width)
    planes = _planes((count, *shape), bits - 8)
    coder = LaneDecoder(streams, np.tile(plan.fronts, channels))
    offset = (np.arange(count, dtype=np.int32) * np.int32(height * width + 1))[:, None]
    steps = plan.steps.tolist()
    for number, plane in enumerate(planes):
        flat = plane.reshape(-1)
        for first, end in pairwise(steps):
            span = slice(first, end)
            mixture, green = _mixture(model, planes, plan, span, number, bits - 8, offset)
            slot = coder.slots(end - first)
            value, start, width_ = model.tables.find(mixture, slot.reshape(-1), 1 << bits)
            coder.pull(start.reshape(slot.shape), width_.reshape(slot.shape))
            if green is not None:
                value -= green
            flat[(plan.order[span] + offset).reshape(-1)] = value
    coder.finish()
    result = np.empty((count, height * width, channels), np.uint16)
    for number, plane in enumerate(planes):
        values = plane[:, :-1] + planes[0][:, :-1] if number else plane[:, :-1]
        result[..., CHANNEL[number] if channels == 3 else 0] = values
    return result.reshape(count, *shape)
