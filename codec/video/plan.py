"""Plans of fitted networks and the private header of the video codecs.

From a size in parameters to the channels of every layer, as HNeRV's command line does it.

The published networks are named by one number, "0.75 M". This module turns it into widths exactly
as the authors do, so that results can be compared at equal names, and into strides for images of
any size. Chen, Gwilliam, Lim and Shrivastava, "HNeRV: A Hybrid Neural Representation for Videos",
CVPR 2023 (arXiv 2304.02633), section 3.2.

What determines a fitted network: the head of a chunk's payload.

    varint  kind of network, see KINDS
    varint  width of the published networks' stem, or base width of the grids
    varint  number of stages, then one varint each: stride (published) or latent channels (grids)

Everything else (blocks, kernels, ladders) follows from these by the rules of the kind, which never
change for a kind once it is written here. Kinds 4, "motion-1", and 5, "motion", have heads of their
own: `laconic.codec.video.motion1.decoder` and `laconic.codec.video.motion.decode`.

The video codecs' private header: its network and which frames each segment holds. Imports no
torch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import read_varint, write_varint

REDUCTION = 1.2
LOWEST_WIDTH = 12
EMBEDDING_CHANNELS = 16
STRIDES = (
    (5, 4, 4, 2, 2),
    (5, 4, 3, 2, 2),
    (5, 3, 3, 2, 2),
    (5, 4, 2, 2, 2),
    (5, 3, 2, 2, 2),
    (5, 4, 2, 2),
    (4, 4, 2, 2),
    (5, 3, 2, 2),
    (4, 3, 2, 2),
    (5, 2, 2, 2),
    (4, 2, 2, 2),
    (3, 2, 2, 2),
    (5, 2, 2),
    (4, 2, 2),
    (3, 2, 2),
    (2, 2, 2),
    (2, 2),
    (2, 1),
)
ROWS_AIMED_AT = 2.5


@dataclass(frozen=True)
class Kernels:
    """Kernel of stage i: ``min(first + 2 i, largest)``; the published "0_1_5" is (1, 5)."""

    first: int = 1
    largest: int = 5

    def at(self, stage: int) -> int:
        """Odd kernel size of one stage."""
        return min(self.first + 2 * stage, self.largest)


PUBLISHED_KERNELS = Kernels()


def embedding_channels(second: float, size: float, frames: int, area: float) -> int:
    """Channels of an embedding: the number itself, or a share of all parameters if below 1.

    Args:
        second: HNeRV's second ``enc_dim`` number, 16 or for example 0.1.
        size: millions of parameters.
        area: positions of one embedding.
    """
    return int(second) if second >= 1 else int(second * size * 1e6 / frames / area)


def solve_width(
    size: float,
    *,
    embeddings: float,
    strides: Sequence[int],
    kernels: Kernels = PUBLISHED_KERNELS,
    channels: int = EMBEDDING_CHANNELS,
    widening: int = 1,
    reduction: float = REDUCTION,
    saturated: int = 0,
    lowest: int = LOWEST_WIDTH,
) -> int:
    """Width of the stem such that decoder and embeddings have about ``size`` million parameters.

    Args:
        size: millions of parameters, embeddings included.
        embeddings: parameters of all embeddings together.
        strides: of the decoder stages.
        channels: of an embedding.
        widening: ratio of encoder to decoder stride products (the stem then widens the map).
        saturated: number of last stages that are known to have the lowest width.

    Raises:
        ParameterError: nothing is left for the decoder.

    >>> solve_width(0.75, embeddings=16896, strides=(5, 4, 4, 2, 2))
    48
    """
    costs = [s * s * kernels.at(i) ** 2 for i, s in enumerate(strides)]
    free = len(strides) - saturated
    a = sum(c / reduction ** (2 * i) for i, c in enumerate(costs[:free])) / reduction
    b = channels * 9 * widening * widening  # the authors count a 3 x 3 stem; it is 1 x 1
    rest = size * 1e6 - embeddings - lowest * lowest * sum(costs[free:])
    if rest <= 0:
        raise ParameterError(
            f"{size} million parameters are fewer than the embeddings need ({embeddings:.0f})"
        )
    return int((-b + math.sqrt(b * b + 4 * a * rest)) / (2 * a))


def ladder(
    width: int, stages: int, reduction: float = REDUCTION, lowest: int = LOWEST_WIDTH
) -> list[int]:
    """Channels after the stem and after each stage, ``[stages + 1]``.

    >>> ladder(68, 5)
    [68, 57, 48, 40, 33, 28]
    """
    widths = [width]
    for _ in range(stages):
        widths.append(max(round(widths[-1] / reduction), lowest))
    return widths


def choose_strides(height: int, width: int) -> tuple[int, ...]:
    """Strides for an image: little padding, and an embedding of two to three rows or columns.

    >>> choose_strides(640, 1280), choose_strides(160, 320)
    ((5, 4, 4, 2, 2), (5, 4, 2, 2))
    """

    def cost(strides: tuple[int, ...]) -> float:
        step = math.prod(strides)
        padded = math.ceil(height / step) * step * math.ceil(width / step) * step
        rows = min(height, width) / step
        return 3 * math.log(padded / (height * width)) + abs(math.log(rows / ROWS_AIMED_AT)) / 2

    return min(STRIDES, key=cost)


KINDS: Mapping[str, int] = {"hnerv": 1, "hnerv-boost": 2, "grids": 3, "motion-1": 4, "motion": 5}
FITTED = ("hnerv-boost", "hnerv", "grids")
PREDICTED = ("motion-1", "motion")  # kinds with heads of their own
MAX_WIDTH = 1024
MAX_STAGES = 8
MAX_STAGE = 64


@dataclass(frozen=True)
class Plan:
    """A network of one of the kinds for one image size.

    Attributes:
        network: a key of ``KINDS`` that is not in ``PREDICTED``.
        width: channels, see above.
        stages: strides of the published networks, coarsest first; for "grids" the channels of the
            latents of each level, coarsest first.
        frames, rows, columns: of the chunk; known from the video's header, not in the payload.
    """

    network: str
    width: int
    stages: tuple[int, ...]
    frames: int
    rows: int
    columns: int

    def to_bytes(self) -> bytes:
        """The head of the payload."""
        numbers = [KINDS[self.network], self.width, len(self.stages), *self.stages]
        return b"".join(map(write_varint, numbers))

    @classmethod
    def read(cls, data: bytes, frames: int, rows: int, columns: int) -> tuple[Plan, int]:
        """The plan of a payload and where its head ends.

        Raises:
            FormatError: damaged. UnsupportedError: a kind that this version does not know.
        """
        kind, offset = read_varint(data, 0)
        names = {number: name for name, number in KINDS.items() if name not in PREDICTED}
        if kind not in names:
            raise UnsupportedError(
                f"the video uses network kind {kind}; this version knows {sorted(names)}: install"
                " a newer version"
            )
        width, offset = read_varint(data, offset)
        count, offset = read_varint(data, offset)
        if not 1 <= width <= MAX_WIDTH or not 1 <= count <= MAX_STAGES:
            raise FormatError(
                f"a video chunk claims {count} stages of width {width}; expected at most"
                f" {MAX_STAGES} and {MAX_WIDTH}: the file is damaged"
            )
        stages = []
        lowest = 0 if names[kind] == "grids" else 1
        for _ in range(count):
            stage, offset = read_varint(data, offset)
            if not lowest <= stage <= MAX_STAGE:
                raise FormatError(f"a video chunk claims a stage of {stage}: the file is damaged")
            stages.append(stage)
        return cls(names[kind], width, tuple(stages), frames, rows, columns), offset


CODEC_ID = 6
MOTION_ID = 9
CODEC_VERSION = 1


@dataclass(frozen=True)
class HnervHeader:
    """Kind of network, and the number of frames of each chunk in order of presentation.

    Symbols are equal on every machine. Frames of ``motion`` are too; those of other networks are
    synthesised in floating point and may differ by one level of one sample between machines.
    """

    network: str
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.network not in KINDS:
            raise ParameterError(
                f"there is no network {self.network!r}: choose one of {', '.join(KINDS)}"
            )

    @property
    def frames(self) -> int:
        """Number of frames of all chunks."""
        return sum(self.lengths)

    def starts(self) -> list[int]:
        """First frame of each chunk."""
        starts, at = [], 0
        for length in self.lengths:
            starts.append(at)
            at += length
        return starts

    def pack(self) -> bytes:
        """Network in a byte, then varint pairs (frames of a chunk, chunks in a row like it)."""
        runs = [(length, len(list(group))) for length, group in groupby(self.lengths)]
        return bytes([KINDS[self.network]]) + b"".join(
            write_varint(length) + write_varint(count) for length, count in runs
        )

    @classmethod
    def unpack(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> HnervHeader:
        """Inverse of :meth:`pack`; raises ``FormatError``, ``UnsupportedError``, ``LimitError``."""
        if not data:
            raise FormatError("the video codec's header is empty: the file is damaged")
        names = {number: name for name, number in KINDS.items()}
        if data[0] not in names:
            raise UnsupportedError(
                f"the video is coded by network {data[0]}, which this version lacks: install a"
                " newer Laconic"
            )
        offset, frames = 1, 0
        lengths: list[int] = []
        while offset < len(data):
            length, offset = read_varint(data, offset)
            count, offset = read_varint(data, offset)
            if not length or not count or (lengths and lengths[-1] == length):
                raise FormatError("the video codec's list of chunks is impossible: damaged file")
            frames += length * count
            limits.check("the number of frames", frames, limits.frames)
            limits.check("the number of segments", len(lengths) + count, limits.segments)
            lengths += [length] * count
        if not lengths:
            raise FormatError("the video codec's header lists no chunks: the file is damaged")
        return cls(names[data[0]], tuple(lengths))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        sizes = sorted(set(self.lengths))
        shown = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        return {
            "network": self.network,
            "chunks": len(self.lengths),
            "frames of a chunk": shown,
            "samples": "exact" if self.network == "motion" else "within one level between machines",
        }


def chunk_of(starts: list[int], frame: int) -> int:
    """The chunk that holds a frame, given the first frame of each."""
    return bisect_right(starts, frame) - 1
