"""What image files say beside their samples survives, or what is lost is said."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, ImageCms, PngImagePlugin
from PIL import Image as Pillow

import laconic.formats.pillow
from laconic import codec
from laconic.formats.image import Image, read_image
from laconic.formats.image_metadata import STRUCTURAL, descriptive
from laconic.formats.image_writer import FORMATS, to_bytes

assert laconic.formats.pillow
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IPTC = b"\x1c\x02\x78\x00\x05Hello"
XMP = b"<?xpacket begin='' ?><x:xmpmeta xmlns:x='adobe:ns:meta/'/><?xpacket end='w'?>"
KINDS = sorted(set(FORMATS.values()))


def saved(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph() -> Pillow.Image:
    return Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))


def exif() -> Pillow.Exif:
    tags = Pillow.Exif()
    tags[ExifTags.Base.Make] = "Maker"
    tags[ExifTags.Base.Orientation] = 6
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"a note of the maker\0\1\2"
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return tags


def through(data: bytes, **options: Any) -> Image:
    return codec.decode(codec.encode(data, codec="photo", **options))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_a_rotated_tiff_can_be_decoded_to_every_format(kind: str, compression: str) -> None:
    groups = compression == "raw"  # libtiff writes no groups of EXIF tags, such as maker notes
    source = saved(
        photograph(),
        "TIFF",
        exif=exif().tobytes() if groups else exif(),
        icc_profile=PROFILE,
        compression=compression,
        dpi=(72, 72),
    )
    decoded = through(source)
    assert (decoded.width, decoded.height) == (20, 30)

    data, notices = to_bytes(decoded, kind)
    again = Pillow.open(io.BytesIO(data))
    again.load()

    assert again.size == (20, 30)
    if kind in ("PPM", "BMP"):
        assert any("EXIF" in n for n in notices)
    else:
        assert again.getexif()[ExifTags.Base.Make] == "Maker"
        assert again.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert again.info["icc_profile"] == PROFILE
        assert (b"a note of the maker" in data) == groups


def test_stored_exif_holds_descriptive_tags_only() -> None:
    source = saved(photograph(), "TIFF", exif=exif().tobytes(), icc_profile=PROFILE)
    stored = Pillow.Exif()
    found = read_image(source).exif
    assert found
    stored.load(found)
    assert not set(stored) & STRUCTURAL
    assert found.count(PROFILE[:64]) == 0


def test_exif_of_older_files_with_structural_tags_is_written_to_tiff() -> None:
    old = Pillow.open(io.BytesIO(saved(photograph(), "TIFF", icc_profile=PROFILE))).getexif()
    old[ExifTags.Base.Make] = "Maker"
    image = Image(np.zeros((5, 7, 3), np.uint8), exif=old.tobytes(), icc=PROFILE)
    data, _ = to_bytes(image, "TIFF")
    assert Pillow.open(io.BytesIO(data)).getexif()[ExifTags.Base.Make] == "Maker"
    assert Pillow.open(io.BytesIO(data)).size == (7, 5)
    assert descriptive(b"junk") is None


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_iptc_comments_density_texts_and_xmp_survive_or_their_loss_is_said(kind: str) -> None:
    from laconic.formats.image_metadata import Metadata, save_options

    about = Metadata(
        PROFILE, exif().tobytes(), XMP, IPTC, {"Comment": "hä?"}, density=(300.0, 150.0)
    )
    options, lost = save_options(about, kind)
    found = through(saved(photograph(), kind, **options))

    assert found.icc == PROFILE
    assert found.xmp == XMP
    assert found.iptc == (None if "IPTC" in lost else IPTC)
    assert ("IPTC" in lost) == (kind in ("PNG", "WEBP"))
    assert found.texts.get("Comment") == (None if "texts" in lost else "hä?")
    if "dots per inch" in lost:
        assert kind == "WEBP"
    else:
        assert found.density == pytest.approx((300, 150), abs=0.1)
    stripped = through(saved(photograph(), kind, **options), strip=True)
    assert not any((stripped.exif, stripped.xmp, stripped.iptc, stripped.texts, stripped.density))
    assert stripped.icc == PROFILE


@pytest.mark.parametrize("deep", [False, True])
def test_texts_of_png_survive_in_both_depths(deep: bool) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "Größe")
    texts.add_itxt("Author", "作者")
    source = saved(photograph(), "PNG", pnginfo=texts, dpi=(300, 300))
    image = read_image(source)
    if deep:
        image = Image(
            image.pixels.astype(np.uint16) * 257, bit_depth=16, texts=image.texts,
            density=image.density, xmp=XMP,
        )  # fmt: skip
    data, notices = to_bytes(codec.decode(codec.encode(image, codec="photo")), "PNG")
    found = read_image(data)
    assert not notices
    assert found.texts == {"Title": "Größe", "Author": "作者"}
    assert found.density == pytest.approx((300, 300), abs=0.1)
    assert found.xmp == (XMP if deep else None)


def by_plugin(picture: Pillow.Image, **options: Any) -> bytes:
    return saved(picture, "LACONIC", lossless=True, **options)


def by_call(picture: Pillow.Image) -> bytes:
    return codec.encode(picture, lossless=True)


@pytest.mark.parametrize("encode", [by_plugin, by_call])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_pictures_of_pillow_are_turned_once_and_keep_what_their_files_say(
    encode: Callable[[Pillow.Image], bytes], kind: str
) -> None:
    from laconic.formats.image_metadata import Metadata, save_options

    about = Metadata(PROFILE, exif().tobytes(), XMP, IPTC, {"Comment": "hä?"}, density=(300, 150))
    source = saved(photograph(), kind, **save_options(about, kind)[0])
    direct = codec.decode(codec.encode(source, lossless=True))

    picture = Pillow.open(io.BytesIO(source))
    data = encode(picture)
    found = codec.decode(data)

    assert (found.width, found.height) == (20, 30)
    assert (found.pixels == direct.pixels).all()
    for name in ("icc", "xmp", "iptc", "texts", "density"):
        assert getattr(found, name) == getattr(direct, name), name
    tags = Pillow.Exif()
    tags.load(found.exif or b"")
    assert tags[ExifTags.Base.Make] == "Maker"
    assert tags.get(ExifTags.Base.Orientation, 1) == 1
    assert (b"a note of the maker" in (found.exif or b"")) == (
        b"a note of the maker" in (direct.exif or b"")
    )
    again = Pillow.open(io.BytesIO(data))
    assert by_call(again) == data
    assert again.size == (20, 30)
    assert again.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_what_is_said_to_the_plugin_takes_the_place_of_what_the_picture_says() -> None:
    picture = photograph()
    picture.info.update(dpi=(72, 72), comment=b"old")
    data = by_plugin(
        picture, dpi=(300, 300), comment="new", xmp=XMP, exif=exif(), icc_profile=PROFILE
    )
    found = codec.decode(data)
    assert (found.density, found.texts) == ((300, 300), {"Comment": "new"})
    assert (found.xmp, found.icc) == (XMP, PROFILE)
    assert (found.width, found.height) == (20, 30)  # as its EXIF says
    assert b"a note of the maker" in (found.exif or b"")
    for junk in (b"junk", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        assert codec.decode(by_plugin(photograph(), exif=junk)).exif is None
