"""Small videos of every sort for tests, written with FFmpeg."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def moving(count: int, height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Frames ``[N, H, W, C]``: a soft pattern that drifts, and a square that moves across it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phases = rng.random((channels, 2)) * 6
    frames = np.empty((count, height, width, channels), np.uint8)
    for n in range(count):
        for c in range(channels):
            wave = np.sin(x / 7 + phases[c, 0] + n / 9) + np.cos(y / 5 + phases[c, 1] - n / 11)
            frames[n, ..., c] = 128 + 50 * wave
        left = 2 * n % max(1, width - 8)
        frames[n, height // 3 : height // 3 + 6, left : left + 6] = 230 - 20 * seed % 200
    return frames


def drawn(count: int, height: int, width: int, step: int) -> np.ndarray:
    """Frames ``[N, H, W, 3]``: glyphs in lines that scroll by ``step``, beside ones that stay."""
    rng = np.random.default_rng(4)
    glyphs = rng.choice(np.uint8([20, 235]), (6, 8, 6), p=[0.4, 0.6])
    page = np.full((height + count * step, width), 235, np.uint8)
    for top in range(2, len(page) - 10, 12):
        for left in range(2, width - 8, 7):
            if rng.random() < 0.6:
                page[top : top + 8, left : left + 6] = glyphs[rng.integers(6)]
    frames = np.stack([page[n * step : n * step + height] for n in range(count)])
    frames[:, :, : width // 3] = page[:height, : width // 3]
    return np.repeat(frames[..., None], 3, 3)


def write(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "ffv1",
    layout: str = "bgr0",
    stamps: list[int] | None = None,
    base: Fraction = Fraction(1, 1000),
    audio: tuple[str, ...] = (),
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video; ``stamps`` in units of ``base`` (25 frames a second by default)."""
    count, height, width, channels = frames.shape
    step = Fraction(1, 25) / base
    stamps = [round(n * step) for n in range(count)] if stamps is None else stamps
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, layout
        context = stream.codec_context
        context.time_base = stream.time_base = base
        if tags is not None:
            context.color_primaries, context.color_trc = tags[:2]
            context.colorspace, context.color_range = tags[2:]
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        tracks = [_track(container, name) for name in audio]
        for n, frame in enumerate(frames):
            array = frame[..., 0] if channels == 1 else frame
            made = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(array), format="gray" if channels == 1 else "rgb24"
            )
            made.color_range = 2
            if made.format.name != layout:
                made = made.reformat(
                    format=layout,
                    dst_colorspace=5 if tags is None else tags[2],
                    dst_color_range=1 if tags is None else tags[3],
                )
            made.pts, made.time_base = stamps[n], base
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
        for track in tracks:
            _sing(container, track, float((stamps[-1] - stamps[0]) * base) + 0.04)
    return path


def _track(container, name):
    stream = container.add_stream(name, rate=48000)
    stream.codec_context.layout = "stereo"
    return stream


def _sing(container, stream, seconds):
    context = stream.codec_context
    t = np.arange(max(4096, round(48000 * seconds))) / 48000
    wave = np.stack([0.3 * np.sin(2 * np.pi * f * t) for f in (440, 554)]).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = 48000, 0
    resampler = av.AudioResampler(
        format=context.format, layout="stereo", rate=48000, frame_size=context.frame_size or 1024
    )
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def packets(path: Path, track: int = 0) -> list[tuple[bytes, Fraction, Fraction]]:
    """Bytes, time and duration of the packets of an audio track, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        return [
            (bytes(p), p.pts * p.time_base, (p.duration or 0) * p.time_base)
            for p in container.demux(stream)
            if p.size
        ]


def decoded(path: Path) -> tuple[np.ndarray, list[Fraction]]:
    """RGB frames and their times in seconds."""
    with av.open(str(path)) as container:
        found = [
            (f.to_ndarray(format="rgb24"), f.pts * f.time_base) for f in container.decode(video=0)
        ]
    return np.stack([frame for frame, _ in found]), [time for _, time in found]


def damaged(payload: bytes, random: np.random.Generator) -> bytes:
    """A copy with one bit turned, or without its end."""
    mutant = bytearray(payload)
    if random.integers(2):
        mutant[random.integers(len(mutant))] ^= 1 << int(random.integers(8))
    else:
        del mutant[random.integers(len(mutant)) :]
    return bytes(mutant)
