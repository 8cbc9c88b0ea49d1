"""The container: round trips, overhead, random access, agreement with the specification."""

import dataclasses
import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from independent_reader import Bad
from independent_reader import read as independent_read

from laconic.formats import (
    Chunk,
    Container,
    ContainerReader,
    ContainerWriter,
    Header,
    Limits,
    Media,
    Segment,
)
from laconic.formats.errors import FormatError, LimitError, ParameterError, UnsupportedError
from laconic.formats.image_reader import ImageHeader


def header(count: int | None = None, **changes: object) -> Header:
    base = Header(
        Media.IMAGE,
        codec=1,
        codec_version=1,
        model=bytes(range(6)),
        numerics=3,
        media_header=ImageHeader(768, 512).pack(),
        codec_header=b"\x01\xf4\x10",
        segment_count=count,
    )
    return dataclasses.replace(base, **changes)


def segments(count: int, size: int = 40) -> list[Segment]:
    return [Segment(bytes([n % 251] * (size + n % 7)), 0x1000 + n) for n in range(count)]


def streamed(parts: list[Segment], chunks: tuple[Chunk, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    writer = ContainerWriter(buffer, header(), [c for c in chunks if c.critical])
    for part in parts:
        writer.add(part)
    writer.finish([c for c in chunks if not c.critical])
    return buffer.getvalue()


class Counting(io.BytesIO):
    """Counts the bytes read from it."""

    total = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


class Trickle(io.RawIOBase):
    """A pipe that gives one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part = self.data[self.at : self.at + 1]
        self.at += len(part)
        return part


chunk_lists = st.lists(
    st.builds(Chunk, st.sampled_from([b"ICCp", b"eXIf", b"xMPd", b"abCd"]), st.binary(max_size=60)),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(
    payloads=st.lists(st.binary(max_size=80), max_size=40),
    chunks=chunk_lists,
    media=st.binary(max_size=40),
    private=st.binary(max_size=40),
    model=st.sampled_from([b"", b"123456"]),
)
def test_what_is_written_is_read_back_and_the_specification_agrees(
    payloads: list[bytes], chunks: list[Chunk], media: bytes, private: bytes, model: bytes
) -> None:
    head = header(media_header=media, codec_header=private, model=model)
    parts = [Segment(p, 7 * n) for n, p in enumerate(payloads)]
    data = Container(head, parts, chunks).to_bytes()

    back = Container.from_bytes(data)
    piped = Container.read(io.BytesIO(data))
    fields, spec_segments, spec_chunks = independent_read(data)

    assert list(back.segments) == parts
    assert sorted((c.type, c.data) for c in back.chunks) == sorted((c.type, c.data) for c in chunks)
    assert (back.header.media_header, back.header.codec_header) == (media, private)
    assert (piped.header, list(piped.segments), list(piped.chunks)) == (
        back.header,
        list(back.segments),
        list(back.chunks),
    )
    assert spec_segments == [(s.check, s.payload) for s in parts]
    assert sorted(spec_chunks) == sorted((c.type, c.data) for c in chunks)
    assert (fields["codec"], fields["model"], fields["numerics"]) == (1, model, 3)


@pytest.mark.parametrize("size", [10, 65536, 65537, 200_000])
def test_a_single_segment_costs_at_most_32_bytes(size: int) -> None:
    data = Container(header(), [Segment(bytes(size), 0)]).to_bytes()

    assert len(data) - size <= 32


@pytest.mark.parametrize("size", [1000, 65536, 200_000])
def test_a_further_segment_costs_at_most_12_bytes(size: int) -> None:
    few = len(Container(header(), [Segment(bytes(size), 0)] * 2).to_bytes())
    many = len(Container(header(), [Segment(bytes(size), 0)] * 66).to_bytes())

    assert (many - few) / 64 - size <= 12


def test_random_access_reads_only_the_header_the_end_and_the_segment() -> None:
    parts = segments(200, size=5000)
    data = Container(header(), parts).to_bytes()
    file = Counting(data)
    reader = ContainerReader(file)

    assert reader[137] == parts[137]
    assert file.total < 6000
    assert reader[3] == parts[3]
    assert list(reader) == parts


def test_streamed_files_announce_their_length_at_the_end() -> None:
    parts = segments(37)
    data = streamed(parts, (Chunk(b"ICCp", b"profile"), Chunk(b"eXIf", b"meta")))

    for container in (Container.from_bytes(data), Container.read(io.BytesIO(data))):
        assert list(container.segments) == parts
        assert container.header.segment_count == 37
    assert independent_read(data)[1] == [(s.check, s.payload) for s in parts]


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_reading_byte_by_byte_gives_the_same_result(count: int) -> None:
    data = Container(header(), segments(count), [Chunk(b"eXIf", b"x" * 30)]).to_bytes()

    piped = Container.read(Trickle(data))  # type: ignore[arg-type]

    assert list(piped.segments) == list(Container.from_bytes(data).segments)


@pytest.mark.parametrize("count", [1, 3])
def test_every_prefix_of_a_file_is_refused(count: int) -> None:
    data = Container(header(), segments(count), [Chunk(b"eXIf", b"meta")]).to_bytes()

    for length in range(len(data)):
        with pytest.raises(FormatError):
            list(ContainerReader(data[:length]))
        with pytest.raises(FormatError):
            Container.read(io.BytesIO(data[:length]))


def test_a_truncated_file_gives_its_intact_segments_on_request() -> None:
    parts = segments(20, size=300)
    for data in (Container(header(), parts).to_bytes(), streamed(parts)):
        cut = data[: len(data) // 2]
        reader = ContainerReader(cut, partial=True)

        assert [reader[n] for n in range(9)] == parts[:9]
        with pytest.raises(FormatError):
            reader[15] if len(reader) > 15 else ContainerReader(cut)


def test_header_bombs_are_refused_before_anything_is_allocated() -> None:
    huge = Container(header(media_header=b"x" * 20_000), segments(1)).to_bytes()
    with pytest.raises(LimitError, match="header"):
        ContainerReader(huge)

    counted = bytearray(Container(header(), segments(2)).to_bytes())
    at = counted.index(b"\x01\xf4\x10") + 3
    counted[at : at + 1] = b"\xff\xff\xff\x7f"
    with pytest.raises(LimitError, match="segments"):
        ContainerReader(bytes(counted))

    chunk = Container(header(), segments(1), [Chunk(b"eXIf", b"m")]).to_bytes()
    bomb = chunk.replace(b"eXIf\x01m", b"eXIf\xff\xff\xff\x7fm")
    with pytest.raises(LimitError, match="chunk"):
        ContainerReader(bomb)

    pixels = ImageHeader(2**24, 2**24).pack()
    with pytest.raises(LimitError, match="pixels"):
        ImageHeader.unpack(pixels)
    with pytest.raises(LimitError):
        ImageHeader.unpack(ImageHeader(2000, 2000).pack(), Limits(pixels=10**6))


def test_newer_files_are_refused_by_name() -> None:
    data = bytearray(Container(header(), segments(1)).to_bytes())
    data[6] = 0x21
    with pytest.raises(UnsupportedError, match="version 2"):
        ContainerReader(bytes(data))

    unknown = Container(header(), segments(1), [Chunk(b"NEWs", b"")]).to_bytes()
    with pytest.raises(UnsupportedError, match="NEWs"):
        ContainerReader(unknown)


def test_unknown_ancillary_chunks_are_kept() -> None:
    data = Container(header(), segments(3), [Chunk(b"neWs", b"hello")]).to_bytes()

    assert ContainerReader(data).chunks == [Chunk(b"neWs", b"hello")]


@pytest.mark.parametrize(
    "picture",
    [
        ImageHeader(1, 1),
        ImageHeader(2**24, 9, channels=1, bit_depth=16, alpha=True, icc=True),
        ImageHeader(640, 480, color=(9, 16, 0)),
    ],
)
def test_picture_headers_round_trip(picture: ImageHeader) -> None:
    assert ImageHeader.unpack(picture.pack(), Limits(pixels=2**60)) == picture


@pytest.mark.parametrize("codec", [1, 15, 16, 1024, 2**32 - 1])
@pytest.mark.parametrize("version", [0, 15, 16, 2**32 - 1])
def test_codec_numbers_and_versions_of_any_size_round_trip(codec: int, version: int) -> None:
    segments = [Segment(b"ab", 1), Segment(b"c", 2)]
    data = Container(header(codec=codec, codec_version=version), segments).to_bytes()

    back = Container.from_bytes(data).header
    fields, _, _ = independent_read(data)

    assert (back.codec, back.codec_version) == (codec, version)
    assert (fields["codec"], fields["codec_version"]) == (codec, version)
    assert Container.read(io.BytesIO(data)).header.codec == codec
    small = codec <= 15 and version <= 15
    assert data[8] == (codec << 4 | version if small else 0)


def test_a_codec_number_in_two_spellings_is_refused() -> None:
    data = Container(header(codec=3, codec_version=1), [Segment(b"a", 1)]).to_bytes()
    longer = data[:8] + b"\0\x03\x01" + data[9:]

    with pytest.raises(FormatError, match="shortest"):
        ContainerReader(longer)
    with pytest.raises(Bad):
        independent_read(longer)


def test_impossible_values_are_refused_by_the_writer() -> None:
    with pytest.raises(ParameterError):
        header(codec=0)
    with pytest.raises(ParameterError):
        header(codec=2**32)
    with pytest.raises(ParameterError):
        Chunk(b"12", b"")
    with pytest.raises(ParameterError):
        ImageHeader(0, 5).pack()


def test_the_example_in_the_specification_is_a_valid_file() -> None:
    import laconic.formats.container as module

    text = (Path(module.__file__).parent / "SPEC.md").read_text()
    block = re.search(r"```\n(8F 4C .*)\n", text)
    assert block
    data = bytes.fromhex(block[1])

    container = Container.from_bytes(data)

    assert container.segments[0] == Segment(b"\xaa\xbb", 0x1234)
    assert ImageHeader.unpack(container.header.media_header) == ImageHeader(3, 2)
    assert container.to_bytes() == data
