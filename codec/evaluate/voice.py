"""What measures of spectra and intelligibility do not see in decoded voices: whether they still
audio, at which pitch, how loud, and whether the decoder's frames hum.

PESQ, STOI and ViSQOL hardly punish a man's voice that has become a whisper, since they look at
envelopes in wide bands; nor do they hear that all frames of a vocoder begin alike. Pitch is Praat's
(Boersma 1993), from the package praat-parselmouth.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from laconic.codec.evaluate.audio_measures import _mono_16k
from laconic.formats.audio import Audio
from laconic.formats.errors import ParameterError, UnsupportedError

LOWEST, HIGHEST = 60.0, 500.0  # Hz
STEP = 0.01  # seconds between frames of pitch
FRAME_RATE = 62.5  # Hz, of the small models' synthesis
ENVELOPE_RATE, ENVELOPE_WINDOW = 1000, 1024  # 62.5 Hz is bin 64
LINES = 4  # harmonics of the frame rate that are looked at


def _pitch(sound: Audio) -> NDArray[np.float64]:
    """Hz of frames every 10 ms, 0 where there is no voice."""
    return _pitch_of(_mono_16k(sound).astype(np.float64).tobytes())


@lru_cache(maxsize=8)
def _pitch_of(samples: bytes) -> NDArray[np.float64]:
    try:
        import parselmouth
    except ImportError as error:
        raise UnsupportedError(
            "the metrics voicing and f0 need the package praat-parselmouth: pip install"
            " praat-parselmouth"
        ) from error
    wave = np.frombuffer(samples)
    if len(wave) < 16000 * 4 / LOWEST:
        raise ParameterError("the audio is too short for a pitch")
    sound = parselmouth.Sound(wave, 16000)
    track = sound.to_pitch_ac(time_step=STEP, pitch_floor=LOWEST, pitch_ceiling=HIGHEST)
    found: NDArray[np.float64] = track.selected_array["frequency"]
    return found


def _pitches(a: Audio, b: Audio) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = _pitch(a), _pitch(b)
    frames = min(len(x), len(y))
    if not x[:frames].any():
        raise ParameterError("there is no voice in the audio")
    return x[:frames], y[:frames]


def voiced_lost(a: Audio, b: Audio) -> float:
    """Share of the voiced frames of ``a`` that have no voice in ``b``, in per cent."""
    x, y = _pitches(a, b)
    return 100 * float((y[x > 0] == 0).mean())


def f0_error(a: Audio, b: Audio) -> float:
    """Mean distance of the pitches in semitones, over frames that are voiced in both."""
    x, y = _pitches(a, b)
    both = (x > 0) & (y > 0)
    if not both.any():
        raise ParameterError("no frame is voiced in both recordings")
    return 12 * float(np.abs(np.log2(y[both] / x[both])).mean())


def level_error(a: Audio, b: Audio) -> float:
    """Distance of the levels (root mean squares) in dB, whichever is louder."""
    levels = [float(np.sqrt((s.samples.astype(np.float64) ** 2).mean())) for s in (a, b)]
    if levels[0] < 1e-7:
        raise ParameterError("the level of silence is not defined")
    return abs(20 * math.log10(max(levels[1], 1e-7) / levels[0]))


def frame_lines(a: Audio, b: Audio) -> float:
    """How far the envelope of ``b`` has lines at multiples of 62.5 Hz that ``a`` has not, in dB."""
    before, after = (_lines(_mono_16k(s)) for s in (a, b))
    return max(0.0, float((after - before).max()))


def _lines(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Lines over what is beside them, in dB: ``[LINES]``."""
    block = 16000 // ENVELOPE_RATE
    power = (wave[: len(wave) // block * block].astype(np.float64) ** 2).reshape(-1, block).sum(1)
    if len(power) < ENVELOPE_WINDOW:
        raise ParameterError("the audio is too short for lines of its envelope")
    parts = np.lib.stride_tricks.sliding_window_view(power, ENVELOPE_WINDOW)
    parts = parts[:: ENVELOPE_WINDOW // 4]
    parts = parts / (parts.mean(1, keepdims=True) + 1e-12) - 1
    spectra = np.abs(np.fft.rfft(parts * np.hanning(ENVELOPE_WINDOW))) ** 2
    mean = spectra.mean(0) + 1e-12
    found = []
    for harmonic in range(1, LINES + 1):
        at = round(harmonic * FRAME_RATE * ENVELOPE_WINDOW / ENVELOPE_RATE)
        beside = np.r_[mean[at - 14 : at - 3], mean[at + 4 : at + 15]]
        found.append(10 * np.log10(mean[at] / np.median(beside)))
    return np.array(found)
