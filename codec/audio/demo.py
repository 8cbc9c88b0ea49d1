"""The demonstration of recordings: encode, decode, measure, draw spectrograms to compare by eye."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from laconic.codec import api
from laconic.codec.demo import sample_folder
from laconic.codec.evaluate.audio_measures import mel_distance
from laconic.formats.atomic import atomic_write
from laconic.formats.audio import SUFFIXES, Audio, read_audio
from laconic.formats.audio_writer import write_audio
from laconic.formats.errors import ParameterError

HEIGHT, MAX_WIDTH, CAPTION, AXIS = 192, 1200, 22, 36  # pixels
WINDOW = 0.032  # seconds
RANGE = 80.0  # dB below the loudest that are black
TOP = 8000  # Hz
# Anchors of a perceptually even scale from black over violet and orange to pale yellow.
COLOURS = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51),
     (249, 140, 10), (249, 201, 50), (252, 255, 164)], np.float64
)  # fmt: skip
QUALITIES: Sequence[float | None] = (0.0, None, 100.0)


def decibels(audio: Audio) -> NDArray[np.float64]:
    """``[frames, bins]`` up to 8 kHz of the mean of the channels, 0 at full scale."""
    size = 2 * round(WINDOW * audio.rate / 2)
    mono = audio.samples.mean(0)
    hop = max(size // 4, -(-mono.size // MAX_WIDTH))
    padded = np.pad(mono, (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: mono.size : hop]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(size))) * 4 / size
    bins = min(spectrum.shape[1], 1 + int(TOP * size / audio.rate))
    loud: NDArray[np.float64] = 20 * np.log10(spectrum[:, :bins] + 1e-7)
    return loud


def sheet_of(recordings: Sequence[tuple[str, Audio]]) -> Image.Image:
    """Spectrograms with captions, the first on top; all on the scale of the first."""
    levels = [decibels(audio) for _, audio in recordings]
    top = float(levels[0].max())
    width = max(len(level) for level in levels)
    sheet = Image.new("RGB", (AXIS + width, len(recordings) * (HEIGHT + CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for n, ((caption, audio), level) in enumerate(zip(recordings, levels, strict=True)):
        share = ((level - top) / RANGE + 1).clip(0, 1) * (len(COLOURS) - 1)
        low = share.astype(int).clip(0, len(COLOURS) - 2)
        part = (share - low)[..., None]
        colours = COLOURS[low] * (1 - part) + COLOURS[low + 1] * part
        pixels = np.rint(colours).astype(np.uint8).transpose(1, 0, 2)[::-1]
        y = n * (HEIGHT + CAPTION)
        body = Image.fromarray(np.ascontiguousarray(pixels)).resize((len(level), HEIGHT))
        sheet.paste(body, (AXIS, y + CAPTION))
        draw.text((AXIS, y + 4), caption, fill="black", font=font)
        highest = min(TOP, audio.rate // 2)
        for hertz in range(0, highest + 1, 2000):
            at = y + CAPTION + round((1 - hertz / highest) * (HEIGHT - 1))
            draw.line((AXIS - 4, at, AXIS, at), fill="black")
            if 0 < hertz < highest:
                draw.text((2, at - 7), f"{hertz // 1000} kHz", fill="black", font=font)
    return sheet


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
