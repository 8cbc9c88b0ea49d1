"""Image codecs: images <-> ``.lac`` files with any image model.

Segments are tiles in row-major order. A segment's payload is, with alpha, a varint length and the
tile's alpha plane (``tiles.py``), in layered files what is coded as a screen
(``screen/layers.py``), then the coded latent (``coding.py``). What a model has to offer
is in ``interface.py``; a codec (``codecs.py``) names its
number, its header and its models. The work on one file is in ``encoding.py`` and ``decoding.py``,
which import torch; this module does not.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from laconic.codec import devices
from laconic.codec.base import (
    BPP,
    DEFAULT_QUALITY,
    QUALITY,
    TARGET,
    Codec,
    DecodeSettings,
    VerifyReport,
)
from laconic.codec.devices import PROCESSOR
from laconic.codec.image.bound import no_larger
from laconic.codec.image.header import (
    CODEC_VERSION,
    LAYERED_VERSION,
    MlicHeader,
    TileHeader,
    ZooHeader,
)
from laconic.codec.image.options import ImageDecodeOptions, ImageOptions
from laconic.codec.image.tiles import DEFAULT_TILE
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image

if TYPE_CHECKING:
    from laconic.codec.image.decoding import DecodeJob
    from laconic.codec.image.encoding import EncodeJob
    from laconic.codec.image.interface import ImageModel


class ImageCodec(Codec):
    """Implements :class:`laconic.codec.base.Codec` for image models of one kind."""

    media = Media.IMAGE
    rates = (QUALITY, BPP, TARGET)
    options = ImageOptions
    decode_options = ImageDecodeOptions
    header: ClassVar[type[MlicHeader] | type[TileHeader] | type[ZooHeader]]
    layered: ClassVar[bool] = False  # whether parts of images may be coded as screens

    @abstractmethod
    def load(self, name_or_id: str | None, device: str = PROCESSOR) -> ImageModel:
        """The model of that name, id or path; None is the default. Raises ``ModelError``, and
        ``ParameterError`` for a device that is not here."""

    def encode(self, media: Image, settings: ImageOptions) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        return self._encoded(media, settings, self.layered)

    def encode_plain(self, image: Image, settings: ImageOptions) -> bytes:
        """A file of latents alone, whose samples follow from them (version 1)."""
        return self._encoded(image, settings, False)

    def _encoded(self, image: Image, settings: ImageOptions, layered: bool) -> bytes:
        from laconic.codec.image.encoding import EncodeJob

        tile = DEFAULT_TILE if settings.tile is None else settings.tile
        settings.limits.check_pixels(image.width, image.height)
        model = self.load(settings.wanted(), settings.device or PROCESSOR)
        job = EncodeJob(self.codec_id, model, image, settings, tile, layered)
        target = settings.target_bytes
        if settings.bpp is not None:
            target = int(settings.bpp * image.width * image.height / 8)
        if not job.model.variable:
            return self._at_its_rate(job, settings, target)
        if target is None:
            quality = DEFAULT_QUALITY if settings.quality is None else settings.quality
            data = job.run(round(quality, 1))
        else:
            data = job.run_within(target)
        if job.screen is None:
            return data
        return no_larger(image, settings, data, target, job.screen.tried)

    def _at_its_rate(self, job: EncodeJob, settings: ImageOptions, target: int | None) -> bytes:
        """A file of a model that was trained for one rate."""
        name = job.model.info.name
        if settings.quality is not None:
            raise ParameterError(
                f"the model {name} codes at one rate: leave the quality out, or choose a model"
                " trained for another rate"
            )
        data = job.run(None)
        if target is not None and len(data) > target:
            raise ParameterError(
                f"the image cannot be made as small as {target} bytes: the model {name} codes at"
                f" one rate and needs {len(data)}; choose a model trained for a lower rate"
            )
        return data

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Image:
        """The image or a region of it; see :func:`laconic.codec.decode`."""
        return self.job(reader, settings).run()

    def job(self, reader: ContainerReader, settings: DecodeSettings) -> DecodeJob:
        """The decoding of one file, step by step."""
        from laconic.codec.image.decoding import DecodeJob

        newest = LAYERED_VERSION if self.layered else CODEC_VERSION
        device = getattr(settings, "device", None)
        if device is not None:
            devices.device(device)  # also where no latent needs it
        load = partial(self.load, device=device or PROCESSOR)
        return DecodeJob(self.header, load, reader, settings, newest)

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode the symbols of all tiles and compare their checks."""
        job = self.job(reader, settings)
        symbols = 0
        for number in range(len(job.grid)):
            symbols += job.tile(number).symbols
            if settings.progress:
                settings.progress(number + 1, len(job.grid))
        return VerifyReport(len(job.grid), symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Quality, where there is a choice, and tile side."""
        return self.header.unpack(codec_header).to_dict()
