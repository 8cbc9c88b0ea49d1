"""Codecs of other packages: found through entry points, and harmless when broken."""

import dataclasses
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
from pictures import picture

from laconic import codec
from laconic.codec import registry
from laconic.codec.base import Codec, VerifyReport
from laconic.formats import Container, ContainerReader, Header, Media, Segment
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader


class RawCodec(Codec):
    """Stores samples as they are."""

    name = "raw"
    codec_id = 13
    media = Media.IMAGE

    def encode(self, image: Image, settings: object) -> bytes:
        media = ImageHeader(image.width, image.height).pack()
        header = Header(Media.IMAGE, 13, 1, b"", 1, media, b"")
        return Container(header, [Segment(image.pixels.tobytes(), 0)]).to_bytes()

    def decode(self, reader: ContainerReader, settings: object) -> Image:
        import numpy as np

        header = ImageHeader.unpack(reader.header.media_header)
        samples = np.frombuffer(reader[0].payload, np.uint8)
        return Image(pixels=samples.reshape(header.height, header.width, 3))

    def verify(self, reader: ContainerReader, settings: object) -> VerifyReport:
        return VerifyReport(1, len(reader[0].payload), 1)

    def describe(self, codec_header: bytes) -> dict[str, object]:
        return {"kind": "raw"}


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entries = {
        "raw": EntryPoint("raw", f"{RawCodec.__module__}:RawCodec", registry.GROUP),
        "broken": EntryPoint("broken", "no_such_package:Codec", registry.GROUP),
    }
    registry.get.cache_clear()
    monkeypatch.setattr(registry, "_plugins", lambda: entries)
    yield
    registry.get.cache_clear()


@pytest.mark.usefixtures("plugins")
def test_a_registered_codec_encodes_and_decodes() -> None:
    original = picture(20, 30)

    data = codec.encode(original, codec="raw")

    assert (codec.decode(data).pixels == original.pixels).all()
    assert codec.probe(data).to_dict()["settings"] == {"kind": "raw"}


@pytest.mark.usefixtures("plugins")
def test_a_broken_codec_is_named_and_disturbs_nobody() -> None:
    with pytest.raises(UnsupportedError, match="no_such_package"):
        codec.encode(picture(8, 8), codec="broken")

    assert "broken" in registry.names()
    assert codec.decode(codec.encode(picture(64, 64))).pixels.shape == (64, 64, 3)


@pytest.mark.usefixtures("plugins")
def test_unknown_codecs_are_refused_with_those_at_hand() -> None:
    with pytest.raises(ParameterError, match="mlic"):
        registry.get("nothing")
    with pytest.raises(UnsupportedError, match="number 14"):
        registry.name_of(14)


def test_a_file_that_holds_another_medium_than_its_codec_codes_is_damaged() -> None:
    container = Container.from_bytes(codec.encode(picture(20, 30), lossless=True))
    for media in (Media.AUDIO, Media.VIDEO, Media.DATA):
        header = dataclasses.replace(container.header, media=media)
        data = Container(header, container.segments).to_bytes()
        for read in (codec.decode, codec.verify, codec.probe):
            with pytest.raises(FormatError):
                read(data)


@pytest.mark.usefixtures("plugins")
def test_an_installed_codec_changes_no_default() -> None:
    names = {kind: registry.default(kind).name for kind in Media}
    assert names == {
        Media.IMAGE: "mlic",
        Media.AUDIO: "semanticodec",
        Media.VIDEO: "motion",
        Media.DATA: "records",
    }
    assert registry.default(Media.IMAGE, lossless=True).name == "photo"
    with pytest.raises(ParameterError, match="no codec here codes recordings losslessly"):
        registry.default(Media.AUDIO, lossless=True)
