"""Spectrograms as images, one above the other, to compare recordings by eye. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from laconic.formats.audio import Audio

HEIGHT, MAX_WIDTH, CAPTION, AXIS = 192, 1200, 22, 36  # pixels
WINDOW = 0.032  # seconds
RANGE = 80.0  # dB below the loudest that are black
TOP = 8000  # Hz
# Anchors of a perceptually even scale from black over violet and orange to pale yellow.
COLOURS = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51),
     (249, 140, 10), (249, 201, 50), (252, 255, 164)], np.float64
)  # fmt: skip


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
