"""Images to files and back: the circuit's streams, or an image file where that is smaller; decoding
whole, of a region, or of what is intact in a damaged file.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import DecodeSettings
from laconic.codec.image.header import Box, decode_alpha, encode_alpha, region_of
from laconic.codec.lossless.photo.base import check_of
from laconic.codec.lossless.photo.fallback import decode_file, encode_file, prepare, restore
from laconic.codec.lossless.photo.header import (
    CIRCUIT,
    CODEC_ID,
    CODEC_VERSION,
    FILE,
    PhotoHeader,
    PhotoOptions,
    Tiles,
)
from laconic.codec.lossless.photo.network import DEFAULT_MODEL, PREVIEW_MODEL, load_model
from laconic.codec.lossless.photo.wave import Workers
from laconic.formats.container import Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import read_varint, write_varint
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader, chunks_of, with_chunks

if TYPE_CHECKING:
    from laconic.codec.lossless.photo.base import Base


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
        from laconic.codec.lossless.photo.learn import find_adapter

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


class DecodeJob:
    """One file on its way to an image."""

    def __init__(self, reader: ContainerReader, settings: DecodeSettings) -> None:
        header = reader.header
        if header.codec_version != CODEC_VERSION:
            raise UnsupportedError(
                f"the file was made by version {header.codec_version} of the photo codec: this one"
                f" decodes version {CODEC_VERSION}; install a newer Laconic"
            )
        self.reader, self.settings = reader, settings
        self.image = ImageHeader.unpack(header.media_header, settings.limits)
        self.options = PhotoHeader.unpack(header.codec_header)
        wanted = self.options.numerics
        if header.numerics != wanted:
            raise UnsupportedError(
                f"the file asks for numerics profile {header.numerics}: the photo codec has profile"
                f" {int(wanted)} for such files"
            )
        if self.image.bit_depth == 8 and (self.options.bits, self.options.shift) != (8, 0):
            raise FormatError("the file's bit depths contradict each other: it is damaged")
        self.tiles = Tiles(self.image.width, self.image.height, self.options.tile)
        self.first = self.options.based + self.options.adapted
        count = self.first + (len(self.tiles) if self.options.kind == CIRCUIT else 1)
        if count != header.segment_count and not settings.partial:
            raise FormatError(
                f"the file has {header.segment_count} segments but its image needs {count}: it"
                " is damaged"
            )
        self.dtype: Any = np.uint8 if self.image.bit_depth == 8 else np.uint16

    @cached_property
    def base(self) -> Base | None:
        """The lossy image that the file begins with, if it does."""
        if not self.options.based:
            return None
        from laconic.codec.lossless.photo.base import Base

        return Base(self._extra(0, "preview"), self.image, self.settings.limits)

    def preview(self) -> Image:
        """The lossy image alone; raises ``ParameterError`` if there is none."""
        if self.base is None:
            raise ParameterError(
                "the file holds no preview: decode the image, or encode it again with --preview"
            )
        return with_chunks(self.base.decode(), self.reader.chunks)

    def run(self) -> Image:
        """Decode the region asked for."""
        whole = self.tiles.whole
        region = region_of(self.settings.region, whole)
        notices: list[str] = []
        if self.options.kind == FILE:
            pixels, alpha = self._file(region)
        else:
            pixels, alpha, notices = self._circuit(region)
        stored = self.image
        image = Image(pixels, alpha, stored.bit_depth, color=stored.color, notices=notices)
        return with_chunks(image, self.reader.chunks)

    def _file(self, region: Box) -> tuple[NDArray[Any], NDArray[Any] | None]:
        stored = self.image
        if self.first >= len(self.reader):
            raise FormatError("the image file inside is missing: the file is truncated")
        segment = self.reader[self.first]
        shape = (stored.height, stored.width, stored.channels)
        inside = stored.alpha and self.base is None
        pixels, alpha = decode_file(
            segment.payload, shape, stored.bit_depth, inside, self.settings.limits
        )
        if self.base is not None and stored.alpha:
            alpha = self.base.alpha(self.tiles.whole)
        self._compare(segment, pixels, alpha, "picture")
        at = region.within(self.tiles.whole)
        self._progress(1, 1)
        return pixels[at].copy(), None if alpha is None else alpha[at].copy()

    def _circuit(self, region: Box) -> tuple[NDArray[Any], NDArray[Any] | None, list[str]]:
        workers = self._workers()
        channels = 1 if self.options.same else self.image.channels
        numbers = self.tiles.touching(region)
        parts = {}
        notices = []
        for number in numbers:
            try:
                parts[number] = self._payload(number)
            except FormatError as error:
                if not self.settings.partial:
                    raise
                notices.append(f"tile {number} was left gray: {error}")
        shape = (region.height, region.width, self.image.channels)
        pixels = np.full(shape, np.iinfo(self.dtype).max // 2, self.dtype)
        alpha = None
        if self.image.alpha:
            alpha = np.full(shape[:2], np.iinfo(self.dtype).max, self.dtype)
        done = len(notices)
        some = [
            (stream, self._shape(number, channels), self._lossy(number, side))
            for number, (side, stream) in parts.items()
        ]
        decoded = workers.decode(some, self.options.bits)
        for (number, part), tile in zip(parts.items(), decoded, strict=True):
            try:
                self._place(number, tile, part, region, pixels, alpha)
            except FormatError as error:
                if not self.settings.partial:
                    raise
                notices.append(f"tile {number} was left gray: {error}")
            done += 1
            self._progress(done, len(numbers))
        if len(notices) == len(numbers):
            raise FormatError("no tile of the file is intact: there is nothing to decode")
        return pixels, alpha, notices

    def _workers(self) -> Workers:
        adapter = b""
        if self.options.adapted:
            adapter = self._extra(self.first - 1, "changes of the model")
        workers = Workers(self.reader.header.model.hex(), adapter)
        if workers.model.based != self.options.based:
            raise FormatError("the file's model does not fit its header: it is damaged")
        return workers

    def _extra(self, number: int, what: str) -> bytes:
        """A segment that is no tile."""
        if len(self.reader) <= number:
            raise FormatError(f"the {what} of the file is missing: it is truncated")
        segment = self.reader[number]
        if not segment.matches(check_of(np.frombuffer(segment.payload, np.uint8), None)):
            raise DesyncError(f"the {what} of the file is not what was written")
        return segment.payload

    def _lossy(self, number: int, corrections: bytes) -> NDArray[np.uint16] | None:
        """What the circuit sees of the lossy image in a tile."""
        if self.base is None:
            return None
        from laconic.codec.lossless.photo.base import as_numbers

        levels = self.base.corrected(self.tiles.box(number), corrections)
        return as_numbers(levels, self.options, self.image.bit_depth)

    def _shape(self, number: int, channels: int) -> tuple[int, int, int]:
        box = self.tiles.box(number)
        return box.height, box.width, channels

    def _payload(self, number: int) -> tuple[bytes, bytes]:
        """What a tile needs besides its stream (its alpha plane or the corrections of the lossy
        image), and the stream."""
        if number + self.first >= len(self.reader):
            raise FormatError(f"tile {number} is missing: the file is truncated")
        payload = self.reader[number + self.first].payload
        if not self.image.alpha and not self.options.based:
            return b"", payload
        length, offset = read_varint(payload, 0)
        if length > len(payload) - offset:
            raise FormatError(f"what precedes the stream of tile {number} is truncated")
        return payload[offset : offset + length], payload[offset + length :]

    def _place(
        self,
        number: int,
        tile: NDArray[np.uint16] | FormatError,
        part: tuple[bytes, bytes],
        region: Box,
        pixels: NDArray[Any],
        alpha: NDArray[Any] | None,
    ) -> None:
        """Check a decoded tile and copy what lies in the region."""
        if isinstance(tile, FormatError):
            raise tile
        box = self.tiles.box(number)
        samples = restore(tile, self.options, self.image.channels, self.dtype)
        plane = None
        if alpha is not None and self.base is not None:
            plane = self.base.alpha(box)
        elif alpha is not None:
            plane = decode_alpha(part[0], (box.height, box.width), self.dtype)
        self._compare(self.reader[number + self.first], samples, plane, f"tile {number}")
        shared = box.cut(region)
        pixels[shared.within(region)] = samples[shared.within(box)]
        if alpha is not None and plane is not None:
            alpha[shared.within(region)] = plane[shared.within(box)]

    @staticmethod
    def _compare(
        segment: Segment, pixels: NDArray[Any], alpha: NDArray[Any] | None, what: str
    ) -> None:
        if not segment.matches(check_of(pixels, alpha)):
            raise DesyncError(
                f"the {what} decodes to other samples than were encoded: the model or this"
                " machine's arithmetic differs from the encoder's"
            )

    def _progress(self, done: int, total: int) -> None:
        if self.settings.progress:
            self.settings.progress(done, total)
