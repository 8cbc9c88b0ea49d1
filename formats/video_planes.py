"""Planes of videos as their source holds them, and the one conversion between planes and RGB.

A codec that takes planes loses nothing to conversions: YCbCr of any usual sampling goes through as
it is, with its matrix and range. RGB sources become YCbCr 4:4:4 (BT.709, full range) once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError
from laconic.formats.video import BT709, EXACT, MATRICES, VideoInfo

Planes = list[NDArray[np.uint16]]
NAMES = {(1, 1): "yuv420p", (1, 0): "yuv422p", (0, 0): "yuv444p"}


@dataclass(frozen=True)
class Sampling:
    """How the planes of a video are to be read.

    Attributes:
        sx, sy: log2 of the subsampling of chroma across and down.
        depth: bits of a sample, 8 or 10.
        gray: one plane.
        matrix: as ``VideoInfo.matrix``.
        full: samples span the whole range.
    """

    sx: int = 0
    sy: int = 0
    depth: int = 8
    gray: bool = False
    matrix: int = BT709
    full: bool = True

    @property
    def format(self) -> str:
        """FFmpeg's name of the layout."""
        name = "gray" if self.gray else NAMES[self.sx, self.sy]
        return name if self.depth == 8 else f"{name}{self.depth}le"

    def sizes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Rows and columns of each plane."""
        chroma = (height + (1 << self.sy) - 1 >> self.sy, width + (1 << self.sx) - 1 >> self.sx)
        return [(height, width)] + ([] if self.gray else [chroma, chroma])


def sampling_of(frame: Any, info: VideoInfo) -> Sampling:
    """The sampling in which a frame's video is coded."""
    layout = frame.format
    bits = max(c.bits for c in layout.components)
    depth = 10 if bits > 8 else 8
    if layout.name.startswith("gray"):
        return Sampling(depth=depth, gray=True, full=info.full_range or depth == 8)
    if layout.is_rgb or layout.name.startswith(("gbr", "pal")):
        return Sampling(depth=depth)
    sx = 1 if layout.chroma_width(16) == 8 else 0
    sy = 1 if layout.chroma_height(16) == 8 else 0
    full = info.full_range or layout.name.startswith("yuvj")
    return Sampling(sx, sy if sx else 0, depth, False, info.matrix, full)


def planes_of(frame: Any, sampling: Sampling) -> Planes:
    """The planes of a frame; exact where the source has this layout already."""
    name = frame.format.name.replace("yuvj", "yuv")
    if frame.format.is_rgb or name.startswith(("gbr", "pal")):
        if sampling.depth == 8:
            return from_rgb(frame.to_ndarray(format="rgb24"))
        frame = frame.reformat(
            format=sampling.format, dst_colorspace=sampling.matrix, dst_color_range=2,
            interpolation=EXACT,
        )  # fmt: skip
    elif name != sampling.format:
        frame = frame.reformat(format=sampling.format, interpolation=EXACT)
    kind = np.dtype(np.uint8 if sampling.depth == 8 else "<u2")
    found = []
    sizes = sampling.sizes(frame.width, frame.height)
    for plane, (rows, columns) in zip(frame.planes, sizes, strict=False):
        whole = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)
        found.append(whole[:rows, :columns].astype(np.uint16))
    return found


def from_rgb(samples: NDArray[np.uint8]) -> Planes:
    """YCbCr 4:4:4 (BT.709, full range) of RGB ``[H, W, 3]``, rounded once; gray from one channel.

    ITU-T H.273, equations 32 to 37 with Kr = 0.2126 and Kb = 0.0722.
    """
    if samples.shape[2] == 1:
        return [samples[..., 0].astype(np.uint16)]
    r, g, b = (samples[..., k].astype(np.float64) for k in range(3))
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    cb, cr = (b - y) / 1.8556 + 128, (r - y) / 1.5748 + 128
    return [np.clip(np.floor(p + 0.5), 0, 255).astype(np.uint16) for p in (y, cb, cr)]


def to_rgb(planes: Planes, sampling: Sampling) -> NDArray[np.uint8]:
    """RGB ``[H, W, 3]`` of planes, rounded once."""
    _rows, _columns = planes[0].shape
    if sampling.gray and sampling.full:
        samples = (planes[0] >> (sampling.depth - 8)).astype(np.uint8)
        return np.repeat(samples[..., None], 3, 2)
    if sampling == Sampling():
        y, cb, cr = (p.astype(np.float64) for p in planes)
        r, b = y + 1.5748 * (cr - 128), y + 1.8556 * (cb - 128)
        g = (y - 0.2126 * r - 0.0722 * b) / 0.7152
        found = np.stack([r, g, b], 2)
        return np.clip(np.floor(found + 0.5), 0, 255).astype(np.uint8)
    array: NDArray[np.uint8] = (
        frame_of(planes, sampling)
        .reformat(
            format="rgb24", src_colorspace=sampling.matrix,
            src_color_range=2 if sampling.full else 1, dst_color_range=2, interpolation=EXACT,
        )
        .to_ndarray()
    )  # fmt: skip
    return array


def frame_of(planes: Planes, sampling: Sampling) -> Any:
    """FFmpeg's frame of planes."""
    import av

    rows, columns = planes[0].shape
    frame = av.VideoFrame(columns, rows, sampling.format)
    kind = np.dtype(np.uint8 if sampling.depth == 8 else "<u2")
    for target, plane in zip(frame.planes, planes, strict=True):
        lines = np.zeros((target.height, target.line_size // kind.itemsize), kind)
        lines[:, : target.width] = plane
        target.update(lines.tobytes())
    return frame


@dataclass(frozen=True)
class PlanarFrame:
    """A decoded frame as a codec gave it: planes, from which RGB is made when it is asked for."""

    planes: Planes
    sampling: Sampling

    def rgb(self) -> NDArray[np.uint8]:
        """RGB ``[H, W, 3]``."""
        return to_rgb(self.planes, self.sampling)

    def sampled(self, sampling: Sampling) -> Planes:
        """Planes to compare with a source of that sampling: these, where they have its layout."""
        if replace(sampling, matrix=self.sampling.matrix) == self.sampling:
            return self.planes
        if self.sampling.matrix != sampling.matrix and not sampling.gray:
            return planes_of_rgb(self.rgb(), sampling)
        made = frame_of(self.planes, self.sampling).reformat(
            format=sampling.format, src_colorspace=self.sampling.matrix,
            dst_colorspace=self.sampling.matrix, src_color_range=2 if self.sampling.full else 1,
            dst_color_range=2 if sampling.full else 1, interpolation=EXACT,
        )  # fmt: skip
        return planes_of(made, sampling)


def planes_of_rgb(samples: NDArray[np.uint8], sampling: Sampling) -> Planes:
    """Planes of RGB ``[H, W, 3]``, rounded once, to compare with a source of that sampling."""
    import av

    if sampling == Sampling():
        return from_rgb(samples)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), format="rgb24")
    made = frame.reformat(
        format=sampling.format, src_color_range=2, dst_colorspace=sampling.matrix,
        dst_color_range=2 if sampling.full else 1, interpolation=EXACT,
    )  # fmt: skip
    return planes_of(made, sampling)


def check_sampling(sampling: Sampling) -> Sampling:
    """The sampling; ``FormatError`` for one that no video has."""
    if sampling.matrix not in set(MATRICES.values()) or (sampling.sx, sampling.sy) not in NAMES:
        raise FormatError("a video chunk has an impossible sampling: the file is damaged")
    return sampling
