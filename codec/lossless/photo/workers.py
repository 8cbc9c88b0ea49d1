"""Coding tiles in threads: the compiled loops run side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np

from laconic.codec.devices import cores, share
from laconic.codec.lossless.photo import rans, wave
from laconic.codec.lossless.photo.fallback import adapt
from laconic.codec.lossless.photo.network import PhotoModel, load_model
from laconic.codec.lossless.photo.wave import Floats, Samples
from laconic.formats.errors import FormatError

Part = tuple[bytes, tuple[int, int, int], Samples | None]
Piece = tuple[Floats, tuple[int, int], Floats | None]


class Workers:
    """Codes tiles with one model.

    Args:
        model: name, id or path.
        adapter: changes of its weights (`adapter`), or b"".
        threads: how many; by default one for each core (or as OMP_NUM_THREADS says).
    """

    def __init__(self, model: str, adapter: bytes = b"", threads: int | None = None) -> None:
        self.model = _model(model, adapter)
        self.threads = cores() if threads is None else threads

    def encode(
        self, tiles: Sequence[Samples], bits: int, lossy: Sequence[Samples] | None = None
    ) -> Iterator[bytes]:
        """Streams of tiles [H, W, C]; `lossy` are those of the lossy image, for models that see
        one. A tile alone is divided among the threads."""
        parts = -(-self.threads // len(tiles))

        def intervals(piece: Piece) -> wave.Intervals:
            planes, steps, seen = piece
            return wave.intervals(self.model, planes, steps, bits, seen)

        for first in range(0, len(tiles), self.threads):
            group = tiles[first : first + self.threads]
            counts: list[int] = []
            pieces: list[Piece] = []
            for number, tile in enumerate(group, first):
                height, width, channels = tile.shape
                planes = wave.planes_of(tile)
                seen = None if lossy is None else wave.planes_of(lossy[number])
                cut = wave.cut(height, width, channels, parts)
                pieces += [(planes, steps, seen) for steps in cut]
                counts.append(len(cut))
            found = iter(share(intervals, pieces, self.threads))
            for tile, count in zip(group, counts, strict=True):
                starts, widths = zip(*islice(found, count), strict=True)
                fronts = wave.fronts(*tile.shape)
                yield rans.encode(fronts, np.concatenate(starts), np.concatenate(widths))

    def decode(self, parts: Sequence[Part], bits: int) -> Iterator[Samples | FormatError]:
        """Tiles [H, W, C] of streams, each with that shape and what is seen of the lossy image;
        in the place of a damaged one what is wrong with it."""

        def tile(part: Part) -> Samples | FormatError:
            try:
                return wave.decode_tile(self.model, part[0], part[1], bits, part[2])
            except FormatError as error:
                return error

        for first in range(0, len(parts), self.threads):
            yield from share(tile, parts[first : first + self.threads], self.threads)


@lru_cache(maxsize=2)
def _model(name: str, adapter: bytes) -> PhotoModel:
    model = load_model(name)
    return adapt(model, adapter) if adapter else model
