"""Encoding of one image: tiles, alpha, search with effort, metadata, and the size asked for.

The size of a file grows with quality, nearly linearly in its logarithm, so for a target a secant on
log-size brackets it in a few encodings and bisection over tenths of quality finishes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from laconic.codec.image.coding import Coded
from laconic.codec.image.header import (
    LATENT,
    QUALITY_STEPS,
    Box,
    Grid,
    ImageOptions,
    MlicHeader,
    TileHeader,
    encode_alpha,
)
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.postfilter import Chosen, choose, equations
from laconic.codec.image.refine import Objective, refine
from laconic.codec.image.screen.layers import ScreenLayers, pack_layer, update_check
from laconic.codec.image.screen.tile import decode_tile
from laconic.entropy import NumericsProfile, SymbolCheck
from laconic.formats.container import Container, Header, Media, Segment
from laconic.formats.errors import DesyncError, ParameterError
from laconic.formats.frame import write_varint
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader, chunks_of

CLOSE_ENOUGH = 0.995  # of the target: further steps would gain less than half a per cent
Index = tuple[slice, ...]


def search_quality(encode: Callable[[float], bytes], target: int) -> bytes:
    """The file of the highest quality found with at most ``target`` bytes.

    ``encode`` maps a quality in tenths of a point to a file. Raises ``ParameterError`` when even
    quality 0 is too large.
    """
    lowest = encode(0.0)
    if len(lowest) > target:
        raise ParameterError(
            f"the image cannot be made as small as {target} bytes: its smallest file has"
            f" {len(lowest)}; raise the target or scale the image down"
        )
    highest = encode(QUALITY_STEPS / 10)
    if len(highest) <= target:
        return highest
    low, high = 0, QUALITY_STEPS  # low fits, high does not
    best, low_bytes, high_bytes = lowest, len(lowest), len(highest)
    while high - low > 1 and len(best) < CLOSE_ENOUGH * target:
        share = math.log(target / low_bytes) / math.log(high_bytes / low_bytes)
        # Keep away from the ends, so that a curved size function cannot stall the bracket.
        share = min(0.9, max(0.1, share))
        middle = min(high - 1, max(low + 1, round(low + share * (high - low))))
        data = encode(middle / 10)
        if len(data) <= target:
            low, low_bytes, best = middle, len(data), data
        else:
            high, high_bytes = middle, len(data)
    return best


class Latent(NamedTuple):
    """A tile's latent, and the filter of its synthesis."""

    coded: Coded
    chosen: Chosen | None


class EncodeJob:
    """One image on its way to a file; ``run`` may be called at several qualities."""

    def __init__(
        self,
        codec_id: int,
        model: ImageModel,
        image: Image,
        settings: ImageOptions,
        tile: int,
        layered: bool = False,
    ) -> None:
        self.codec_id, self.model, self.image, self.settings = codec_id, model, image, settings
        self.effort = settings.effort
        self.relaxed = model.relaxed() if settings.effort else None
        self.grid = Grid(image.width, image.height, tile)
        settings.limits.check_tile(self.grid.box(0).width, self.grid.box(0).height)
        self.header = ImageHeader.of(image)
        self.alpha = [self._alpha(n) for n in range(len(self.grid))]
        self.screen = ScreenLayers(image, self.grid) if layered else None
        self.mixing = layered
        self.filtered = False
        self.known: dict[int, Latent] = {}

    def _alpha(self, number: int) -> bytes:
        if self.image.alpha is None:
            return b""
        box = self.grid.box(number).cut(Box(0, 0, self.image.width, self.image.height))
        data = encode_alpha(self.image.alpha[box.top : box.bottom, box.left : box.right])
        return write_varint(len(data)) + data

    def pixels(self, box: Box) -> Tensor:
        """What the model sees of padded pixels, ``[1, H, W, 3]`` in [0, 1]: the border is
        replicated, parts that are coded as screens are smooth."""
        rows = np.minimum(np.arange(box.top, box.bottom), self.image.height - 1)
        columns = np.minimum(np.arange(box.left, box.right), self.image.width - 1)
        samples = self.image.pixels[rows[:, None], columns[None]]
        scale = np.float32(1 / np.iinfo(samples.dtype).max)
        levels = samples.astype(np.float32) * scale
        if self.screen is not None:
            levels = self.screen.smooth(levels, box)
        return torch.from_numpy(levels).to(self.model.device)[None].expand(-1, -1, -1, 3)

    @torch.no_grad()
    def run(self, quality: float | None) -> bytes:
        """The file at a quality in tenths, or at the model's only rate."""
        if self.screen is not None:
            self._share(self.screen, quality)
        segments, self.filtered = [], False
        for number in range(len(self.grid)):
            segments.append(self._segment(number, quality))
            if self.settings.progress and not self.effort:
                self.settings.progress(number + 1, len(self.grid))
        used = self.screen is None or any(map(self._needs_latent, range(len(self.grid))))
        options = self._codec_header(quality)
        header = Header(
            Media.IMAGE,
            self.codec_id,
            options.version,
            bytes.fromhex(self.model.info.id) if used else b"",
            int(NumericsProfile.FLOAT64_GUARD),
            self.header.pack(),
            options.pack(),
        )
        return Container(
            header, segments, chunks_of(self.image, strip=self.settings.strip)
        ).to_bytes()

    def _segment(self, number: int, quality: float | None) -> Segment:
        """One tile."""
        screen, layer = self.screen, None
        coded = chosen = None
        if self._needs_latent(number):
            if number in self.known:
                coded, chosen = self.known.pop(number)
            else:
                coded, chosen = self._latent(number, quality)
        check = SymbolCheck() if coded is None else coded.check
        payload = self.alpha[number]
        if screen is not None:
            layer = screen.layers[number]
            payload += pack_layer(layer, coded is not None, chosen)
        if screen is not None and layer is not None:
            update_check(check, layer)
            if self.settings.verify:
                again = decode_tile(layer.stream, layer.colours.shape, screen.gray)
                self._compare(number, np.array_equal(again.colours, layer.colours))
        if chosen is not None:
            self.filtered = True
            check.update(np.array(chosen, np.int32))
        if coded is not None:
            payload += coded.payload
        return Segment(payload, check.value32())

    def _share(self, screen: ScreenLayers, quality: float | None) -> None:
        """Decide what is coded as a screen: by estimates, then, where all of a tile may be, by what
        its latent costs and gives."""
        multiplier = self.model.multiplier(quality)
        screen.choose(multiplier)
        self.known = {}
        for number in screen.undecided():
            box = self.grid.box(number)
            coded, chosen = self._latent(number, quality)
            x = self.model.restored(coded.y_hat.float(), quality, chosen, fast=True)[0]
            inside = box.cut(screen.whole)
            samples = x[: inside.height, : inside.width].clamp(0, 1).mul(255).round().cpu().numpy()
            if screen.gray:
                samples = samples.mean(-1, keepdims=True)
            if screen.settle(number, 8 * len(coded.payload), samples, multiplier):
                self.known[number] = Latent(coded, chosen)

    def _needs_latent(self, number: int) -> bool:
        """Whether some pixel of the model's depends on a tile's latent."""
        if self.screen is None:
            return True
        box = self.grid.box(number).grown(self.model.synthesis_margin, self.grid.padded)
        return not self.screen.covers(box)

    def _latent(self, number: int, quality: float | None) -> Latent:
        model, box = self.model, self.grid.box(number)
        seen = box.grown(model.analysis_margin, self.grid.padded)
        y = model.analyse(self.pixels(seen), quality)
        rows, columns = box.within(seen, LATENT)
        y = y[:, rows, columns]
        z = model.hyper(y, quality)
        if self.effort:
            y, z = self._refined(number, y, z, quality)
        detail = _Detail(self, box, quality) if model.has_detail(quality) else None
        coded = model.encode(y, z, quality, detail, self.mixing)
        chosen = None if detail is None else detail.chosen
        if detail is None and self.screen is not None:
            synthesis, cut = self.synthesis(box, coded.y_hat, quality)
            chosen = self.filter(box, synthesis[cut], quality)
        if self.settings.verify:
            height, width = y.shape[1:3]
            again = model.decode(coded.payload, height, width, quality, self.mixing)
            self._compare(number, again.check.value32() == coded.check.value32())
        return Latent(coded, chosen)

    def synthesis(self, box: Box, y_hat: Tensor, quality: float | None) -> tuple[Tensor, Index]:
        """A tile's image without filter and detail layer, with what is around it, and where the
        tile lies; its neighbours' latents are taken as their analysis gives them."""
        around, inside, cut = self._around(box, quality)
        around[inside] = y_hat.float().to(around)
        return self.model.synthesise(around, quality, fast=True), cut

    def filter(self, box: Box, synthesis: Tensor, quality: float | None) -> Chosen | None:
        """The filter of a tile's synthesis that is worth its bits."""
        latent = self.model.latent_quality(quality)
        assert latent is not None
        found = equations(self.pixels(box), synthesis.clamp(0, 1))
        return choose(found, latent, self.model.multiplier(quality), self.model.visual)

    @staticmethod
    def _compare(number: int, equal: bool) -> None:
        if not equal:
            raise DesyncError(
                f"tile {number} does not decode to what was encoded: nothing was written;"
                " report this with the image and the version of torch"
            )

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
        around, inside, cut = self._around(box, quality)

        def synthesise(y_hat: Tensor) -> Tensor:
            whole = around.clone()
            whole[inside] = y_hat.to(whole)
            return model.synthesise(whole, quality, fast=True)[cut]

        def report(step: int, steps: int, gain: float) -> None:
            if self.settings.progress:
                self.settings.progress(number * steps + step, len(self.grid) * steps)
            if self.settings.status:
                self.settings.status(f"loss {-100 * gain:+.2f} %")

        objective = Objective(
            self.relaxed,
            synthesise,
            self.pixels(box),
            model.multiplier(quality),
            model.latent_quality(quality),
            model.visual,
        )
        best = refine(objective, y, z, self.effort, report)
        if best.interrupted:
            self.effort = 0
            if self.settings.status:
                self.settings.status("interrupted: the best so far is kept")
        return best.y, best.z

    def _around(self, box: Box, quality: float | None) -> tuple[Tensor, Index, Index]:
        """Rounded latents of a tile and of what its synthesis reaches, where the tile's lie in
        them, and where its pixels lie in their image."""
        area = box.grown(self.model.synthesis_margin, self.grid.padded)
        every = slice(None)
        if area == box:
            size = (1, area.height // LATENT, area.width // LATENT, self.model.channels)
            around = torch.zeros(size, device=self.model.device)
        else:
            seen = area.grown(self.model.analysis_margin, self.grid.padded)
            around = self.model.analyse(self.pixels(seen), quality)
            around = around[(every, *area.within(seen, LATENT))].round()
        return around, (every, *box.within(area, LATENT)), (every, *box.within(area))

    def _codec_header(self, quality: float | None) -> MlicHeader | TileHeader:
        if quality is None:
            return TileHeader(self.grid.tile)
        if self.screen is None:
            return MlicHeader(quality, self.grid.tile)
        flags = (self.screen.neutral, self.mixing, self.filtered)
        return MlicHeader(quality, self.grid.tile, True, *flags)


class _Detail:
    """What the detail layer of a tile codes, given its decoded latents: what its synthesis and
    filter leave over."""

    def __init__(self, job: EncodeJob, box: Box, quality: float | None) -> None:
        self.job, self.box, self.quality = job, box, quality
        self.chosen: Chosen | None = None

    def __call__(self, y_hat: Tensor) -> Tensor:
        job, box, quality = self.job, self.box, self.quality
        synthesis, cut = job.synthesis(box, y_hat, quality)
        if job.screen is not None:
            self.chosen = job.filter(box, synthesis[cut], quality)
        after = job.model.after_filter(synthesis, quality, self.chosen)[cut]
        return job.model.detail(job.pixels(box) - after, quality)
