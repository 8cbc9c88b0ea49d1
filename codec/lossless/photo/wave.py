"""Coding of tiles along a wavefront, several at a time in threads.

Sample (y, x) is coded at step x + 3 y, when all its causal neighbours (at most two to the right in
the row above, three in the row above that) are known. Red follows green by LAG steps and blue
follows red, just far enough that a plane sees what it may see of the earlier ones. All samples of a
step, over all planes, are one front and have a lane of the coder each. The encoder knows all
samples: threads compute the intervals of some steps each, and the coder runs last. The compiled
loops let tiles, or the parts of a tile, run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from laconic.codec.devices import cores, share
from laconic.codec.lossless.photo import loops, rans
from laconic.codec.lossless.photo.ends import LAG, SLOPE
from laconic.codec.lossless.photo.fallback import adapt
from laconic.codec.lossless.photo.network import PhotoModel, load_model
from laconic.formats.errors import FormatError

CHANNEL = (1, 0, 2)  # channel of each plane of RGB: green, red, blue
Samples = NDArray[np.uint16]
Floats = NDArray[np.float32]
Intervals = tuple[NDArray[np.uint32], NDArray[np.uint32]]
UNSEEN = np.zeros((3, 0, 0), np.float32)
NO_STREAM = (np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint32))
NO_INTERVALS = (np.zeros(0, np.uint32), np.zeros(0, np.uint32))
Part = tuple[bytes, tuple[int, int, int], Samples | None]
Piece = tuple[Floats, tuple[int, int], Floats | None]


def fronts(height: int, width: int, channels: int) -> NDArray[np.int64]:
    """Samples of each step of a tile of that shape."""
    step = np.arange(width + SLOPE * (height - 1))
    first = np.maximum(0, (step - width + SLOPE) // SLOPE)
    plane = np.maximum(0, np.minimum(height - 1, step // SLOPE) - first + 1)
    sizes = np.zeros(step.size + LAG * (channels - 1), np.int64)
    for number in range(channels):
        sizes[LAG * number : LAG * number + step.size] += plane
    return sizes


def planes_of(tile: Samples) -> Floats:
    """Green or gray, red - green and blue - green [C, H, W] of samples [H, W, C]."""
    order = CHANNEL if tile.shape[2] == 3 else (0,)
    planes = np.stack([tile[..., channel] for channel in order]).astype(np.float32)
    planes[1:] -= planes[:1]
    return planes


def cut(height: int, width: int, channels: int, parts: int) -> list[tuple[int, int]]:
    """Steps of a tile in at most that many parts of about as many samples."""
    ends = np.cumsum(fronts(height, width, channels))
    targets = ends[-1] * np.arange(1, parts) // parts
    edges = np.unique([0, *np.searchsorted(ends, targets).tolist(), ends.size])
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def intervals(
    model: PhotoModel, planes: Floats, steps: tuple[int, int], bits: int, lossy: Floats | None
) -> Intervals:
    """Start and width of the samples of those steps in coding order; planes and the lossy image
    as :func:`planes_of` makes them."""
    channels, height, width = planes.shape
    count = int(fronts(height, width, channels)[slice(*steps)].sum())
    starts, widths = np.empty(count, np.uint32), np.empty(count, np.uint32)
    scratch = loops.scratch(model.circuit, planes.shape)
    seen = UNSEEN if lossy is None else lossy
    loops.code(*steps, *NO_STREAM, starts, widths, planes, seen, bits, model.circuit, scratch)
    return starts, widths


def encode_tile(model: PhotoModel, tile: Samples, bits: int, lossy: Samples | None = None) -> bytes:
    """Stream of a tile [H, W, C] of samples below 2^bits, C = 1 or 3, bits 8 to 16; `lossy` is of
    the same shape and given to models that see a lossy image."""
    height, width, channels = tile.shape
    sizes = fronts(height, width, channels)
    seen = None if lossy is None else planes_of(lossy)
    found = intervals(model, planes_of(tile), (0, sizes.size), bits, seen)
    return rans.encode(sizes, *found)


def decode_tile(
    model: PhotoModel,
    stream: bytes,
    shape: tuple[int, int, int],
    bits: int,
    lossy: Samples | None = None,
) -> Samples:
    """Inverse of :func:`encode_tile`: a tile of that shape [H, W, C].

    Raises ``FormatError`` where the stream cannot be one of such a tile.
    """
    height, width, channels = shape
    active = rans.active_lanes(fronts(height, width, channels))
    state, words = rans.open_stream(stream, int(active[0]))
    planes = np.zeros((channels, height, width), np.float32)
    seen = UNSEEN if lossy is None else planes_of(lossy)
    scratch = loops.scratch(model.circuit, planes.shape)
    wrong = loops.code(
        0, active.size - 1, active, state, words, *NO_INTERVALS, planes, seen, bits, model.circuit,
        scratch,
    )  # fmt: skip
    if wrong:
        raise FormatError(rans.DAMAGED.format(rans.REASONS[wrong]))
    planes[1:] += planes[:1]
    tile = np.empty(shape, np.uint16)
    for number, plane in enumerate(planes):
        tile[..., CHANNEL[number] if channels == 3 else 0] = plane
    return tile


class Workers:
    """Codes tiles with one model.

    Args:
        model: name, id or path.
        adapter: changes of its weights (`fallback`), or b"".
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

        def coded(piece: Piece) -> Intervals:
            planes, steps, seen = piece
            return intervals(self.model, planes, steps, bits, seen)

        for first in range(0, len(tiles), self.threads):
            group = tiles[first : first + self.threads]
            counts: list[int] = []
            pieces: list[Piece] = []
            for number, tile in enumerate(group, first):
                height, width, channels = tile.shape
                planes = planes_of(tile)
                seen = None if lossy is None else planes_of(lossy[number])
                spans = cut(height, width, channels, parts)
                pieces += [(planes, steps, seen) for steps in spans]
                counts.append(len(spans))
            found = iter(share(coded, pieces, self.threads))
            for tile, count in zip(group, counts, strict=True):
                starts, widths = zip(*islice(found, count), strict=True)
                sizes = fronts(*tile.shape)
                yield rans.encode(sizes, np.concatenate(starts), np.concatenate(widths))

    def decode(self, parts: Sequence[Part], bits: int) -> Iterator[Samples | FormatError]:
        """Tiles [H, W, C] of streams, each with that shape and what is seen of the lossy image;
        in the place of a damaged one what is wrong with it."""

        def tile(part: Part) -> Samples | FormatError:
            try:
                return decode_tile(self.model, part[0], part[1], bits, part[2])
            except FormatError as error:
                return error

        for first in range(0, len(parts), self.threads):
            yield from share(tile, parts[first : first + self.threads], self.threads)


@lru_cache(maxsize=2)
def _model(name: str, adapter: bytes) -> PhotoModel:
    model = load_model(name)
    return adapt(model, adapter) if adapter else model
