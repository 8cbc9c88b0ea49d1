"""What filters of images are made of: ``codec/image/postfilter.npz``, which is part of the format.

    python benchmarks/image_filters.py --data PICTURES --model mlic-base

codes pictures at qualities over the range of the latents, solves for the filter of each, and keeps
the mean filter of each quality and the directions in which they differ (alternating least squares,
ordered by what they take away). ``--test`` learns from every second picture and says what filters
give on the others: squared error and bytes, and both as BD-rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.evaluate import bd_rate
from laconic.codec.image.codec import LoadedModel, load_model
from laconic.codec.image.postfilter import (
    COLOURS,
    FEATURES,
    MOST,
    STORED,
    TERMS,
    Directions,
    Equations,
    choose,
    equations,
    pack,
    powers,
    stored,
)
from laconic.codec.train.files import each_file
from laconic.formats.image import SUFFIXES, read_image

QUALITIES = (10.0, 20.0, 35.0, 50.0, 65.0, 80.0)
LARGEST = 768
STEP = 0.012  # of a direction, as a share of the error's root
ROUNDS = 6
RIDGE = 3e-3


Point = tuple[float, float]


class Sample(NamedTuple):
    """One picture at one quality."""

    number: int
    quality: float
    found: Equations
    size: int
    samples: int

    @property
    def shares(self) -> Equations:
        """The equations as shares of the error."""
        a, b, error = self.found
        return Equations(a / error, b / error, 1.0)


def pictures(folders: list[Path]) -> Iterator[Tensor]:
    """Pictures, their sides multiples of 64."""
    for folder in folders:
        for _, data in each_file(folder, SUFFIXES):
            pixels = read_image(data).pixels[..., :3]
            height, width = (min(side // 64 * 64, LARGEST) for side in pixels.shape[:2])
            scaled = pixels[:height, :width].astype(np.float32) / np.iinfo(pixels.dtype).max
            yield torch.from_numpy(scaled)[None].expand(-1, -1, -1, 3)


def sample(model: LoadedModel, number: int, x: Tensor, quality: float) -> Sample:
    """Code a picture and solve for its filter."""
    y = model.analyse(x, quality)
    coded = model.encode(y, model.hyper(y, quality), quality, None, mixing=True)
    found = equations(x, model.synthesise(coded.y_hat.float(), quality).clamp(0, 1))
    return Sample(number, quality, found, len(coded.payload), x.numel())


def learn(samples: list[Sample]) -> Directions:
    """The centre and the directions."""
    shares = [s.shares for s in samples]
    terms = [powers(s.quality) for s in samples]
    size = TERMS * FEATURES
    a, b = np.zeros((COLOURS, size, size)), np.zeros((COLOURS, size))
    for e, t in zip(shares, terms, strict=True):
        a += np.einsum("p,q,cij->cpiqj", t, t, e.a).reshape(a.shape)
        b += np.einsum("p,ci->cpi", t, e.b).reshape(b.shape)
    centre = _solved(a, b).reshape(COLOURS, TERMS, FEATURES).transpose(1, 0, 2)
    rest = []  # what each sample's filter has to add to the centre
    for e, t in zip(shares, terms, strict=True):
        middle = np.tensordot(t, centre, 1)
        rest.append(Equations(e.a, e.b - np.einsum("cij,cj->ci", e.a, middle), 1.0))
    mean = sum(e.a for e in rest) / len(rest)
    root = np.linalg.cholesky(mean + RIDGE * mean * np.eye(FEATURES))
    own = np.stack([_solved(e.a, e.b) for e in rest])
    white = np.einsum("cij,pci->pcj", root, own).reshape(len(own), -1)
    first = np.linalg.svd(white, full_matrices=False)[2][:MOST].reshape(-1, COLOURS, FEATURES)
    steps = _unwhitened(root, first)
    for _ in range(ROUNDS):
        steps = _round(rest, steps)
        steps, spread = _ordered(rest, steps, root)
    low = np.maximum(np.rint(np.log2(np.maximum(spread, 1))), 0).astype(np.int64)
    return Directions(centre, STEP * steps, low)


def _solved(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    ridge = RIDGE * a * np.eye(a.shape[-1]) + 1e-12 * np.eye(a.shape[-1])
    found: NDArray[Any] = np.linalg.solve(a + ridge, b[..., None])[..., 0]
    return found


def _unwhitened(root: NDArray[Any], white: NDArray[Any]) -> NDArray[Any]:
    back = np.linalg.inv(root).transpose(0, 2, 1)
    found: NDArray[Any] = np.einsum("cij,kcj->kci", back, white)
    return found


def _weights(e: Equations, steps: NDArray[Any]) -> NDArray[Any]:
    a = np.einsum("kci,cij,lcj->kl", steps, e.a, steps, optimize=True)
    b = np.einsum("kci,ci->k", steps, e.b)
    return _solved(a, b)


def _round(rest: list[Equations], steps: NDArray[Any]) -> NDArray[Any]:
    """Directions of least error, given each sample's weights."""
    size = len(steps) * FEATURES
    a, b = np.zeros((COLOURS, size, size)), np.zeros((COLOURS, size))
    for e in rest:
        w = _weights(e, steps)
        a += np.einsum("p,q,cij->cpiqj", w, w, e.a, optimize=True).reshape(a.shape)
        b += np.einsum("p,ci->cpi", w, e.b).reshape(b.shape)
    return _solved(a, b).reshape(COLOURS, len(steps), FEATURES).transpose(1, 0, 2)


def _ordered(
    rest: list[Equations], steps: NDArray[Any], root: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same space by directions of unit length, the widest spread first; spreads in steps."""
    weights = np.stack([_weights(e, steps) for e in rest])
    white = np.einsum("cij,kci->kcj", root, steps).reshape(len(steps), -1)
    _, spread, axes = np.linalg.svd(weights @ white, full_matrices=False)
    axes = axes[: len(steps)].reshape(-1, COLOURS, FEATURES)
    return _unwhitened(root, axes), spread[: len(steps)] / np.sqrt(len(rest)) / STEP


def report(model: LoadedModel, samples: list[Sample], known: Directions) -> None:
    """What filters give: share of the squared error, bytes, BD-rate."""
    curves: dict[int, tuple[list[Point], list[Point]]] = {}
    for quality in sorted({s.quality for s in samples}):
        some = [s for s in samples if s.quality == quality]
        rows = []
        for s in some:
            numbers = choose(s.found, quality, model.multiplier(quality), known=known)
            gain = 0.0 if numbers is None else s.found.gain(known.filter(numbers, quality))
            more = 0 if numbers is None else len(pack(numbers, known))
            free = s.found.gain(known.filter((), quality)) / s.found.error
            own = s.found.gain(_solved(s.found.a, s.found.b)) / s.found.error
            rows.append((gain / s.found.error, more, free, own, more / s.size))
            before, after = curves.setdefault(s.number, ([], []))
            before.append((s.size, -10 * np.log10(s.found.error / s.samples)))
            after.append((s.size + more, -10 * np.log10((s.found.error - gain) / s.samples)))
        gain, more, free, own, share = np.mean(rows, 0)
        print(
            f"{quality:5.1f}: error {-100 * gain:+.2f} %, {more:.1f} bytes, {100 * share:.2f} %;"
            f" centre alone {-100 * free:+.2f} %, best filter {-100 * own:+.2f} %"
        )
    rates = [bd_rate(before, after).value for before, after in curves.values()]
    print(f"BD-rate {np.mean(rates):+.2f} % over {len(rates)} pictures")


@torch.no_grad()
def main() -> None:
    """Learn and write, or learn and test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--out", type=Path, default=STORED)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(args.model)
    samples = [
        sample(model, number, x, quality)
        for number, x in enumerate(pictures(args.data))
        for quality in QUALITIES
    ]
    if args.test:
        known = learn([s for s in samples if s.number % 2 == 0])
        report(model, [s for s in samples if s.number % 2 == 1], known)
        return
    np.savez_compressed(args.out, **stored(learn(samples)))
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
