"""The image codec on every kind of image: sizes, depths, alpha, metadata, tiles, regions,
targets."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pictures import picture, scene

from laconic import codec
from laconic.codec.evaluate import ms_ssim, psnr
from laconic.codec.image.codecs import MlicCodec
from laconic.codec.image.header import TUNED, ImageOptions
from laconic.formats import Container, ContainerReader, Limits
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    LimitError,
    ModelError,
    ParameterError,
    UnsupportedError,
)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (130, 3), (63, 65), (64, 64), (97, 211)])
def test_pictures_of_any_size_come_back_in_that_size(size: tuple[int, int]) -> None:
    original = picture(*size)

    decoded = codec.decode(codec.encode(original, quality=60))

    assert decoded.pixels.shape == original.pixels.shape
    assert psnr(original.pixels, decoded.pixels) > 20


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_colour_of_8_and_16_bits(channels: int, bits: int) -> None:
    original = picture(100, 140, channels, bits)

    decoded = codec.decode(codec.encode(original, quality=80))

    assert decoded.pixels.dtype == original.pixels.dtype
    assert decoded.bit_depth == bits
    assert psnr(original.pixels, decoded.pixels, bits) > 30


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_is_exact(bits: int) -> None:
    original = picture(90, 150, bits=bits, alpha=True)

    decoded = codec.decode(codec.encode(original, quality=20, tile=64))

    assert decoded.alpha is not None
    assert np.array_equal(decoded.alpha, original.alpha)


@pytest.mark.parametrize(("tune", "model"), [(None, "mlic-visual"), *TUNED.items()])
def test_a_tune_chooses_the_model_that_the_file_names(tune: str | None, model: str) -> None:
    original = picture(64, 96)

    data = codec.encode(original, quality=60, tune=tune)

    assert codec.probe(data).model == model
    assert psnr(original.pixels, codec.decode(data).pixels) > 20


def test_tunes_are_better_at_what_they_are_for() -> None:
    original = scene(256, 320, seed=3)
    target = len(codec.encode(original, quality=40))
    visual, squared = (
        codec.decode(codec.encode(original, target_bytes=target, tune=tune)).pixels
        for tune in ("visual", "psnr")
    )

    assert ms_ssim(original, visual) > ms_ssim(original, squared)
    assert psnr(original, squared) > psnr(original, visual)


def test_a_tune_beside_a_model_or_for_another_codec_is_refused() -> None:
    with pytest.raises(ParameterError, match="leave one out"):
        codec.encode(picture(32, 32), tune="psnr", model="mlic-visual")
    with pytest.raises(ParameterError, match="expected one of visual, psnr"):
        codec.encode(picture(32, 32), tune="ssim")
    with pytest.raises(ParameterError, match="tune"):
        codec.encode(picture(32, 32), lossless=True, tune="psnr")


def test_metadata_travels_and_strip_leaves_only_the_colour_profile() -> None:
    original = dataclasses.replace(
        picture(64, 64), icc=b"profile", exif=b"Exif\0\0data", xmp=b"<xmp/>"
    )

    kept = codec.decode(codec.encode(original))
    stripped = codec.decode(codec.encode(original, strip=True))

    assert (kept.icc, kept.exif, kept.xmp) == (b"profile", b"Exif\0\0data", b"<xmp/>")
    assert (stripped.icc, stripped.exif, stripped.xmp) == (b"profile", None, None)


def test_more_quality_means_more_bytes_and_less_error() -> None:
    original = picture(192, 256)
    files = [codec.encode(original, quality=q) for q in (0, 25, 50, 75, 100)]
    errors = [psnr(original.pixels, codec.decode(f).pixels) for f in files]

    assert [len(f) for f in files] == sorted(len(f) for f in files)
    assert errors == sorted(errors)


@pytest.mark.parametrize(("now", "then"), [(0, 0), (30, 30), (70, 70), (97, 95)])
def test_the_newest_version_makes_smaller_files_of_as_good_images(now: float, then: float) -> None:
    original = picture(192, 256)

    newest = codec.encode(original, quality=now)
    first = MlicCodec().encode_plain(original, ImageOptions(quality=then))

    assert codec.probe(newest).codec_version == (4 if now else 3)  # no filter pays at the bottom
    assert codec.probe(first).codec_version == 1
    assert len(newest) < 0.98 * len(first)
    found, before = (psnr(original.pixels, codec.decode(d).pixels) for d in (newest, first))
    assert found > before - 0.5


def test_encoding_is_reproducible() -> None:
    original = picture(128, 128)

    assert codec.encode(original, quality=33.3) == codec.encode(original, quality=33.3)


@pytest.mark.parametrize("target", [2000, 3500, 6000])
def test_target_size_lands_within_two_per_cent_below(target: int) -> None:
    original = picture(256, 384)

    size = len(codec.encode(original, target_bytes=target))

    assert 0.98 * target <= size <= target


def test_bpp_counts_the_whole_file() -> None:
    original = picture(256, 384)

    size = len(codec.encode(original, bpp=0.3))

    assert 0.98 * 0.3 <= 8 * size / (256 * 384) <= 0.3


def test_an_unreachable_size_is_refused_with_the_smallest_possible() -> None:
    with pytest.raises(ParameterError, match="smallest file has"):
        codec.encode(picture(256, 256), target_bytes=40)


def test_tiles_leave_no_seam() -> None:
    original = picture(320, 448)
    whole = codec.decode(codec.encode(original, quality=50)).pixels
    tiled = codec.decode(codec.encode(original, quality=50, tile=128)).pixels
    seam = np.zeros(original.pixels.shape[:2], bool)
    for edge in (128, 256, 384):
        seam[max(0, edge - 4) : edge + 4] = True
        seam[:, max(0, edge - 4) : edge + 4] = True

    loss = psnr(original.pixels[seam], whole[seam]) - psnr(original.pixels[seam], tiled[seam])

    assert loss <= 0.4  # dB: means differ a little where a context is cut


def test_a_region_equals_the_same_part_of_the_whole_and_reads_only_its_tiles() -> None:
    original = picture(448, 512, alpha=True)
    data = codec.encode(original, quality=50, tile=192)
    whole = codec.decode(data)
    read: list[int] = []

    class Spy(ContainerReader):
        def __getitem__(self, number: int):  # type: ignore[no-untyped-def]
            read.append(number)
            return super().__getitem__(number)

    from laconic.codec.base import DecodeSettings
    from laconic.codec.image.codecs import MlicCodec

    inner = MlicCodec().decode(Spy(data), DecodeSettings(region=(260, 280, 10, 12)))
    with codec.open(data) as file:
        across = file.region(100, 30, 301, 333)
        assert len(file) == 9

    assert set(read) == {4}
    assert np.abs(inner.pixels.astype(int) - whole.pixels[280:292, 260:270]).max() <= 1
    assert np.abs(across.pixels.astype(int) - whole.pixels[30:363, 100:401]).max() <= 1
    assert whole.alpha is not None
    assert np.array_equal(across.alpha, whole.alpha[30:363, 100:401])


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 0, 5), (60, 60, 10, 10)])
def test_a_region_outside_the_picture_is_refused(region: tuple[int, int, int, int]) -> None:
    data = codec.encode(picture(64, 64))
    with pytest.raises(ParameterError, match="region"):
        codec.decode(data, region=region)


def test_a_truncated_file_gives_its_intact_tiles_on_request() -> None:
    original = picture(256, 256)
    data = codec.encode(original, quality=50, tile=64)
    cut = data[: len(data) // 2]

    with pytest.raises(FormatError):
        codec.decode(cut)
    partial = codec.decode(cut, partial=True)

    assert partial.pixels.shape == (256, 256, 3)
    assert partial.notices
    assert psnr(original.pixels[:48], partial.pixels[:48]) > 24


def test_another_model_is_named_before_anything_is_decoded() -> None:
    container = Container.from_bytes(codec.encode(picture(64, 64)))
    header = dataclasses.replace(container.header, model=b"\x01" * 6)
    data = Container(header, container.segments, container.chunks).to_bytes()

    with pytest.raises(ModelError, match="010101010101"):
        codec.decode(data)


def test_an_intact_file_whose_symbols_differ_is_detected() -> None:
    container = Container.from_bytes(codec.encode(picture(64, 64)))
    segment = dataclasses.replace(container.segments[0], check=container.segments[0].check ^ 1)
    data = Container(container.header, [segment], container.chunks).to_bytes()

    with pytest.raises(DesyncError):
        codec.verify(data)


def test_mutated_payloads_with_valid_checksums_raise_only_documented_errors() -> None:
    container = Container.from_bytes(codec.encode(picture(64, 96), quality=70))
    rng = np.random.default_rng(3)
    payload = container.segments[0].payload
    for _ in range(40):
        damaged = bytearray(payload)
        for at in rng.integers(0, len(payload), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        damaged = damaged[: rng.integers(1, len(damaged) + 1)]
        segment = dataclasses.replace(container.segments[0], payload=bytes(damaged))
        data = Container(container.header, [segment], container.chunks).to_bytes()
        with pytest.raises((FormatError, LimitError)):
            codec.decode(data)


def test_newer_versions_and_other_numerics_are_refused() -> None:
    container = Container.from_bytes(codec.encode(picture(64, 64)))
    for change in ({"codec_version": 9}, {"numerics": 7}, {"codec": 14}):
        header = dataclasses.replace(container.header, **change)
        data = Container(header, container.segments).to_bytes()
        with pytest.raises(UnsupportedError):
            codec.decode(data)


def test_pictures_beyond_the_limits_are_refused() -> None:
    data = codec.encode(picture(64, 64))
    with pytest.raises(LimitError):
        codec.decode(data, limits=Limits(pixels=1000))
    with pytest.raises(LimitError):
        codec.encode(picture(64, 64), limits=Limits(pixels=1000))


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 101},
        {"quality": 50, "bpp": 1},
        {"bpp": -1},
        {"target_bytes": 0},
        {"tile": 100},
        {"effort": 10},
        {"codec": "nothing"},
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        codec.encode(picture(64, 64), **options)  # type: ignore[arg-type]


def test_arrays_paths_and_files_are_accepted(tmp_path: Path) -> None:
    gray = scene(70, 80, 1)[..., 0]
    path = tmp_path / "x.lac"
    path.write_bytes(codec.encode(gray))

    info = codec.probe(path)

    assert (info.width, info.height, info.channels, info.quality) == (80, 70, 1, 50.0)
    assert info.file_bytes == path.stat().st_size
    with path.open("rb") as file:
        assert codec.decode(file).pixels.shape == (70, 80, 1)
    with pytest.raises(ParameterError):
        codec.encode(np.zeros((3, 4, 2), np.uint8))
    with pytest.raises(ParameterError):
        codec.encode(np.zeros((3, 4), np.float32))
