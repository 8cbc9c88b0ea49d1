"""Coding of tiles along a wavefront, several tiles of one shape in step.

Sample (y, x) is coded at step x + 3 y, when all its causal neighbours (at most two to the right in
the row above, three in the row above that) are known. Red follows green by LAG steps and blue
follows red, just far enough that a plane sees what it may see of the earlier ones. All samples of a
step, over all planes and tiles, are one front, and one call of the coder. The encoder knows all
samples and needs no front: it computes everything in large blocks and runs only the coder step by
step. Both compute the same numbers (`tests/test_photo_exact.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.context import (
    EARLIER,
    LAG,
    OWN,
    SLOPE,
    Floats,
    Indexes,
    features,
    neighbour_index,
)
from laconic.codec.lossless.photo.network import PhotoModel
from laconic.codec.lossless.photo.rans import LaneDecoder, LaneEncoder

BLOCK = 8192  # samples that the encoder handles at a time
CHANNEL = (1, 0, 2)  # channel of each plane of RGB: green, red, blue
Samples = NDArray[np.uint16]
Span = tuple[int, int, int]  # plane, and from where to where in its coding order


@dataclass(frozen=True)
class Schedule:
    """Order of the samples of a tile and where their neighbours are."""

    order: Indexes  # [H * W], place in the plane of each sample in coding order
    spans: list[list[Span]]  # what each step codes
    own: Indexes  # [A, H * W], neighbours in coding order
    around: Indexes  # [B, H * W]

    @property
    def fronts(self) -> NDArray[np.intp]:
        """Samples of each step."""
        return np.array([sum(end - first for _, first, end in step) for step in self.spans])


@lru_cache(maxsize=4)
def schedule(height: int, width: int, channels: int) -> Schedule:
    """The schedule of tiles of that shape."""
    y, x = np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width))
    step = x + SLOPE * y
    order = np.argsort(step, kind="stable").astype(np.int32)
    starts = np.concatenate(([0], np.cumsum(np.bincount(step)))).tolist()
    spans: list[list[Span]] = []
    for t in range(len(starts) - 1 + LAG * (channels - 1)):
        at = [(plane, t - LAG * plane) for plane in range(channels)]
        front = [(p, starts[s], starts[s + 1]) for p, s in at if 0 <= s < len(starts) - 1]
        spans.append([span for span in front if span[1] < span[2]])
    y, x = y[order], x[order]
    return Schedule(
        order,
        [front for front in spans if front],
        neighbour_index(y, x, height, width, OWN[0], causal=True),
        neighbour_index(y, x, height, width, EARLIER[1], causal=False),
    )


class _Outputs(NamedTuple):
    """What the network says of samples of T tiles."""

    out: Floats  # [3 * K, T * n]
    base: Floats  # [T * n], centres in half levels
    scale: Indexes  # [T * n], activities
    green: Floats | None  # [T * n], the samples of the first plane


class _Tiles:
    """Planes of tiles of one shape, and what the model says of their samples.

    Attributes:
        planes: green or gray, red - green, blue - green, [T, H * W + 1] each; at the end of each
            the constant that the first sample sees.
        lossy: the same of the lossy picture, for models that see one.
    """

    def __init__(
        self,
        model: PhotoModel,
        count: int,
        shape: tuple[int, ...],
        bits: int,
        lossy: Samples | None = None,
    ) -> None:
        height, width, channels = shape
        self.model, self.octaves, self.count = model, bits - 8, count
        self.plan = schedule(height, width, channels)
        self.planes = [np.zeros((count, height * width + 1), np.float32) for _ in range(channels)]
        self.planes[0][:, -1] = 1 << (bits - 1)
        self.flat = [plane.reshape(-1) for plane in self.planes]
        offset = np.arange(count, dtype=np.int32) * np.int32(height * width + 1)
        self.offset: Indexes = offset[:, None]
        self.lossy = None
        if lossy is not None:
            filled = [np.zeros_like(plane) for plane in self.planes]
            _fill(filled, lossy)
            self.lossy = [plane.reshape(-1) for plane in filled]

    def outputs(self, plane: int, first: int, end: int) -> _Outputs:
        """Outputs for the samples `first` to `end` in coding order."""
        own = self._places(self.plan.own[: len(OWN[plane]), first:end])
        earlier, lossy = [], None
        if plane or self.lossy is not None:
            around = self._places(self.plan.around[:, first:end])
            earlier = [self.flat[p].take(around) for p in range(plane)]
            lossy = None if self.lossy is None else self.lossy[plane].take(around)
        f = features(plane, self.flat[plane].take(own), earlier, self.octaves, lossy)
        green = earlier[0][0] if plane else None
        return _Outputs(self.model.networks[plane](f.inputs), f.base, f.scale, green)

    def _places(self, index: Indexes) -> Indexes:
        """Places [A, n] of one tile in all tiles, [A, T * n]."""
        if self.count == 1:
            return index
        return (index[:, None] + self.offset).reshape(len(index), -1)

    def samples(self) -> list[Floats]:
        """Values of each plane, without the constant, [T, H * W]."""
        green = self.planes[0][:, :-1]
        return [green, *(plane[:, :-1] + green for plane in self.planes[1:])]


def _fill(planes: list[Floats], tiles: Samples) -> None:
    """Write tiles [T, H, W, C] into planes [T, H * W + 1]: green, red - green, blue - green."""
    samples = tiles.reshape(len(tiles), -1, tiles.shape[3])
    for number, plane in enumerate(planes):
        plane[:, :-1] = samples[..., CHANNEL[number] if len(planes) == 3 else 0]
        if number:
            plane[:, :-1] -= planes[0][:, :-1]


def encode_tiles(
    model: PhotoModel, tiles: Samples, bits: int, lossy: Samples | None = None
) -> list[bytes]:
    """Streams of tiles [T, H, W, C] of samples below 2^bits, C = 1 or 3, bits 8 to 16; `lossy` is
    of the same shape and given to models that see a lossy picture."""
    count, height, width, channels = tiles.shape
    work = _Tiles(model, count, tiles.shape[1:], bits, lossy)
    _fill(work.planes, tiles)
    starts = np.empty((channels, count, height * width), np.uint64)
    widths = np.empty_like(starts)
    step = max(1, BLOCK // count)
    for number, plane in enumerate(work.planes):
        for first in range(0, height * width, step):
            end = min(first + step, height * width)
            part = work.outputs(number, first, end)
            value = plane.take(work.plan.order[first:end], axis=1).reshape(-1).astype(np.float64)
            if part.green is not None:
                value += part.green
            mixture = model.tables.mixture(part.out, part.base, part.scale)
            start, size = model.tables.interval(mixture, value, 1 << bits)
            starts[number, :, first:end] = start.reshape(count, -1)
            widths[number, :, first:end] = size.reshape(count, -1)
    coder = LaneEncoder(count, work.plan.fronts)
    for front in reversed(work.plan.spans):
        coder.push(
            np.concatenate([starts[p, :, first:end] for p, first, end in front], axis=1),
            np.concatenate([widths[p, :, first:end] for p, first, end in front], axis=1),
        )
    return coder.finish()


def decode_tiles(
    model: PhotoModel,
    streams: Sequence[bytes],
    shape: tuple[int, int, int],
    bits: int,
    lossy: Samples | None = None,
) -> Samples:
    """Inverse of :func:`encode_tiles`: tiles [T, H, W, C] of that shape (H, W, C).

    Raises ``FormatError`` where a stream cannot be one of such tiles.
    """
    count = len(streams)
    work = _Tiles(model, count, shape, bits, lossy)
    coder = LaneDecoder(streams, work.plan.fronts)
    for front in work.plan.spans:
        parts = [work.outputs(*span) for span in front]
        mixture = model.tables.mixture(*_side_by_side(parts, count))
        slot = coder.slots(sum(end - first for _, first, end in front))
        value, start, size = model.tables.find(mixture, slot.reshape(-1), 1 << bits)
        coder.pull(start.reshape(slot.shape), size.reshape(slot.shape))
        value = value.reshape(slot.shape)
        done = 0
        for (plane, first, end), part in zip(front, parts, strict=True):
            values = value[:, done : done + end - first].reshape(-1)
            done += end - first
            place = work.plan.order[first:end] + work.offset
            if part.green is not None:
                values = values - part.green
            work.flat[plane][place.reshape(-1)] = values
    coder.finish()
    result = np.empty((count, shape[0] * shape[1], shape[2]), np.uint16)
    for number, plane_values in enumerate(work.samples()):
        result[..., CHANNEL[number] if shape[2] == 3 else 0] = plane_values
    return result.reshape(count, *shape)


def _side_by_side(parts: Sequence[_Outputs], count: int) -> tuple[Floats, Floats, Indexes]:
    """Outputs, centres and activities of the planes of a front, tile by tile."""
    if len(parts) == 1:
        return parts[0].out, parts[0].base, parts[0].scale
    out = [p.out.reshape(len(p.out), count, -1) for p in parts]
    return (
        np.concatenate(out, axis=2).reshape(len(out[0]), -1),
        np.concatenate([p.base.reshape(count, -1) for p in parts], axis=1).reshape(-1),
        np.concatenate([p.scale.reshape(count, -1) for p in parts], axis=1).reshape(-1),
    )
