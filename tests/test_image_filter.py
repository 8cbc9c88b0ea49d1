"""Filters of the synthesis: what they give, what they cost, and where there is none."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pictures import picture, scene

from laconic import codec
from laconic.codec.evaluate import psnr
from laconic.codec.image import encoding, postfilter
from laconic.codec.image.postfilter import MOST, equations, filtered, learned, pack, unpack
from laconic.formats import Container
from laconic.formats.errors import FormatError, UnsupportedError


def without(
    original: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, **options: object
) -> bytes:
    """A file whose encoder finds no filter worth its bits."""
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "choose", lambda *_: None)
        return codec.encode(original, **options)


@pytest.mark.parametrize("quality", [30, 70])
def test_a_filter_takes_error_away_for_a_few_bytes(
    quality: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = scene(256, 384)

    plain = without(original, monkeypatch, quality=quality, tune="psnr")
    better = codec.encode(original, quality=quality, tune="psnr")

    assert codec.probe(plain).codec_version == 3
    assert codec.probe(better).codec_version == 4
    assert len(plain) < len(better) < len(plain) + 40
    before, after = (psnr(original, codec.decode(d).pixels) for d in (plain, better))
    assert after > before + 0.02


def test_under_a_detail_layer_it_leaves_less_to_code(monkeypatch: pytest.MonkeyPatch) -> None:
    original = scene(256, 384)

    plain = without(original, monkeypatch, quality=92, tune="psnr")
    better = codec.encode(original, quality=92, tune="psnr")

    before, after = (psnr(original, codec.decode(d).pixels) for d in (plain, better))
    assert len(better) < len(plain)
    assert after > before - 0.02


def test_flat_pictures_need_no_filter() -> None:
    flat = torch.full((1, 64, 64, 3), 0.5)

    assert postfilter.choose(equations(flat, flat), 50.0, 0.01) is None
    assert torch.allclose(filtered(flat, learned().filter((3,), 50.0)), flat)


def test_the_error_that_the_encoder_expects_is_that_of_the_filter() -> None:
    random = torch.Generator().manual_seed(1)
    x = torch.from_numpy(picture(80, 96).pixels.astype(np.float32))[None] / 255
    synthesis = (x + 0.02 * torch.randn(x.shape, generator=random)).clamp(0, 1)
    found = equations(x, synthesis)

    for numbers in ((), (5, -3), tuple(range(-8, MOST - 8))):
        chosen = learned().filter(numbers, 40.0)
        left = 255**2 * (x - filtered(synthesis, chosen)).double().square().sum()
        assert float(left) == pytest.approx(found.error - found.gain(chosen), rel=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 40)])
def test_images_smaller_than_the_filter(size: tuple[int, int]) -> None:
    x = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(2))

    after = filtered(x, learned().filter((9, 9, 9), 50.0))

    assert after.shape == x.shape
    assert torch.allclose(after.mean((1, 2)), x.mean((1, 2)), atol=1e-5)  # exchanges only


def test_numbers_come_back_and_damage_is_refused() -> None:
    random = np.random.default_rng(4)
    for count in (0, 1, 5, MOST):
        numbers = tuple(int(n) for n in random.integers(-40, 41, count))
        data = pack(numbers)
        assert unpack(b"\0\0" + data + b"rest", 2) == (numbers, 2 + len(data))
        for end in range(len(data)):
            with pytest.raises(FormatError):
                unpack(data[:end], 0)
    for data in (b"\xff" * 80, b"\x01"):  # a number without an end, a bit after the last number
        with pytest.raises(FormatError):
            unpack(data, 0)


def test_other_filters_than_the_encoder_wrote_are_noticed() -> None:
    container = Container.from_bytes(codec.encode(scene(192, 256), quality=60, tune="psnr"))
    payload = bytearray(container.segments[0].payload)
    assert payload[0] == 6  # a latent and a filter
    numbers, end = unpack(bytes(payload), 1)
    other = pack((numbers[0] + 1, *numbers[1:]))
    segment = dataclasses.replace(
        container.segments[0], payload=bytes(payload[:1]) + other + bytes(payload[end:])
    )
    with pytest.raises(FormatError):
        codec.decode(Container(container.header, [segment], container.chunks).to_bytes())


def test_flags_of_no_version_are_refused() -> None:
    container = Container.from_bytes(codec.encode(scene(192, 256), quality=60, tune="psnr"))
    fields = container.header.codec_header
    for flags, error in ((4, FormatError), (8 | fields[3], UnsupportedError)):
        header = dataclasses.replace(container.header, codec_header=fields[:3] + bytes([flags]))
        with pytest.raises(error):
            codec.decode(Container(header, container.segments, container.chunks).to_bytes())
