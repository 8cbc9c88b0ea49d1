"""What is coded beside the tokens of a recording: the pitch of a voice, and the level.

Tokens of a few hundred bits per second say how a voice is coloured, but not where the harmonics of
a low voice lie: there are five in the width that a token tells apart, and a decoder that does not
know them makes a whisper of it. A track of pitch costs 30 to 60 bits per second and tells it. It
has a knot every 32 ms: 0 where there is no pitch, else the number of a step of 1/36 octave (2 %)
from 50 Hz on. It is the best path through normalised autocorrelations of Hann windows (Boersma
1993, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio
of a sampled sound", sections 3 and 4).

Networks that minimise distances of logarithms come out too quiet where they are unsure: by two
decibels in speech, by twenty in tones, which they have not heard before. The encoder decodes the
spectrogram of its own tokens, compares, and says the difference of each column in steps of 2 dB.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.short import AdaptiveCounts, ShortDecoder, ShortEncoder, Weights, normalised
from laconic.formats.errors import FormatError

Track = NDArray[np.int64]  # [knots], 0 to STEPS

RATE = 16_000
HOP = 512  # samples of a knot, which stands for its middle
LOWEST = 50.0  # Hz, of step 1
PER_OCTAVE = 36
STEPS = 132  # up to 623 Hz
WINDOW = 1024
MAX_JUMP = 8  # steps between knots that need no escape

VOICING = 0.45  # correlation that a pitch has to exceed
SILENCE = 0.03  # of the loudest sample, below which less is voiced
OCTAVE_COST = 0.02  # per octave that the pitch is lower
JUMP_COST = 0.11  # per octave between knots
CHANGE_COST = 0.045  # of a voice that sets in or ends


def hertz(steps: NDArray[np.floating] | Track) -> NDArray[np.float64]:
    """Frequency of steps from 1 on, fractions allowed."""
    return LOWEST * 2.0 ** ((np.asarray(steps, np.float64) - 1) / PER_OCTAVE)


@cache
def _lags() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Lags of the steps at twice the rate, the window and its autocorrelation at those lags."""
    window = np.hanning(WINDOW + 1)[:-1]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * WINDOW)) ** 2, 4 * WINDOW)
    lags = 2 * RATE / hertz(np.arange(1, STEPS + 1))
    return lags, window, _at(own[None] / own[0], lags)[0]


def _at(values: NDArray[np.float64], lags: NDArray[np.float64]) -> NDArray[np.float64]:
    low = lags.astype(np.int64)
    share = lags - low
    return values[:, low] * (1 - share) + values[:, low + 1] * share


def correlations(wave: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``[n]`` at 16 kHz -> correlation of every step ``[n / 512, STEPS]`` and peaks ``[n / 512]``
    relative to the loudest."""
    lags, window, own = _lags()
    knots = len(wave) // HOP
    edge = (WINDOW - HOP) // 2
    padded = np.pad(wave[: knots * HOP].astype(np.float64), edge)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    frames = frames - frames.mean(1, keepdims=True)
    spectra = np.fft.rfft(frames * window, 2 * WINDOW)
    power = spectra.real**2 + spectra.imag**2
    ac = np.fft.irfft(power, 4 * WINDOW)[:, : 2 * WINDOW]
    found = _at(ac, lags) / (ac[:, :1] + 1e-9) / own
    peaks = np.abs(frames).max(1)
    return found, peaks / max(float(peaks.max(initial=0.0)), 1e-6)


def track_of(wave: NDArray[np.float32]) -> Track:
    """The track of a recording ``[n]`` at 16 kHz, ``n // 512`` knots."""
    knots = len(wave) // HOP
    if not knots:
        return np.zeros(0, np.int64)
    found, peaks = correlations(wave)
    octaves = np.arange(STEPS) / PER_OCTAVE
    score = np.empty((knots, STEPS + 1))
    score[:, 1:] = found - OCTAVE_COST * (octaves[-1] - octaves)
    score[:, 0] = VOICING + np.maximum(0.0, 2 - peaks / (SILENCE / (1 + VOICING)))
    steps = np.abs(octaves[:, None] - octaves[None, :]) * JUMP_COST
    cost = np.full((STEPS + 1, STEPS + 1), CHANGE_COST)
    cost[0, 0], cost[1:, 1:] = 0.0, steps
    cost, score = cost.astype(np.float32), score.astype(np.float32)
    back = np.zeros((knots, STEPS + 1), np.int64)
    best = score[0]
    for knot in range(1, knots):
        ways = best[None] - cost  # the costs are symmetric
        back[knot] = ways.argmax(1)
        best = ways[np.arange(STEPS + 1), back[knot]] + score[knot]
    path = np.zeros(knots, np.int64)
    path[-1] = best.argmax()
    for knot in range(knots - 1, 0, -1):
        path[knot - 1] = back[knot, path[knot]]
    return path


# Symbols of a knot: no pitch, a step near the one before, or any step.
NONE, MIDDLE, ESCAPE = 0, 1 + MAX_JUMP, 2 + 2 * MAX_JUMP


@cache
def _following(voiced: bool) -> Weights:
    """Chances of a knot's symbol after one with pitch or without."""
    if not voiced:
        return normalised(np.array([900, *[0] * (2 * MAX_JUMP + 1), 124]))
    near = [3, 4, 8, 15, 30, 60, 130, 300, 600, 300, 130, 60, 30, 15, 8, 4, 3]
    return normalised(np.array([90, *near, 6]))


@cache
def _setting_in(last: int) -> Weights:
    """Chances of the step with which a voice sets in when it ended on ``last``, 0 at first."""
    distance = np.abs(np.arange(1, STEPS + 1) - (last or 40))
    return normalised(4096 // (4 + distance) + (200 if last else 2000))


def encode_track(coder: ShortEncoder, track: Track) -> None:
    """Append a track; the number of knots is not stored."""
    model, entries = AdaptiveCounts(), AdaptiveCounts()
    last, before, symbol = 0, 0, NONE  # last pitch, pitch of the knot before, its symbol
    for step in track.tolist():
        jump = step - before
        previous = symbol
        if step == 0:
            symbol = NONE
        elif before and abs(jump) <= MAX_JUMP:
            symbol = MIDDLE + jump
        else:
            symbol = ESCAPE
        model.encode(coder, _following(before > 0), before > 0, previous, symbol)
        if symbol == ESCAPE:
            entries.encode(coder, _setting_in(last), 0, 0, step - 1)
        before, last = step, step or last


def decode_track(coder: ShortDecoder, knots: int) -> Track:
    """Inverse of :func:`encode_track`. Raises ``FormatError`` for steps that do not exist."""
    model, entries = AdaptiveCounts(), AdaptiveCounts()
    last, before, symbol = 0, 0, NONE
    track = np.zeros(knots, np.int64)
    for knot in range(knots):
        symbol = model.decode(coder, _following(before > 0), before > 0, symbol)
        if symbol == ESCAPE:
            step = 1 + entries.decode(coder, _setting_in(last), 0, 0)
        else:
            step = 0 if symbol == NONE else before + symbol - MIDDLE
        if not (symbol == NONE or 1 <= step <= STEPS):
            raise FormatError("a pitch outside its range: the file is damaged")
        track[knot] = step
        before, last = step, step or last
    return track


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
