"""Renders the sample video: a ball rolls through a lit room while the camera follows.

    python samples/render_clip.py [folder]

Numpy, Pillow and FFmpeg (PyAV) only, fixed seeds, some seconds on one core. The video is dedicated
to the public domain (CC0).
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from render import Array, fractal, mix

WIDTH, HEIGHT, FRAMES, RATE = 160, 96, 32, 24
SUPER = 2  # samples per pixel and side


def frame(number: int, wall: Array, floor: Array) -> NDArray[np.uint8]:
    """One frame ``[H, W, 3]``: wall, floor with shadow, ball with moving texture."""
    t = number / FRAMES
    y, x = np.mgrid[0 : HEIGHT * SUPER, 0 : WIDTH * SUPER] / SUPER
    pan = 26 * t  # the camera moves to the right
    horizon = 52 + 2 * np.sin(3 * t)
    columns = ((x + pan) * SUPER).astype(int) % wall.shape[1]
    rows = (y * SUPER).astype(int) % wall.shape[0]
    light = 0.55 + 0.45 * np.exp(-(((x - 110 + pan) / 60) ** 2 + ((y - 20) / 45) ** 2))
    board = mix(np.array([0.42, 0.36, 0.30]), np.array([0.62, 0.58, 0.50]), wall[rows, columns])
    picture = board * light[..., None]
    depth = np.clip((y - horizon) / (HEIGHT - horizon), 0.02, 1)
    u = ((x - 80) / depth * 0.7 + 3 * pan + 900).astype(int) % floor.shape[1]
    v = (70 / depth).astype(int) % floor.shape[0]
    planks = mix(np.array([0.30, 0.17, 0.08]), np.array([0.55, 0.36, 0.18]), floor[v, u])
    picture = np.where((y > horizon)[..., None], planks * (0.45 + 0.5 * depth[..., None]), picture)
    cx, cy, radius = 34 + 70 * t, 66 - 3 * abs(np.sin(7 * t)), 15.0
    shadow = np.exp(-(((x - cx - 7) / 17) ** 2 + ((y - cy - 14) / 4.5) ** 2))
    picture *= 1 - 0.65 * shadow[..., None] * (y > horizon)[..., None]
    dx, dy = (x - cx) / radius, (y - cy) / radius
    inside = dx**2 + dy**2
    z = np.sqrt(np.clip(1 - inside, 0, 1))
    turn = 70 * t / radius  # it rolls without slipping
    a, b = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    stripes = 0.5 + 0.5 * np.tanh(6 * np.sin(5 * np.arctan2(a, b) + 2 * z))
    ball = mix(np.array([0.80, 0.12, 0.10]), np.array([0.95, 0.90, 0.80]), stripes)
    shade = np.clip(0.25 + 0.75 * (0.45 * dx - 0.6 * dy + 0.65 * z), 0.08, 1)
    gloss = np.clip(0.45 * dx - 0.6 * dy + 0.66 * z, 0, 1) ** 40
    ball = ball * shade[..., None] + 0.7 * gloss[..., None]
    edge = np.clip((1 - np.sqrt(inside)) * radius + 0.5, 0, 1)
    picture = mix(picture, ball, edge)
    picture = picture.reshape(HEIGHT, SUPER, WIDTH, SUPER, 3).mean((1, 3))
    grain = np.random.default_rng(number).normal(0, 0.004, picture.shape)
    return np.rint(255 * np.clip(picture + grain, 0, 1) ** (1 / 1.8)).astype(np.uint8)


def main() -> None:
    """Write ``clip.mkv`` into the folder given, this one by default."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    rng = np.random.default_rng(12)
    wall = fractal((HEIGHT * SUPER, 2 * WIDTH * SUPER), 14, 4, rng)
    floor = fractal((400, 640), 40, 4, rng) * (0.75 + 0.25 * (np.arange(640) % 80 > 3))
    options = {"crf": "10", "preset": "veryslow", "x264-params": "bframes=0"}
    with av.open(str(folder / "clip.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1
        for number in range(FRAMES):
            made = av.VideoFrame.from_ndarray(frame(number, wall, floor), format="rgb24")
            made = made.reformat(format="yuv420p", dst_colorspace=5, dst_color_range=1)
            made.pts = number
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    main()
