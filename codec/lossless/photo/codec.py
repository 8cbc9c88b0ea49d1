"""The lossless codec: pictures <-> ``.lac`` files that decode to the same samples everywhere.

Segments are tiles in row-major order, each decodable alone: with alpha a varint length and the
tile's alpha plane (`laconic.codec.image.alpha`), then the stream of `rans`. The symbol check is
over the decoded samples. An adapted file begins with a segment of changes of the model (`adapter`);
a synthetic picture is one segment (`fallback`). Nothing here imports torch unless the encoder
adapts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.base import DecodeSettings, EncodeSettings, VerifyReport
from laconic.codec.image.alpha import decode_alpha, encode_alpha
from laconic.codec.image.tiles import Box
from laconic.codec.lossless.photo.depth import prepare, restore
from laconic.codec.lossless.photo.fallback import decode_file, encode_file
from laconic.codec.lossless.photo.header import (
    CIRCUIT,
    CODEC_ID,
    CODEC_VERSION,
    DEFAULT_TILE,
    FILE,
    TILE_UNIT,
    PhotoHeader,
    Tiles,
)
from laconic.codec.lossless.photo.network import DEFAULT_MODEL
from laconic.codec.lossless.photo.workers import Workers
from laconic.entropy import NumericsProfile, SymbolCheck
from laconic.formats.container import EXIF, ICC, XMP, Chunk, Container, Header, Media, Segment
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

BATCH_SAMPLES = 1 << 22  # of all tiles coded in step: bounds memory


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
            if value is not None:
                raise ParameterError(
                    f"{name} is {value}: the codec photo is lossless and has one size; leave it"
                    " out, or choose a lossy codec such as mlic"
                )
        tile = DEFAULT_TILE if settings.tile is None else settings.tile
        if tile % TILE_UNIT or not TILE_UNIT <= tile <= 255 * TILE_UNIT:
            raise ParameterError(
                f"the tile side is {tile}: expected a multiple of {TILE_UNIT} from {TILE_UNIT} to"
                f" {255 * TILE_UNIT} pixels"
            )
        settings.limits.check_pixels(image.width, image.height)
        return _EncodeJob(image, settings, tile).run()

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Image:
        """The picture or a region of it; see :func:`laconic.codec.decode`."""
        return _DecodeJob(reader, settings).run()

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode everything and compare the checks."""
        job = _DecodeJob(reader, settings)
        image = job.run()
        samples = image.pixels.size + (0 if image.alpha is None else image.alpha.size)
        return VerifyReport(len(reader), samples, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """How the samples are coded."""
        return PhotoHeader.unpack(codec_header).to_dict()


def _check(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> int:
    check = SymbolCheck()
    check.update(pixels)
    if alpha is not None:
        check.update(alpha)
    return check.value32()


def _batches(
    tiles: Tiles, numbers: Sequence[int], channels: int, processes: int
) -> list[list[int]]:
    """Tiles grouped by shape, in at least one batch for each process where there are enough."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for number in numbers:
        box = tiles.box(number)
        shapes.setdefault((box.height, box.width), []).append(number)
    result = []
    for (height, width), group in shapes.items():
        most = max(1, BATCH_SAMPLES // (height * width * channels))
        size = min(most, -(-len(group) // processes))
        result += [group[i : i + size] for i in range(0, len(group), size)]
    return sorted(result, key=lambda group: -len(group))


class _EncodeJob:
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
        groups = _batches(self.tiles, range(len(self.tiles)), channels, workers.processes)
        batches = [np.stack([self._cut(self.numbers, n) for n in group]) for group in groups]
        coded = workers.encode(batches, self.header.bits)
        if self.settings.verify:
            again = [
                (streams, batch.shape[1:]) for streams, batch in zip(coded, batches, strict=True)
            ]
            for batch, samples in zip(
                batches, workers.decode(again, self.header.bits), strict=True
            ):
                if not np.array_equal(batch, samples):
                    raise DesyncError(
                        "the picture does not decode to what was encoded: nothing was written;"
                        " report this with the picture and the version of NumPy"
                    )
        streams = dict(
            zip((n for g in groups for n in g), (s for c in coded for s in c), strict=True)
        )
        segments = (
            [Segment(adapter, _check(np.frombuffer(adapter, np.uint8), None))] if adapter else []
        )
        for number in range(len(self.tiles)):
            alpha, plane = b"", None
            if self.image.alpha is not None:
                plane = self._cut(self.image.alpha, number)
                alpha = encode_alpha(plane)
                alpha = write_varint(len(alpha)) + alpha
            check = _check(self._cut(self.image.pixels, number), plane)
            segments.append(Segment(alpha + streams[number], check))
        header = replace(self.header, adapted=bool(adapter))
        identity = bytes.fromhex(workers.model.id)
        return self._container(header, segments, identity, NumericsProfile.INTEGER_NETWORK)

    def _file(self, payload: bytes) -> bytes:
        header = replace(PhotoHeader(tile=self.header.tile), kind=FILE)
        segment = Segment(payload, _check(self.image.pixels, self.image.alpha))
        data = self._container(header, [segment], b"", NumericsProfile.INTEGER_TABLES)
        if self.settings.verify:
            PhotoCodec().verify(ContainerReader(data, self.settings.limits), DecodeSettings())
        return data

    def _cut(self, plane: NDArray[Any], number: int) -> NDArray[Any]:
        box = self.tiles.box(number)
        return plane[box.top : box.bottom, box.left : box.right]

    def _container(
        self, header: PhotoHeader, segments: list[Segment], model: bytes, numerics: NumericsProfile
    ) -> bytes:
        image = self.image
        picture = ImageHeader(
            image.width,
            image.height,
            image.channels,
            image.bit_depth,
            alpha=image.alpha is not None,
            color=image.color,
            icc=image.icc is not None,
        )
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


class _DecodeJob:
    """One file on its way to a picture."""

    def __init__(self, reader: ContainerReader, settings: DecodeSettings) -> None:
        header = reader.header
        if header.codec_version != CODEC_VERSION:
            raise UnsupportedError(
                f"the file was made by version {header.codec_version} of the photo codec: this one"
                f" decodes version {CODEC_VERSION}; install a newer Laconic"
            )
        self.reader, self.settings = reader, settings
        self.picture = ImageHeader.unpack(header.media_header, settings.limits)
        self.options = PhotoHeader.unpack(header.codec_header)
        wanted = (
            NumericsProfile.INTEGER_NETWORK
            if self.options.kind == CIRCUIT
            else NumericsProfile.INTEGER_TABLES
        )
        if header.numerics != wanted:
            raise UnsupportedError(
                f"the file asks for numerics profile {header.numerics}: the photo codec has profile"
                f" {int(wanted)} for such files"
            )
        if self.picture.bit_depth == 8 and (self.options.bits, self.options.shift) != (8, 0):
            raise FormatError("the file's bit depths contradict each other: it is damaged")
        self.tiles = Tiles(self.picture.width, self.picture.height, self.options.tile)
        self.first = int(self.options.adapted)
        count = self.first + len(self.tiles) if self.options.kind == CIRCUIT else 1
        if count != header.segment_count and not settings.partial:
            raise FormatError(
                f"the file has {header.segment_count} segments but its picture needs {count}: it"
                " is damaged"
            )
        self.dtype: Any = np.uint8 if self.picture.bit_depth == 8 else np.uint16

    def run(self) -> Image:
        """Decode the region asked for."""
        whole = self.tiles.picture
        region = self._region(whole)
        notices: list[str] = []
        if self.options.kind == FILE:
            pixels, alpha = self._file(region)
        else:
            pixels, alpha, notices = self._circuit(region)
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

    def _file(self, region: Box) -> tuple[NDArray[Any], NDArray[Any] | None]:
        picture = self.picture
        segment = self.reader[0]
        shape = (picture.height, picture.width, picture.channels)
        pixels, alpha = decode_file(
            segment.payload, shape, picture.bit_depth, picture.alpha, self.settings.limits
        )
        self._compare(segment, pixels, alpha, "picture")
        at = region.within(self.tiles.picture)
        self._progress(1, 1)
        return pixels[at].copy(), None if alpha is None else alpha[at].copy()

    def _circuit(self, region: Box) -> tuple[NDArray[Any], NDArray[Any] | None, list[str]]:
        workers = self._workers()
        channels = 1 if self.options.same else self.picture.channels
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
        shape = (region.height, region.width, self.picture.channels)
        pixels = np.full(shape, np.iinfo(self.dtype).max // 2, self.dtype)
        alpha = None
        if self.picture.alpha:
            alpha = np.full(shape[:2], np.iinfo(self.dtype).max, self.dtype)
        done = len(notices)
        for group in self._rounds(list(parts), channels, workers.processes):
            batches = [([parts[n][1] for n in g], self._shape(g[0], channels)) for g in group]
            decoded: Sequence[Sequence[NDArray[np.uint16] | None] | NDArray[np.uint16]]
            try:
                decoded = workers.decode(batches, self.options.bits)
            except FormatError:
                if not self.settings.partial:
                    raise
                decoded = [self._one_by_one(workers, *batch) for batch in batches]
            for group_, samples in zip(group, decoded, strict=True):
                for number, tile in zip(group_, samples, strict=True):
                    try:
                        self._place(number, tile, parts[number], region, pixels, alpha)
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
            if len(self.reader) == 0:
                raise FormatError("the changes of the model are missing: the file is truncated")
            segment = self.reader[0]
            adapter = segment.payload
            if not segment.matches(_check(np.frombuffer(adapter, np.uint8), None)):
                raise DesyncError("the changes of the model are not those that were written")
        return Workers(self.reader.header.model.hex(), adapter)

    def _rounds(self, numbers: list[int], channels: int, processes: int) -> list[list[list[int]]]:
        """Batches, as many at a time as there are processes."""
        batches = _batches(self.tiles, numbers, channels, processes)
        return [batches[i : i + processes] for i in range(0, len(batches), processes)]

    def _shape(self, number: int, channels: int) -> tuple[int, int, int]:
        box = self.tiles.box(number)
        return box.height, box.width, channels

    def _payload(self, number: int) -> tuple[bytes, bytes]:
        """Alpha bytes and stream of a tile."""
        if number + self.first >= len(self.reader):
            raise FormatError(f"tile {number} is missing: the file is truncated")
        payload = self.reader[number + self.first].payload
        if not self.picture.alpha:
            return b"", payload
        length, offset = read_varint(payload, 0)
        if length > len(payload) - offset:
            raise FormatError(f"the alpha plane of tile {number} is truncated")
        return payload[offset : offset + length], payload[offset + length :]

    def _one_by_one(
        self, workers: Workers, streams: Sequence[bytes], shape: tuple[int, int, int]
    ) -> list[NDArray[np.uint16] | None]:
        """Tiles of a batch of which some are damaged; None for these."""
        result: list[NDArray[np.uint16] | None] = []
        for stream in streams:
            try:
                result.append(workers.decode([([stream], shape)], self.options.bits)[0][0])
            except FormatError:
                result.append(None)
        return result

    def _place(
        self,
        number: int,
        tile: NDArray[np.uint16] | None,
        part: tuple[bytes, bytes],
        region: Box,
        pixels: NDArray[Any],
        alpha: NDArray[Any] | None,
    ) -> None:
        """Check a decoded tile and copy what lies in the region."""
        if tile is None:
            raise FormatError("its coded samples are damaged")
        box = self.tiles.box(number)
        samples = restore(tile, self.options, self.picture.channels, self.dtype)
        plane = None
        if alpha is not None:
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
        if not segment.matches(_check(pixels, alpha)):
            raise DesyncError(
                f"the {what} decodes to other samples than were encoded: the model or this"
                " machine's arithmetic differs from the encoder's"
            )

    def _progress(self, done: int, total: int) -> None:
        if self.settings.progress:
            self.settings.progress(done, total)
