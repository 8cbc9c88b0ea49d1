"""Latents of the default model as grids, for context mixing (``entropy/context_mixing.py``).

z, y and the coefficients of the detail layer are a grid each. What a step codes has a place in one
of them (:class:`Place`), which says what of it is known: for z and the detail layer all cells
before, for y the half of the checkerboard that was coded before, and of its own half the cells
before. The entropy model has seen much of that too, so what is left to learn in y is little (1 to
2 % of its bits); it has not for z (12 %) and the detail layer (11 %), whose tables know nothing of
neighbours.

Contexts begin with what they had learned after held-out training images, ``grids.npz``, which
belongs to version 3 of the format: ``benchmarks/image_contexts.py`` made it, and it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laconic.codec.image.config import MlicConfig
from laconic.entropy.context_mixing import (
    GridContexts,
    Layout,
    Learned,
    MixingDecoder,
    MixingEncoder,
    Part,
    joined,
)
from laconic.entropy.tables import CdfTables

START = Path(__file__).with_name("grids.npz")
Ints = NDArray[np.int64]

# Neighbours: rows, columns, weight.
BEFORE = np.array([(0, -1, 2), (-1, 0, 2), (-1, -1, 1), (-1, 1, 1)], np.int64)
ANCHORS = np.array([(-1, -1, 2), (-1, 1, 2), (0, -2, 1), (-2, 0, 1)], np.int64)
OTHERS = np.array([(0, -1, 2), (0, 1, 2), (-1, 0, 2), (1, 0, 2), (-1, -1, 1), (-1, 1, 1)], np.int64)
LAST = 4  # channels before one in its slice
MOST = 16  # magnitudes that an encoder may round down
SIDE = 8  # of the detail layer's transform
COLOURS = 3


@dataclass(frozen=True)
class Place:
    """Where symbols lie: a part of the grid ``name`` of ``height`` x ``width`` cells.

    Encoders round magnitudes up to ``largest`` down where that saves bits: each is worth a squared
    error of 2 ``thrift``, in steps. What is best was measured on images held out of training; where
    nothing depends on a symbol, theory says 0.06.
    """

    name: str
    height: int
    width: int
    part: Part
    thrift: float = 0.0
    largest: int = 0


class Grids:
    """The grids of one model."""

    def __init__(self, config: MlicConfig) -> None:
        self.slices = config.slices
        self.layouts = {"z": _sliced([config.z_channels]), "y": _sliced(list(config.slices))}
        if config.detail:
            self.layouts["detail"] = _frequencies()

    def z(self, height: int, width: int) -> Place:
        """All of z."""
        cells = np.arange(height * width)
        return Place("z", height, width, Part(cells, 0, self.layouts["z"].channels, BEFORE))

    def y(self, height: int, width: int, cells: Ints, first: int, last: int) -> Place:
        """Half of the cells of some channels of y."""
        anchors = (cells[0] // width + cells[0] % width) % 2 == 1
        part = Part(cells, first, last, ANCHORS if anchors else OTHERS)
        return Place("y", height, width, part, thrift=0.0075, largest=1)

    def detail(self, height: int, width: int) -> Place:
        """All coefficients of blocks of 8 x 8 pixels."""
        cells = np.arange(height * width)
        part = Part(cells, 0, COLOURS * SIDE**2, BEFORE)
        return Place("detail", height, width, part, thrift=0.046, largest=MOST)


class Mixing:
    """Contexts of the grids of one stream, and its coder of one direction."""

    def __init__(self, grids: Grids, coder: MixingEncoder | MixingDecoder) -> None:
        self.grids, self.coder = grids, coder
        self.known: dict[str, GridContexts] = {}

    def contexts(self, place: Place) -> GridContexts:
        """Those of the grid of a place."""
        if place.name not in self.known:
            layout = self.grids.layouts[place.name]
            self.known[place.name] = GridContexts(
                layout, place.height, place.width, _start(place.name, layout)
            )
        return self.known[place.name]

    def push(
        self, place: Place, symbols: NDArray[np.int32], indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> None:  # fmt: skip
        """Write the symbols of a place but those of plain tables."""
        assert isinstance(self.coder, MixingEncoder)
        self.coder.push(self.contexts(place), place.part, symbols, indexes, tables)

    def pull(
        self, place: Place, symbols: NDArray[np.int32], indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> NDArray[np.int32]:  # fmt: skip
        """The symbols of a place; ``symbols`` holds those of plain tables. Raises
        ``FormatError``."""
        assert isinstance(self.coder, MixingDecoder)
        return self.coder.pull(self.contexts(place), place.part, symbols, indexes, tables)


def _sliced(slices: list[int]) -> Layout:
    """Channels in slices, each beside the last ones before it."""
    band = np.repeat(np.arange(len(slices)), slices)
    channel = np.arange(band.size)
    near = channel[:, None] - 1 - np.arange(LAST)
    begins = np.concatenate(([0], np.cumsum(slices)))[band]
    return Layout(band, np.where(near >= begins[:, None], near, -1))


def _frequencies() -> Layout:
    """DCT coefficients in zigzag order, one colour after the other: next to lower frequencies
    and the same one of the colours before."""
    order = sorted(((u, v) for u in range(SIDE) for v in range(SIDE)), key=lambda p: (sum(p), p))
    number = {frequency: n for n, frequency in enumerate(order)}
    lower = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))
    near = np.full((COLOURS * len(order), len(lower) + COLOURS - 1), -1, np.int64)
    for c in range(len(near)):
        colour, n = divmod(c, len(order))
        u, v = order[n]
        found = [number.get((u - a, v - b), n) for a, b in lower]
        around = [colour * len(order) + m for m in found if m < n]
        around += [other * len(order) + n for other in range(colour)]
        near[c, : len(around)] = around
    return Layout(np.arange(len(near)) // len(order), near)


@cache
def _stored() -> Mapping[str, NDArray[np.int32]]:
    if not START.exists():
        return {}
    with np.load(START, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _start(name: str, layout: Layout) -> Learned:
    """What the contexts of a grid begin with; models with other channels begin with less."""
    fresh = Learned.nothing(layout)
    stored = [_stored().get(f"{name}.{part}", own) for part, own in fresh._asdict().items()]
    same = [s if s.shape == own.shape else own for s, own in zip(stored, fresh, strict=True)]
    return joined(layout, same)
