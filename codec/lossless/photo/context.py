"""What the network sees of a sample: causal neighbours, normalised by the local activity.

A plane may look at its own samples above and to the left, within reach of the wavefront, and at all
of the planes before it. The first plane (green or gray) is predicted from W and N; red and blue as
differences to green, which is the colour transform of this codec: it needs no wider range, since
only the model works on differences. Differences are divided by an activity s measured on the
neighbours, so that the network learns shapes and not amplitudes; this is what lets a network of
ten thousand weights compete (compare the error energy of CALIC, Wu and Memon 1997).

Border: a neighbour outside the image is replaced by the nearest sample already known, in the same
way on both sides. What is here are the shapes and numbers of it; `loops` computes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Offsets = tuple[tuple[int, int], ...]

SLOPE = 3  # the wavefront: sample (y, x) is coded at step x + SLOPE * y ...
LAG = 2 * SLOPE + 1  # ... and LAG steps later in the next plane, which looks two rows ahead
ROUND = 32  # inputs of the network are multiples of 1 / ROUND ...
LOW, HIGH = -512, 511  # ... and have ten bits
FLOOR = 11.0  # least activity, in sixteenths of a level
NEAR = 8  # neighbours that measure the activity

_OWN: Offsets = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, 2), (-1, -2),
    (-2, -1), (-2, 1), (0, -3), (-3, 0), (-2, 2), (-2, -2), (-1, -3), (-2, 3),
    (-2, -3), (-3, -1), (-3, 1), (-3, 2), (-3, -2), (0, -4), (-1, -4), (-3, 3),
)  # fmt: skip
AROUND: Offsets = (
    (0, 0), (0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1),
    (0, 2), (2, 0), (0, -2), (-2, 0),
)  # fmt: skip
OWN: tuple[Offsets, ...] = (_OWN, _OWN[:12], _OWN[:12])  # (dy, dx), W and N first
EARLIER: tuple[Offsets, ...] = ((), AROUND, AROUND)  # of every earlier plane, the sample first
INPUTS = (27, 28, 42)  # of the network of each plane
BASE_INPUTS = 15  # more, where the lossy image that a file begins with is known


def inputs_of(plane: int, *, based: bool) -> int:
    """Number of inputs of the network of a plane."""
    return INPUTS[plane] + BASE_INPUTS * based


SCALES = 160  # activities: eight steps an octave from 1/2 level


def scale_table() -> NDArray[np.float64]:
    """The activity s in levels that each index of an activity stands for, [SCALES]."""
    index = np.arange(SCALES)
    return np.ldexp(1 + (index % 8 + 0.5) / 8, index // 8 - 1)
