"""Two channels as one and where its sounds stand: intensity stereo.

The two channels are mixed into one that keeps their energy in each band, and for each column and
band the difference of their levels is stored; the decoder pans the decoded mixture accordingly.
Two independently decoded channels of a semantic codec have unrelated phases, so that a voice in
the middle falls apart; a panned one stays whole, at half the bits. See Breebaart et al.,
"Parametric coding of stereo audio", EURASIP JASP 2005, section 3. Where the channels cancel each
other, coding them independently is the better choice (:func:`cancels`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.counts import AdaptiveCounts, Weights, normalised
from laconic.entropy.short import ShortDecoder, ShortEncoder

Wave = NDArray[np.float32]
Levels = NDArray[np.int64]  # [columns, bands], 0..14

EDGES = (0, 300, 700, 1200, 1900, 2900, 4200, 6000, 8000)  # Hz
BANDS = len(EDGES) - 1
STEPS = (-45.0, -20.0, -14.0, -10.0, -7.0, -4.0, -2.0, 0.0, 2.0, 4.0, 7.0, 10.0, 14.0, 20.0, 45.0)
CENTRE = len(STEPS) // 2
FRAMES = 4  # analysis frames in a column
QUIET = 1e-6  # of the loudest band: below it a difference is not heard and keeps its value
STICKY = 1.5  # dB by which a level must be nearer to be preferred to the one before
CANCELLED = 0.1  # share of the energy that must survive mixing


@cache
def _window(hop: int) -> NDArray[np.float64]:
    """Square root of a Hann window of two hops; its squares add up to 1."""
    return np.sqrt(np.hanning(2 * hop + 1)[:-1])


@cache
def _bins(hop: int, rate: int) -> NDArray[np.int64]:
    """Band of each bin of the transform."""
    frequencies = np.fft.rfftfreq(2 * hop, 1 / rate)
    return np.clip(np.searchsorted(EDGES, frequencies, side="right") - 1, 0, BANDS - 1)


def _spectra(wave: NDArray[np.floating], hop: int) -> NDArray[np.complex128]:
    """``[..., n * hop]`` -> ``[..., n + 1, hop + 1]``: frames centred on the hops' ends."""
    padded = np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(hop, hop)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop, axis=-1)[..., ::hop, :]
    return np.fft.rfft(frames * _window(hop))


def _waves(spectra: NDArray[np.complex128], hop: int) -> Wave:
    """Inverse of :func:`_spectra`."""
    frames = np.fft.irfft(spectra) * _window(hop)
    first, second = frames[..., :hop], frames[..., hop:]
    joined = first[..., 1:, :] + second[..., :-1, :]
    return joined.reshape(*joined.shape[:-2], -1).astype(np.float32)


def _energies(spectra: NDArray[np.complex128], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[..., frames, bins]`` -> ``[..., frames, BANDS]``."""
    power = spectra.real**2 + spectra.imag**2
    return np.stack([power[..., bins == b].sum(-1) for b in range(BANDS)], axis=-1)


def cancels(wave: Wave) -> bool:
    """Whether the sum of two channels ``[2, n]`` loses most of their energy."""
    both = float((wave.astype(np.float64) ** 2).sum()) / 2
    mid = float((wave.mean(0, dtype=np.float64) ** 2).sum())
    return mid < CANCELLED * both


def mix(wave: Wave, columns: int, rate: int) -> tuple[Wave, Levels]:
    """``[2, columns * hop]`` -> the mixture ``[columns * hop]`` and its levels."""
    hop = wave.shape[1] // (columns * FRAMES)
    bins = _bins(hop, rate)
    spectra = _spectra(wave, hop)  # [2, frames, bins]
    middle = spectra.mean(0)
    energies = _energies(spectra, bins)
    kept = _energies(middle, bins)
    gain = np.sqrt((energies.mean(0) + 1e-12) / (kept + 1e-12)).clip(0.5, 2.0)
    mixture = _waves(middle * gain[:, bins], hop)
    # Frames of a column: those centred inside it and half of those on its ends; whole ones do.
    sums = np.stack([energies[:, k : k + columns * FRAMES : FRAMES] for k in range(FRAMES)]).sum(0)
    return mixture, _quantised(sums)


def _quantised(energies: NDArray[np.float64]) -> Levels:
    """``[2, columns, BANDS]`` -> indexes into STEPS."""
    ratio = 10 * np.log10((energies[0] + 1e-12) / (energies[1] + 1e-12))
    steps = np.array(STEPS)
    loudest = energies.sum(0).max()
    levels = np.full(ratio.shape, CENTRE)
    before = np.full(BANDS, CENTRE)
    for column, row in enumerate(ratio):
        nearest = np.abs(row[:, None] - steps).argmin(1)
        stays = np.abs(row - steps[before]) < np.abs(row - steps[nearest]) + STICKY
        stays |= energies[:, column].sum(0) < QUIET * loudest
        before = levels[column] = np.where(stays, before, nearest)
    return levels


def spread(mixture: Wave, levels: Levels, rate: int) -> Wave:
    """Inverse of :func:`mix`: ``[2, n]``."""
    columns = len(levels)
    hop = len(mixture) // (columns * FRAMES)
    ratio = 10 ** (np.array(STEPS)[levels] / 10)  # [columns, BANDS], of energies
    gains = np.sqrt(np.stack([2 * ratio / (1 + ratio), 2 / (1 + ratio)]))
    # From the middles of the columns to the frames, linearly.
    at = (np.arange(columns * FRAMES + 1) / FRAMES - 0.5).clip(0, columns - 1)
    low = at.astype(np.int64).clip(0, max(0, columns - 2))
    share = (at - low)[None, :, None]
    high = np.minimum(low + 1, columns - 1)
    smooth = gains[:, low] * (1 - share) + gains[:, high] * share
    return _waves(_spectra(mixture, hop)[None] * smooth[:, :, _bins(hop, rate)], hop)


@cache
def _around(level: int) -> Weights:
    """Chances of the level that follows ``level``."""
    return normalised(np.array([(4096 >> 2 * abs(level - k)) + 16 for k in range(len(STEPS))]))


def encode_levels(coder: ShortEncoder, levels: Levels) -> None:
    """Append the levels of a segment."""
    model, before = AdaptiveCounts(), [CENTRE] * BANDS
    for row in levels.tolist():
        for band, level in enumerate(row):
            model.encode(coder, _around(before[band]), band, before[band], level)
        before = row


def decode_levels(coder: ShortDecoder, columns: int) -> Levels:
    """Inverse of :func:`encode_levels`."""
    model, before = AdaptiveCounts(), [CENTRE] * BANDS
    levels = np.zeros((columns, BANDS), np.int64)
    for column in range(columns):
        for band in range(BANDS):
            before[band] = model.decode(coder, _around(before[band]), band, before[band])
        levels[column] = before
    return levels
