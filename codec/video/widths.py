"""From a size in parameters to the channels of every layer, as HNeRV's command line does it.

The published networks are named by one number, "0.75 M". This module turns it into widths exactly
as the authors do, so that results can be compared at equal names, and into strides for pictures of
any size. Chen, Gwilliam, Lim and Shrivastava, "HNeRV: A Hybrid Neural Representation for Videos",
CVPR 2023 (arXiv 2304.02633), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from laconic.formats.errors import ParameterError

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
    """Strides for a picture: little padding, and an embedding of two to three rows or columns.

    >>> choose_strides(640, 1280), choose_strides(160, 320)
    ((5, 4, 4, 2, 2), (5, 4, 2, 2))
    """

    def cost(strides: tuple[int, ...]) -> float:
        step = math.prod(strides)
        padded = math.ceil(height / step) * step * math.ceil(width / step) * step
        rows = min(height, width) / step
        return 3 * math.log(padded / (height * width)) + abs(math.log(rows / ROWS_AIMED_AT)) / 2

    return min(STRIDES, key=cost)
