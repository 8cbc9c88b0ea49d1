"""Training recordings: decoded once, kept as int16 at the model's rate, cropped at random.

Below a data folder a first-level folder ``speech``, ``music`` or ``general`` names the domain of
everything in it (anything else is general); whatever lies in a folder ``validation`` is held out,
so that whole speakers can be. Low and high voices are drawn equally often, however many recordings
there are of each: a network that has heard few men makes whispers of them. Random speed moves pitch
and formants and so makes new speakers; random gain covers quiet recordings, low-pass filters those
of telephones, and now and then there is noise behind a recording, or a few tones in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.audio.pitch import correlations, hertz, track_of
from laconic.codec.audio.semanticodec_small.config import RATE
from laconic.formats.errors import ParameterError

DOMAINS = ("general", "speech", "music")
SUFFIXES = {".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a"}
SHARES = {"general": 0.15, "speech": 0.7, "music": 0.15}  # of the crops in a batch
LOW_VOICE = 155.0  # Hz of the median pitch, below which a voice counts as low
LISTENED = 1  # seconds of a recording from which its pitch is taken
BANDED, NOISY, TONES = 0.15, 0.12, 0.03  # shares of the crops that are augmented so


@dataclass(frozen=True)
class Clip:
    """One recording: mono int16 samples at 16 kHz."""

    domain: str
    samples: NDArray[np.int16]


def read_clip(path: Path) -> NDArray[np.int16]:
    """All samples of the first audio track, mono at 16 kHz."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    parts: list[NDArray[np.int16]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [f.to_ndarray()[0] for f in resampler.resample(frame)]
        parts += [f.to_ndarray()[0] for f in resampler.resample(None)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def load_recordings(folders: list[Path]) -> tuple[list[Clip], list[Clip]]:
    """Training and held-out recordings below ``folders``.

    Raises ``ParameterError`` when one of the two is empty.
    """
    train: list[Clip] = []
    held_out: list[Clip] = []
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
            parts = path.relative_to(folder).parts
            clip = Clip(parts[0] if parts[0] in DOMAINS else "general", read_clip(path))
            if clip.samples.size:
                (held_out if "validation" in parts else train).append(clip)
    if not train or not held_out:
        raise ParameterError(
            f"{len(train)} recordings to train on and {len(held_out)} in folders called"
            f" 'validation' below {', '.join(map(str, folders))}: both are needed"
        )
    return train, held_out


def low_voice(samples: NDArray[np.int16]) -> bool:
    """Whether the middle of a recording of speech has a low median pitch."""
    start = max(0, (len(samples) - LISTENED * RATE) // 2)
    found, peaks = correlations(samples[start : start + LISTENED * RATE].astype(np.float32))
    voiced = found[(found.max(1) > 0.6) & (peaks > 0.1)]
    return len(voiced) > 0 and float(np.median(hertz(1 + voiced.argmax(1)))) < LOW_VOICE


class AudioCrops:
    """Endless random crops in [-1, 1]; the domains share a batch as ``SHARES`` says, low and high
    voices their domain equally."""

    def __init__(self, clips: list[Clip], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.by_domain = {d: [c.samples for c in clips if c.domain == d] for d in DOMAINS}
        self.by_domain = {d: group for d, group in self.by_domain.items() if group}
        self.weights = {}
        for domain, group in self.by_domain.items():
            lengths = np.array([len(s) for s in group], dtype=np.float64)
            if domain == "speech":
                low = np.array([low_voice(s) for s in group])
                for voices in (low, ~low):
                    lengths[voices] /= max(1.0, lengths[voices].sum())
            self.weights[domain] = lengths / lengths.sum()
        shares = np.array([SHARES[d] for d in self.by_domain])
        self.shares = shares / shares.sum()

    def batch(self, count: int, samples: int, *, augment: bool = True) -> Tensor:
        """``[count, samples]``."""
        domains = self.random.choice(list(self.by_domain), count, p=self.shares)
        return torch.stack([self.crop(str(d), samples, augment) for d in domains])

    def crop(self, domain: str, samples: int, augment: bool = True) -> Tensor:
        """One crop; recordings that are too short are followed by others of the domain."""
        group, weights = self.by_domain[domain], self.weights[domain]
        if augment and self.random.random() < TONES:
            return self.tones(samples)
        speed = self.random.uniform(0.8, 1.25) if augment and self.random.random() < 0.5 else 1.0
        need = int(np.ceil(samples * speed)) + 1
        parts: list[NDArray[np.int16]] = []
        while (missing := need - sum(map(len, parts))) > 0:
            source = group[self.random.choice(len(group), p=weights)]
            start = self.random.integers(0, max(1, len(source) - missing + 1))
            parts.append(source[start : start + missing])
        wave: NDArray[np.float32] = np.concatenate(parts).astype(np.float32) / np.float32(32768)
        if speed != 1.0:
            wave = np.interp(np.arange(samples) * speed, np.arange(need), wave).astype(np.float32)
        return torch.from_numpy(self.augmented(wave[:samples]) if augment else wave[:samples])

    def augmented(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """With noise, of a narrower band, at another level or clipped, each now and then."""
        random = self.random
        if random.random() < NOISY:
            level = 10 ** (random.uniform(-35, -10) / 20) * float(wave.std())
            colour = random.uniform(0, 1)  # the exponent of its falling spectrum
            wave = wave + np.float32(level) * self.noise(len(wave), colour)
        if random.random() < BANDED:
            wave = low_pass(wave, random.uniform(3000, 7000))
        wave = wave * np.float32(10 ** (random.uniform(-12, 9) / 20))
        if random.random() < 0.9:
            wave = wave / max(np.float32(1), np.abs(wave).max())
        return wave.clip(-1, 1)

    def noise(self, samples: int, colour: float) -> NDArray[np.float32]:
        """Noise of unit deviation whose magnitudes fall with frequency to the power ``colour``."""
        spectrum = np.fft.rfft(self.random.standard_normal(samples))
        spectrum /= (1 + np.arange(len(spectrum)) * RATE / samples / 100) ** colour
        wave = np.fft.irfft(spectrum, samples)
        return (wave / (wave.std() + 1e-9)).astype(np.float32)

    def tones(self, samples: int) -> Tensor:
        """One to four steady tones, some with overtones, for part of the time."""
        time = np.arange(samples) / RATE
        wave = np.zeros(samples)
        for _ in range(self.random.integers(1, 5)):
            f0 = 60 * 2 ** self.random.uniform(0, 6)
            for h in range(1, 1 + int(self.random.choice([1, 1, 4, 12]))):
                if h * f0 < RATE / 2:
                    wave += np.sin(2 * np.pi * h * f0 * time + self.random.uniform(0, 7)) / h
        start, end = np.sort(self.random.integers(0, samples, 2))
        if self.random.random() < 0.5:
            wave[:start], wave[end:] = 0, 0
        wave *= 10 ** (self.random.uniform(-30, 0) / 20) / max(1e-6, float(np.abs(wave).max()))
        return torch.from_numpy(wave.astype(np.float32))


def low_pass(wave: NDArray[np.float32], cutoff: float) -> NDArray[np.float32]:
    """The wave without what lies above ``cutoff`` Hz."""
    spectrum = np.fft.rfft(wave)
    frequencies = np.fft.rfftfreq(len(wave), 1 / RATE)
    spectrum *= np.clip((cutoff * 1.05 - frequencies) / (cutoff * 0.05), 0, 1)
    return np.fft.irfft(spectrum, len(wave)).astype(np.float32)


def tracks_of(wave: Tensor) -> Tensor:
    """The pitch of crops ``[B, samples]``: ``[B, samples / 512]``."""
    found = [track_of(row) for row in wave.cpu().numpy()]
    return torch.from_numpy(np.stack(found)).to(wave.device)


def validation_crops(clips: list[Clip], samples: int, *, limit: int = 16) -> Tensor:
    """The first ``samples`` of held-out recordings that are long enough, ``[N, samples]``."""
    chosen = [c.samples[:samples] for c in clips if len(c.samples) >= samples][:limit]
    if not chosen:
        raise ParameterError(f"no held-out recording has {samples / RATE:.1f} s")
    return torch.from_numpy(np.stack(chosen).astype(np.float32) / 32768)
