"""Tables and arrays for tests, made from seeds."""

import numpy as np
from numpy.typing import NDArray


def table(rows: int = 400, seed: int = 0) -> bytes:
    """A CSV of dependent columns: identifier, categories, numbers with gaps, decimals, texts."""
    rng = np.random.default_rng(seed)
    lines = ["id,city,age,income,score,when,note"]
    cities = np.array(["Rome", "Oslo", '"Paris, FR"', "Lima"])
    kind = rng.integers(0, 4, rows)
    age = np.clip((30 + 10 * kind + rng.normal(0, 5, rows)).astype(int), 18, 99)
    income = (age * 700 + rng.integers(0, 30000, rows)).astype(int)
    when = 1_700_000_000 + np.cumsum(rng.integers(1, 60, rows))
    for n in range(rows):
        money = "" if rng.random() < 0.1 else str(income[n])
        note = "".join(rng.choice(list("abcdef"), rng.integers(0, 6)))
        score = f"{rng.integers(-500, 500) / 100:.2f}".replace("-0.00", "0.00")
        lines.append(f"{n + 1},{cities[kind[n]]},{age[n]},{money},{score},{when[n]},{note}")
    return ("\n".join(lines) + "\n").encode()


def digits(count: int = 300, side: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    """Small images ``[N, side, side]`` of bars with soft edges on a black ground."""
    rng = np.random.default_rng(seed)
    pictures = np.zeros((count, side, side), np.uint8)
    for picture in pictures:
        at, ink = rng.integers(0, side), rng.integers(200, 256)
        view = picture if rng.random() < 0.5 else picture.T
        view[:, at] = ink
        view[:, (at + 1) % side] = ink // rng.integers(2, 4)
    return pictures


def glyphs(count: int = 20, seed: int = 0) -> NDArray[np.uint8]:
    """Strokes like those of digits, ``[N, 28, 28]``: soft rings and bars."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:28, :28]
    pictures = []
    for _ in range(count):
        cy, cx, r = rng.uniform(11, 17), rng.uniform(11, 17), rng.uniform(4, 8)
        ring = np.abs(np.hypot(y - cy, x - cx) - r)
        angle = rng.uniform(0, np.pi)
        bar = np.abs((y - cy) * np.cos(angle) + (x - cx) * np.sin(angle))
        distance = np.minimum(ring, np.where(np.hypot(y - cy, x - cx) < 9, bar, 9))
        pictures.append(np.rint(255 * np.clip(1.8 - distance, 0, 1)).astype(np.uint8))
    return np.stack(pictures)


def clustered(count: int = 4000, seed: int = 0) -> NDArray[np.uint8]:
    """Records ``[N, 3, 4]`` of five kinds, each value typical of its kind four times in five."""
    rng = np.random.default_rng(seed)
    typical = np.random.default_rng(77).integers(0, 20, (5, 3, 4))
    noise = rng.integers(0, 20, (count, 3, 4))
    keep = rng.random((count, 3, 4)) < 0.8
    return np.where(keep, typical[rng.integers(0, 5, count)], noise).astype(np.uint8)


def awkward(rng: np.random.Generator) -> NDArray[np.integer]:
    """A random or adversarial array ``[N, ...]`` of some integer type."""
    kinds = [np.uint8, np.uint16, np.int8, np.int16, np.int32, np.int64, np.uint32, np.uint64, bool]
    kind = np.dtype(kinds[rng.integers(len(kinds))])
    shape = (int(rng.integers(0, 40)), *rng.integers(1, 5, rng.integers(0, 3)))
    if kind.kind == "b":
        return rng.random(shape) < rng.random()
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    low, high = max(low, -(2**60)), min(high, 2**60)
    style = rng.integers(7)
    if style == 0:
        return np.full(shape, rng.choice([low, high, 0]), kind)
    if style == 1:
        return rng.integers(low, high, shape, endpoint=True).astype(kind)
    if style == 2:
        return rng.choice(np.array([low, 0, 1, high]).astype(kind), shape)
    if style == 3:
        return np.arange(int(np.prod(shape))).reshape(shape).astype(kind)
    if style == 4:
        return np.minimum(rng.geometric(0.3, shape), 100).astype(kind)
    if style == 5:
        return (rng.integers(0, 3, (*shape[:1], *[1] * (len(shape) - 1))) * np.ones(shape)).astype(
            kind
        )
    return (np.cumsum(rng.integers(0, 3, shape), axis=0) % 100).astype(kind)
