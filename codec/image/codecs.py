"""The image codecs of the registry: images <-> ``.lac`` files with models of three origins.

``mlic`` has the variable-rate model that ships, ``mlic++`` imported models of the MLIC family,
``compressai`` models of CompressAI's zoo: imported ones, or published weights by name
(``mbt2018-mean:4``, or ``mbt2018-mean-vbr`` for all rates). What a model has to offer is in
``interface.py``. The work on one file is in ``encoding.py`` and ``decoding.py``, which import
torch; nothing here does before a model is loaded.

Segments are tiles in row-major order. A segment's payload is, with alpha, a varint length and the
tile's alpha plane (``header.py``), in layered files what is coded as a screen
(``screen/layers.py``), then the coded latent (``coding.py``).

No lossy file is larger than the lossless one of the same image. Where the model has to spend more
on an image than exact coding needs (noise at the highest qualities, images of a few pixels,
patterns), the file is one of the codec ``photo``, which is exact. Coding every photograph twice
would be slow, so it is tried only where it can pay: when a quick estimate of the lossless size
comes near.
"""

from __future__ import annotations

import io
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.codec import devices, models, registry
from laconic.codec.base import (
    BPP,
    DEFAULT_QUALITY,
    QUALITY,
    TARGET,
    Codec,
    DecodeSettings,
    Recipes,
    VerifyReport,
)
from laconic.codec.devices import PROCESSOR
from laconic.codec.image.header import (
    CODEC_ID,
    CODEC_VERSION,
    DEFAULT_TILE,
    FILTER_VERSION,
    ImageDecodeOptions,
    ImageOptions,
    MlicHeader,
    MlicOptions,
    TileHeader,
    ZooHeader,
)
from laconic.codec.models import ModelInfo
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image

if TYPE_CHECKING:
    from laconic.codec.image.codec import LoadedModel
    from laconic.codec.image.decoding import DecodeJob
    from laconic.codec.image.encoding import EncodeJob
    from laconic.codec.image.interface import ImageModel

SMALL = 1 << 12  # samples up to which it is always tried
POSSIBLE = 0.6  # of the entropy of residuals: less was never reached
REPEATED = 1.6  # times the file: a quick PNG of this size is a reason
_ROWS = 64  # at most so many pairs of rows are looked at


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

        newest = FILTER_VERSION if self.layered else CODEC_VERSION
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

    def variant(self, text: str) -> dict[str, Any]:
        """A model, an effort such as ``effort4``, or both joined by "+"."""
        found: dict[str, Any] = {}
        for part in text.split("+"):
            effort = re.fullmatch(r"effort(\d+)", part)
            key, value = ("effort", int(effort[1])) if effort else ("model", part)
            if key in found:
                raise ParameterError(f"{text!r} names {found[key]} and {value}: leave one out")
            found[key] = value
        return found

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Quality, where there is a choice, and tile side."""
        return self.header.unpack(codec_header).to_dict()


def no_larger(
    image: Image, settings: ImageOptions, data: bytes, target: int | None, screen: bool
) -> bytes:
    """``data``, or the lossless file if that is smaller, or fits the target size as well;
    ``screen``: some of the image may be one."""
    most = max(len(data), target or 0)
    if not _worth_trying(image, most, screen):
        return data
    codec = registry.default(Media.IMAGE, lossless=True)
    has = {f.name for f in fields(codec.options)}
    shared = {n: getattr(settings, n) for n in ("strip", "verify", "note", "limits") if n in has}
    lossless = codec.encode(image, codec.options(**shared))
    return lossless if len(lossless) <= most else data


def _worth_trying(image: Image, size: int, screen: bool) -> bool:
    samples = image.pixels.size
    if samples <= SMALL:
        return True
    step = max(2, image.height // _ROWS)
    above = image.pixels[: image.height - 1 : step].astype(np.int32)
    below = image.pixels[1::step][: above.shape[0]].astype(np.int32)
    flat = above.shape[0] == 0 or image.width == 1
    if flat or 8 * size >= POSSIBLE * samples * _entropy(above, below):
        return True
    if image.bit_depth != 8 or not screen:
        return False
    plane = image.pixels[..., 0] if image.channels == 1 else image.pixels
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(plane)).save(buffer, "PNG", compress_level=1)
    return buffer.tell() < REPEATED * size


def _entropy(above: NDArray[Any], below: NDArray[Any]) -> float:
    """Bits of a sample's difference from the plane through its neighbours, in green and relative
    to it; channels apart."""
    bent = below[:, 1:] - below[:, :-1] - above[:, 1:] + above[:, :-1]
    if bent.shape[2] == 3:
        bent[..., 0] -= bent[..., 1]
        bent[..., 2] -= bent[..., 1]
    bits = 0.0
    for channel in range(bent.shape[2]):
        counts = np.unique(bent[..., channel], return_counts=True)[1]
        share = counts / counts.sum()
        bits -= float((share * np.log2(share)).sum())
    return bits / bent.shape[2]


class MlicCodec(ImageCodec):
    """The codec for photographs and anything else lossy."""

    name = "mlic"
    codec_id = CODEC_ID
    options = MlicOptions
    header = MlicHeader
    layered = True
    points = (5, 20, 35, 50, 65, 80, 95)
    recipes: ClassVar[Recipes] = dict.fromkeys(
        ("mlic-small", "mlic-base", "mlic-visual"),
        ("minutes", "batch", "threads", "init", "device"),
    )

    def load(self, name_or_id: str | None, device: str = PROCESSOR) -> LoadedModel:
        from laconic.codec.image.codec import load_model

        return load_model(name_or_id or models.DEFAULT_MODEL, device)

    def export(self, checkpoint: Path, recipe: str, out: Path, **how: Any) -> ModelInfo | None:
        from laconic.codec.image.codec import export_checkpoint
        from laconic.codec.image.config import CONFIGS

        return export_checkpoint(checkpoint, out, **how) if recipe in CONFIGS else None

    def train(self, recipe: str, data: Sequence[Path], out: Path, **options: Any) -> str:
        from dataclasses import replace

        from laconic.codec.train import image

        options.pop("report", None)
        how = {k: options.pop(k) for k in ("resume", "threads", "init") if k in options}
        chosen = replace(image.RECIPES[recipe], **options)
        return models.exportable(image.run(chosen, list(data), out, **how))


class MlicPlusPlusCodec(ImageCodec):
    """Models of one rate under their published names: MLIC++, MLICv2."""

    name = "mlic++"
    codec_id = 4
    header = TileHeader

    def load(self, name_or_id: str | None, device: str = PROCESSOR) -> ImageModel:
        from laconic.codec.image.architectures import load_model

        return load_model(self.name, name_or_id, device)

    def import_checkpoint(
        self,
        files: Sequence[Path],
        *,
        arch: str | None,
        name: str | None,
        multiplier: float | None,
        overwrite: bool,
    ) -> ModelInfo | None:
        """Any single file of an image model, CompressAI's too: its tensors say what it is."""
        if len(files) != 1:
            return None
        from laconic.codec.image.checkpoints import import_checkpoint

        return import_checkpoint(
            files[0], arch=arch, name=name, multiplier=multiplier, overwrite=overwrite
        )


class CompressAICodec(ImageCodec):
    """Models of CompressAI's zoo."""

    name = "compressai"
    codec_id = 5
    header = ZooHeader

    def load(self, name_or_id: str | None, device: str = PROCESSOR) -> ImageModel:
        from laconic.codec.image.architectures import load_model
        from laconic.codec.image.compressai.published import installed, is_published

        if name_or_id is not None and is_published(name_or_id):
            name_or_id = installed(name_or_id)
        return load_model(self.name, name_or_id, device)
