"""Corrections of the level of decoded audio, column by column.

Networks that minimise distances of logarithms come out too quiet where they are unsure: by two
decibels in speech, by twenty in tones, which they have not heard before. The encoder decodes the
spectrogram of its own tokens, compares, and says the difference in steps of 2 dB.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.short import AdaptiveCounts, ShortDecoder, ShortEncoder, Weights, normalised

Gains = NDArray[np.int64]  # [channels, columns], -MOST to MOST

STEP = 0.23  # nepers of magnitude, 2 dB
MOST = 12
STICKY = 0.8  # steps by which a level may be off before it changes
RANGE = 6.9  # nepers below the loudest column, 60 dB: what is quieter keeps the gain before it


def gains_of(wanted: NDArray[np.floating], decoded: NDArray[np.floating]) -> Gains:
    """From log magnitudes ``[channels, columns]`` of the original and of what decodes."""
    found = np.zeros(wanted.shape, np.int64)
    for channel, (want, have) in enumerate(zip(wanted, decoded, strict=True)):
        before, least = 0, float(want.max()) - RANGE
        for column, difference in enumerate((want - have) / STEP):
            if want[column] > least and abs(difference - before) > STICKY:
                before = int(np.clip(np.rint(difference), -MOST, MOST))
            found[channel, column] = before
    return found


@cache
def _around(before: int) -> Weights:
    """Chances of the symbol that follows ``before``."""
    return normalised(np.array([(4096 >> 2 * abs(before - k)) + 8 for k in range(2 * MOST + 1)]))


def encode_gains(coder: ShortEncoder, gains: Gains) -> None:
    """Append the gains of a segment."""
    for row in (gains + MOST).tolist():
        model, before = AdaptiveCounts(), MOST
        for symbol in row:
            model.encode(coder, _around(before), 0, before, symbol)
            before = symbol


def decode_gains(coder: ShortDecoder, channels: int, columns: int) -> Gains:
    """Inverse of :func:`encode_gains`."""
    gains = np.zeros((channels, columns), np.int64)
    for channel in range(channels):
        model, before = AdaptiveCounts(), MOST
        for column in range(columns):
            before = model.decode(coder, _around(before), 0, before)
            gains[channel, column] = before - MOST
    return gains
