"""The lossless codec: pictures <-> ``.lac`` files that decode to the same samples everywhere.

Segments are tiles in row-major order, each decodable alone: with alpha a varint length and the
tile's alpha plane (`laconic.codec.image.alpha`), then the stream of `rans`. The symbol check is
over the decoded samples. An adapted file begins with a segment of changes of the model (`adapter`);
a synthetic picture is one segment (`fallback`); a file with a preview begins with that (`base`).
Nothing here imports torch unless the encoder adapts or there is a preview.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.base import DecodeSettings, EncodeSettings, VerifyReport
from laconic.codec.lossless.photo.decoder import DecodeJob
from laconic.codec.lossless.photo.encoder import EncodeJob
from laconic.codec.lossless.photo.header import (
    CODEC_ID,
    DEFAULT_TILE,
    MAX_TILE,
    TILE_UNIT,
    PhotoHeader,
)
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image


class PhotoCodec:
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "photo"
    codec_id = CODEC_ID
    lossless = True

    def encode(self, image: Image, settings: EncodeSettings) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        for name, value in (
            ("quality", settings.quality),
            ("bpp", settings.bpp),
            ("target_bytes", settings.target_bytes),
        ):
            if value is not None and not (settings.preview and name == "quality"):
                raise ParameterError(
                    f"{name} is {value}: the codec photo is lossless and has one size; leave it"
                    " out, or choose a lossy codec such as mlic"
                )
        tile = DEFAULT_TILE if settings.tile is None else settings.tile
        if tile % TILE_UNIT or not TILE_UNIT <= tile <= MAX_TILE:
            raise ParameterError(
                f"the tile side is {tile}: expected a multiple of {TILE_UNIT} from {TILE_UNIT} to"
                f" {MAX_TILE} pixels"
            )
        settings.limits.check_pixels(image.width, image.height)
        return EncodeJob(image, settings, tile).run()

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Image:
        """The picture or a region of it; see :func:`laconic.codec.decode`."""
        return DecodeJob(reader, settings).run()

    def preview(self, reader: ContainerReader, settings: DecodeSettings) -> Image:
        """The lossy picture that a file encoded with ``preview`` begins with."""
        return DecodeJob(reader, settings).preview()

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode everything and compare the checks."""
        job = DecodeJob(reader, settings)
        image = job.run()
        samples = image.pixels.size + (0 if image.alpha is None else image.alpha.size)
        return VerifyReport(len(reader), samples, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """How the samples are coded."""
        return PhotoHeader.unpack(codec_header).to_dict()
