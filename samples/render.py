"""Renders the sample images: synthetic scenes with the statistics of photographs.

    python samples/render.py [folder]

Numpy only, fixed seeds, about a minute on one core. The images are dedicated to the public
domain (CC0).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Array = NDArray[Any]


def noise(shape: tuple[int, int], cells: float, rng: np.random.Generator) -> Array:
    """Smooth value noise in [0, 1] with about ``cells`` cells along the longer side, ``[H, W]``."""
    height, width = shape
    step = max(shape) / cells
    grid = rng.random((int(height / step) + 3, int(width / step) + 3))
    y, x = np.arange(height)[:, None] / step, np.arange(width)[None] / step
    i, j = y.astype(int), x.astype(int)
    u, v = y - i, x - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = grid[i, j] * (1 - v) + grid[i, j + 1] * v
    bottom = grid[i + 1, j] * (1 - v) + grid[i + 1, j + 1] * v
    return top * (1 - u) + bottom * u


def fractal(
    shape: tuple[int, int], cells: float, octaves: int, rng: np.random.Generator, gain: float = 0.5
) -> Array:
    """Sum of noise octaves, roughly in [0, 1]."""
    total, weight, out = 0.0, 1.0, np.zeros(shape)
    for k in range(octaves):
        out += weight * noise(shape, cells * 2**k, rng)
        total += weight
        weight *= gain
    return out / total


def mix(a: Array, b: Array, share: Array) -> Array:
    """Blend of two colours or images; ``share`` is ``[H, W]`` or a number."""
    s = np.asarray(share)[..., None]
    return np.asarray(a) * (1 - s) + np.asarray(b) * s


def develop(light: Array, rng: np.random.Generator, grain: float = 0.006) -> Image.Image:
    """Linear light ``[H, W, 3]`` -> image: a touch of blur, sensor noise, tone curve."""
    x = np.clip(light, 0, None)
    x = x + np.sqrt(x + 0.01) * grain * rng.normal(size=x.shape) * 2.5
    x = 1 - np.exp(-1.6 * np.clip(x, 0, None))
    x = np.clip(x / (1 - np.exp(-1.6)), 0, 1) ** (1 / 2.2)
    picture = Image.fromarray(np.rint(x * 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(0.55))


def still_life(width: int, height: int) -> Image.Image:
    """Textured spheres on a table under a soft light: Monte-Carlo shadows, depth of field."""
    rng = np.random.default_rng(11)
    spheres = [  # centre, radius, colour, second colour, texture frequency
        ((-1.25, 0.75, 0.6), 0.75, (0.75, 0.16, 0.08), (0.45, 0.06, 0.03), 5.0),
        ((0.35, 1.0, 1.5), 1.0, (0.14, 0.30, 0.62), (0.75, 0.78, 0.80), 9.0),
        ((1.55, 0.55, 0.1), 0.55, (0.80, 0.55, 0.10), (0.60, 0.32, 0.05), 14.0),
        ((0.15, 0.32, -0.75), 0.32, (0.20, 0.50, 0.18), (0.08, 0.28, 0.08), 11.0),
        ((-0.75, 0.22, -1.0), 0.22, (0.85, 0.82, 0.75), (0.55, 0.50, 0.45), 25.0),
    ]
    image = np.zeros((height, width, 3))
    samples = 20
    u0, v0 = np.meshgrid(np.arange(width), np.arange(height))
    for _ in range(samples):
        u = (u0 + rng.random(u0.shape) - width / 2) / (0.95 * width)
        v = (height / 2 - v0 - rng.random(u0.shape)) / (0.95 * width)
        eye = np.stack(
            (
                rng.normal(0, 0.035, u.shape),
                1.5 + rng.normal(0, 0.035, u.shape),
                np.full(u.shape, -4.6),
            ),
            -1,
        )
        focus = np.stack((u * 5.1, 1.5 - 0.75 + v * 5.1, np.full(u.shape, 0.5)), -1)
        ray = focus - eye
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        depth, which = np.full(u.shape, np.inf), np.full(u.shape, -2)
        floor = -eye[..., 1] / np.where(ray[..., 1] < -1e-6, ray[..., 1], -1e-6)
        hit = ray[..., 1] < -1e-6
        depth[hit], which[hit] = floor[hit], -1
        for n, (centre, radius, *_) in enumerate(spheres):
            distance = sphere_distance(eye, ray, np.array(centre), radius)
            nearer = distance < depth
            depth[nearer], which[nearer] = distance[nearer], n
        far = ~np.isfinite(depth)
        point = eye + ray * np.where(far, 1.0, depth)[..., None]
        normal = np.zeros_like(point)
        normal[..., 1] = 1
        colour = tablecloth(point)
        for n, (centre, radius, first, second, frequency) in enumerate(spheres):
            at = which == n
            normal[at] = (point[at] - centre) / radius
            colour[at] = marble(point[at] * frequency, first, second)
        lamp = np.array([-3.2, 5.0, -2.8]) + rng.uniform(-0.9, 0.9, (*u.shape, 3))
        to_lamp = lamp - point
        reach = np.linalg.norm(to_lamp, axis=-1, keepdims=True)
        to_lamp /= reach
        lit = np.ones(u.shape, bool)
        for centre, radius, *_ in spheres:
            lit &= ~(
                sphere_distance(point + 1e-3 * normal, to_lamp, np.array(centre), radius) < 1e8
            )
        diffuse = np.clip((normal * to_lamp).sum(-1), 0, None) * lit * 42 / reach[..., 0] ** 2
        half = to_lamp - ray
        half /= np.linalg.norm(half, axis=-1, keepdims=True)
        gloss = np.clip((normal * half).sum(-1), 0, None) ** 60 * lit * (which >= 0) * 0.9
        ambient = 0.10 + 0.10 * normal[..., 1]
        occlusion = np.clip(point[..., 1] * 2.2, 0.35, 1) * (which >= 0) + (which < 0)
        shaded = colour * (diffuse * 0.85 + ambient * occlusion)[..., None] + gloss[..., None]
        wall = np.array([0.23, 0.20, 0.17]) * (0.9 + 0.5 * v[..., None] - 0.35 * u[..., None])
        fog = np.clip((point[..., 2] - 4) / 9, 0, 1) ** 1.2
        image += np.where((far | (fog > 0.995))[..., None], wall, mix(shaded, wall, fog))
    return develop(image / samples, rng)


def sphere_distance(origin: Array, ray: Array, centre: Array, radius: float) -> Array:
    """Distance to the first hit, infinite for none."""
    offset = origin - centre
    b = (offset * ray).sum(-1)
    c = (offset * offset).sum(-1) - radius * radius
    root = b * b - c
    distance = -b - np.sqrt(np.maximum(root, 0))
    return np.where((root > 0) & (distance > 1e-3), distance, np.inf)


def marble(p: Array, first: tuple[float, ...], second: tuple[float, ...]) -> Array:
    """Veins from folded sines of a 3D position ``[..., 3]``."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    turbulence = np.zeros(x.shape)
    for k in range(4):
        f = 1.9**k
        turbulence += np.abs(np.sin(f * x + 1.3 * k) * np.sin(f * y + 2.1) * np.sin(f * z + k)) / f
    vein = 0.5 + 0.5 * np.sin(1.1 * x + 0.8 * z + 4.5 * turbulence)
    return mix(np.array(first), np.array(second), vein**2)


def tablecloth(point: Array) -> Array:
    """Woven checks on the table."""
    x, z = point[..., 0], point[..., 2]
    checks = (np.sin(3.2 * x) > 0.2).astype(float) + (np.sin(3.2 * z) > 0.2)
    weave = 0.9 + 0.1 * np.sin(95 * x) * np.sin(95 * z)
    return (
        mix(np.array([0.62, 0.58, 0.50]), np.array([0.30, 0.09, 0.08]), checks / 2)
        * weave[..., None]
    )


def mountains(width: int, height: int) -> Image.Image:
    """Ridges in haze above a lake."""
    rng = np.random.default_rng(5)
    y = np.linspace(0, 1, height)[:, None] * np.ones(width)
    clouds = fractal((height, width), 5, 7, rng)
    sky = mix(np.array([0.16, 0.32, 0.68]), np.array([0.78, 0.74, 0.68]), np.clip(y / 0.55, 0, 1))
    light = mix(sky, np.array([0.98, 0.95, 0.92]), np.clip((clouds - 0.5) * 4, 0, 0.9) * (1 - y))
    shore = 0.70
    for k in range(5):
        base = 0.34 + 0.085 * k
        line = fractal((1, width), 3 + 2 * k, 9, rng, 0.52)[0] - 0.5
        ridge = base - (0.42 - 0.06 * k) * line * 1.1
        rock = fractal((height, width), 10 + 8 * k, 7, rng, 0.62)
        relief = np.clip(0.55 + 14 * (rock - np.roll(rock, (2, 3), (0, 1))), 0.08, 1.6)
        green = np.array([0.10, 0.13, 0.05]) + 0.03 * k
        body = mix(np.array([0.22, 0.20, 0.19]), green, min(1.0, 0.25 * k)) * relief[..., None]
        snow = np.clip((rock - 0.36) * 8, 0, 1) * np.clip((0.42 - y) * 9 + 0.4, 0, 1) * (k < 3)
        body = mix(body, np.array([0.82, 0.86, 0.92]) * relief[..., None], snow)
        body = mix(np.array([0.55, 0.62, 0.72]), body, 0.30 + 0.165 * k)
        light = np.where((y > ridge[None])[..., None], body, light)
    row = int(shore * height)
    depth = np.arange(height - row)
    ripple = fractal((height - row, width), 14, 6, rng) - 0.5
    stretch = noise((height - row, width // 6 + 1), 60, rng).repeat(6, 1)[:, :width] - 0.5
    source = (
        row
        - 1
        - np.clip(
            depth[:, None] * 1.0 + (ripple * 26 + stretch * 9) * (0.2 + depth[:, None] / 60),
            0,
            row - 1,
        )
    )
    mirror = light[source.astype(int), np.arange(width)[None]]
    light[row:] = mix(
        mirror * 0.72,
        np.array([0.05, 0.11, 0.14]),
        np.clip(0.15 + depth / 400, 0, 1)[:, None] * np.ones(width),
    )
    return develop(light, rng)


def brick_wall(width: int, height: int) -> Image.Image:
    """Bricks and mortar in raking light, with a wooden door frame."""
    rng = np.random.default_rng(7)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    warp = (fractal((height, width), 9, 3, rng) - 0.5) * 7
    course = ((y + warp) // 34).astype(int)
    shifted = x + warp + (course % 2) * 39
    column = (shifted // 78).astype(int)
    edge = np.minimum.reduce(
        ((y + warp) % 34, 34 - (y + warp) % 34, shifted % 78, 78 - shifted % 78)
    )
    grain = fractal((height, width), 60, 6, rng, 0.7)
    raised = np.clip((edge - 2.2 - 2 * grain) / 3, 0, 1)
    tone = rng.random((course.max() + 2, column.max() + 2))[course, column]
    brick = mix(np.array([0.42, 0.15, 0.09]), np.array([0.24, 0.10, 0.08]), tone)
    brick = mix(brick, np.array([0.55, 0.33, 0.22]), np.clip((grain - 0.5) * 2.4, 0, 1))
    surface = mix(np.array([0.44, 0.41, 0.37]) * (0.7 + 0.6 * grain[..., None]), brick, raised)
    relief = 5 * raised + 6 * grain
    post = x > width * 0.78
    rings = np.sin(0.35 * (x - width * 0.9) + 9 * fractal((height, width), 2, 4, rng) + 0.004 * y)
    fibre = noise((height // 40 + 2, width), 300, rng).repeat(40, 0)[:height]
    timber = mix(
        np.array([0.30, 0.18, 0.09]),
        np.array([0.15, 0.085, 0.045]),
        np.clip(0.5 + 0.4 * rings + 0.5 * (fibre - 0.5), 0, 1),
    )
    surface = np.where(post[..., None], timber, surface)
    relief = np.where(post, 12 + 1.5 * rings + 3 * fibre, relief)
    slope_x, slope_y = np.gradient(relief, axis=1), np.gradient(relief, axis=0)
    raking = np.clip(0.75 - 0.55 * slope_x - 0.4 * slope_y, 0.05, 2.2)
    glow = 1.25 - 0.85 * (x / width) * 0.6 - 0.35 * (y / height)
    shadow = 1 - 0.6 * np.clip((x - width * 0.72) / (width * 0.06), 0, 1) * ~post
    return develop(surface * (raking * glow * shadow)[..., None] * 1.25, rng)


def night(width: int, height: int) -> Image.Image:
    """A lit sign in front of lights out of focus."""
    rng = np.random.default_rng(3)
    scale = 2
    light = np.zeros((height, width, 3)) + np.array([0.010, 0.012, 0.022])
    light += fractal((height, width), 4, 5, rng)[..., None] * np.array([0.03, 0.025, 0.04])
    y, x = np.mgrid[0:height, 0:width]
    for _ in range(70):
        cx, cy = rng.uniform(0, width), height * np.clip(rng.normal(0.45, 0.2), 0, 1)
        radius = rng.uniform(9, 34)
        colour = np.array(
            [[1, 0.62, 0.25], [1, 0.85, 0.6], [0.9, 0.2, 0.15], [0.3, 0.8, 0.5], [0.4, 0.6, 1]]
        )[rng.integers(5)]
        distance = np.hypot(x - cx, y - cy)
        disc = np.clip(radius - distance, 0, 1.5) / 1.5 * (0.75 + 0.35 * (distance / radius) ** 4)
        light += disc[..., None] * colour * rng.uniform(0.06, 0.4)
    sign = Image.new("L", (width * scale, height * scale), 0)
    draw = ImageDraw.Draw(sign)
    for text, size, row in (
        ("CAFE", 130, 0.30),
        ("open late", 46, 0.58),
        ("soup - bread - coffee", 24, 0.70),
    ):
        font = ImageFont.load_default(size * scale)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        at = ((width * scale - right - left) / 2, row * height * scale - (bottom + top) / 2)
        draw.text(at, text, fill=255, font=font)
    small = sign.resize((width, height), Image.Resampling.LANCZOS)
    letters = np.asarray(small, dtype=np.float64) / 255
    halo = np.asarray(small.filter(ImageFilter.GaussianBlur(13)), dtype=np.float64) / 255
    board = (np.abs(x - width / 2) < width * 0.42) & (np.abs(y - height * 0.48) < height * 0.34)
    wood = np.array([0.030, 0.020, 0.015]) * (0.5 + fractal((height, width), 30, 5, rng)[..., None])
    light = np.where(board[..., None], wood + 0.25 * light, light)
    light += letters[..., None] * np.array([1.0, 0.72, 0.42]) + halo[..., None] * np.array(
        [0.5, 0.22, 0.08]
    )
    return develop(light, rng, grain=0.010)


SCENES: dict[str, tuple[Callable[[int, int], Image.Image], int, int]] = {
    "still-life": (still_life, 768, 512),
    "mountains": (mountains, 768, 512),
    "brick-wall": (brick_wall, 512, 768),
    "night": (night, 611, 407),
}


def main() -> None:
    """Render all scenes into the folder given, this one by default."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, (scene, width, height) in SCENES.items():
        scene(width, height).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
