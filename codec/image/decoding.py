"""One file on its way to an image: checks, tiles and the latents around them, regions, alpha."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.base import DecodeSettings
from laconic.codec.image.header import (
    CODEC_VERSION,
    LATENT,
    Box,
    Grid,
    MlicHeader,
    TileHeader,
    ZooHeader,
    decode_alpha,
    region_of,
)
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.postfilter import REACH, Chosen
from laconic.codec.image.screen.colours import unpacked
from laconic.codec.image.screen.layers import Parts, unpack_layer, update_check
from laconic.codec.image.screen.tile import Layer
from laconic.entropy import NumericsProfile, SymbolCheck
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    UnsupportedError,
)
from laconic.formats.frame import read_varint
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader, with_chunks


class Tile(NamedTuple):
    """What a tile decodes to."""

    y_hat: Tensor | None  # [1, h, w, M] float64
    layer: Layer | None  # the part that is coded as a screen
    chosen: Chosen | None  # the filter of the synthesis
    symbols: int
    alpha: bytes


class DecodeJob:
    """One file on its way to an image."""

    def __init__(
        self,
        codec_header: type[MlicHeader] | type[TileHeader] | type[ZooHeader],
        load: Callable[[str], ImageModel],
        reader: ContainerReader,
        settings: DecodeSettings,
        newest: int = CODEC_VERSION,
    ) -> None:
        header = reader.header
        if header.codec_version > newest:
            raise UnsupportedError(
                f"the file was made by version {header.codec_version} of the image codec: this one"
                f" decodes up to version {newest}; install a newer Laconic"
            )
        if header.numerics != NumericsProfile.FLOAT64_GUARD:
            raise UnsupportedError(
                f"the file asks for numerics profile {header.numerics}: the image codec has profile"
                f" {int(NumericsProfile.FLOAT64_GUARD)}"
            )
        self.reader, self.settings = reader, settings
        self.image = ImageHeader.unpack(header.media_header, settings.limits)
        self.options = codec_header.unpack(header.codec_header)
        if self.options.version != header.codec_version:
            raise FormatError("the image codec's header is one of another version: it is damaged")
        self.grid = Grid(self.image.width, self.image.height, self.options.tile)
        settings.limits.check_tile(self.grid.box(0).width, self.grid.box(0).height)
        if len(self.grid) != header.segment_count and not settings.partial:
            raise FormatError(
                f"the file has {header.segment_count} tiles but its image needs {len(self.grid)}:"
                " it is damaged"
            )
        self.found: ImageModel | None = None
        if not header.model and self.options.layered:
            return  # every pixel is coded as a screen
        self.found = load(header.model.hex())
        if self.model.variable == (self.options.quality is None):
            raise FormatError(
                f"the file's header is not one of its model {self.model.info.name}: it is damaged"
            )

    @property
    def model(self) -> ImageModel:
        """The model of the latents; raises ``FormatError`` in a file that names none."""
        if self.found is None:
            raise FormatError("a tile has a latent but the file names no model: it is damaged")
        return self.found

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of the samples."""
        return np.uint8 if self.image.bit_depth == 8 else np.uint16

    def parts(self, number: int) -> tuple[bytes, bytes]:
        """Alpha bytes and coded latent of a tile."""
        if number >= len(self.reader):
            raise FormatError(f"tile {number} is missing: the file is truncated")
        payload = self.reader[number].payload
        if not self.image.alpha:
            return b"", payload
        length, offset = read_varint(payload, 0)
        if length > len(payload) - offset:
            raise FormatError(f"the alpha plane of tile {number} is truncated")
        return payload[offset : offset + length], payload[offset + length :]

    def tile(self, number: int) -> Tile:
        """A tile's latent and exact part; raises ``FormatError`` and ``DesyncError``."""
        alpha, payload = self.parts(number)
        box, options = self.grid.box(number), self.options
        parts = Parts(latent=payload)
        if options.layered:
            inside = box.cut(self.whole)
            gray = options.neutral or self.image.channels == 1
            shape = inside.height, inside.width
            parts = unpack_layer(payload, shape, gray, options.filtered)
        layer, chosen, rest = parts
        check, symbols, y_hat = SymbolCheck(), 0, None
        if rest is not None:
            height, width = box.height // LATENT, box.width // LATENT
            coded = self.model.decode(rest, height, width, options.quality, options.mixing)
            check, symbols, y_hat = coded.check, coded.symbols, coded.y_hat
        if layer is not None:
            update_check(check, layer)
            symbols += int(layer.coded.sum())
        if chosen is not None:
            check.update(np.array(chosen, np.int32))
        if not self.reader[number].matches(check.value32()):
            name = "" if self.found is None else f" the model {self.found.info.name} or"
            raise DesyncError(
                f"tile {number} decodes to other symbols than were encoded:{name} this machine's"
                " arithmetic differs from the encoder's"
            )
        return Tile(y_hat, layer, chosen, symbols, alpha)

    def latent(self, number: int) -> Tensor:
        """y_hat of a tile without exact parts ``[1, h, w, M]`` float64."""
        tile = self.tile(number)
        if tile.y_hat is None or tile.layer is not None or tile.chosen is not None:
            raise FormatError(f"tile {number} is not one of a latent alone")
        return tile.y_hat

    @torch.no_grad()
    def run(self) -> Image:
        """Decode the region asked for."""
        region = region_of(self.settings.region, self.whole)
        tiles = self.tiles_around(region)
        total = 2 * len(tiles)
        latents: dict[int, Tensor] = {}
        intact: dict[int, Tile] = {}
        notices: list[str] = []
        for done, number in enumerate(tiles):
            try:
                tile = intact[number] = self.tile(number)
                if tile.y_hat is not None:
                    latents[number] = tile.y_hat.float()
                    intact[number] = tile._replace(y_hat=None)
            except FormatError as error:
                if not self.settings.partial:
                    raise
                notices.append(f"tile {number} was left gray: {error}")
            self._progress(done + 1, total)
        if not intact:
            raise FormatError("no tile of the file is intact: there is nothing to decode")
        channels = self.image.channels
        pixels = np.empty((region.height, region.width, channels), dtype=self.dtype)
        alpha = np.empty(pixels.shape[:2], dtype=self.dtype) if self.image.alpha else None
        for done, number in enumerate(tiles):
            part = self.grid.box(number).cut(region)
            if part.width <= 0 or part.height <= 0:
                continue
            at = part.within(region)
            if number not in intact:
                pixels[at] = np.iinfo(self.dtype).max // 2
                if alpha is not None:
                    alpha[at] = np.iinfo(self.dtype).max
                continue
            pixels[at] = self._samples(number, part, latents, intact[number])
            if alpha is not None:
                alpha[at] = self._alpha(number, intact[number].alpha, part)
            self._progress(len(tiles) + done + 1, total)
        image = Image(
            pixels=pixels,
            alpha=alpha,
            bit_depth=self.image.bit_depth,
            color=self.image.color,
            notices=notices,
        )
        return with_chunks(image, self.reader.chunks)

    def _samples(
        self, number: int, part: Box, latents: dict[int, Tensor], found: Tile
    ) -> NDArray[Any]:
        """Samples of ``part`` of a tile: the model's, and over them those coded as a screen."""
        layer = found.layer
        if layer is None:
            return self._synthesise(part, latents, found.chosen)
        tile = self.grid.box(number).cut(self.whole)
        at = part.within(tile)
        screen = unpacked(layer.colours[at], self.image.channels, self.dtype)
        coded = layer.coded[at]
        if coded.all():
            return screen
        return np.where(coded[..., None], screen, self._synthesise(part, latents, found.chosen))

    def _synthesise(
        self, part: Box, latents: dict[int, Tensor], chosen: Chosen | None
    ) -> NDArray[Any]:
        """Samples of ``part`` from its latents and those around it, after a filter."""
        area = self._around(part)
        y, coarse = self._joined(area, latents), self.dtype == np.uint8
        x = self.model.restored(y, self.options.quality, chosen, fast=coarse)
        x = self._cut(x.cpu(), part, area)
        top = float(np.iinfo(self.dtype).max)
        samples: NDArray[Any] = x.clamp(0, 1).mul(top).round().numpy().astype(self.dtype)
        return samples

    @torch.no_grad()
    def exactly(self, part: Box, latents: dict[int, Tensor]) -> NDArray[np.float64]:
        """``part`` of the image ``[H, W, C]`` in 0..1, computed in float64; ``latents`` are those
        of all tiles that :meth:`tiles_around` names."""
        y = self._joined(self._around(part), latents)
        x = self.model.synthesise_exactly(y, self.options.quality)
        samples: NDArray[np.float64] = self._cut(x, part, self._around(part)).clamp(0, 1).numpy()
        return samples

    def tiles_around(self, part: Box) -> list[int]:
        """Tiles whose latents ``part`` depends on."""
        return self.grid.touching(part if self.found is None else self._around(part))

    def alpha_of(self, part: Box) -> NDArray[Any]:
        """The alpha plane of ``part``."""
        alpha = np.empty((part.height, part.width), self.dtype)
        for number in self.grid.touching(part):
            shared = self.grid.box(number).cut(part)
            alpha[shared.within(part)] = self._alpha(number, self.parts(number)[0], shared)
        return alpha

    def _around(self, part: Box) -> Box:
        if self.options.filtered:
            part = part.grown(REACH, self.grid.padded)
        return part.aligned(LATENT).grown(self.model.synthesis_margin, self.grid.padded)

    def _joined(self, area: Box, latents: dict[int, Tensor]) -> Tensor:
        """Latents of ``area``; those of missing tiles are 0."""
        like = next(iter(latents.values()), torch.zeros(self.model.channels))
        y = like.new_zeros(1, area.height // LATENT, area.width // LATENT, like.shape[-1])
        for number in self.grid.touching(area):
            if number in latents:
                box = self.grid.box(number)
                shared = box.cut(area)
                rows, columns = shared.within(area, LATENT)
                y[:, rows, columns] = latents[number][(slice(None), *shared.within(box, LATENT))]
        return y

    def _cut(self, x: Tensor, part: Box, area: Box) -> Tensor:
        """``part`` of the synthesis of ``area``, [H, W, C]."""
        x = x[(0, *part.within(area))]
        if self.image.channels == 1:
            return x.mean(-1, keepdim=True)
        return x.mean(-1, keepdim=True).expand_as(x) if self.options.neutral else x

    @property
    def whole(self) -> Box:
        """All pixels of the image."""
        return Box(0, 0, self.image.width, self.image.height)

    def _alpha(self, number: int, data: bytes, part: Box) -> NDArray[Any]:
        box = self.grid.box(number).cut(self.whole)
        plane = decode_alpha(data, (box.height, box.width), self.dtype)
        return plane[part.within(box)]

    def _progress(self, done: int, total: int) -> None:
        if self.settings.progress:
            self.settings.progress(done, total)
