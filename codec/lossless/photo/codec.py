"""The lossless codec: images <-> ``.lac`` files that decode to the same samples everywhere.

Segments are tiles in row-major order, each decodable alone: with alpha a varint length and the
tile's alpha plane (`laconic.codec.image.header`), then the stream of `wave`. The symbol check is
over the decoded samples. An adapted file begins with a segment of changes of the model; a synthetic
image is one segment (both in `fallback`); a file with a preview begins with that (`base`).
Nothing here imports torch unless the encoder adapts or there is a preview.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from laconic.codec import models
from laconic.codec.base import QUALITY, Codec, DecodeSettings, VerifyReport
from laconic.codec.lossless.photo.header import (
    CODEC_ID,
    DEFAULT_TILE,
    PhotoDecodeOptions,
    PhotoHeader,
    PhotoOptions,
)
from laconic.codec.models import ModelInfo
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image


class PhotoCodec(Codec):
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "photo"
    codec_id = CODEC_ID
    media = Media.IMAGE
    lossless = True
    rates = (QUALITY,)  # of the preview
    options = PhotoOptions
    decode_options = PhotoDecodeOptions
    recipes = dict.fromkeys(("photo", "photo-preview"), ("minutes", "batch", "threads", "init"))

    def encode(self, media: Image, settings: PhotoOptions) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        from laconic.codec.lossless.photo.files import EncodeJob

        if settings.quality is not None and not settings.preview:
            raise ParameterError(
                f"quality is {settings.quality}: the codec photo is lossless and has one size;"
                " leave it out, ask for a preview, or choose a lossy codec"
            )
        tile = DEFAULT_TILE if settings.tile is None else settings.tile
        settings.limits.check_pixels(media.width, media.height)
        return EncodeJob(media, settings, tile).run()

    def decode(self, reader: ContainerReader, settings: PhotoDecodeOptions) -> Image:
        """The image, a region of it, or the lossy image that it begins with."""
        from laconic.codec.lossless.photo.files import DecodeJob

        job = DecodeJob(reader, settings)
        if not settings.preview:
            return job.run()
        if settings.region is not None or settings.partial:
            raise ParameterError("a preview is decoded whole: leave region and partial out")
        return job.preview()

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode everything and compare the checks."""
        from laconic.codec.lossless.photo.files import DecodeJob

        job = DecodeJob(reader, settings)
        image = job.run()
        samples = image.pixels.size + (0 if image.alpha is None else image.alpha.size)
        return VerifyReport(len(reader), samples, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """How the samples are coded."""
        return PhotoHeader.unpack(codec_header).to_dict()

    def export(self, checkpoint: Path, recipe: str, out: Path, **how: Any) -> ModelInfo | None:
        from laconic.codec.lossless.photo.header import CONFIGS
        from laconic.codec.lossless.photo.learn import export_checkpoint

        return export_checkpoint(checkpoint, out, **how) if recipe in CONFIGS else None

    def train(self, recipe: str, data: Sequence[Path], out: Path, **options: Any) -> str:
        from dataclasses import replace

        from laconic.codec.train import photo

        options.pop("report", None)
        how = {k: options.pop(k) for k in ("resume", "threads", "init") if k in options}
        chosen = replace(photo.PhotoRecipe(config=recipe), **options)
        if how.get("init") is not None:
            chosen = replace(chosen, lr=chosen.lr / 2)
        return models.exportable(photo.run(chosen, list(data), out, **how))
