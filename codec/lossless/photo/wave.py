"""Coding of tiles along a wavefront, several at a time in threads, with one lane of rANS a sample.

Sample (y, x) is coded at step x + 3 y, when all its causal neighbours (at most two to the right in
the row above, three in the row above that) are known. Red follows green by LAG steps and blue
follows red, just far enough that a plane sees what it may see of the earlier ones. All samples of a
step, over all planes, are one front and have a lane of the coder each. The encoder knows all
samples: threads compute the intervals of some steps each, and the coder runs last. The compiled
loops let tiles, or the parts of a tile, run side by side.

The coder is rANS (Duda, "Asymmetric numeral systems", 2013; interleaved as in Giesen, "Interleaved
entropy coders", 2014) with states of 64 bits, words of 32, and totals of 2^24. Here are the encoder
and the form of a stream; the decoder's steps are in `loops`, between the samples that they need.
Choose `laconic.entropy.SymbolEncoder` where distributions come from a limited set of tables: here
each sample has its own, of which the decoder knows two points. A lane normally costs 32 bits: the
state that it starts from. Here the encoder, which runs backwards and whose fronts grow, starts a
lane with the word on top of what is already written, and the decoder puts it back when it is done
with the lane, so that any number of lanes costs nothing.

Stream of a tile: for each lane 2 bits, the bytes of its first state minus 5, padded with zero bits;
these states, little-endian; then 32-bit little-endian words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.devices import cores, share
from laconic.codec.lossless.photo import loops
from laconic.codec.lossless.photo.fallback import adapt
from laconic.codec.lossless.photo.features import LAG, SLOPE
from laconic.codec.lossless.photo.loops import EARLY, PRECISION, RAGGED, SHORT, STATE
from laconic.codec.lossless.photo.network import PhotoModel, load_model
from laconic.entropy.jit import jit
from laconic.formats.errors import FormatError

Words = NDArray[np.uint64]

_LOW = np.uint64(1 << 32)  # states are in 2^32 .. 2^64 - 1
_WORD = np.uint64(32)
_MASK = np.uint64((1 << 32) - 1)
_SHIFT = np.uint64(PRECISION)
_ROOM = np.uint64(64 - PRECISION)
DAMAGED = "the coded samples are damaged: {}"


REASONS = {
    EARLY: "they end too early",
    STATE: "a lane ends in an impossible state",
    SHORT: "they are too short",
    RAGGED: "there is more than the image needs",
}
CHANNEL = (1, 0, 2)  # channel of each plane of RGB: green, red, blue
Samples = NDArray[np.uint16]
Floats = NDArray[np.float32]
Intervals = tuple[NDArray[np.uint32], NDArray[np.uint32]]
UNSEEN = np.zeros((3, 0, 0), np.float32)
NO_STREAM = (np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint32))
NO_INTERVALS = (np.zeros(0, np.uint32), np.zeros(0, np.uint32))
Part = tuple[bytes, tuple[int, int, int], Samples | None]
Piece = tuple[Floats, tuple[int, int], Floats | None]


def active_lanes(fronts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lanes in use at each step, the largest front from there on, and a last 0."""
    active = np.maximum.accumulate(fronts[::-1])[::-1]
    return np.append(active, 0)


def encode_lanes(
    fronts: NDArray[np.int64], starts: NDArray[np.uint32], widths: NDArray[np.uint32]
) -> bytes:
    """The stream of the intervals of all samples in the decoder's order.

    Args:
        fronts: samples of each step.
        starts, widths: in units of 2^-24.
    """
    active = active_lanes(fronts)
    state = np.full(active[0], _LOW)
    words = np.zeros(starts.size + state.size, np.uint32)
    top = _encode_lanes(active, fronts, starts, widths, state, words)
    return _pack_states(state) + words[top:].astype("<u4").tobytes()


def open_stream(stream: bytes, lanes: int) -> tuple[Words, NDArray[np.uint32]]:
    """States of the lanes, and room for a word of each lane followed by the words.

    Raises ``FormatError`` for a stream that is too short.
    """
    state, words = _unpack_states(stream, lanes)
    return state, np.concatenate((np.zeros(lanes, np.uint32), words))


@jit
def _encode_lanes(
    active: NDArray[Any], fronts: NDArray[Any], starts: NDArray[Any], widths: NDArray[Any],
    state: NDArray[Any], words: NDArray[Any],
) -> int:  # fmt: skip
    """Encode the fronts from the last to the first; returns where `words` begin.

    Args:
        active: lanes in use at each step.
        fronts: samples of each step.
        starts, widths: of all samples in the decoder's order.
        state: of each lane, 2^32; in the end those that the stream begins with.
        words: room for one of each sample and lane.
    """
    top, place, lanes = words.size, starts.size, 0
    for step in range(fronts.size - 1, -1, -1):
        while lanes < active[step]:
            if top < words.size:
                state[lanes] += np.uint64(words[top])
                top += 1
            lanes += 1
        place -= fronts[step]
        for lane in range(fronts[step] - 1, -1, -1):
            x, width = state[lane], np.uint64(widths[place + lane])
            if x >= width << _ROOM:
                top -= 1
                words[top] = np.uint32(x & _MASK)
                x >>= _WORD
            whole = x // width
            state[lane] = (whole << _SHIFT) + (x - whole * width) + np.uint64(starts[place + lane])
    return top


def _pack_states(state: Words) -> bytes:
    raw = state.astype("<u8").view(np.uint8).reshape(-1, 8)
    length = np.full(len(state), 5)
    for count in (5, 6, 7):
        length += state >> np.uint64(8 * count) > 0
    codes = np.zeros(-(-len(state) // 4) * 4, np.uint8)
    codes[: len(state)] = length - 5
    fields = (codes.reshape(-1, 4) << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1)
    return fields.astype(np.uint8).tobytes() + raw[np.arange(8) < length[:, None]].tobytes()


def _unpack_states(stream: bytes, lanes: int) -> tuple[Words, NDArray[np.uint32]]:
    data = np.frombuffer(stream, np.uint8)
    head = -(-lanes // 4)
    if data.size < head:
        raise FormatError(DAMAGED.format("they are too short"))
    length = 5 + (data[:head, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1)[:lanes]
    end = head + int(length.sum())
    if data.size < end or (data.size - end) % 4:
        raise FormatError(DAMAGED.format("their length is impossible"))
    raw = np.zeros((lanes, 8), np.uint8)
    raw[np.arange(8) < length[:, None]] = data[head:end]
    state = raw.view("<u8").reshape(-1).astype(np.uint64)
    if (state < _LOW).any():
        raise FormatError(DAMAGED.format("a lane starts in an impossible state"))
    return state, data[end:].view("<u4").astype(np.uint32)


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
    return encode_lanes(sizes, *found)


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
    active = active_lanes(fronts(height, width, channels))
    state, words = open_stream(stream, int(active[0]))
    planes = np.zeros((channels, height, width), np.float32)
    seen = UNSEEN if lossy is None else planes_of(lossy)
    scratch = loops.scratch(model.circuit, planes.shape)
    wrong = loops.code(
        0, active.size - 1, active, state, words, *NO_INTERVALS, planes, seen, bits, model.circuit,
        scratch,
    )  # fmt: skip
    if wrong:
        raise FormatError(DAMAGED.format(REASONS[wrong]))
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
                yield encode_lanes(sizes, np.concatenate(starts), np.concatenate(widths))

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
