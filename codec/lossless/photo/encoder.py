"""Pictures to files: the circuit's streams, or a picture file where that is smaller."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.image.alpha import encode_alpha
from laconic.codec.lossless.photo.decoder import DecodeJob
from laconic.codec.lossless.photo.depth import prepare
from laconic.codec.lossless.photo.fallback import encode_file
from laconic.codec.lossless.photo.header import (
    CODEC_ID,
    CODEC_VERSION,
    FILE,
    PhotoHeader,
    Tiles,
)
from laconic.codec.lossless.photo.network import DEFAULT_MODEL
from laconic.codec.lossless.photo.parts import batches_of, check_of, rounds_of
from laconic.codec.lossless.photo.workers import Workers
from laconic.entropy import NumericsProfile
from laconic.formats.container import EXIF, ICC, XMP, Chunk, Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DesyncError
from laconic.formats.image import Image
from laconic.formats.image_header import ImageHeader
from laconic.formats.varint import write_varint


class EncodeJob:
    """One picture on its way to a file."""

    def __init__(self, image: Image, settings: EncodeSettings, tile: int) -> None:
        self.image, self.settings = image, settings
        self.tiles = Tiles(image.width, image.height, tile)
        self.numbers, self.header = prepare(image.pixels, PhotoHeader(tile=tile))
        self.model = settings.model or DEFAULT_MODEL

    def run(self) -> bytes:
        """The smallest file that the effort allows."""
        adapter = self._adapter()
        data = self._circuit(adapter)
        if adapter:
            plain = self._circuit(b"")
            data = min(data, plain, key=len)
        payload = encode_file(self.image, len(data))
        return self._file(payload) if payload is not None else data

    def _adapter(self) -> bytes:
        if not self.settings.effort:
            return b""
        from laconic.codec.lossless.photo.finetune import find_adapter

        return find_adapter(
            self.numbers, self.header.bits, self.model, self.settings.effort, self.settings.progress
        )

    def _circuit(self, adapter: bytes) -> bytes:
        workers = Workers(self.model, adapter)
        channels = self.numbers.shape[2]
        groups = batches_of(self.tiles, range(len(self.tiles)), channels, workers.processes)
        streams: dict[int, bytes] = {}
        for some in rounds_of(groups, workers.processes):
            for group, coded in zip(some, self._round(workers, some), strict=True):
                streams |= zip(group, coded, strict=True)
            if self.settings.progress:
                self.settings.progress(len(streams), len(self.tiles))
        segments = []
        if adapter:
            segments.append(Segment(adapter, check_of(np.frombuffer(adapter, np.uint8), None)))
        for number in range(len(self.tiles)):
            alpha, plane = b"", None
            if self.image.alpha is not None:
                plane = self._cut(self.image.alpha, number)
                alpha = encode_alpha(plane)
                alpha = write_varint(len(alpha)) + alpha
            check = check_of(self._cut(self.image.pixels, number), plane)
            segments.append(Segment(alpha + streams[number], check))
        header = replace(self.header, adapted=bool(adapter))
        identity = bytes.fromhex(workers.model.id)
        return self._container(header, segments, identity, NumericsProfile.INTEGER_NETWORK)

    def _round(self, workers: Workers, groups: list[list[int]]) -> list[list[bytes]]:
        """Streams of the tiles of some batches, decoded again for comparison if so set."""
        batches = [np.stack([self._cut(self.numbers, n) for n in group]) for group in groups]
        coded = workers.encode(batches, self.header.bits)
        if self.settings.verify:
            shape = [batch.shape for batch in batches]
            again = [(c, (s[1], s[2], s[3])) for c, s in zip(coded, shape, strict=True)]
            decoded = workers.decode(again, self.header.bits)
            if not all(map(np.array_equal, batches, decoded)):
                raise DesyncError(
                    "the picture does not decode to what was encoded: nothing was written; report"
                    " this with the picture and the version of NumPy"
                )
        return coded

    def _file(self, payload: bytes) -> bytes:
        header = replace(PhotoHeader(tile=self.header.tile), kind=FILE)
        segment = Segment(payload, check_of(self.image.pixels, self.image.alpha))
        data = self._container(header, [segment], b"", NumericsProfile.INTEGER_TABLES)
        if self.settings.verify:
            DecodeJob(ContainerReader(data, self.settings.limits), DecodeSettings()).run()
        return data

    def _cut(self, plane: NDArray[Any], number: int) -> NDArray[Any]:
        box = self.tiles.box(number)
        return plane[box.top : box.bottom, box.left : box.right]

    def _container(
        self, header: PhotoHeader, segments: list[Segment], model: bytes, numerics: NumericsProfile
    ) -> bytes:
        image = self.image
        picture = ImageHeader.of(image)
        blobs = [(ICC, image.icc)]
        if not self.settings.strip:
            blobs += [(EXIF, image.exif), (XMP, image.xmp)]
        head = Header(
            Media.IMAGE,
            CODEC_ID,
            CODEC_VERSION,
            model,
            int(numerics),
            picture.pack(),
            header.pack(),
        )
        chunks = [Chunk(kind, data) for kind, data in blobs if data]
        return Container(head, segments, chunks).to_bytes()
