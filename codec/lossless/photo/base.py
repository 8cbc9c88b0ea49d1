"""The lossy base that a preview begins with, and the parts it is coded in.

What encoder and decoder of images share: the check of a tile.

The lossy image that a file may begin with: a preview, and something for the circuit to see.

The first segment of such a file is a complete lossy ``.lac`` image. The samples that the circuit
conditions on must be the same for encoder and decoder, which those of a float32 network are not.
They are computed in float64, where machines differ by about 1e-12 of a level, and rounded to 8
bits; every sample that lies within ``BAND`` of the middle between two levels is listed in its tile
with the level that the encoder saw, so that a decoder never decides a close call (as
`laconic.entropy.guard` does for table indexes). What still differed would be found by the check
over the decoded samples.

Lossy plus residual costs more bits than coding the samples at once (docs/design/photo.md); choose
it for the preview. Compare RC (Mentzer et al., CVPR 2020) and DLPR (Bai et al., TPAMI 2024), whose
residuals are exact on one machine only.

Corrections of a tile: for each a varint, the sample's distance from the one before (the first from
-1), and a byte, its level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec import registry
from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.image.header import Box
from laconic.codec.lossless.photo.header import PhotoHeader
from laconic.entropy import SymbolCheck
from laconic.entropy.guard import guard_indexes
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import FormatError, Limits
from laconic.formats.frame import read_varint, write_varint
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader

CODEC = "mlic"
BAND = 1e-6  # of a level
DEFAULT_QUALITY = 10.0
_EDGES = np.arange(255) + 0.5
_KEPT = 16  # latents of tiles in memory


def check_of(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> int:
    """The symbol check of samples [H, W, C] and their alpha plane."""
    check = SymbolCheck()
    check.update(pixels)
    if alpha is not None:
        check.update(alpha)
    return check.value32()


def encode_base(image: Image, settings: EncodeSettings) -> bytes:
    """The lossy image, without metadata; the alpha plane of the image is in it."""
    bare = Image(image.pixels, image.alpha, image.bit_depth, color=image.color)
    quality = DEFAULT_QUALITY if settings.quality is None else settings.quality
    codec: Any = registry.get(CODEC)
    plain = codec.options(quality=quality, verify=settings.verify, limits=settings.limits)
    data: bytes = codec.encode_plain(bare, plain)
    return data


class Base:
    """The lossy image of one file.

    Args:
        data: the segment.
        stored: the media header of the file around it.
        limits: of the caller.

    Raises:
        FormatError: the segment holds something else, or an image of another kind.
    """

    def __init__(self, data: bytes, stored: ImageHeader, limits: Limits) -> None:
        from laconic.codec.image.codecs import ImageCodec

        reader = ContainerReader(data, limits)
        name = registry.name_of(reader.header.codec)
        codec = registry.get(name)
        if not isinstance(codec, ImageCodec):
            raise FormatError(f"the preview inside is of the codec {name}: expected a lossy image")
        self._job = codec.job(reader, DecodeSettings(limits=limits))
        found = self._job.image
        kinds = [(p.width, p.height, p.channels, p.alpha, p.bit_depth) for p in (stored, found)]
        if kinds[0] != kinds[1]:
            raise FormatError("the preview inside is of another size or kind than the image")
        self._latents: dict[int, Any] = {}

    def decode(self) -> Image:
        """The preview."""
        return self._job.run()

    def alpha(self, box: Box) -> NDArray[Any]:
        """The alpha plane of pixels."""
        return self._job.alpha_of(box)

    def choose(self, box: Box) -> tuple[NDArray[np.uint8], bytes]:
        """Levels of pixels [H, W, C] and the corrections of those that are close calls."""
        levels, close = self._levels(box)
        gaps = np.diff(close, prepend=-1).tolist()
        sides = zip(gaps, levels.reshape(-1)[close].tolist(), strict=True)
        return levels, b"".join(write_varint(gap) + bytes([level]) for gap, level in sides)

    def corrected(self, box: Box, corrections: bytes) -> NDArray[np.uint8]:
        """Levels of pixels [H, W, C] as :meth:`choose` found them on the encoder's machine.

        Raises ``FormatError`` for corrections that are not possible ones.
        """
        levels, _ = self._levels(box)
        flat = levels.reshape(-1)
        place, at = -1, 0
        while at < len(corrections):
            gap, at = read_varint(corrections, at)
            place += gap
            if not gap or place >= flat.size or at >= len(corrections):
                raise FormatError("the corrections of the preview are damaged")
            if abs(int(flat[place]) - corrections[at]) > 1:
                raise FormatError("a correction of the preview is no neighbour of what was found")
            flat[place] = corrections[at]
            at += 1
        return levels

    def _levels(self, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Levels [H, W, C] and the flat positions of close calls."""
        needed = self._job.tiles_around(box)
        for number in needed:
            if number not in self._latents:
                self._latents[number] = self._job.latent(number)
        values = self._job.exactly(box, {n: self._latents[n] for n in needed})
        while len(self._latents) > max(_KEPT, len(needed)):
            del self._latents[next(iter(self._latents))]
        indexes, close = guard_indexes(values * 255, _EDGES, BAND)
        return indexes.astype(np.uint8).reshape(values.shape), close


def as_numbers(
    levels: NDArray[np.uint8], header: PhotoHeader, bit_depth: int
) -> NDArray[np.uint16]:
    """Levels [H, W, C] in the range of what is coded of the image (see `depth`)."""
    numbers = (levels[..., 1:2] if header.same else levels).astype(np.uint16)
    if bit_depth == 8:
        return numbers
    if header.replicated:
        left, right = header.bits - 8, 16 - header.bits
        return numbers << np.uint16(left) | numbers >> np.uint16(right)
    wide: NDArray[np.uint16] = numbers * np.uint16(257) >> np.uint16(header.shift)
    return np.minimum(wide, np.uint16((1 << header.bits) - 1))
