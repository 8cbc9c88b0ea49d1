"""Lossless is exact or refused; frames and pages are never dropped in silence."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from pictures import scene
from PIL import Image as Pillow

import laconic.formats.pillow
from laconic import codec
from laconic.codec import media
from laconic.codec.base import DecodeSettings
from laconic.formats.container import Container, Media
from laconic.formats.errors import ParameterError
from laconic.formats.image import read_image
from laconic.formats.video import VideoHeader

assert laconic.formats.pillow
GRAY = np.arange(600).astype(np.uint8).reshape(20, 30)
COLOUR = np.stack((GRAY, GRAY[::-1], GRAY[:, ::-1]), 2)


def saved(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["F", "CMYK", "LAB", "YCbCr", "I"])
def test_lossless_is_refused_where_samples_would_change(mode: str) -> None:
    if mode in ("F", "I"):
        values = (GRAY.astype(np.float32) - 7.5) if mode == "F" else GRAY.astype(np.int32) - 70_000
        picture = Pillow.fromarray(values)
    else:
        picture = Pillow.frombytes(mode, (30, 20), bytes(20 * 30 * (4 if mode == "CMYK" else 3)))
    source = saved(picture, "TIFF")

    with pytest.raises(ParameterError, match="--allow-conversion"):
        codec.encode(source, lossless=True)
    with pytest.raises(ParameterError, match="--allow-conversion"):
        codec.encode(source, codec="photo")
    assert codec.decode(codec.encode(source, lossless=True, allow_conversion=True)).width == 30
    with pytest.raises(OSError, match="allow_conversion"):
        picture.save(io.BytesIO(), "LACONIC", lossless=True)


@pytest.mark.parametrize("mode", ["HSV", "La", "RGBa", "CMYK", "F"])
@pytest.mark.parametrize("plugin", [False, True])
def test_modes_that_only_pillow_has_are_refused_with_the_way_out(mode: str, plugin: bool) -> None:
    via = {"La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "F": "L", "HSV": "RGB"}[mode]
    picture = Pillow.fromarray(COLOUR).convert(via)
    if mode in ("La", "RGBa"):
        picture.putalpha(Pillow.fromarray(GRAY))
    picture = picture.convert(mode)
    error, words = OSError if plugin else ParameterError, r"convert|allow_conversion"
    with pytest.raises(error, match=words):
        picture.save(io.BytesIO(), "LACONIC", lossless=True) if plugin else codec.encode(
            picture, lossless=True
        )


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "group4"])
def test_how_a_picture_of_pillow_was_compressed_does_not_matter(compression: str) -> None:
    picture = Pillow.fromarray(COLOUR).convert("1" if compression == "group4" else "RGB")
    opened = Pillow.open(io.BytesIO(saved(picture, "TIFF", compression=compression)))
    found = codec.decode(codec.encode(opened, lossless=True)).pixels
    expected = np.asarray(opened.convert("L" if compression == "group4" else "RGB"))
    assert (found.reshape(expected.shape) == expected).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_lossless_is_exact_in_every_other_mode(mode: str) -> None:
    if mode == "I;16":
        picture = Pillow.fromarray(GRAY.astype(np.uint16) * 250)
    else:
        picture = Pillow.fromarray(COLOUR).convert(mode)
    if mode == "P":
        picture.info["transparency"] = 3
    buffer = io.BytesIO()
    picture.save(buffer, "LACONIC", lossless=True)
    found = Pillow.open(buffer)
    if mode == "I;16":
        assert (np.asarray(found) == np.asarray(picture)).all()
    else:
        visible = np.asarray(picture.convert("RGBA"))
        assert (visible == np.asarray(found.convert("RGBA"))).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("lossless", [False, True])
def test_animations_and_pages_are_refused_not_cut(kind: str, lossless: bool) -> None:
    frames = [Pillow.fromarray(COLOUR), Pillow.fromarray(COLOUR[::-1].copy())]
    source = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ParameterError, match="2 frames or pages"):
        codec.encode(source, lossless=lossless)
    data = codec.encode(source, lossless=lossless, allow_conversion=True)
    assert codec.decode(data).width == 30


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_of_pillow_are_refused_not_cut(kind: str) -> None:
    frames = [Pillow.fromarray(COLOUR), Pillow.fromarray(COLOUR[::-1].copy())]
    source = io.BytesIO(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    with pytest.raises(ParameterError, match="2 frames or pages"):
        codec.encode(Pillow.open(source), lossless=True)
    with pytest.raises(OSError, match="2 frames or pages"):
        Pillow.open(source).save(io.BytesIO(), "LACONIC", lossless=True)
    for options in ({"save_all": True, "append_images": frames[1:]}, {"append_images": frames[1:]}):
        with pytest.raises(OSError, match="2 frames or pages"):
            frames[0].save(io.BytesIO(), "LACONIC", **options)
    with pytest.raises(OSError, match="2 frames or pages"):
        Pillow.open(source).save(io.BytesIO(), "LACONIC", save_all=True)
    frames[0].save(io.BytesIO(), "LACONIC", save_all=True, lossless=True)
    opened = Pillow.open(source)
    for n in range(2):  # a frame that was sought or copied is an image of its own
        opened.seek(n)
        one = opened.copy() if n == 0 else opened
        pixels = codec.decode(codec.encode(one, lossless=True)).pixels
        assert (pixels == np.asarray(opened.convert("RGB"))).all()


def test_errors_of_the_plugin_are_those_that_callers_of_pillow_expect(tmp_path: Path) -> None:
    data = codec.encode(COLOUR, lossless=True)
    for broken in (data[:40], data[:-3], data[:20] + b"x" + data[21:], b"\x8fLAC\r\n"):
        with pytest.raises(OSError):  # noqa: PT011 - what Pillow promises
            Pillow.open(io.BytesIO(broken)).load()
    with pytest.raises(OSError):  # noqa: PT011
        Pillow.open(io.BytesIO(codec.encode(np.zeros((9, 2), np.uint8), codec="records")))
    with pytest.raises(OSError, match="quality"):
        Pillow.fromarray(COLOUR).save(tmp_path / "x.lac", quality=500)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("preview", [False, True])
def test_a_draft_is_smaller_and_decodes_the_preview_alone(
    mode: str, preview: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Pillow.fromarray(scene(90, 131)).convert("RGB")
    source.putalpha(Pillow.linear_gradient("L").resize(source.size))
    source = source.convert(mode)
    data = codec.encode(source, lossless=True, preview=preview)
    decoded: list[bool] = []
    whole = codec.decode

    def decode(*args: Any, **options: Any) -> Any:
        decoded.append(bool(options.get("preview")))
        return whole(*args, **options)

    monkeypatch.setattr(codec, "decode", decode)
    opened = Pillow.open(io.BytesIO(data))
    box = opened.draft(None, (60, 40))
    opened.load()

    assert opened.mode == mode
    assert opened.size == (66, 45)
    assert box == (mode, (0, 0, 65.5, 45))
    assert decoded == ([] if preview else [False])
    error = np.asarray(opened, np.float64) - np.asarray(source.reduce(2), np.float64)
    assert np.abs(error).mean() < 6
    small = Pillow.open(io.BytesIO(data))
    small.thumbnail((20, 20))
    assert max(small.size) == 20
    same = Pillow.open(io.BytesIO(data))
    assert same.draft(None, (100, 80)) == (mode, (0, 0, 131, 90))
    assert np.array_equal(np.asarray(same), np.asarray(source))


def test_pictures_of_other_libraries_are_encoded_alike() -> None:
    expected = codec.encode(COLOUR, lossless=True)
    assert codec.encode(Pillow.fromarray(COLOUR), lossless=True) == expected
    assert codec.encode(torch.from_numpy(COLOUR).permute(2, 0, 1), lossless=True) == expected
    floats = (torch.from_numpy(COLOUR).permute(2, 0, 1) / 255).requires_grad_()
    assert codec.encode(floats, lossless=True) == expected
    assert codec.encode(floats[None], lossless=True) == expected
    gray = codec.encode(GRAY, lossless=True)
    assert codec.encode(torch.from_numpy(GRAY), lossless=True) == gray
    assert codec.encode(Pillow.fromarray(GRAY), lossless=True) == gray
    for wrong in (torch.zeros(2, 5, 5), torch.zeros(5), torch.full((3, 4, 4), 2.0)):
        with pytest.raises(ParameterError, match="tensor"):
            codec.encode(wrong)


@pytest.mark.parametrize("marker", [-9999.0, np.inf, -np.inf, np.nan, 1e30])
@pytest.mark.parametrize("share", [1, 200])
def test_one_odd_value_does_not_crush_a_float_picture(marker: float, share: int) -> None:
    values = np.linspace(100, 200, 600, dtype=np.float32)
    values[:share] = marker
    image = read_image(saved(Pillow.fromarray(values.reshape(20, 30)), "TIFF"))
    levels = np.unique(image.pixels.reshape(-1)[share:])
    assert len(levels) >= 300
    assert int(levels.max()) - int(levels.min()) > 2000
    said = " ".join(image.notices)
    assert "not finite" in said if not np.isfinite(marker) else "clipped" in said


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v", "mkv", "webm", "y4m"])
def test_the_shape_of_pixels_is_kept_or_its_loss_is_said(suffix: str, tmp_path: Path) -> None:
    source = Path(__file__).parent / "golden" / "hnerv-1" / "hybrid-422-10-34x40.lac"
    whole = Container.from_bytes(source.read_bytes())
    film = replace(VideoHeader.unpack(whole.header.media_header, whole.chunks), aspect=(4, 3))
    head, chunks = film.pack()
    others = [c for c in whole.chunks if c.type != b"TIME"]
    header = replace(whole.header, media_header=head)
    data = Container(header, whole.segments, [*chunks, *others]).to_bytes()
    path = tmp_path / f"film.{suffix}"

    with codec.decode(data) as decoded:
        saved = media.of(Media.VIDEO).save(
            decoded, path, None, header=head, settings=DecodeSettings()
        )

    said = any("shape of a pixel, 4:3" in note for note in saved.notes)
    with av.open(str(path)) as container:
        ratio = container.streams.video[0].sample_aspect_ratio
    assert said == (ratio in (None, 0, 1))
    assert said or ratio == Fraction(4, 3)
