"""Lossless files that begin with a preview: exact, decodable in part, damage found."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pictures import picture, textured
from PIL import Image as Pillow

from laconic import codec
from laconic.cli.main import cli
from laconic.codec.image.header import Box
from laconic.codec.lossless.photo.base import Base, as_numbers
from laconic.codec.lossless.photo.fallback import prepare
from laconic.codec.lossless.photo.header import PhotoHeader
from laconic.formats import Container, ContainerReader
from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    LaconicError,
    ModelError,
    ParameterError,
)
from laconic.formats.frame import write_varint
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader


@pytest.fixture(scope="module")
def large() -> tuple[Image, bytes]:
    """An image of several tiles and its file."""
    image = dataclasses.replace(textured(150, 200), alpha=picture(150, 200, alpha=True).alpha)
    return image, codec.encode(image, lossless=True, preview=True, tile=128)


def test_a_file_is_exact_and_its_preview_stands_alone(large: tuple[Image, bytes]) -> None:
    image, data = large

    decoded, preview = codec.decode(data), codec.preview(data)

    assert np.array_equal(decoded.pixels, image.pixels)
    assert np.array_equal(decoded.alpha, image.alpha)  # type: ignore[arg-type]
    assert np.array_equal(preview.alpha, image.alpha)  # type: ignore[arg-type]
    assert preview.pixels.shape == image.pixels.shape
    assert np.abs(preview.pixels.astype(float) - image.pixels).mean() < 16
    assert codec.probe(data).settings["preview"]


def test_the_first_segment_is_a_file_of_its_own(large: tuple[Image, bytes]) -> None:
    _, data = large
    inside = ContainerReader(data)[0].payload

    assert codec.probe(inside).quality == 10
    assert np.array_equal(codec.decode(inside).pixels, codec.preview(data).pixels)


def test_regions_need_the_tiles_around_them_only(large: tuple[Image, bytes]) -> None:
    image, data = large
    damaged = Container.from_bytes(data)
    damaged.segments[-1] = dataclasses.replace(damaged.segments[-1], payload=b"\0\0")

    with codec.open(damaged.to_bytes()) as file:
        part = file.region(3, 5, 60, 70)
        preview = file.preview()

    assert np.array_equal(part.pixels, image.pixels[5:75, 3:63])
    assert np.array_equal(preview.pixels, codec.preview(data).pixels)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (picture(1, 1), {}),
        (textured(40, 70, 1), {"quality": 60}),
        (picture(40, 50, bits=16), {"quality": 0}),
        (picture(30, 40, 1, 16, alpha=True), {}),
        (Image(np.kron(np.eye(8), np.ones((8, 8)))[..., None].astype(np.uint8) * 255), {}),
        (Image(np.repeat(textured(40, 50, 1).pixels, 3, axis=2)), {}),
    ],
    ids=["dot", "gray", "16", "gray-16-alpha", "drawing", "gray-as-rgb"],
)
def test_every_kind_comes_back(image: Image, options: dict[str, Any]) -> None:
    data = codec.encode(image, lossless=True, preview=True, **options)

    decoded = codec.decode(data)

    assert decoded.pixels.dtype == image.pixels.dtype
    assert np.array_equal(decoded.pixels, image.pixels)
    assert image.alpha is None or np.array_equal(decoded.alpha, image.alpha)  # type: ignore[arg-type]
    assert codec.preview(data).bit_depth == image.bit_depth


def test_metadata_is_stored_once_and_shown_with_the_preview() -> None:
    icc = np.random.default_rng(0).bytes(3000)
    image = dataclasses.replace(textured(30, 40), icc=icc, xmp=b"<x/>")
    data = codec.encode(image, lossless=True, preview=True)

    assert data.count(icc) == 1
    assert codec.preview(data).icc == codec.decode(data).icc == icc
    assert codec.preview(data).xmp == b"<x/>"


def test_more_bits_for_the_preview_are_fewer_for_the_rest() -> None:
    image = textured(128, 128)
    rest = []
    for quality in (0, 90):
        data = codec.encode(image, lossless=True, preview=True, quality=quality)
        rest.append(len(data) - len(ContainerReader(data)[0].payload))

    assert rest[1] < 0.99 * rest[0]


def test_effort_adapts_the_circuit_that_sees_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    finetune = pytest.importorskip("laconic.codec.lossless.photo.learn")
    monkeypatch.setattr(finetune, "STEPS_PER_EFFORT", 20)
    image = textured(200, 200)
    image.pixels[..., 0] &= 0xFC

    data = codec.encode(image, lossless=True, preview=True, effort=1)

    assert codec.probe(data).settings["coded as"] == "adapted circuit"
    assert np.array_equal(codec.decode(data).pixels, image.pixels)


DIGEST = """
import sys, torch
{setup}
from laconic import codec
print(int(codec.decode(sys.argv[1]).pixels.astype(int).sum()))
"""


@pytest.mark.parametrize(
    ("setup", "environment"),
    [
        ("torch.set_num_threads(2)", {"OMP_NUM_THREADS": "2"}),
        ("torch.backends.mkldnn.enabled = False", {"ATEN_CPU_CAPABILITY": "default"}),
    ],
    ids=["two threads", "baseline instructions"],
)
def test_other_arithmetic_decodes_the_same(
    setup: str, environment: dict[str, str], large: tuple[Image, bytes], tmp_path: Path
) -> None:
    image, data = large
    path = tmp_path / "x.lac"
    path.write_bytes(data)

    done = subprocess.run(
        [sys.executable, "-c", DIGEST.format(setup=setup), str(path)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(image.pixels.astype(int).sum())


@pytest.mark.parametrize(("noise", "survives"), [(3e-7, True), (2e-2, False)])
def test_noise_within_the_band_is_survived_and_above_it_is_found(
    noise: float, survives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The band is widened to make close calls frequent; noise is in levels, relative to it."""
    from laconic.codec.image.codec import LoadedModel
    from laconic.codec.lossless.photo import base

    scale = 1e4
    monkeypatch.setattr(base, "BAND", scale * base.BAND)
    image = textured(64, 96)
    data = codec.encode(image, lossless=True, preview=True)
    side = ContainerReader(data)[1].payload[:2]
    assert side[0] > 2  # some close calls are listed
    exactly = LoadedModel.synthesise_exactly

    def disturbed(self: LoadedModel, y: Any, quality: float | None) -> Any:
        x = exactly(self, y, quality)
        random = np.random.default_rng(0).uniform(-1, 1, tuple(x.shape))
        return x + x.new_tensor(random * noise * scale / 255)

    monkeypatch.setattr(LoadedModel, "synthesise_exactly", disturbed)

    if survives:
        assert np.array_equal(codec.decode(data).pixels, image.pixels)
    else:
        with pytest.raises(FormatError):
            codec.decode(data)


def test_damaged_corrections_are_refused(large: tuple[Image, bytes]) -> None:
    image, data = large
    base = Base(ContainerReader(data)[0].payload, ImageHeader.of(image), DEFAULT_LIMITS)
    box = Box(0, 0, 32, 24)
    levels, _ = base.choose(box)
    first = int(levels.reshape(-1)[4])

    moved = base.corrected(box, write_varint(5) + bytes([first ^ 1]))

    assert np.flatnonzero(moved != levels).tolist() == [4]
    for corrections in (
        b"\x05",
        b"\x00\x00",
        write_varint(5) + bytes([first ^ 64]),
        write_varint(32 * 24 * 3 + 1) + bytes([first]),
    ):
        with pytest.raises(FormatError):
            base.corrected(box, corrections)


@pytest.mark.parametrize("shift", [0, 3])
def test_levels_follow_the_range_of_the_samples(shift: int) -> None:
    wide = (picture(20, 30, bits=16).pixels >> 4) << shift
    numbers, header = prepare(wide, PhotoHeader())
    levels = np.rint(wide / 257).astype(np.uint8)

    seen = as_numbers(levels, header, 16)

    assert np.abs(seen.astype(int) - numbers).max() <= 257 >> header.shift


def test_mutated_files_give_documented_errors(large: tuple[Image, bytes]) -> None:
    image = picture(40, 50, bits=16)
    data = codec.encode(image, lossless=True, preview=True)
    container, random = Container.from_bytes(data), np.random.default_rng(0)
    for _ in range(12):
        damaged = bytearray(data)
        damaged[random.integers(len(data))] ^= int(random.integers(1, 256))
        with pytest.raises(LaconicError):
            codec.decode(bytes(damaged))
    for _ in range(12):
        segments = list(container.segments)
        n = int(random.integers(len(segments)))
        payload = bytearray(segments[n].payload)
        payload[random.integers(len(payload))] ^= int(random.integers(1, 256))
        segments[n] = dataclasses.replace(segments[n], payload=bytes(payload))
        with pytest.raises(LaconicError):
            codec.decode(dataclasses.replace(container, segments=segments).to_bytes())
    for length in range(0, len(data), len(data) // 20):
        with pytest.raises(FormatError):
            codec.preview(data[:length])


def test_a_preview_of_another_picture_is_refused(large: tuple[Image, bytes]) -> None:
    container = Container.from_bytes(large[1])
    for inside in (
        codec.encode(textured(150, 201), quality=10),
        codec.encode(textured(150, 200), lossless=True),
    ):
        segments = [dataclasses.replace(container.segments[0], payload=inside)]
        segments += container.segments[1:]
        with pytest.raises(FormatError):
            codec.decode(dataclasses.replace(container, segments=segments).to_bytes())


def test_files_without_preview_and_wrong_settings_are_named() -> None:
    plain = codec.encode(textured(20, 30), lossless=True)
    with pytest.raises(ParameterError, match="no preview"):
        codec.preview(plain)
    with pytest.raises(ParameterError, match="no option preview: photo has it"):
        codec.preview(codec.encode(textured(64, 64), quality=10))
    with pytest.raises(ParameterError, match="no option preview: photo has it"):
        codec.encode(textured(20, 30), preview=True)
    with pytest.raises(ParameterError, match="lossless"):
        codec.encode(textured(20, 30), lossless=True, preview=True, bpp=3.0)
    for options in ({"model": "photo-preview"}, {"model": "photo", "preview": True}):
        with pytest.raises(ParameterError, match="lossy image"):
            codec.encode(textured(20, 30), lossless=True, **options)  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        codec.encode(textured(20, 30), lossless=True, preview=True, model="none")


def test_the_command_line_writes_both(tmp_path: Path) -> None:
    source, coded = tmp_path / "a.png", tmp_path / "a.lac"
    small, back = tmp_path / "small.png", tmp_path / "back.png"
    pixels = textured(50, 60).pixels
    Pillow.fromarray(pixels).save(source)

    for arguments in (
        ["encode", "--lossless", "--preview", "-q", "20", str(source)],
        ["verify", str(coded)],
        ["info", str(coded)],
        ["decode", "--preview", str(coded), "-o", str(small)],
        ["decode", str(coded), "-o", str(back)],
    ):
        result = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert result.exit_code == 0, result.output
    assert np.array_equal(np.asarray(Pillow.open(back)), pixels)
    assert np.asarray(Pillow.open(small)).shape == pixels.shape
    wrong = CliRunner().invoke(
        cli, ["encode", "--lossless", "-q", "20", str(source), "-f"], standalone_mode=False
    )
    assert wrong.return_value == 2
