"""Reading and writing image files of every kind people have."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import scene
from PIL import Image as Pillow

from laconic.formats import Limits
from laconic.formats.errors import (
    FormatError,
    LimitError,
    OutputError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.image import Image, read_image, write_image
from laconic.formats.image_writer import png16

RNG = np.random.default_rng(0)


def saved(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_16_bit_png_is_exact(channels: int, with_alpha: bool, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (13, 17, channels), dtype=np.uint16)
    alpha = RNG.integers(0, 65536, (13, 17), dtype=np.uint16) if with_alpha else None
    image = Image(pixels=pixels, alpha=alpha, bit_depth=16)

    write_image(image, tmp_path / "x.png")
    back = read_image(tmp_path / "x.png")

    assert back.bit_depth == 16
    assert np.array_equal(back.pixels, pixels)
    assert (alpha is None and back.alpha is None) or np.array_equal(back.alpha, alpha)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_every_filter_of_a_16_bit_png_is_exact(channels: int, with_alpha: bool) -> None:
    height, width = 150, 61
    down, across = np.mgrid[:height, :width].astype(np.float64)
    planes = [down * 30, across * 900, (down + across) * 250, down * across, down * 0 + 7]
    wild = RNG.integers(0, 65536, (height, width))
    parts = [plane[30 * n : 30 * n + 30] for n, plane in enumerate(planes)] + [wild[:7]]
    one = (np.concatenate(parts) + 100).astype(np.uint16)
    pixels = np.stack([one + 5 * k for k in range(channels)], axis=2)
    alpha = one[::-1].copy() if with_alpha else None

    data = png16(Image(pixels=pixels, alpha=alpha, bit_depth=16))
    back = read_image(data)

    assert np.array_equal(back.pixels, pixels)
    assert (alpha is None and back.alpha is None) or np.array_equal(back.alpha, alpha)


def test_a_16_bit_png_takes_the_filter_of_the_smallest_differences() -> None:
    walk = RNG.integers(-300, 300, (70, 90, 3)).cumsum(axis=1) + 30000
    pixels = walk.astype(np.uint16)
    across = png16(Image(pixels=pixels, bit_depth=16))
    down = png16(Image(pixels=pixels.swapaxes(0, 1).copy(), bit_depth=16))

    assert max(len(across), len(down)) < 0.85 * pixels.nbytes
    assert np.array_equal(read_image(down).pixels, pixels.swapaxes(0, 1))


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "bmp", "ppm"])
def test_8_bit_lossless_formats_are_exact(kind: str, tmp_path: Path) -> None:
    image = Image(pixels=scene(21, 34))

    write_image(image, tmp_path / f"x.{kind}")

    assert np.array_equal(read_image(tmp_path / f"x.{kind}").pixels, image.pixels)


def test_16_bit_ppm_is_read_exactly() -> None:
    pixels = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    data = b"P6\n7 5\n65535\n" + pixels.astype(">u2").tobytes()

    assert np.array_equal(read_image(data).pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_the_tag_reset(orientation: int) -> None:
    upright = scene(24, 40)
    undo = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    method = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT, 3: Pillow.Transpose.ROTATE_180,
        4: Pillow.Transpose.FLIP_TOP_BOTTOM, 5: Pillow.Transpose.TRANSPOSE,
        6: Pillow.Transpose.ROTATE_270, 7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_90,
    }  # fmt: skip
    stored = Pillow.fromarray(upright)
    if undo != 1:
        stored = stored.transpose(method[undo])
    exif = Pillow.Exif()
    exif[0x0112] = orientation

    image = read_image(saved(stored, "PNG", exif=exif))

    assert np.array_equal(image.pixels, upright)
    assert image.exif is not None
    again = Pillow.Exif()
    again.load(image.exif)
    assert again[0x0112] == 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_is_applied_to_16_bit_colour_too(orientation: int, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    pixels = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
    write_image(Image(pixels=pixels, bit_depth=16, exif=exif.tobytes()), tmp_path / "x.png")

    image = read_image(tmp_path / "x.png")

    turned = {3: pixels[::-1, ::-1], 6: np.rot90(pixels, -1), 8: np.rot90(pixels)}[orientation]
    assert np.array_equal(image.pixels, turned)


def test_palette_transparency_becomes_alpha() -> None:
    picture = Pillow.fromarray(scene(20, 20)).quantize(16)

    image = read_image(saved(picture, "PNG", transparency=3))

    assert image.pixels.shape == (20, 20, 3)
    assert image.alpha is not None
    assert set(np.unique(image.alpha)) == {0, 255}


@pytest.mark.parametrize(
    ("mode", "kind", "word"),
    [("CMYK", "JPEG", "CMYK"), ("F", "TIFF", "floating")],
)
def test_conversions_leave_a_notice(mode: str, kind: str, word: str) -> None:
    image = read_image(saved(Pillow.fromarray(scene(20, 30)).convert("L").convert(mode), kind))

    assert any(word in notice for notice in image.notices)


def test_animations_give_their_first_frame_with_a_notice() -> None:
    frames = [Pillow.fromarray(scene(20, 20, seed=n)) for n in range(3)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])

    image = read_image(data)

    assert np.array_equal(image.pixels, np.asarray(frames[0]))
    assert any("3 frames" in n for n in image.notices)


def test_colour_profile_and_xmp_are_kept(tmp_path: Path) -> None:
    data = saved(Pillow.fromarray(scene(20, 20)), "JPEG", icc_profile=b"profile", xmp=b"<x/>")
    image = read_image(data)
    assert (image.icc, image.xmp) == (b"profile", b"<x/>")

    write_image(image, tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").icc == b"profile"


def test_an_opaque_alpha_plane_is_dropped() -> None:
    opaque = Pillow.fromarray(scene(9, 9)).convert("RGBA")

    assert read_image(saved(opaque, "PNG")).alpha is None


PNG = saved(Pillow.fromarray(scene(64, 64)), "PNG")
JPEG = saved(Pillow.fromarray(scene(64, 64)), "JPEG")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedError),
        (b"just some text", UnsupportedError),
        (PNG[: len(PNG) // 2], FormatError),
        (JPEG[: len(JPEG) // 2], FormatError),
        (PNG[:20] + b"\xff" + PNG[21:], FormatError),
    ],
)
def test_files_that_are_no_pictures_or_damaged(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_image(data)


def test_huge_pictures_are_refused_before_their_samples_are_read() -> None:
    with pytest.raises(LimitError, match="64 x 64"):
        read_image(PNG, Limits(pixels=1000))


def test_alpha_is_laid_on_white_where_a_format_has_none(tmp_path: Path) -> None:
    image = Image(pixels=np.zeros((4, 4, 3), np.uint8), alpha=np.zeros((4, 4), np.uint8))

    notices = write_image(image, tmp_path / "x.jpg")

    assert any("alpha" in n for n in notices)
    assert read_image(tmp_path / "x.jpg").pixels.min() > 250


def test_existing_files_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    image = Image(pixels=scene(4, 4))
    (tmp_path / "x.png").write_bytes(b"old")

    with pytest.raises(OutputError, match="exists"):
        write_image(image, tmp_path / "x.png")
    with pytest.raises(ParameterError, match="xyz"):
        write_image(image, tmp_path / "x.xyz")
    assert (tmp_path / "x.png").read_bytes() == b"old"


def test_arrays_of_wrong_shape_or_type_are_refused() -> None:
    with pytest.raises(ParameterError):
        Image(pixels=np.zeros((4, 4), np.uint8))
    with pytest.raises(ParameterError):
        Image(pixels=np.zeros((4, 4, 3), np.uint16))


def test_pillow_opens_and_saves_lac_files(tmp_path: Path) -> None:
    import laconic.formats.pillow  # noqa: F401

    original = Pillow.fromarray(scene(96, 128))
    tags = Pillow.Exif()
    tags[271] = "Maker"
    original.save(tmp_path / "x.lac", quality=80, exif=tags.tobytes())
    opened = Pillow.open(tmp_path / "x.lac")

    assert (opened.size, opened.mode, opened.format) == ((128, 96), "RGB", "LACONIC")
    error = np.asarray(opened).astype(float) - np.asarray(original)
    assert np.sqrt((error**2).mean()) < 12
    assert opened.getexif()[271] == "Maker"

    (tmp_path / "old.lac").write_bytes(b"\x8fLAC\r\n damaged")
    with pytest.raises(OSError, match="newer Laconic"):
        Pillow.open(tmp_path / "old.lac").load()


def test_the_limit_on_pixels_is_the_callers_and_not_that_of_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = io.BytesIO()
    Pillow.fromarray(np.zeros((40, 50), np.uint8)).save(buffer, "PNG")
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 100)

    assert read_image(buffer.getvalue()).width == 50
    assert Pillow.MAX_IMAGE_PIXELS == 100
    with pytest.raises(LimitError):
        read_image(buffer.getvalue(), Limits(pixels=1999))
