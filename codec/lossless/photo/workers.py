"""Coding tiles in threads: the compiled loops run side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from laconic.codec.lossless.photo import rans, wave
from laconic.codec.lossless.photo.fallback import adapt
from laconic.codec.lossless.photo.network import PhotoModel, load_model
from laconic.codec.lossless.photo.wave import Samples
from laconic.codec.workers import cores
from laconic.formats.errors import FormatError

Part = tuple[bytes, tuple[int, int, int], Samples | None]


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
        """Streams of tiles [H, W, C]; `lossy` are those of the lossy picture, for models that see
        one. A tile alone is divided among the threads."""
        parts = -(-self.threads // len(tiles))
        with ThreadPoolExecutor(self.threads) as pool:
            for first in range(0, len(tiles), self.threads):
                jobs = []
                for number in range(first, min(first + self.threads, len(tiles))):
                    planes = wave.planes_of(tiles[number])
                    height, width, channels = tiles[number].shape
                    seen = None if lossy is None else wave.planes_of(lossy[number])
                    jobs.append(
                        [
                            pool.submit(wave.intervals, self.model, planes, steps, bits, seen)
                            for steps in wave.cut(height, width, channels, parts)
                        ]
                    )
                for number, job in enumerate(jobs, first):
                    height, width, channels = tiles[number].shape
                    starts, widths = zip(*(part.result() for part in job), strict=True)
                    fronts = wave.fronts(height, width, channels)
                    yield rans.encode(fronts, np.concatenate(starts), np.concatenate(widths))

    def decode(self, parts: Sequence[Part], bits: int) -> Iterator[Samples | FormatError]:
        """Tiles [H, W, C] of streams, each with that shape and what is seen of the lossy picture;
        in the place of a damaged one what is wrong with it."""
        with ThreadPoolExecutor(self.threads) as pool:
            for first in range(0, len(parts), self.threads):
                some = parts[first : first + self.threads]
                jobs = [
                    pool.submit(wave.decode_tile, self.model, stream, shape, bits, seen)
                    for stream, shape, seen in some
                ]
                yield from map(_outcome, jobs)


def _outcome(job: Future[Samples]) -> Samples | FormatError:
    try:
        return job.result()
    except FormatError as error:
        return error


@lru_cache(maxsize=2)
def _model(name: str, adapter: bytes) -> PhotoModel:
    model = load_model(name)
    return adapt(model, adapter) if adapter else model
