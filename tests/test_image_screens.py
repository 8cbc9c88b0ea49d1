"""Screens, text, drawings and flat colour in lossy files: what is exact, what is shared with the
model, and what happens to damaged files."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import picture, textured
from PIL import Image as Pillow
from PIL import ImageDraw

from laconic import codec
from laconic.codec.evaluate import psnr
from laconic.codec.image.codecs import MlicCodec
from laconic.codec.image.header import ImageOptions
from laconic.codec.image.screen.tile import blocks_of, decode_tile, encode_tile, pixels_of
from laconic.formats import Container
from laconic.formats.errors import FormatError, LaconicError
from laconic.formats.image import Image


def text(height: int = 128, width: int = 192, ink: Any = (20, 20, 60)) -> NDArray[np.uint8]:
    """Lines of words on white."""
    page = Pillow.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for line, y in enumerate(range(4, height - 10, 14)):
        draw.text((4, y), f"line {line * 7919 % 97} of words and signs; (x + y)", ink)
    return np.asarray(page)


def checkers(side: int, size: int = 128) -> NDArray[np.uint8]:
    """Black and white squares."""
    y, x = np.mgrid[0:size, 0:size] // side
    return np.repeat((((x + y) & 1) * 255).astype(np.uint8)[..., None], 3, 2)


@pytest.fixture(scope="module")
def mixed() -> Image:
    """Text beside a photograph."""
    return Image(np.concatenate((text(128, 128), textured(128, 128).pixels), 1))


@pytest.mark.parametrize("quality", [0, 50, 100])
@pytest.mark.parametrize("colour", [(200, 30, 90), (255, 255, 255), (1, 2, 3)])
def test_flat_colour_keeps_its_colour(colour: Any, quality: float) -> None:
    flat = np.full((70, 90, 3), colour, np.uint8)

    data = codec.encode(flat, quality=quality)

    assert np.abs(codec.decode(data).pixels.astype(int) - flat).max() <= 1
    assert len(data) < 100


@pytest.mark.parametrize("side", [1, 8])
def test_checkerboards_are_exact_and_small(side: int) -> None:
    board = checkers(side)

    data = codec.encode(board, quality=50)

    assert np.array_equal(codec.decode(data).pixels, board)
    assert len(data) <= len(codec.encode(board, lossless=True))
    assert len(data) < 150


def test_white_stays_white_around_text() -> None:
    page = text()

    decoded = codec.decode(codec.encode(page, quality=10)).pixels

    blank = (page == 255).all(-1)
    assert (decoded[blank] == 255).mean() > 0.99


def test_text_is_sharp_at_a_fraction_of_a_lossless_file() -> None:
    page = text()

    data = codec.encode(page, quality=50)

    assert psnr(page, codec.decode(data).pixels) > 38
    assert len(data) < 0.8 * len(codec.encode(page, lossless=True))


def test_size_and_psnr_rise_with_quality_on_screens(mixed: Image) -> None:
    files = [codec.encode(mixed, quality=q) for q in (0, 35, 70, 100)]
    values = [psnr(mixed.pixels, codec.decode(f).pixels) for f in files]

    assert [len(f) for f in files] == sorted(len(f) for f in files)
    assert values == sorted(values)


def test_text_beside_a_photograph_is_sharp_and_the_photograph_costs_what_it_did(
    mixed: Image,
) -> None:
    plain = MlicCodec().encode_plain(mixed, ImageOptions(quality=50))

    data = codec.encode(mixed, quality=50)

    assert len(data) < len(plain)
    assert codec.probe(data).codec_version == 4
    decoded, before = codec.decode(data).pixels, codec.decode(plain).pixels
    left, right = slice(0, 120), slice(136, None)
    assert psnr(mixed.pixels[:, left], decoded[:, left]) > 38
    loss = psnr(mixed.pixels[:, right], before[:, right]) - psnr(
        mixed.pixels[:, right], decoded[:, right]
    )
    assert loss < 0.3


@pytest.mark.parametrize(
    "box", [(0, 0, 256, 128), (100, 30, 90, 70), (3, 5, 40, 30), (200, 9, 9, 9)]
)
def test_regions_equal_the_same_part_of_the_whole(mixed: Image, box: Any) -> None:
    data = codec.encode(mixed, quality=50, tile=64)
    x, y, width, height = box

    part = codec.decode(data, region=box).pixels.astype(int)

    whole = codec.decode(data).pixels[y : y + height, x : x + width]
    assert np.abs(part - whole).max() <= 1  # of the model's samples


def test_photographs_pay_one_byte_a_tile() -> None:
    image = textured(128, 128)
    plain = MlicCodec().encode_plain(image, ImageOptions(quality=50))

    data = codec.encode(image, quality=50)

    assert len(data) <= len(plain) + 2
    found, before = (psnr(image.pixels, codec.decode(d).pixels) for d in (data, plain))
    assert found > before - 0.3


def test_gray_pictures_stored_as_colour_stay_gray() -> None:
    gray = np.repeat(textured(96, 128).pixels[..., :1], 3, 2)

    decoded = codec.decode(codec.encode(gray, quality=30)).pixels

    assert (decoded == decoded[..., :1]).all()


def test_alpha_beside_exact_parts_is_exact() -> None:
    alpha = picture(128, 192, alpha=True).alpha
    image = Image(text(), alpha)

    decoded = codec.decode(codec.encode(image, quality=20, tile=64))

    assert np.array_equal(decoded.alpha, alpha)


def test_screens_of_16_bits_that_hold_8_are_as_sharp() -> None:
    page = text().astype(np.uint16) * 257

    decoded = codec.decode(codec.encode(page, quality=60))

    assert decoded.bit_depth == 16
    assert psnr(page, decoded.pixels, 16) > 38


def test_gray_screens_have_one_channel() -> None:
    page = text()[..., :1]

    decoded = codec.decode(codec.encode(page, quality=60)).pixels

    assert decoded.shape == page.shape
    assert psnr(page, decoded) > 38


@pytest.mark.parametrize("kind", ["text", "noise", "tiny", "16 bits", "stripes"])
def test_no_file_is_larger_than_the_lossless_one(kind: str) -> None:
    random = np.random.default_rng(1)
    pixels = {
        "text": text(),
        "noise": random.integers(0, 256, (64, 64, 3), np.uint8),
        "tiny": picture(5, 3).pixels,
        "16 bits": np.full((40, 50, 3), 12345, np.uint16),
        "stripes": np.repeat(random.integers(0, 256, (1, 96, 3), np.uint8), 80, 0),
    }[kind]
    lossless = codec.encode(pixels, lossless=True)

    data = codec.encode(pixels, quality=100)

    assert len(data) <= len(lossless)
    if len(data) == len(lossless):
        assert np.array_equal(codec.decode(data).pixels, pixels)


def test_a_target_size_holds_for_screens() -> None:
    data = codec.encode(text(), target_bytes=1500)

    assert len(data) <= 1500
    assert psnr(text(), codec.decode(data).pixels) > 25


def test_a_screen_needs_no_model() -> None:
    data = codec.encode(text(), quality=70)

    assert Container.from_bytes(data).header.model == b""
    assert codec.verify(data).symbols == text().shape[0] * text().shape[1]


def test_files_of_version_1_are_still_written_for_previews_and_decode() -> None:
    data = MlicCodec().encode_plain(picture(64, 64), ImageOptions(quality=50))

    assert codec.probe(data).codec_version == 1
    assert codec.decode(data).pixels.shape == (64, 64, 3)


def test_damage_behind_a_valid_checksum_is_found(mixed: Image) -> None:
    data = codec.encode(mixed, quality=40, tile=64)
    container = Container.from_bytes(data)
    random = np.random.default_rng(3)
    for _ in range(40):
        segments = list(container.segments)
        number = int(random.integers(len(segments)))
        payload = bytearray(segments[number].payload)
        if random.random() < 0.3:
            payload = payload[: int(random.integers(len(payload)))]
        else:
            payload[int(random.integers(len(payload)))] ^= 1 << int(random.integers(8))
        segments[number] = replace(segments[number], payload=bytes(payload))
        with pytest.raises(LaconicError):
            codec.decode(Container(container.header, segments, container.chunks).to_bytes())


def test_intact_tiles_of_a_damaged_screen_are_shown(mixed: Image) -> None:
    data = codec.encode(mixed, quality=40, tile=64)
    whole = codec.decode(data).pixels
    container = Container.from_bytes(data)
    segments = list(container.segments)
    segments[0] = replace(segments[0], payload=segments[0].payload[:-2])
    broken = Container(container.header, segments, container.chunks).to_bytes()

    shown = codec.decode(broken, partial=True)

    assert any("tile 0" in notice for notice in shown.notices)
    assert np.array_equal(shown.pixels[70:, :100], whole[70:, :100])
    assert (shown.pixels[:64, :64] == 127).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 1), (17, 23)])
@pytest.mark.parametrize("gray", [False, True])
def test_tiles_of_any_size_and_mask_come_back(shape: tuple[int, int], gray: bool) -> None:
    random = np.random.default_rng(shape[0])
    colours = random.choice(random.integers(0, 1 << 24, 30), shape).astype(np.int32)
    if gray:
        colours = (colours & 255) * 0x010101
    for share in (0.0, 0.5, 1.0):
        mask = (random.random(blocks_of(shape)) < share).astype(np.uint8)

        layer = decode_tile(encode_tile(colours, mask, gray).stream, shape, gray)

        assert np.array_equal(layer.mask, mask)
        where = pixels_of(mask, shape)
        assert np.array_equal(layer.colours[where], colours[where])


def test_streams_with_bytes_too_many_are_refused() -> None:
    colours = np.zeros((16, 16), np.int32)
    stream = encode_tile(colours, np.ones((2, 2), np.uint8), False).stream

    with pytest.raises(FormatError):
        decode_tile(stream + bytes([1]) * 9, colours.shape, False)


_SCRIPT = """
import numpy as np
from laconic.codec.image.screen.tile import encode_tile
random = np.random.default_rng(4)
colours = random.choice(random.integers(0, 1 << 24, 9), (20, 28)).astype(np.int32)
colours[5:, 4:] = 0xA0B0C0
print(encode_tile(colours, np.ones((3, 4), np.uint8), False).stream.hex())
"""


def test_streams_are_the_same_compiled_or_not() -> None:
    streams = [
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, "LACONIC_NO_JIT": setting},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for setting in ("0", "1")
    ]

    assert streams[0] == streams[1]
    assert len(streams[0]) > 100
