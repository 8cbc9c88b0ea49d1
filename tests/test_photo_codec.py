"""Lossless images: every kind comes back as it was, damage is an error, files are small."""

import contextlib
import dataclasses
import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import picture, scene, textured
from PIL import Image as Pillow

from laconic import codec
from laconic.codec.lossless.photo.fallback import prepare, restore
from laconic.codec.lossless.photo.header import PhotoHeader, Tiles
from laconic.codec.lossless.photo.wave import Workers
from laconic.formats import Container, ContainerReader
from laconic.formats.errors import FormatError, LaconicError, ParameterError
from laconic.formats.image import Image, read_image

GOLDEN = Path(__file__).parent / "golden" / "photo-1"
KINDS = ("noise", "constant", "gradient", "extremes", "lattice", "walk", "dark", "sparse")


def array(kind: str, shape: tuple[int, int, int], bits: int, seed: int) -> np.ndarray:
    """An adversarial image."""
    random = np.random.default_rng(seed)
    top = (1 << bits) - 1
    dtype = np.uint8 if bits == 8 else np.uint16
    height, width, channels = shape
    y, x, c = np.ogrid[:height, :width, :channels]
    if kind == "noise":
        values = random.integers(0, top + 1, shape)
    elif kind == "constant":
        values = np.full(shape, random.integers(0, top + 1))
    elif kind == "gradient":
        values = (x * random.integers(1, 900) + y * random.integers(1, 90) + c * 7) % (top + 1)
    elif kind == "extremes":
        values = random.integers(0, 2, shape) * top
    elif kind == "lattice":
        values = random.integers(0, top // 7 + 1, shape) * 7
    elif kind == "walk":
        values = np.abs(np.cumsum(random.integers(-3, 4, shape), axis=1)) + top // 2
        values = np.clip(values, 0, top)
    elif kind == "dark":
        values = np.where(random.random(shape) < 0.02, top, random.integers(0, 3, shape))
    else:
        values = np.where(random.random(shape) < 0.01, random.integers(0, top + 1, shape), 0)
    return np.ascontiguousarray(np.broadcast_to(values, shape).astype(dtype))


def roundtrip(image: Image, **options: Any) -> bytes:
    """Encode and decode; the samples must be equal to the last bit."""
    data = codec.encode(image, lossless=True, verify=False, **options)
    decoded = codec.decode(data)
    assert decoded.pixels.dtype == image.pixels.dtype
    assert np.array_equal(decoded.pixels, image.pixels)
    assert (decoded.alpha is None) == (image.alpha is None)
    assert image.alpha is None or np.array_equal(decoded.alpha, image.alpha)  # type: ignore[arg-type]
    return data


def adversarial(seed: int) -> Image:
    random = np.random.default_rng(seed)
    bits = int(random.choice([8, 8, 16]))
    channels = int(random.choice([1, 3]))
    height, width = (int(v) for v in random.integers(1, 14, 2))
    if random.random() < 0.2:
        height, width = (1, int(random.integers(1, 90)))[:: int(random.choice([-1, 1]))]
    kind = KINDS[seed % len(KINDS)]
    alpha = None
    if random.random() < 0.3:
        alpha = array(str(random.choice(KINDS)), (height, width, 1), bits, seed + 1)[..., 0]
    return Image(array(kind, (height, width, channels), bits, seed), alpha, bits)


@pytest.mark.parametrize("block", range(10))
def test_adversarial_arrays_round_trip(block: int) -> None:
    for seed in range(50 * block, 50 * block + 50):
        roundtrip(adversarial(seed))


@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(100))
def test_ten_thousand_adversarial_arrays_round_trip(block: int) -> None:
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        roundtrip(adversarial(seed))


def through_the_circuit(numbers: np.ndarray, bits: int) -> None:
    from laconic.codec.lossless.photo.network import load_model
    from laconic.codec.lossless.photo.wave import decode_tile, encode_tile

    model = load_model("photo")
    stream = encode_tile(model, numbers.astype(np.uint16), bits)
    assert np.array_equal(decode_tile(model, stream, numbers.shape, bits), numbers)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(KINDS),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3])),
    bits=st.integers(8, 16),
    seed=st.integers(0, 1 << 20),
)
def test_the_circuit_is_exact_where_the_fallback_would_win(
    kind: str, shape: tuple[int, int, int], bits: int, seed: int
) -> None:
    wide = array(kind, shape, 16, seed) >> (16 - bits)

    through_the_circuit(wide, bits)


@pytest.mark.parametrize(
    ("channels", "bits", "alpha"),
    [(1, 8, False), (3, 8, False), (3, 8, True), (1, 16, False), (1, 16, True), (3, 16, True)],
)
def test_pictures_of_every_kind(channels: int, bits: int, alpha: bool) -> None:
    image = picture(70, 130, channels, bits, alpha)
    if bits == 8:
        image = dataclasses.replace(textured(70, 130, channels), alpha=image.alpha)
    data = roundtrip(image, tile=64)

    info = codec.probe(data)
    assert (info.channels, info.bit_depth, info.alpha) == (channels, bits, alpha)
    assert (info.codec, info.segments) == ("photo", 6)
    assert info.settings["lossless"]


def test_metadata_travels() -> None:
    image = dataclasses.replace(
        picture(30, 40), icc=b"profile", exif=b"Exif\0\0data", xmp=b"<x/>", color=(9, 16, 9)
    )

    decoded = codec.decode(roundtrip(image))
    bare = codec.decode(codec.encode(image, lossless=True, strip=True))

    assert (decoded.icc, decoded.exif, decoded.xmp) == (image.icc, image.exif, image.xmp)
    assert decoded.color == (9, 16, 9)
    assert (bare.icc, bare.exif, bare.xmp) == (image.icc, None, None)


def test_regions_equal_the_whole() -> None:
    image = dataclasses.replace(textured(150, 200), alpha=picture(150, 200, alpha=True).alpha)
    data = roundtrip(image, tile=64)
    assert codec.probe(data).segments == 12

    for x, y, width, height in ((0, 0, 1, 1), (60, 50, 10, 90), (199, 149, 1, 1), (3, 5, 190, 140)):
        with codec.open(io.BytesIO(data)) as file:
            part = file.region(x, y, width, height)
        assert np.array_equal(part.pixels, image.pixels[y : y + height, x : x + width])
        assert np.array_equal(part.alpha, image.alpha[y : y + height, x : x + width])  # type: ignore[index]


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("how", ["low", "high", "repeated"])
def test_fewer_bits_in_sixteen_cost_no_more(bits: int, how: str) -> None:
    numbers = (scene(60, 80, bits=16) >> (16 - bits)).astype(np.uint16)
    wide = {
        "low": numbers,
        "high": numbers << (16 - bits),
        "repeated": numbers << (16 - bits) | numbers >> (2 * bits - 16),
    }[how]

    coded, header = prepare(wide, PhotoHeader())

    assert np.array_equal(coded, numbers)
    assert header.bits == bits
    assert np.array_equal(restore(coded, header, 3, np.uint16), wide)
    assert PhotoHeader.unpack(header.pack()) == header


def test_gray_in_three_channels_costs_what_gray_costs() -> None:
    gray = textured(100, 90, 1)
    colour = Image(np.repeat(gray.pixels, 3, axis=2))

    assert len(roundtrip(colour)) == len(roundtrip(gray))


def test_natural_texture_is_ten_percent_smaller_than_webp() -> None:
    image = textured(200, 300)
    webp = io.BytesIO()
    Pillow.fromarray(image.pixels).save(webp, "WEBP", lossless=True, quality=75, exact=True)

    assert len(codec.encode(image, lossless=True)) < 0.9 * len(webp.getvalue())


def screenshot(height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(0)
    letter = random.integers(0, 2, (12, 8, 1)) * np.array([180, 200, 220]) + 20
    page = np.tile(letter, (height // 12 + 1, width // 8 + 1, 1))[:height, :width]
    page[: height // 3] = (240, 240, 240)
    return page.astype(np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [screenshot(120, 200), screenshot(60, 50)[..., :1], np.zeros((300, 300, 3), np.uint8),
     scene(1, 1), array("noise", (50, 60, 3), 8, 0), array("noise", (30, 30, 1), 16, 0),
     np.tile(array("noise", (64, 64, 3), 8, 0), (4, 4, 1)), array("noise", (256, 256, 3), 8, 0)],
    ids=["screen", "gray-screen", "flat", "dot", "noise", "noise-16", "tiled-noise", "large-noise"],
)  # fmt: skip
def test_no_file_is_larger_than_its_png(pixels: np.ndarray) -> None:
    depth = 8 * pixels.dtype.itemsize
    image = Image(pixels, bit_depth=depth)
    png = io.BytesIO()
    Pillow.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels).save(
        png, "PNG", optimize=True
    )

    assert len(roundtrip(image)) <= len(png.getvalue()) + 32


def test_synthetic_pictures_keep_their_colours_and_alpha() -> None:
    pixels = screenshot(90, 100)
    alpha = np.where(pixels[..., 0] > 100, 255, 0).astype(np.uint8)
    image = Image(pixels, alpha)

    data = roundtrip(image)

    assert codec.probe(data).settings["coded as"] == "image file"
    part = codec.decode(data, region=(10, 20, 30, 40))
    assert np.array_equal(part.pixels, pixels[20:60, 10:40])


def test_tiles_cover_the_picture_once() -> None:
    for width, height, tile in ((1, 1, 64), (65, 64, 64), (6401, 2, 64), (1030, 769, 512)):
        tiles = Tiles(width, height, tile)
        boxes = [tiles.box(n) for n in range(len(tiles))]
        assert sum(b.width * b.height for b in boxes) == width * height
        assert all(0 < b.width <= tile and 0 < b.height <= tile for b in boxes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codec": "photo", "quality": 50}, "lossless"),
        ({"codec": "photo", "bpp": 1.0}, "lossless"),
        ({"codec": "mlic", "lossless": True}, "not lossless"),
        ({"lossless": True, "quality": 50}, "lossless"),
        ({"lossless": True, "tile": 50}, "multiple of 64"),
    ],
)
def test_contradictions_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        codec.encode(picture(8, 8), **options)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3), np.float32), np.full((4, 4), np.nan), np.zeros((0, 5), np.uint8),
     np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.int16)],
    ids=["float", "nan", "empty", "two-channels", "signed"],
)  # fmt: skip
def test_arrays_that_are_no_pictures_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ParameterError):
        codec.encode(pixels, lossless=True)


@pytest.mark.parametrize("image", [textured(24, 40), textured(70, 70), picture(24, 40)])
def test_every_prefix_is_refused(image: Image) -> None:
    data = codec.encode(image, lossless=True, tile=64)
    for length in range(0, len(data), max(1, len(data) // 100)):
        with pytest.raises(FormatError):
            codec.decode(data[:length])


def test_mutated_files_give_documented_errors() -> None:
    files = [
        codec.encode(picture(20, 30, bits=16), lossless=True),
        codec.encode(textured(80, 70), lossless=True, tile=64),
        codec.encode(screenshot(40, 40), lossless=True),
    ]
    random = np.random.default_rng(0)
    for data in files:
        for _ in range(40):
            damaged = bytearray(data)
            for place in random.integers(0, len(data), random.integers(1, 4)):
                damaged[place] ^= int(random.integers(1, 256))
            with pytest.raises(LaconicError):
                codec.decode(bytes(damaged))


def test_damage_behind_valid_checksums_never_shows_a_wrong_picture() -> None:
    """Payloads are changed and the container is written anew, so that only the codec can tell; the
    formats of an image file inside have bytes without meaning."""
    random = np.random.default_rng(0)
    for data in (
        codec.encode(picture(24, 30, bits=16), lossless=True),
        codec.encode(picture(24, 30, 1, 16, alpha=True), lossless=True),
        codec.encode(screenshot(40, 40), lossless=True),
    ):
        container, original = Container.from_bytes(data), codec.decode(data)
        segment, refused = container.segments[0], 0
        for _ in range(20):
            payload = bytearray(segment.payload)
            if random.random() < 0.3:
                payload = payload[: random.integers(0, len(payload))]
            elif random.random() < 0.2:
                payload += bytes(random.integers(1, 256, random.integers(1, 9)).tolist())
            else:
                payload[random.integers(0, len(payload))] ^= int(random.integers(1, 256))
            changed = dataclasses.replace(segment, payload=bytes(payload))
            other = dataclasses.replace(container, segments=[changed])
            try:
                assert np.array_equal(codec.decode(other.to_bytes()).pixels, original.pixels)
            except FormatError:
                refused += 1
        assert refused >= 15


def test_a_coding_that_is_given_up_leaves_no_thread_behind() -> None:
    """A pool kept open between results is closed by the garbage collector, perhaps inside the start
    of another thread, which then waits for itself."""
    tiles = [np.full((40, 40, 3), number, np.int64) for number in range(4)]
    workers = Workers("photo", threads=2)
    before = threading.active_count()
    encoding = workers.encode(tiles, 8)
    streams = [next(encoding)]
    assert threading.active_count() == before
    streams += encoding

    decoding = workers.decode([(s, (40, 40, 3), None) for s in streams], 8)

    assert np.array_equal(next(decoding), tiles[0])
    assert threading.active_count() == before
    assert [np.array_equal(a, b) for a, b in zip(decoding, tiles[1:], strict=True)] == [True] * 3


def test_a_damaged_tile_leaves_the_others() -> None:
    image = picture(64, 130, bits=16, alpha=True)
    data = bytearray(codec.encode(image, lossless=True, tile=64))
    data[len(data) // 2] ^= 255

    with pytest.raises(FormatError):
        codec.decode(bytes(data))
    decoded = codec.decode(bytes(data), partial=True)

    assert len(decoded.notices) == 1
    assert np.array_equal(decoded.pixels[:, :30], image.pixels[:, :30])


@pytest.mark.parametrize("effort", [1, 3])
def test_effort_makes_a_large_picture_smaller(effort: int, monkeypatch: pytest.MonkeyPatch) -> None:
    finetune = pytest.importorskip("laconic.codec.lossless.photo.learn")
    monkeypatch.setattr(finetune, "STEPS_PER_EFFORT", 30)
    image = textured(256, 256)
    image.pixels[..., 0] &= 0xFC  # a lattice that the model has never seen

    plain = roundtrip(image)
    adapted = roundtrip(image, effort=effort)

    assert codec.probe(adapted).settings["coded as"] == "adapted circuit"
    assert len(adapted) < len(plain)


def test_damaged_changes_of_the_model_are_refused() -> None:
    from laconic.codec.lossless.photo.fallback import adapt, pack_changes
    from laconic.codec.lossless.photo.network import load_model

    model = load_model("photo")
    changes = {"0.w3": np.zeros_like(model.tensors["0.w3"], dtype=np.int64)}
    changes["0.w3"][0, :9] = [1, -1, 2, 0, 0, 3, -50, 0, 1]
    data = pack_changes(changes, {"0.w3": 2}, 1)
    adapted = adapt(model, data)

    assert (adapted.tensors["0.w3"] - model.tensors["0.w3"])[0, :9].tolist() == [
        4, -4, 8, 0, 0, 12, -200, 0, 4,
    ]  # fmt: skip
    random = np.random.default_rng(0)
    for length in range(8):
        with pytest.raises(FormatError):
            adapt(model, data[:length])
    for _ in range(100):
        damaged = bytearray(data)
        damaged[random.integers(0, len(data))] ^= int(random.integers(1, 256))
        with contextlib.suppress(FormatError):
            adapt(model, bytes(damaged))


KODAK = Path(os.environ.get("LACONIC_KODAK", ""))


@pytest.mark.skipif(
    not os.environ.get("LACONIC_KODAK"), reason="set LACONIC_KODAK to the folder of the images"
)
def test_a_kodak_picture_takes_less_than_three_bits_a_sample() -> None:
    image = read_image(sorted(KODAK.glob("*.png"))[2])
    data = codec.encode(image, lossless=True, verify=False)

    assert 8 * len(data) / image.pixels.size < 3.0
    assert len(ContainerReader(data)) == 2
