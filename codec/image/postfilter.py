"""A filter of the synthesis, chosen for each tile by the encoder: what one set of weights for all
pictures leaves over, and this picture shows.

As the adaptive loop filter of VVC does (Karczewicz et al., "VVC In-Loop Filters", IEEE TCSVT 31,
2021), the encoder solves for the filter of least squared error and writes it down. To be worth its
bytes where a whole picture has 3,000, it is a sum of a few filters that were learned on other
pictures (``postfilter.npz``): a centre, which follows the quality and costs nothing, and up to
``MOST`` directions in which filters of pictures differ, most important first, each with a whole
number of steps. ``benchmarks/image_filters.py`` learned them; they belong to version 4 of the
format.

The filter is a step of diffusion (Perona and Malik, "Scale-space and edge detection using
anisotropic diffusion", 1990): in an orthonormal luma and two chromas each pair of samples that lie
one of ``PAIRS`` apart exchanges an amount that is a piecewise linear function of the pair's
differences: a matrix times the three differences, and factors of each difference limited to
``LIMITS``. So it has no seams, nothing happens at the edge of the picture, and where machines'
syntheses differ by little the filtered ones do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.formats.errors import FormatError

STORED = Path(__file__).with_name("postfilter.npz")
Floats = NDArray[np.float64]
Chosen = tuple[int, ...]  # steps in the first directions

PAIRS = ((0, 1), (1, 0), (1, -1), (1, 1), (0, 2), (2, 0))  # rows, columns
LIMITS = (1.5, 5.0, 15.0)  # levels of 8 bits
REACH = 2  # pixels
MOST = 31  # directions
TERMS = 3  # of the centre: powers of the quality
FARTHEST = 255  # steps in a direction
COLOURS = 3
FEATURES = len(PAIRS) * (COLOURS + len(LIMITS))  # of a colour
LEVELS = 255.0
SLAB = 32  # rows that are worked on at a time, which stay in the cache
APART = 2  # the encoder looks at every so many slabs of a large tile
LARGE = 1 << 17  # pixels
SOFT = 0.5  # of the filter of least squared error is too much for MS-SSIM: it smooths
WIDE = 1024  # pixels of a row; of wider tiles slabs are smaller

ROTATION = np.array(((1, 1, 1), (1, 0, -1), (1, -2, 1)), np.float64)
ROTATION /= np.linalg.norm(ROTATION, axis=1, keepdims=True)


class Directions(NamedTuple):
    """What was learned. A filter is ``[COLOURS, FEATURES]``: of each colour for each pair its row
    of the matrix, then its factors of the limited differences."""

    centre: Floats  # [TERMS, COLOURS, FEATURES], factors of the powers of quality / 100
    steps: Floats  # [MOST, COLOURS, FEATURES]
    spread: NDArray[np.int64]  # [MOST], low bits of a number's code

    def filter(self, numbers: Chosen, quality: float) -> Floats:
        """The centre at a quality of the latents and so many steps in the first directions."""
        found: Floats = np.tensordot(powers(quality), self.centre, 1)
        for number, step in zip(numbers, self.steps, strict=False):
            found = found + number * step
        return found


def powers(quality: float) -> Floats:
    """What the parts of the centre are multiplied by."""
    found: Floats = (quality / 100) ** np.arange(TERMS, dtype=np.float64)
    return found


@cache
def learned() -> Directions:
    """The directions of version 4."""
    with np.load(STORED, allow_pickle=False) as arrays:
        centre, steps = (arrays[name].astype(np.float64) for name in ("centre", "steps"))
        return Directions(centre, steps, arrays["spread"].astype(np.int64))


def rotated(x: Tensor) -> Tensor:
    """``[1, H, W, 3]`` in [0, 1] -> luma and chromas ``[3, H, W]`` in levels of 8 bits."""
    return torch.einsum("cd,bhwd->chw", torch.from_numpy(ROTATION * LEVELS).to(x), x).contiguous()


def _pairs(height: int, width: int) -> Iterator[tuple[int, tuple[slice, slice], slice]]:
    """Number of each pair, where its first samples lie, and the columns of its second ones."""
    for n, (dy, dx) in enumerate(PAIRS):
        if dy < height and abs(dx) < width:
            first = slice(max(0, -dx), width - max(0, dx))
            yield n, (slice(0, height - dy), first), slice(max(0, dx), width - max(0, -dx))


def filtered(x: Tensor, chosen: Floats) -> Tensor:
    """``x`` [1, H, W, 3] in [0, 1] after a filter."""
    planes = rotated(x)
    change = torch.zeros_like(planes)
    height, width = planes.shape[1:]
    parts = torch.from_numpy(chosen).to(planes).reshape(COLOURS, len(PAIRS), -1)
    for n, (rows, first), second in _pairs(height, width):
        dy = PAIRS[n][0]
        matrix, factors = parts[:, n, :COLOURS].contiguous(), parts[:, n, COLOURS:, None]
        for top in range(0, rows.stop, SLAB):
            end = min(top + SLAB, rows.stop)
            apart = planes[:, top + dy : end + dy, second] - planes[:, top:end, first]
            flat = apart.reshape(COLOURS, -1)
            amount = matrix @ flat
            for k, limit in enumerate(LIMITS):
                amount.addcmul_(flat.clamp(-limit, limit), factors[:, k])
            amount = amount.reshape(apart.shape)
            change[:, top:end, first] += amount
            change[:, top + dy : end + dy, second] -= amount
    back = torch.from_numpy(ROTATION / LEVELS).to(x)
    return x + torch.einsum("cd,chw->hwd", back, change)


class Equations(NamedTuple):
    """What the squared error of a filter follows from: error - 2 b f + f A f, colours apart."""

    a: Floats  # [COLOURS, FEATURES, FEATURES]
    b: Floats  # [COLOURS, FEATURES]
    error: float  # of no filter, in squared levels summed over all samples

    def gain(self, chosen: Floats) -> float:
        """Squared error that a filter takes away."""
        bent = np.einsum("ci,cij,cj->", chosen, self.a, chosen)
        return float(2 * (self.b * chosen).sum() - bent)


def equations(x: Tensor, synthesis: Tensor) -> Equations:
    """Of filters of ``synthesis`` that shall come near ``x``, both ``[1, H, W, 3]``."""
    planes, rest = rotated(synthesis), rotated(x - synthesis)
    height, width = planes.shape[1:]
    a = np.zeros((COLOURS, FEATURES, FEATURES))
    b = np.zeros((COLOURS, FEATURES))
    apart = APART if height * width >= LARGE else 1
    slab = max(2 * REACH, min(SLAB, SLAB * WIDE // width))
    for top in range(0, height, slab * apart):
        end = min(top + slab, height)
        above, below = min(REACH, top), min(REACH, height - end)
        features = _features(planes[:, top - above : end + below])
        features = features[:, :, above : above + end - top].flatten(2)
        errors = rest[:, top:end].flatten(1)
        a += (features @ features.transpose(1, 2)).double().cpu().numpy()
        b += (features @ errors[..., None])[..., 0].double().cpu().numpy()
    return Equations(a * apart, b * apart, float(rest.double().square().sum()))


def _features(planes: Tensor) -> Tensor:
    """What each part of a filter adds to each sample, ``[COLOURS, FEATURES, H, W]``."""
    height, width = planes.shape[1:]
    found = planes.new_zeros(COLOURS, len(PAIRS), COLOURS + len(LIMITS), height, width)
    for n, (rows, first), second in _pairs(height, width):
        lower = slice(PAIRS[n][0], height)
        apart = planes[:, lower, second] - planes[:, rows, first]
        found[:, n, :COLOURS, rows, first] += apart
        found[:, n, :COLOURS, lower, second] -= apart
        for k, limit in enumerate(LIMITS, COLOURS):
            limited = apart.clamp(-limit, limit)
            found[:, n, k, rows, first] += limited
            found[:, n, k, lower, second] -= limited
    return found.flatten(1, 2)


def choose(
    found: Equations, quality: float, multiplier: float, visual: float = 0.0,
    known: Directions | None = None,
) -> Chosen | None:  # fmt: skip
    """Steps in the first directions; None where no filter is worth its bits. ``multiplier`` is
    lambda of bits + lambda * squared error of a pixel, ``visual`` the share of MS-SSIM in the
    distortion."""
    known = known or learned()
    found = found._replace(b=found.b * (1 - SOFT * visual))
    best, chosen = 0.0, None
    for count in range(len(known.steps) + 1):
        numbers = _nearest(found, known, quality, count)
        gain = found.gain(known.filter(numbers, quality)) * multiplier / COLOURS
        gain -= 8 * len(pack(numbers, known))
        if gain > best:
            best, chosen = gain, numbers
    return chosen


def _nearest(found: Equations, known: Directions, quality: float, count: int) -> Chosen:
    """Steps of least squared error; each is rounded in turn and those after it make up for it."""
    centre = known.filter((), quality)
    steps = known.steps[:count]
    bent = np.einsum("cij,kcj->kci", found.a, steps)
    a = np.einsum("kci,lci->kl", steps, bent)
    b = (steps * found.b).sum((1, 2)) - (bent * centre).sum((1, 2))
    a[np.diag_indices(count)] = a.diagonal() * (1 + 1e-6) + 1e-6  # of a flat picture it is 0
    numbers: list[int] = []
    for n in range(count):
        left = np.linalg.solve(a[n:, n:], b[n:])
        numbers.append(int(np.clip(np.rint(left[0]), -FARTHEST, FARTHEST)))
        b = b - a[:, n] * numbers[-1]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def pack(numbers: Chosen, known: Directions | None = None) -> bytes:
    """Five bits of how many there are, then each as a Rice code of 2 |n| - (n > 0)."""
    bits = f"{len(numbers):0{MOST.bit_length()}b}"
    for number, low in zip(numbers, (known or learned()).spread.tolist(), strict=False):
        value = 2 * abs(number) - (number > 0)
        bits += "1" * (value >> low) + "0"
        bits += f"{value & ((1 << low) - 1):0{low}b}" if low else ""
    size = math.ceil(len(bits) / 8)
    return int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def unpack(payload: bytes, offset: int) -> tuple[Chosen, int]:
    """Inverse of :func:`pack`: the numbers and where they end; raises ``FormatError``."""
    bits = _Bits(payload, offset)
    numbers = []
    for low in learned().spread[: bits.take(MOST.bit_length())].tolist():
        high = 0
        while bits.take(1):
            high += 1
            if high << low > 2 * FARTHEST:
                raise FormatError("the filter of a tile is none that is written: it is damaged")
        value = high << low | bits.take(low)
        numbers.append((value + 1 >> 1) * (1 if value & 1 else -1))
    return tuple(numbers), bits.end()


class _Bits:
    """Bits of bytes, the highest first."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data, self._at = data, 8 * offset

    def take(self, count: int) -> int:
        """The next ``count`` bits as a number."""
        found = 0
        for _ in range(count):
            if self._at >= 8 * len(self._data):
                raise FormatError("the filter of a tile is truncated")
            found = 2 * found + (self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1)
            self._at += 1
        return found

    def end(self) -> int:
        """The byte after the last bit; raises ``FormatError`` unless the rest of that is 0."""
        if self.take(-self._at % 8):
            raise FormatError("the filter of a tile is none that is written: it is damaged")
        return self._at // 8


def stored(directions: Directions) -> dict[str, NDArray[Any]]:
    """Arrays of ``postfilter.npz``."""
    exact = {n: getattr(directions, n).astype(np.float32) for n in ("centre", "steps")}
    return {**exact, "spread": directions.spread.astype(np.int64)}
