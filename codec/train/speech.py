"""Training speech: decoded once to 16 kHz mono, kept in memory as int16, cropped at random.

A sample is a crop and a prompt from another place of the same recording, hence of the same voice.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.formats.audio import SUFFIXES, read_audio, resample
from laconic.formats.errors import ParameterError

RATE = 16_000
HELD_OUT_EVERY = 45
QUIET = 1e-3  # root mean square of crops that are drawn again


def iterate_recordings(path: Path) -> Iterator[bytes]:
    """Bytes of a recording, or of all below a folder, inside ``.tar`` files too; fixed order."""
    if path.is_dir():
        for inside in sorted(path.rglob("*")):
            if inside.is_file():
                yield from iterate_recordings(inside)
    elif path.suffix == ".tar":
        with tarfile.open(path) as tar:
            for member in sorted((m for m in tar if m.isfile()), key=lambda m: m.name):
                handle = tar.extractfile(member)
                if handle and Path(member.name).suffix.lower() in SUFFIXES:
                    yield handle.read()
    elif path.suffix.lower() in SUFFIXES:
        yield path.read_bytes()


def read_mono(data: bytes) -> NDArray[np.float32]:
    """``[samples]`` at 16 kHz: the mean of all channels."""
    audio = read_audio(data)
    if audio.rate != RATE:
        audio = resample(audio, RATE)
    return audio.samples.mean(0, dtype=np.float32)


def load_speech(
    paths: list[Path], shortest: int
) -> tuple[list[NDArray[np.int16]], list[NDArray[np.int16]]]:
    """Training and held-out recordings; every 45th is held out.

    Raises ``ParameterError`` when there are not two recordings of at least ``shortest`` samples.
    """
    train: list[NDArray[np.int16]] = []
    held_out: list[NDArray[np.int16]] = []
    for path in paths:
        for data in iterate_recordings(path):
            wave = read_mono(data)
            if len(wave) < shortest:
                continue
            kept = (wave.clip(-1, 1) * 32767).astype(np.int16)
            (held_out if (len(train) + len(held_out)) % HELD_OUT_EVERY == 0 else train).append(kept)
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
