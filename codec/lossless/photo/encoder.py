"""Images to files: the circuit's streams, or an image file where that is smaller."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import DecodeSettings
from laconic.codec.image.tiles import encode_alpha
from laconic.codec.lossless.photo.base import check_of
from laconic.codec.lossless.photo.decoder import DecodeJob
from laconic.codec.lossless.photo.fallback import encode_file, prepare
from laconic.codec.lossless.photo.header import (
    CODEC_ID,
    CODEC_VERSION,
    FILE,
    PhotoHeader,
    PhotoOptions,
    Tiles,
)
from laconic.codec.lossless.photo.network import DEFAULT_MODEL, PREVIEW_MODEL, load_model
from laconic.codec.lossless.photo.workers import Workers
from laconic.formats.container import Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DesyncError, FormatError, ParameterError
from laconic.formats.frame import write_varint
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader, chunks_of


class EncodeJob:
    """One image on its way to a file."""

    def __init__(self, image: Image, settings: PhotoOptions, tile: int) -> None:
        self.image, self.settings = image, settings
        self.tiles = Tiles(image.width, image.height, tile)
        self.numbers, self.header = prepare(image.pixels, PhotoHeader(tile=tile))
        self.model = settings.model or DEFAULT_MODEL
        self.base = b""
        self.corrections: list[bytes] = []
        self.lossy: NDArray[np.uint16] | None = None
        if settings.preview:
            self._see_lossy()
        if load_model(self.model).based != settings.preview:
            wanted, what = (PREVIEW_MODEL, "no") if settings.preview else (DEFAULT_MODEL, "a")
            raise ParameterError(
                f"the model {self.model} sees {what} lossy image: choose {wanted}, or another"
                " setting of preview"
            )

    def _see_lossy(self) -> None:
        """Make the preview, and what the circuit sees of it."""
        from laconic.codec.lossless.photo.base import Base, as_numbers, encode_base

        self.header = replace(self.header, based=True)
        self.model = self.settings.model or PREVIEW_MODEL
        self.base = encode_base(self.image, self.settings)
        base = Base(self.base, ImageHeader.of(self.image), self.settings.limits)
        self.lossy = np.empty_like(self.numbers)
        for number in range(len(self.tiles)):
            box = self.tiles.box(number)
            levels, corrections = base.choose(box)
            self.corrections.append(corrections)
            numbers = as_numbers(levels, self.header, self.image.bit_depth)
            self.lossy[box.within(self.tiles.whole)] = numbers

    def run(self) -> bytes:
        """The smallest file that the effort allows."""
        adapter = self._adapter()
        streams = self._streams(adapter)
        data = self._circuit(adapter, streams)
        if adapter:
            plain = self._streams(b"")
            other = self._circuit(b"", plain)
            if len(other) < len(data):
                adapter, streams, data = b"", plain, other
        image = replace(self.image, alpha=None) if self.base else self.image
        payload = encode_file(image, len(data) - len(self.base), effort=self.settings.effort)
        if payload is not None:
            return self._file(payload)
        if self.settings.verify:
            self._compare(adapter, streams)
        return data

    def _adapter(self) -> bytes:
        if not self.settings.effort:
            return b""
        from laconic.codec.lossless.photo.finetune import find_adapter

        seen = self.numbers
        if self.lossy is not None:
            seen = np.concatenate((seen, self.lossy), axis=2)
        return find_adapter(
            seen, self.header.bits, self.model, self.settings.effort, self.settings.progress
        )

    def _tiles(self, plane: NDArray[Any]) -> list[NDArray[Any]]:
        return [self._cut(plane, number) for number in range(len(self.tiles))]

    def _streams(self, adapter: bytes) -> list[bytes]:
        """The stream of each tile."""
        lossy = None if self.lossy is None else self._tiles(self.lossy)
        workers, streams = Workers(self.model, adapter), list[bytes]()
        for stream in workers.encode(self._tiles(self.numbers), self.header.bits, lossy):
            streams.append(stream)
            if self.settings.progress:
                self.settings.progress(len(streams), len(self.tiles))
        return streams

    def _compare(self, adapter: bytes, streams: list[bytes]) -> None:
        """Decode everything once; raises ``DesyncError`` unless it is what was encoded."""
        tiles = self._tiles(self.numbers)
        lossy: list[Any] = [None] * len(tiles) if self.lossy is None else self._tiles(self.lossy)
        parts: list[Any] = [(s, t.shape, x) for s, t, x in zip(streams, tiles, lossy, strict=True)]
        decoded = Workers(self.model, adapter).decode(parts, self.header.bits)
        for tile, again in zip(tiles, decoded, strict=True):
            if isinstance(again, FormatError) or not np.array_equal(tile, again):
                raise DesyncError(
                    "the image does not decode to what was encoded: nothing was written; report"
                    " this with the image and the versions of NumPy and numba"
                )

    def _circuit(self, adapter: bytes, streams: list[bytes]) -> bytes:
        """The file of streams made with that adapter."""
        segments = []
        if adapter:
            segments.append(Segment(adapter, check_of(np.frombuffer(adapter, np.uint8), None)))
        for number in range(len(self.tiles)):
            side, plane = b"", None
            if self.image.alpha is not None:
                plane = self._cut(self.image.alpha, number)
                side = encode_alpha(plane)
            if self.base:
                side = self.corrections[number]
            if self.header.based or plane is not None:
                side = write_varint(len(side)) + side
            check = check_of(self._cut(self.image.pixels, number), plane)
            segments.append(Segment(side + streams[number], check))
        header = replace(self.header, adapted=bool(adapter))
        identity = bytes.fromhex(load_model(self.model).id)
        return self._container(header, segments, identity)

    def _file(self, payload: bytes) -> bytes:
        header = PhotoHeader(FILE, self.header.tile, based=self.header.based)
        segment = Segment(payload, check_of(self.image.pixels, self.image.alpha))
        data = self._container(header, [segment], b"")
        if self.settings.verify:
            DecodeJob(ContainerReader(data, self.settings.limits), DecodeSettings()).run()
        return data

    def _cut(self, plane: NDArray[Any], number: int) -> NDArray[Any]:
        box = self.tiles.box(number)
        return plane[box.top : box.bottom, box.left : box.right]

    def _container(self, header: PhotoHeader, segments: list[Segment], model: bytes) -> bytes:
        image = self.image
        if self.base:
            check = check_of(np.frombuffer(self.base, np.uint8), None)
            segments = [Segment(self.base, check), *segments]
        media_header = ImageHeader.of(image)
        head = Header(
            Media.IMAGE,
            CODEC_ID,
            CODEC_VERSION,
            model,
            int(header.numerics),
            media_header.pack(),
            header.pack(),
        )
        chunks = chunks_of(image, strip=self.settings.strip)
        return Container(head, segments, chunks).to_bytes()
