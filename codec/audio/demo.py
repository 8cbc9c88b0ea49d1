"""The demonstration of recordings: encode, decode, measure, draw spectrograms."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from laconic.codec import api
from laconic.codec.audio.spectrogram import sheet_of
from laconic.codec.demo import sample_folder
from laconic.codec.evaluate.audio_measures import mel_distance
from laconic.formats.atomic import atomic_write
from laconic.formats.audio import SUFFIXES, Audio, read_audio
from laconic.formats.audio_writer import write_audio
from laconic.formats.errors import ParameterError

QUALITIES: Sequence[float | None] = (0.0, None, 100.0)


@dataclass(frozen=True)
class AudioRow:
    """One recording at one rate. Sizes in bytes of files, times in seconds, model loaded."""

    name: str
    seconds: float
    channels: int
    streams: int
    original_bytes: int
    lac_bytes: int
    kbps: float
    mel_distance: float
    encode_s: float
    decode_s: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True)
class AudioResult:
    """Measurements and the spectrograms."""

    rows: list[AudioRow]
    sheets: list[Path]


def sample_recordings() -> list[Path]:
    """The recordings of a checkout; raises ``ParameterError`` where there are none."""
    return sorted(sample_folder("voice.flac", "recordings").glob("*.flac"))


def run(
    out: Path,
    samples: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    qualities: Sequence[float | None] = QUALITIES,
) -> AudioResult:
    """Encode and decode every recording in ``samples`` at several rates below ``out``.

    Every number comes from the files written: sizes from the disk, distances from the WAV.
    """
    if samples is None:
        files = sample_recordings()
    else:
        files = sorted(p for p in samples.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ParameterError(f"{samples} holds no recordings")
    out.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32) * 0.1
    api.decode(api.encode(Audio(noise, 16000)))  # load the model before timing
    rows: list[AudioRow] = []
    sheets = []
    for file in files:
        original = read_audio(file)
        shown = [(f"{file.stem}, original, {file.stat().st_size / 1000:.0f} kB", original)]
        for quality in qualities:
            start = time.perf_counter()
            data = api.encode(file, quality=quality)
            middle = time.perf_counter()
            decoded = api.decode(data)
            end = time.perf_counter()
            streams = api.probe(data).settings["streams"]
            stem = out / f"{file.stem}-{streams}"
            with atomic_write(stem.with_suffix(".lac"), overwrite=True) as handle:
                handle.write(data)
            write_audio(decoded, stem.with_suffix(".wav"), overwrite=True)
            written = read_audio(stem.with_suffix(".wav"))
            size = stem.with_suffix(".lac").stat().st_size
            row = AudioRow(
                name=file.stem,
                seconds=original.seconds,
                channels=original.channels,
                streams=streams,
                original_bytes=file.stat().st_size,
                lac_bytes=size,
                kbps=8 * size / original.seconds / 1000,
                mel_distance=mel_distance(original, written),
                encode_s=middle - start,
                decode_s=end - middle,
            )
            rows.append(row)
            shown.append((f"{row.kbps:.2f} kbit/s, {size:,} bytes", written))
            if progress:
                progress(len(rows), len(files) * len(qualities))
        path = out / f"{file.stem}.png"
        with atomic_write(path, overwrite=True) as handle:
            sheet_of(shown).quantize(64).save(handle, "PNG", optimize=True)
        sheets.append(path)
    return AudioResult(rows, sheets)
