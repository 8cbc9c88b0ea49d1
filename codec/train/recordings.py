"""Recordings for trainings: decoded once, kept as mono int16 at 16 kHz, cropped at random.

For the small SemantiCodec (:class:`AudioCrops`), below a data folder a first-level folder
``speech``, ``music`` or ``general`` names the domain of everything in it (anything else is
general); whatever lies in a folder ``validation`` is held out, so that whole speakers can be. Low
voices are drawn a little more often than high ones, however many recordings there are of each: a
network that has heard few men makes whispers of them. Random speed moves pitch and formants and so
makes new speakers; random gain covers quiet recordings, low-pass filters those of telephones, and
now and then there is noise behind a recording, or a few tones in its place.

For PSCodec (:class:`PromptedCrops`) a sample is a crop of speech and a prompt from another place of
the same recording, hence of the same voice.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.audio.semanticodec_small.config import RATE
from laconic.codec.audio.side_information import HOP, hertz, track_of
from laconic.codec.train.files import read_each
from laconic.formats.audio import SUFFIXES as ANY_AUDIO
from laconic.formats.audio import read_audio, resample
from laconic.formats.errors import ParameterError

DOMAINS = ("general", "speech", "music")
SUFFIXES = {".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a"}
SHARES = {"general": 0.125, "speech": 0.75, "music": 0.125}  # of the crops in a batch
LOW_VOICE = 155.0  # Hz of the median pitch, below which a voice counts as low
LOW_SHARE = 1.2  # low voices for every high one
PIECES, PIECE = 4, 24 * HOP  # pieces of a recording from which its pitch is taken, their samples
LEAST_VOICED = 6  # knots of a track without which there is no voice
BANDED, NOISY, TONES = 0.15, 0.12, 0.03  # shares of the crops that are augmented so
HELD_OUT_EVERY = 45
QUIET = 1e-3  # root mean square of crops that are drawn again


@dataclass(frozen=True)
class Clip:
    """One recording: mono int16 samples at 16 kHz."""

    domain: str
    samples: NDArray[np.int16]
    low: bool = False  # a low voice


def read_clip(data: bytes) -> NDArray[np.int16]:
    """All samples of the first audio track, mono at 16 kHz."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    parts: list[NDArray[np.int16]] = []
    with av.open(BytesIO(data)) as container:
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
        for path, samples in read_each(folder, SUFFIXES, read_clip):
            domain = path.parts[0] if path.parts[0] in DOMAINS else "general"
            if not samples.size:
                continue
            if "validation" in path.parts:
                held_out.append(Clip(domain, samples))
            else:
                low = domain == "speech" and low_voice(samples)
                train.append(Clip(domain, samples, low))
    if not train or not held_out:
        raise ParameterError(
            f"{len(train)} recordings to train on and {len(held_out)} in folders called"
            f" 'validation' below {', '.join(map(str, folders))}: both are needed"
        )
    return train, held_out


def low_voice(samples: NDArray[np.int16]) -> bool:
    """Whether a recording of speech has a low median pitch, in pieces spread over it.

    On 126 recordings of seven collections this differs once from the track of the first half
    minute, the middle three seconds alone 5 times, peaks of the autocorrelation of the middle
    second 18 times. It takes 6 ms of a core, 40 seconds for 6,000 recordings.
    """
    if len(samples) > PIECES * PIECE:
        starts = np.linspace(0, len(samples) - PIECE, PIECES + 2).astype(np.int64)[1:-1]
        samples = np.concatenate([samples[s : s + PIECE] for s in starts])
    track = track_of(samples.astype(np.float32))
    voiced = track[track > 0]
    return len(voiced) >= LEAST_VOICED and float(np.median(hertz(voiced))) < LOW_VOICE


class AudioCrops:
    """Endless random crops in [-1, 1]; the domains share a batch as ``SHARES`` says, low and high
    voices their domain as ``LOW_SHARE`` does."""

    def __init__(self, clips: list[Clip], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        groups = {d: [c for c in clips if c.domain == d] for d in DOMAINS}
        self.by_domain = {d: [c.samples for c in group] for d, group in groups.items() if group}
        self.weights = {}
        for domain, group in self.by_domain.items():
            weights = np.array([len(s) for s in group], dtype=np.float64)
            if domain == "speech":
                low = np.array([c.low for c in groups[domain]])
                weights[low] *= LOW_SHARE / max(1.0, weights[low].sum())
                weights[~low] /= max(1.0, weights[~low].sum())
            self.weights[domain] = weights / weights.sum()
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


def read_mono(data: bytes) -> NDArray[np.float32]:
    """``[samples]`` at 16 kHz: the mean of all channels."""
    audio = read_audio(data)
    if audio.rate != RATE:
        audio = resample(audio, RATE)
    return audio.samples.mean(0, dtype=np.float32)


def load_speech(
    paths: list[Path], shortest: int
) -> tuple[list[NDArray[np.int16]], list[NDArray[np.int16]]]:
    """Training and held-out recordings: those below folders ``validation``, or else every 45th.

    Raises ``ParameterError`` when there are not two recordings of at least ``shortest`` samples.
    """
    train: list[NDArray[np.int16]] = []
    held_out: list[NDArray[np.int16]] = []
    for path in paths:
        for name, wave in read_each(path, ANY_AUDIO, read_mono):
            if len(wave) >= shortest:
                kept = (wave.clip(-1, 1) * 32767).astype(np.int16)
                (held_out if "validation" in name.parts else train).append(kept)
    if not held_out:
        held_out = train[::HELD_OUT_EVERY]
        del train[::HELD_OUT_EVERY]
    if not train or not held_out:
        raise ParameterError(
            f"{len(train) + len(held_out)} recordings of at least {shortest / RATE:g} seconds in"
            f" {', '.join(map(str, paths))}: at least 2 are needed to train and validate"
        )
    return train, held_out


class PromptedCrops:
    """Random crops with prompts. Recordings are drawn in proportion to their length, at most
    ``longest`` of it, so that long chapters do not crowd out many short voices."""

    def __init__(
        self, recordings: list[NDArray[np.int16]], crop: int, prompt: int, seed: int
    ) -> None:
        self.recordings, self.crop, self.prompt = recordings, crop, prompt
        self.random = np.random.default_rng(seed)
        longest = 20 * RATE
        weight = np.array([min(len(r), longest) for r in recordings], np.float64)
        self.weight = weight / weight.sum()

    def _piece(self, recording: NDArray[np.int16], length: int) -> NDArray[np.float32]:
        start = int(self.random.integers(max(1, len(recording) - length + 1)))
        piece = recording[start : start + length].astype(np.float32) / 32767
        return np.pad(piece, (0, length - len(piece)))

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Crops ``[B, crop]`` and prompts ``[B, prompt]``, at one random gain per pair."""
        crops: list[NDArray[np.float32]] = []
        prompts: list[NDArray[np.float32]] = []
        while len(crops) < size:
            recording = self.recordings[self.random.choice(len(self.recordings), p=self.weight)]
            crop = self._piece(recording, self.crop)
            if np.sqrt(np.mean(crop**2)) < QUIET and self.random.random() < 0.9:
                continue
            gain = np.float32(10 ** self.random.uniform(-0.3, 0.15))
            crops.append(np.clip(gain * crop, -1, 1))
            prompts.append(gain * self._piece(recording, self.prompt))
        return torch.from_numpy(np.stack(crops)), torch.from_numpy(np.stack(prompts))
