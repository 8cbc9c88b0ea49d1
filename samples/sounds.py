"""Synthesises the sample recordings: a voice that speaks no language, and bells in stereo.

    python samples/sounds.py [folder]

Numpy only (PyAV writes the files), fixed seeds, a few seconds. The recordings are dedicated to the
public domain (CC0).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.audio import Audio
from laconic.formats.audio_writer import write_audio

Wave = NDArray[Any]
RATE = 16000
# Formants of vowels in Hz and the share of breath in them.
VOWELS = {
    "a": (760, 1250, 2550), "e": (500, 1850, 2600), "i": (290, 2250, 3000), "o": (470, 850, 2500),
    "u": (320, 750, 2350), "y": (290, 1900, 2300), "m": (260, 1000, 2200), "l": (380, 1150, 2700),
}  # fmt: skip
WIDTHS = (70, 100, 140)
HISSES = {"s": (4500, 7500), "x": (1800, 4200), "f": (1200, 7500), "t": (3000, 6500)}
TEXT = "mal.solo.ti.exi.lamo..sul.yta.femi.ola..tima.lose.xu.alime..sofi.tal.uma.lis.eto"  # words


def voice(rng: np.random.Generator) -> Wave:
    """Pulses and hisses through resonances that glide from audio to audio."""
    sounds = [(c, rng.uniform(0.07, 0.13) if c in VOWELS else rng.uniform(0.05, 0.1)) for c in TEXT]
    total = sum(length for _, length in sounds)
    count = int(total * RATE)
    time = np.arange(count) / RATE
    marks, formants, voiced, breath, bands = [], [], [], [], []
    at, last = 0.0, VOWELS["a"]
    for character, length in sounds:
        marks.append(at + length / 2)
        last = VOWELS.get(character, last)
        formants.append(last)
        level = {"m": 0.5, "l": 0.6}.get(character, 1.0)
        voiced.append(level if character in VOWELS else 0.0)
        breath.append(0.25 if character in HISSES else 0.0)
        bands.append(HISSES.get(character, (3000, 6000)))
        at += length
    smooth = [np.interp(time, marks, [f[k] for f in formants]) for k in range(3)]
    gain = np.interp(time, marks, voiced)
    phrase = time / total
    pitch = 125 * (1.15 - 0.3 * ((phrase * 4) % 1)) * (1 + 0.03 * np.sin(2 * np.pi * 2.3 * time))
    phase = np.cumsum(pitch / RATE)
    source = np.diff(np.maximum(0, np.sin(2 * np.pi * phase)) ** 3, prepend=0) * 12
    source += 0.02 * rng.standard_normal(count)
    out = np.zeros(count)
    for k in range(3):  # a resonator of two poles for each formant, moved every sample
        radius = np.exp(-np.pi * WIDTHS[k] / RATE)
        turn = 2 * radius * np.cos(2 * np.pi * smooth[k] / RATE)
        y1 = y2 = 0.0
        ringing = np.empty(count)
        for n in range(count):
            y1, y2 = (1 - radius) * source[n] * gain[n] + turn[n] * y1 - radius**2 * y2, y1
            ringing[n] = y1
        out += ringing * (1.0, 0.6, 0.35)[k]
    hiss = np.interp(time, marks, breath)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    for low, high in set(bands):
        band = np.fft.irfft(spectrum * ((frequencies > low) & (frequencies < high)), count)
        chosen = np.interp(time, marks, [float(b == (low, high)) for b in bands])
        out += 0.6 * hiss * chosen * band
    return 0.5 * out / np.abs(out).max()


def bells(rng: np.random.Generator, seconds: float = 6.0, rate: int = 44100) -> Wave:
    """Struck bars at places between left and right, ``[2, n]``."""
    count = int(seconds * rate)
    out = np.zeros((2, count))
    for n in range(11):
        start = int(n * 0.45 * rate)
        time = np.arange(count - start) / rate
        base = 330 * 2 ** (rng.choice([0, 2, 4, 7, 9, 12, 14]) / 12)
        place = rng.uniform(0.1, 0.9)
        tone = sum(
            np.sin(2 * np.pi * base * ratio * time + rng.uniform(0, 6)) * np.exp(-time * decay) * g
            for ratio, decay, g in ((1, 2.2, 1.0), (2.76, 4, 0.5), (5.4, 8, 0.25), (8.9, 14, 0.12))
        )
        out[0, start:] += np.sqrt(1 - place) * tone
        out[1, start:] += np.sqrt(place) * tone
    return 0.5 * out / np.abs(out).max()


def main() -> None:
    """Write both recordings."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    spoken = voice(np.random.default_rng(5))[None].astype(np.float32)
    struck = bells(np.random.default_rng(6)).astype(np.float32)
    for name, sound in (("voice", Audio(spoken, RATE)), ("bells", Audio(struck, 44100))):
        sound.tags = {"title": name, "copyright": "CC0"}
        write_audio(sound, folder / f"{name}.flac", overwrite=True)
        print(folder / f"{name}.flac", f"{sound.seconds:.1f} s")


if __name__ == "__main__":
    main()
