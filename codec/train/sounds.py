"""Training sounds: decoded once, kept in memory as int16 at the model's rate, cropped at random.

Below a data folder a first-level folder ``speech``, ``music`` or ``general`` names the domain of
everything in it (anything else is general); whatever lies in a folder ``validation`` is held out,
so that whole speakers can be. Random speed moves pitch and formants and so makes new speakers;
random gain covers quiet recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.audio.small.config import RATE
from laconic.formats.errors import ParameterError

DOMAINS = ("general", "speech", "music")
SUFFIXES = {".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a"}
SHARES = {"general": 0.2, "speech": 0.6, "music": 0.2}  # of the crops in a batch


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


def load_sounds(folders: list[Path]) -> tuple[list[Clip], list[Clip]]:
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


class SoundCrops:
    """Endless random crops in [-1, 1]; the domains share a batch as ``SHARES`` says."""

    def __init__(self, clips: list[Clip], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.by_domain = {d: [c.samples for c in clips if c.domain == d] for d in DOMAINS}
        self.by_domain = {d: group for d, group in self.by_domain.items() if group}
        self.weights = {}
        for domain, group in self.by_domain.items():
            lengths = np.array([len(s) for s in group], dtype=np.float64)
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
        speed = self.random.uniform(0.85, 1.18) if augment and self.random.random() < 0.5 else 1.0
        need = int(np.ceil(samples * speed)) + 1
        parts: list[NDArray[np.int16]] = []
        while (missing := need - sum(map(len, parts))) > 0:
            source = group[self.random.choice(len(group), p=weights)]
            start = self.random.integers(0, max(1, len(source) - missing + 1))
            parts.append(source[start : start + missing])
        wave = np.concatenate(parts).astype(np.float32) / 32768
        if speed != 1.0:
            wave = np.interp(np.arange(samples) * speed, np.arange(need), wave).astype(np.float32)
        if augment:
            wave = wave * 10 ** (self.random.uniform(-12, 6) / 20)
            wave = wave / max(1.0, float(np.abs(wave).max()))
        return torch.from_numpy(wave[:samples].astype(np.float32))


def validation_crops(clips: list[Clip], samples: int, *, limit: int = 16) -> Tensor:
    """The first ``samples`` of held-out recordings that are long enough, ``[N, samples]``."""
    chosen = [c.samples[:samples] for c in clips if len(c.samples) >= samples][:limit]
    if not chosen:
        raise ParameterError(f"no held-out recording has {samples / RATE:.1f} s")
    return torch.from_numpy(np.stack(chosen).astype(np.float32) / 32768)
