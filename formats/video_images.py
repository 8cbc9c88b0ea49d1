"""Videos of images: a folder of numbered ones, an animation, frames in memory.

:class:`VideoImages` reads folders and animated WebP, which FFmpeg does not, :class:`VideoArray`
takes an array. Choose ``video_reader.VideoFile`` for everything that FFmpeg reads, animated GIF and
PNG among them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from fractions import Fraction
from io import BytesIO
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.ImageSequence import Iterator as Frames

from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.image import read_image
from laconic.formats.timing import USUAL, Timing
from laconic.formats.video import STAMPS, VideoHeader
from laconic.formats.video_planes import Planes, Sampling, from_rgb
from laconic.formats.video_reader import THUMB, Scan, changes

MICRO = Fraction(1, 10**6)  # seconds


class _ImageSequence:
    """A video of images that are at hand one by one, shown at a constant rate or as ``times``
    says."""

    rate = Fraction(25)
    times: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # stamps and durations in MICRO

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Samples ``[H, W, 1 or 3]`` of each."""
        raise NotImplementedError

    def at_rate(self, rate: float | Fraction) -> Any:
        """The same images, so many a second; 29.97 and the like are meant as TV means them."""
        found = copy(self)
        exact = Fraction(rate).limit_denominator(1001)
        found.rate = min(USUAL, key=lambda usual: abs(usual - exact))
        if abs(found.rate - exact) > Fraction(1, 200):
            found.rate = exact
        found.times = None
        return found

    def scan(self, limits: Limits = DEFAULT_LIMITS) -> Scan:
        thumbs, gray, shape = [], True, None
        for count, image in enumerate(self.images(), 1):
            size = image.shape[:2]
            limits.check_pixels(size[1], size[0])
            limits.check("the number of frames", count, limits.frames)
            if shape not in (None, size):
                raise UnsupportedError(
                    f"the frames change from {shape[1]} x {shape[0]} to {size[1]} x {size[0]} at"
                    f" frame {count}: expected one size"
                )
            shape, gray = size, gray and image.shape[2] == 1
            thumbs.append(_shrink(image))
        if shape is None:
            raise FormatError("the video cannot be encoded: it has no frames")
        self._gray = gray
        timing = Timing(1 / self.rate, tuple(range(len(thumbs))), (1,) * len(thumbs))
        if self.times is not None and len(self.times[0]) == len(thumbs):
            timing = Timing(MICRO, *self.times)
        header = VideoHeader(shape[1], shape[0], timing, gray=gray)
        return Scan(header, changes(thumbs), self.losses(), Sampling(gray=gray))

    def losses(self) -> list[str]:
        """Sentences about what is lost, known after all images were seen."""
        return []

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        for frame in self.images():
            yield np.broadcast_to(frame, (*frame.shape[:2], 3))

    def planes(self) -> Iterator[Planes]:
        for frame in self.images():
            yield from_rgb(frame if self._gray else np.broadcast_to(frame, (*frame.shape[:2], 3)))

    def sound(self) -> tuple[BinaryIO | None, int, list[str]]:
        return None, 0, []

    def digest(self) -> str:
        found = hashlib.sha256(f"{self.rate} {self.times}".encode())
        for frame in self.images():
            found.update(f"{frame.shape}".encode() + frame.tobytes())
        return found.hexdigest()

    _gray = False  # every image is, which is known after a scan


class VideoArray(_ImageSequence):
    """A video of frames ``[N, H, W]``, ``[N, H, W, 1]`` or ``[N, H, W, 3]`` of uint8, shown at a
    constant rate."""

    def __init__(self, frames: NDArray[Any], rate: Fraction | float = Fraction(25)) -> None:
        array = frames[..., None] if frames.ndim == 3 else frames
        if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
            raise ParameterError(
                f"the frames have shape {list(frames.shape)}: expected [N, H, W, 1] or [N, H, W, 3]"
            )
        if array.dtype != np.uint8:
            raise ParameterError(f"the frames are {array.dtype}: expected uint8 samples")
        self._frames, self.rate = array, Fraction(rate).limit_denominator(1001)
        self._gray = array.shape[3] == 1
        if self.rate <= 0:
            raise ParameterError(f"the rate is {rate}: expected frames per second above 0")

    def images(self) -> Iterator[NDArray[np.uint8]]:
        return iter(self._frames)


STILL = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm"})


class VideoImages(_ImageSequence):
    """A folder of images in the order of their numbers, or an animation that Pillow reads.

    A folder that Laconic wrote says in ``timestamps.txt`` when each is shown.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._source, self._limits = source, limits
        self._folder = None if isinstance(source, bytes) else Path(source)
        self._seen_through = self._deep = False
        if self._folder is None or not self._folder.is_dir():
            self._folder = None
            lasting = []
            with self._opened() as animation:
                for frame in Frames(animation):
                    frame.load()  # which finds out how long it is shown
                    lasting.append(1000 * (int(frame.info.get("duration", 0)) or 100))
            self.times = (0, *accumulate(lasting[:-1])), tuple(lasting)
        elif (self._folder / STAMPS).is_file():
            self.times = _listed((self._folder / STAMPS).read_text(errors="replace"))

    @staticmethod
    def paths(folder: Path) -> list[Path]:
        """Images in a folder, by the numbers in their names."""
        found = [p for p in folder.iterdir() if p.suffix.lower() in STILL and p.is_file()]
        return sorted(found, key=lambda p: [int(t) if t.isdigit() else t for t in _PARTS(p.name)])

    def images(self) -> Iterator[NDArray[np.uint8]]:
        if self._folder is None:
            with self._opened() as animation:
                for frame in Frames(animation):
                    samples = np.asarray(frame.convert("RGBA"))
                    self._seen_through |= bool(samples[..., 3].min() < 255)
                    yield np.ascontiguousarray(samples[..., :3])
            return
        for path in self.paths(self._folder):
            image = read_image(path, self._limits)
            self._seen_through |= image.alpha is not None
            self._deep |= image.bit_depth > 8
            yield (image.pixels >> image.bit_depth - 8).astype(np.uint8)

    def losses(self) -> list[str]:
        lost = ["the samples are coded with 8 bits"] if self._deep else []
        return lost + ["transparency is left out"] * self._seen_through

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The animation; what Pillow complains about becomes an error of ours."""
        data = self._source
        try:
            with Pillow.open(BytesIO(data) if isinstance(data, bytes) else data) as image:
                self._limits.check_pixels(*image.size)
                yield image
        except UnidentifiedImageError as error:
            raise UnsupportedError("the input is no animation that Pillow reads") from error
        except (OSError, EOFError, SyntaxError, ValueError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise FormatError("the animation cannot be decoded: it is damaged") from error


_PARTS = re.compile(r"(\d+)").split


def _listed(text: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Stamps and durations of a list of milliseconds; None for one that is none."""
    try:
        stamps = [
            round(1000 * float(line)) for line in text.splitlines() if not line.startswith("#")
        ]
    except (ValueError, OverflowError):
        return None
    steps = [b - a for a, b in pairwise(stamps)]
    if not stamps or min(steps, default=1) < 1 or stamps[0] < 0:
        return None
    return tuple(stamps), (*steps, steps[-1] if steps else 40_000)


def _shrink(frame: NDArray[np.uint8]) -> NDArray[Any]:
    """Means of about 32 x 18 blocks of a frame ``[H, W, C]``."""
    gray = frame.mean(2)
    rows = np.linspace(0, gray.shape[0], min(THUMB[1], gray.shape[0]), endpoint=False).astype(int)
    columns = np.linspace(0, gray.shape[1], min(THUMB[0], gray.shape[1]), endpoint=False)
    columns = columns.astype(int)
    sums = np.add.reduceat(np.add.reduceat(gray, rows, 0), columns, 1)
    heights = np.diff([*rows, gray.shape[0]])[:, None]
    return np.asarray(sums / (heights * np.diff([*columns, gray.shape[1]])))
