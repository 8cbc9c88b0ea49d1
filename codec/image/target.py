"""Rate targeting: the largest quality whose file fits a number of bytes.

The size of a file grows with quality, nearly linearly in the logarithm, so a secant on log-size
brackets the target in a few encodings and bisection over tenths of quality finishes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from laconic.codec.image.header import QUALITY_STEPS
from laconic.formats.errors import ParameterError

CLOSE_ENOUGH = 0.995  # of the target: further steps would gain less than half a per cent


def search_quality(encode: Callable[[float], bytes], target: int) -> bytes:
    """The file of the highest quality found with at most ``target`` bytes.

    ``encode`` maps a quality in tenths of a point to a file. Raises ``ParameterError`` when even
    quality 0 is too large.
    """
    lowest = encode(0.0)
    if len(lowest) > target:
        raise ParameterError(
            f"the picture cannot be made as small as {target} bytes: its smallest file has"
            f" {len(lowest)}; raise the target or scale the picture down"
        )
    highest = encode(QUALITY_STEPS / 10)
    if len(highest) <= target:
        return highest
    low, high = 0, QUALITY_STEPS  # low fits, high does not
    best, low_bytes, high_bytes = lowest, len(lowest), len(highest)
    while high - low > 1 and len(best) < CLOSE_ENOUGH * target:
        share = math.log(target / low_bytes) / math.log(high_bytes / low_bytes)
        # Keep away from the ends, so that a curved size function cannot stall the bracket.
        share = min(0.9, max(0.1, share))
        middle = min(high - 1, max(low + 1, round(low + share * (high - low))))
        data = encode(middle / 10)
        if len(data) <= target:
            low, low_bytes, best = middle, len(data), data
        else:
            high, high_bytes = middle, len(data)
    return best
