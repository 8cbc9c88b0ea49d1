"""From a picture to a file and back with any image model: tiles, alpha, header, metadata, checks.

Segments are tiles in row-major order. A segment's payload is, with alpha, a varint length and the
tile's alpha plane (``alpha.py``), then the coded latent (``coding.py``). What a model has to offer
is in ``interface.py``; a codec (``codec.py``) names its number, its header and its models.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.base import DecodeSettings, EncodeSettings, VerifyReport
from laconic.codec.image.alpha import decode_alpha, encode_alpha
from laconic.codec.image.header import CODEC_VERSION, TILE_UNIT, MlicHeader, TileHeader
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.refine import Objective, check_effort, refine
from laconic.codec.image.target import search_quality
from laconic.codec.image.tiles import DEFAULT_TILE, LATENT, Box, Grid
from laconic.entropy import NumericsProfile
from laconic.formats.container import (
    EXIF,
    ICC,
    XMP,
    Chunk,
    Container,
    Header,
    Media,
    Segment,
)
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.image import Image
from laconic.formats.image_header import ImageHeader
from laconic.formats.varint import read_varint, write_varint


class PictureCodec:
    """Implements :class:`laconic.codec.base.Codec` for image models of one kind."""

    name: ClassVar[str]
    codec_id: ClassVar[int]
    header: ClassVar[type[MlicHeader] | type[TileHeader]]

    @abstractmethod
    def load(self, name_or_id: str | None) -> ImageModel:
        """The model of that name, id or path; None is the default. Raises ``ModelError``."""

    def encode(self, image: Image, settings: EncodeSettings) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        check_effort(settings.effort)
        tile = DEFAULT_TILE if settings.tile is None else settings.tile
        if tile % TILE_UNIT or not TILE_UNIT <= tile <= 255 * TILE_UNIT:
            raise ParameterError(
                f"the tile side is {tile}: expected a multiple of {TILE_UNIT} from {TILE_UNIT} to"
                f" {255 * TILE_UNIT} pixels"
            )
        settings.limits.check_pixels(image.width, image.height)
        job = EncodeJob(self, self.load(settings.model), image, settings, tile)
        target = settings.target_bytes
        if settings.bpp is not None:
            target = int(settings.bpp * image.width * image.height / 8)
        if self.header.fixed_rate:
            return self._at_its_rate(job, settings, target)
        if target is None:
            assert settings.quality is not None
            return job.run(round(settings.quality, 1))
        return job.run_within(target)

    def _at_its_rate(self, job: EncodeJob, settings: EncodeSettings, target: int | None) -> bytes:
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
                f"the picture cannot be made as small as {target} bytes: the model {name} codes at"
                f" one rate and needs {len(data)}; choose a model trained for a lower rate"
            )
        return data

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Image:
        """The picture or a region of it; see :func:`laconic.codec.decode`."""
        return DecodeJob(self, reader, settings).run()

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode the symbols of all tiles and compare their checks."""
        job = DecodeJob(self, reader, settings)
        symbols = 0
        for number in range(len(job.grid)):
            symbols += job.latent(number)[1]
            if settings.progress:
                settings.progress(number + 1, len(job.grid))
        return VerifyReport(len(job.grid), symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Quality, where there is a choice, and tile side."""
        return self.header.unpack(codec_header).to_dict()


class EncodeJob:
    """One picture on its way to a file; ``run`` may be called at several qualities."""

    def __init__(
        self,
        codec: PictureCodec,
        model: ImageModel,
        image: Image,
        settings: EncodeSettings,
        tile: int,
    ) -> None:
        self.codec, self.model, self.image, self.settings = codec, model, image, settings
        self.effort = settings.effort
        self.relaxed = model.relaxed() if settings.effort else None
        self.grid = Grid(image.width, image.height, tile)
        self.header = ImageHeader(
            image.width,
            image.height,
            image.channels,
            image.bit_depth,
            alpha=image.alpha is not None,
            color=image.color,
            icc=image.icc is not None,
        )
        self.alpha = [self._alpha(n) for n in range(len(self.grid))]

    def _alpha(self, number: int) -> bytes:
        if self.image.alpha is None:
            return b""
        box = self.grid.box(number).cut(Box(0, 0, self.image.width, self.image.height))
        data = encode_alpha(self.image.alpha[box.top : box.bottom, box.left : box.right])
        return write_varint(len(data)) + data

    def pixels(self, box: Box) -> Tensor:
        """Samples of padded pixels as ``[1, H, W, 3]`` in [0, 1]; the border is replicated."""
        rows = np.minimum(np.arange(box.top, box.bottom), self.image.height - 1)
        columns = np.minimum(np.arange(box.left, box.right), self.image.width - 1)
        samples = self.image.pixels[rows[:, None], columns[None]]
        scale = np.float32(1 / np.iinfo(samples.dtype).max)
        x = torch.from_numpy(samples.astype(np.float32) * scale)[None]
        return x.expand(-1, -1, -1, 3)

    @torch.no_grad()
    def run(self, quality: float | None) -> bytes:
        """The file at a quality in tenths, or at the model's only rate."""
        model = self.model
        segments = []
        for number in range(len(self.grid)):
            box = self.grid.box(number)
            seen = box.grown(model.analysis_margin, self.grid.padded)
            y = model.analyse(self.pixels(seen), quality)
            rows, columns = box.within(seen, LATENT)
            y = y[:, rows, columns]
            z = model.hyper(y, quality)
            if self.effort:
                y, z = self._refined(number, y, z, quality)
            coded = model.encode(y, z, quality)
            if self.settings.verify:
                again = model.decode(coded.payload, y.shape[1], y.shape[2], quality)
                if again.check.value32() != coded.check.value32():
                    raise DesyncError(
                        f"tile {number} does not decode to what was encoded: nothing was written;"
                        " report this with the picture and the version of torch"
                    )
            segments.append(Segment(self.alpha[number] + coded.payload, coded.check.value32()))
            if self.settings.progress and not self.effort:
                self.settings.progress(number + 1, len(self.grid))
        header = Header(
            Media.IMAGE,
            self.codec.codec_id,
            CODEC_VERSION,
            bytes.fromhex(model.info.id),
            int(NumericsProfile.FLOAT64_GUARD),
            self.header.pack(),
            self._codec_header(quality).pack(),
        )
        return Container(header, segments, self._chunks()).to_bytes()

    def run_within(self, target: int) -> bytes:
        """The file of the highest quality with at most ``target`` bytes; with effort the latents
        are refined at the quality found."""
        effort, self.effort = self.effort, 0
        plain = search_quality(self.run, target)
        if not effort:
            return plain
        quality = MlicHeader.unpack(Container.from_bytes(plain).header.codec_header).quality
        self.effort = effort
        # Refinement trades bits against error in both directions: a file may come out larger.
        for lower in (0.0, 1.0, 2.5):
            data = self.run(max(0.0, round(quality - lower, 1)))
            if len(data) <= target:
                return data
        return plain

    def _refined(
        self, number: int, y: Tensor, z: Tensor | None, quality: float | None
    ) -> tuple[Tensor, Tensor | None]:
        """Latents of a tile after the search; its neighbours' are taken as their analysis gives
        them."""
        model, box = self.model, self.grid.box(number)
        assert self.relaxed is not None
        area = box.grown(model.synthesis_margin, self.grid.padded)
        seen = area.grown(model.analysis_margin, self.grid.padded)
        every = slice(None)
        around = model.analyse(self.pixels(seen), quality)
        around = around[(every, *area.within(seen, LATENT))].round()
        inside, picture = (every, *box.within(area, LATENT)), (every, *box.within(area))

        def synthesise(y_hat: Tensor) -> Tensor:
            whole = around.clone()
            whole[inside] = y_hat
            return model.synthesise(whole, quality)[picture]

        def report(step: int, steps: int, gain: float) -> None:
            if self.settings.progress:
                self.settings.progress(number * steps + step, len(self.grid) * steps)
            if self.settings.status:
                self.settings.status(f"loss {-100 * gain:+.2f} %")

        objective = Objective(
            self.relaxed, synthesise, self.pixels(box), model.multiplier(quality), quality
        )
        best = refine(objective, y, z, self.effort, report)
        if best.interrupted:
            self.effort = 0
            if self.settings.status:
                self.settings.status("interrupted: the best so far is kept")
        return best.y, best.z

    def _codec_header(self, quality: float | None) -> MlicHeader | TileHeader:
        if quality is None:
            return TileHeader(self.grid.tile)
        return MlicHeader(quality, self.grid.tile)

    def _chunks(self) -> list[Chunk]:
        image = self.image
        blobs = [(ICC, image.icc)]
        if not self.settings.strip:
            blobs += [(EXIF, image.exif), (XMP, image.xmp)]
        return [Chunk(kind, data) for kind, data in blobs if data]


class DecodeJob:
    """One file on its way to a picture."""

    def __init__(
        self, codec: PictureCodec, reader: ContainerReader, settings: DecodeSettings
    ) -> None:
        header = reader.header
        if header.codec_version != CODEC_VERSION:
            raise UnsupportedError(
                f"the file was made by version {header.codec_version} of the image codec: this one"
                f" decodes version {CODEC_VERSION}; install a newer Laconic"
            )
        if header.numerics != NumericsProfile.FLOAT64_GUARD:
            raise UnsupportedError(
                f"the file asks for numerics profile {header.numerics}: the image codec has profile"
                f" {int(NumericsProfile.FLOAT64_GUARD)}"
            )
        self.reader, self.settings = reader, settings
        self.picture = ImageHeader.unpack(header.media_header, settings.limits)
        self.options = codec.header.unpack(header.codec_header)
        self.grid = Grid(self.picture.width, self.picture.height, self.options.tile)
        if len(self.grid) != header.segment_count and not settings.partial:
            raise FormatError(
                f"the file has {header.segment_count} tiles but its picture needs {len(self.grid)}:"
                " it is damaged"
            )
        self.model = codec.load(header.model.hex())
        self.dtype = np.uint8 if self.picture.bit_depth == 8 else np.uint16

    def latent(self, number: int) -> tuple[Tensor, int, bytes]:
        """y_hat of a tile ``[1, h, w, M]`` float32, its number of symbols, its alpha bytes."""
        if number >= len(self.reader):
            raise FormatError(f"tile {number} is missing: the file is truncated")
        segment = self.reader[number]
        payload, alpha = segment.payload, b""
        if self.picture.alpha:
            length, offset = read_varint(payload, 0)
            if length > len(payload) - offset:
                raise FormatError(f"the alpha plane of tile {number} is truncated")
            alpha, payload = payload[offset : offset + length], payload[offset + length :]
        box = self.grid.box(number)
        coded = self.model.decode(
            payload, box.height // LATENT, box.width // LATENT, self.options.quality
        )
        if not segment.matches(coded.check.value32()):
            raise DesyncError(
                f"tile {number} decodes to other symbols than were encoded: the model"
                f" {self.model.info.name} or this machine's arithmetic differs from the encoder's"
            )
        return coded.y_hat.float(), coded.symbols, alpha

    @torch.no_grad()
    def run(self) -> Image:
        """Decode the region asked for."""
        whole = Box(0, 0, self.picture.width, self.picture.height)
        region = self._region(whole)
        margin = self.model.synthesis_margin
        needed = region.aligned(LATENT).grown(margin, self.grid.padded)
        tiles = self.grid.touching(needed)
        total = 2 * len(tiles)
        latents: dict[int, Tensor] = {}
        alphas: dict[int, bytes] = {}
        notices: list[str] = []
        for done, number in enumerate(tiles):
            try:
                latents[number], _, alphas[number] = self.latent(number)
            except FormatError as error:
                if not self.settings.partial:
                    raise
                notices.append(f"tile {number} was left gray: {error}")
            self._progress(done + 1, total)
        if not latents:
            raise FormatError("no tile of the file is intact: there is nothing to decode")
        channels = self.picture.channels
        pixels = np.empty((region.height, region.width, channels), dtype=self.dtype)
        alpha = np.empty(pixels.shape[:2], dtype=self.dtype) if self.picture.alpha else None
        for done, number in enumerate(tiles):
            part = self.grid.box(number).cut(region)
            if part.width <= 0 or part.height <= 0:
                continue
            at = part.within(region)
            if number not in latents:
                pixels[at] = np.iinfo(self.dtype).max // 2
                if alpha is not None:
                    alpha[at] = np.iinfo(self.dtype).max
                continue
            pixels[at] = self._synthesise(part, latents, margin)
            if alpha is not None:
                alpha[at] = self._alpha(number, alphas[number], part)
            self._progress(len(tiles) + done + 1, total)
        blobs = {c.type: c.data for c in self.reader.chunks}
        return Image(
            pixels=pixels,
            alpha=alpha,
            bit_depth=self.picture.bit_depth,
            icc=blobs.get(ICC),
            exif=blobs.get(EXIF),
            xmp=blobs.get(XMP),
            color=self.picture.color,
            notices=notices,
        )

    def _region(self, whole: Box) -> Box:
        if self.settings.region is None:
            return whole
        x, y, width, height = self.settings.region
        region = Box(x, y, x + width, y + height)
        if width < 1 or height < 1 or region.cut(whole) != region:
            raise ParameterError(
                f"the region {x},{y},{width},{height} does not lie within the picture of"
                f" {whole.width} x {whole.height} pixels"
            )
        return region

    def _synthesise(self, part: Box, latents: dict[int, Tensor], margin: int) -> NDArray[Any]:
        """Samples of ``part`` from its latents and those around it."""
        area = part.aligned(LATENT).grown(margin, self.grid.padded)
        y = torch.zeros(1, area.height // LATENT, area.width // LATENT, self.model.channels)
        for number in self.grid.touching(area):
            if number in latents:
                box = self.grid.box(number)
                shared = box.cut(area)
                rows, columns = shared.within(area, LATENT)
                y[:, rows, columns] = latents[number][(slice(None), *shared.within(box, LATENT))]
        x = self.model.synthesise(y, self.options.quality)[0]
        rows, columns = part.within(area)
        x = x[rows, columns]
        if self.picture.channels == 1:
            x = x.mean(-1, keepdim=True)
        top = float(np.iinfo(self.dtype).max)
        samples: NDArray[Any] = x.clamp(0, 1).mul(top).round().numpy().astype(self.dtype)
        return samples

    def _alpha(self, number: int, data: bytes, part: Box) -> NDArray[Any]:
        box = self.grid.box(number).cut(Box(0, 0, self.picture.width, self.picture.height))
        plane = decode_alpha(data, (box.height, box.width), self.dtype)
        return plane[part.within(box)]

    def _progress(self, done: int, total: int) -> None:
        if self.settings.progress:
            self.settings.progress(done, total)
