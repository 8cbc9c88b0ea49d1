"""Bjontegaard deltas: the mean difference between two rate-distortion curves.

Reference: Bjontegaard, VCEG-M33 (2001), with a cubic through the points; PCHIP interpolation
(VCEG-AI11 and JCTVC practice) never overshoots and is the default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from laconic.codec.extras import need
from laconic.formats.errors import ParameterError

Method = Literal["pchip", "cubic"]


@dataclass(frozen=True)
class BdResult:
    """A delta and the overlap it was averaged over (dB for BD-rate, log10 of rate for BD-PSNR)."""

    value: float
    low: float
    high: float


def bd_rate(
    anchor: Sequence[tuple[float, float]],
    test: Sequence[tuple[float, float]],
    method: Method = "pchip",
) -> BdResult:
    """Mean rate difference in per cent at equal quality; negative means ``test`` needs fewer bits.

    Args:
        anchor, test: points ``(rate, quality in dB)``, at least four each for "cubic", two for
            "pchip", any order.

    >>> curve = [(0.1, 28.0), (0.2, 31.0), (0.4, 34.0), (0.8, 37.0)]
    >>> round(bd_rate(curve, [(r * 1.1, q) for r, q in curve]).value, 6)
    10.0
    """
    a, b = _curve(anchor, method), _curve(test, method)
    delta, low, high = _mean_difference(a[::-1], b[::-1], method)
    return BdResult((10**delta - 1) * 100, low, high)


def bd_psnr(
    anchor: Sequence[tuple[float, float]],
    test: Sequence[tuple[float, float]],
    method: Method = "pchip",
) -> BdResult:
    """Mean quality difference in dB at equal rate; positive means ``test`` is better."""
    delta, low, high = _mean_difference(_curve(anchor, method), _curve(test, method), method)
    return BdResult(delta, low, high)


def _curve(points: Sequence[tuple[float, float]], method: Method) -> tuple[NDArray[Any], ...]:
    """``(log10 rate, quality)`` of the points that increase in both."""
    if method not in ("pchip", "cubic"):
        raise ParameterError(f"the method is {method!r}: expected 'pchip' or 'cubic'")
    rising: list[tuple[float, float]] = []
    for rate, quality in sorted(points):
        if rate <= 0 or not math.isfinite(quality):
            raise ParameterError(f"the point ({rate}, {quality}) is not a rate and a quality")
        if not rising or (quality > rising[-1][1] and rate > rising[-1][0]):
            rising.append((rate, quality))
    if len(rising) < (4 if method == "cubic" else 2):
        raise ParameterError(f"{len(rising)} rising points are too few for method {method!r}")
    rates, qualities = np.array(rising).T
    return np.log10(rates), qualities


def _mean_difference(
    a: tuple[NDArray[Any], ...], b: tuple[NDArray[Any], ...], method: Method
) -> tuple[float, float, float]:
    low, high = max(a[0][0], b[0][0]), min(a[0][-1], b[0][-1])
    if low >= high:
        raise ParameterError("the two curves do not overlap: measure more points")
    difference = _integral(b, low, high, method) - _integral(a, low, high, method)
    return float(difference / (high - low)), float(low), float(high)


def _integral(curve: tuple[NDArray[Any], ...], low: float, high: float, method: Method) -> float:
    x, y = curve
    if method == "cubic":
        primitive = np.polyint(np.polyfit(x, y, 3))
        return float(np.polyval(primitive, high) - np.polyval(primitive, low))
    pchip = need("scipy.interpolate", "eval").PchipInterpolator
    return float(pchip(x, y).integrate(low, high))
