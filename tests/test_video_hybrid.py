"""Videos as planes: round trips of every sampling, exactness, damage, targets, no conversions."""

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import films
import numpy as np
import pytest

from laconic import codec
from laconic.codec.video.chunk import Clip, Fit, FitSettings, decode
from laconic.codec.video.motion.decode import Head
from laconic.codec.video.motion.frames import coding_order
from laconic.formats.errors import (
    FormatError,
    LaconicError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.video_planes import Sampling
from laconic.formats.video_reader import VideoFile


def clip(count: int, rows: int, columns: int, sampling: Sampling) -> Clip:
    """A soft pattern that moves, with a block of its own way."""
    frames = []
    most = (1 << sampling.depth) - 1
    for n in range(count):
        planes = []
        for k, (h, w) in enumerate(sampling.sizes(columns, rows)):
            y, x = np.mgrid[0:h, 0:w].astype(np.float64)
            wave = np.sin((x + n) / (4 + k)) * np.cos((y - n) / 6)
            plane = np.uint16((wave * 0.4 + 0.5) * most)
            plane[h // 3 : h // 2, (2 * n) % w : (2 * n) % w + 5] //= 2
            planes.append(plane)
        frames.append(planes)
    return Clip(frames, sampling)


def fitted(made: Clip, **chosen: object) -> bytes:
    fit = Fit(made, FitSettings(network="motion", preset="fast", **chosen))
    assert fit.run()
    return fit.payload()


def read(payload: bytes, made: Clip, limits: Limits | None = None):
    rows, columns = made.frames[0][0].shape
    return decode(payload, len(made.frames), columns, rows, limits or Limits())


SAMPLINGS = [
    Sampling(1, 1, full=False, matrix=5),
    Sampling(1, 0),
    Sampling(0, 0),
    Sampling(gray=True),
    Sampling(1, 1, 10),
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda s: s.format)
def test_planes_of_every_sampling_come_back(sampling: Sampling) -> None:
    made = clip(4, 35, 50, sampling)

    decoder = read(fitted(made, quality=80), made)

    most = (1 << sampling.depth) - 1
    for n, planes in enumerate(made.frames):
        for a, b in zip(planes, decoder.planes(n), strict=True):
            assert a.shape == b.shape
            assert np.square(a.astype(float) - b).mean() < (most / 60) ** 2
    assert decoder.sampling == sampling
    assert decoder.batch(1, 3).shape == (2, 35, 50, 3)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 5), (3, 64, 65), (2, 130, 8)])
def test_any_size_is_coded(size: tuple[int, int, int]) -> None:
    made = clip(*size, Sampling(1, 1))

    decoder = read(fitted(made), made)

    assert decoder.planes(size[0] - 1)[0].shape == size[1:]


def test_what_the_encoder_saw_is_what_the_decoder_shows() -> None:
    from laconic.codec.video.motion.decode import decode as decode_frames
    from laconic.codec.video.motion.fit import encode

    made = clip(9, 40, 72, Sampling(1, 1))
    data, shown = encode(made.frames, made.layout(), 200, 8)

    for index, planes in decode_frames(data, made.layout(), 9, 200, 8):
        for a, b in zip(planes, shown[index], strict=True):
            assert np.array_equal(a, b)


def test_machine_code_and_python_make_the_same_bytes() -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_video_hybrid import clip, fitted, read, Sampling\n"
        "made = clip(2, 16, 16, Sampling(1, 1)); data = fitted(made, quality=60)\n"
        "print(data.hex(), read(data, made).symbols_check)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "LACONIC_NO_JIT": value}, check=True,
            capture_output=True, text=True, cwd=Path(__file__).parents[1],
        ).stdout
        for value in ("0", "1")
    ]  # fmt: skip

    assert found[0] == found[1]


def test_every_frame_refers_to_frames_that_came_before() -> None:
    for count in (1, 2, 7, 17, 40):
        order = coding_order(count, 16)
        assert sorted(place.index for place in order) == list(range(count))
        done: set[int] = set()
        for place in order:
            assert {*place.past, *place.future} <= done
            assert place.layer == 0 or place.past
            done.add(place.index)


def test_a_target_is_met_within_two_per_cent() -> None:
    made = clip(3, 64, 96, Sampling(1, 1))
    rng = np.random.default_rng(0)
    for planes in made.frames:
        planes[0] += rng.integers(0, 20, planes[0].shape).astype(np.uint16)
    target = 3 * len(fitted(made, quality=50)) // 4

    assert 0.97 * target <= len(fitted(made, target_bytes=target)) <= target


def test_a_stopped_fit_goes_on_to_the_same_bytes() -> None:
    made = clip(3, 32, 48, Sampling(1, 1))
    settings = FitSettings(network="motion", preset="fast", quality=60)
    whole = Fit(made, settings)
    whole.run()

    begun = Fit(made, settings)
    assert not begun.run(stop=lambda: True)
    resumed = Fit.resume(made, settings, begun.state())
    assert resumed.run()

    assert resumed.payload() == whole.payload()
    assert begun.payload() == whole.payload()


def screen(count: int, rows: int, columns: int, sampling: Sampling, step: int) -> Clip:
    """`films.drawn` as planes."""
    frames = []
    for drawn in films.drawn(count, rows, columns, step):
        luma = drawn[:, :, 0].astype(np.uint16)
        shapes = sampling.sizes(columns, rows)
        frames.append([luma, *(np.full(shape, 128, np.uint16) for shape in shapes[1:])])
    return Clip(frames, sampling)


@pytest.mark.parametrize("sampling", [Sampling(1, 1), Sampling(0, 0), Sampling(gray=True)],
                         ids=lambda s: s.format)  # fmt: skip
def test_screens_come_back_and_need_fewer_bytes_with_their_tools(sampling: Sampling) -> None:
    from laconic.codec.video.motion.decode import decode as decode_frames
    from laconic.codec.video.motion.fit import encode

    made = screen(4, 96, 104, sampling, 23)
    plain, _ = encode(made.frames, made.layout(), 184)
    data, shown = encode(made.frames, made.layout(), 184, screens=True)

    assert len(data) < 0.8 * len(plain)
    for index, planes in decode_frames(data, made.layout(), 4, 184, 16, screens=True):
        assert np.square(planes[0].astype(float) - made.frames[index][0]).mean() < 30
        for a, b in zip(planes, shown[index], strict=True):
            assert np.array_equal(a, b)


def test_screens_and_cameras_are_told_apart() -> None:
    assert Head.unpack(fitted(screen(2, 40, 48, Sampling(1, 1), 5)))[0].screens
    assert not Head.unpack(fitted(clip(2, 40, 48, Sampling(1, 1))))[0].screens


def test_damaged_screens_end_in_an_error_or_another_check() -> None:
    made = screen(3, 40, 72, Sampling(1, 1), 9)
    payload = fitted(made, quality=70)
    check = read(payload, made).symbols_check
    rng = random.Random(5)
    for _ in range(30):
        changed = bytearray(payload)
        changed[rng.randrange(7, len(changed))] ^= 1 << rng.randrange(8)
        with contextlib.suppress(LaconicError):
            assert read(bytes(changed), made).symbols_check != check


def test_a_preset_that_buys_nothing_is_refused() -> None:
    for preset in ("medium", "slow"):
        with pytest.raises(ParameterError, match=rf"no preset '{preset}'.*leave it out"):
            FitSettings(network="motion", preset=preset)
    assert FitSettings(network="hnerv", preset="slow").preset == "slow"


def test_quality_buys_a_better_picture() -> None:
    made = clip(2, 32, 48, Sampling(1, 1))
    errors = []
    for quality in (20, 50, 90):
        decoder = read(fitted(made, quality=quality), made)
        errors.append(np.square(made.frames[1][0].astype(float) - decoder.planes(1)[0]).mean())

    assert errors[0] > errors[1] > errors[2]


def test_the_highest_quality_brings_luma_back_exactly() -> None:
    made = clip(9, 40, 48, Sampling(1, 1))
    rng = np.random.default_rng(3)
    for planes in made.frames:
        planes[0][:] = np.clip(planes[0] + rng.integers(-9, 10, planes[0].shape), 0, 255)

    decoder = read(fitted(made, quality=100), made)

    for n, planes in enumerate(made.frames):
        shown = decoder.planes(n)
        assert np.array_equal(planes[0], shown[0])
        for a, b in zip(planes[1:], shown[1:], strict=True):
            assert np.abs(a.astype(int) - b).max() <= 1


def test_fast_follows_small_parts_of_a_still_picture_at_a_low_rate() -> None:
    """A large block loses little without a residual where a few small parts of it go their own
    ways; they are followed nevertheless."""
    rng, frames = np.random.default_rng(1), []
    y, x = np.mgrid[0:64, 0:128]
    parts = [
        (rng.integers(12, 116), rng.integers(12, 52), rng.integers(-4, 5) / 2,
         rng.integers(-3, 4) / 2, rng.integers(4, 9), rng.choice([-50, 50]))
        for _ in range(7)
    ]  # fmt: skip
    for n in range(9):
        luma = np.full((64, 128), 120.0)
        for left, top, right, down, size, level in parts:
            away = np.hypot(x - left - right * n, y - top - down * n)
            luma += level * np.clip(size - away, 0, 1)
        frames.append(
            [luma.clip(0, 255).astype(np.uint16), *[np.full((32, 64), 128, np.uint16)] * 2]
        )
    made = Clip(frames, Sampling(1, 1, full=False, matrix=5))

    decoder = read(fitted(made, quality=30), made)

    lost = [
        np.square(f[0].astype(float) - decoder.planes(n)[0]).mean() for n, f in enumerate(frames)
    ]
    assert np.mean(lost[1:]) < 3 * lost[0]


def test_prefixes_are_refused_or_differ() -> None:
    made = clip(3, 48, 64, Sampling(1, 1))
    payload = fitted(made, quality=70)
    check = read(payload, made).symbols_check

    for length in range(0, len(payload), max(1, len(payload) // 25)):
        with contextlib.suppress(FormatError):
            assert read(payload[:length], made).symbols_check != check


def test_damaged_chunks_end_in_an_error_or_another_check() -> None:
    made = clip(3, 48, 64, Sampling(1, 1))
    payload = fitted(made, quality=70)
    check = read(payload, made).symbols_check
    rng = random.Random(3)
    for _ in range(30):
        changed = bytearray(payload)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        with contextlib.suppress(LaconicError):
            assert read(bytes(changed), made).symbols_check != check
    for size in (0, 9, 200):
        noise = payload[:7] + rng.randbytes(size)
        with contextlib.suppress(LaconicError):
            read(noise, made)


def test_impossible_heads_are_refused() -> None:
    made = clip(1, 16, 16, Sampling(1, 1))
    payload = fitted(made)
    for place, value, kind in ((1, 9, UnsupportedError), (2, 255, UnsupportedError),
                               (3, 200, FormatError), (4, 0, FormatError)):  # fmt: skip
        changed = bytearray(payload)
        changed[place] = value
        with pytest.raises(kind):
            read(bytes(changed), made)
    with pytest.raises(LimitError):
        decode(payload, 1000, 1 << 14, 1 << 14, Limits(cells=2**20, pixels=2**40))
    head, offset = Head.unpack(payload)
    assert Head.unpack(head.pack()) == (head, len(head.pack()))
    assert offset == len(head.pack())


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p", "gray"])
def test_planes_of_files_reach_the_codec_as_they_are(tmp_path: Path, layout: str) -> None:
    """Videos were too dark by up to 1.5 levels when planes went through RGB."""
    source = films.write(
        tmp_path / "a.mkv", films.moving(3, 40, 56, 1 if layout == "gray" else 3), layout=layout
    )
    planes = list(VideoFile(source).planes())

    video = codec.decode(codec.encode(source, quality=95, preset="fast"))

    for a, b in zip(planes, video.planes(), strict=True):
        for x, y in zip(a, b, strict=True):
            assert abs(float(x.mean()) - float(y.mean())) < 0.2
            assert np.square(x.astype(float) - y).mean() < 4
    assert VideoFile(source).scan().sampling.format == layout


def test_rgb_of_a_ramp_is_not_too_dark(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, None, :, None], (1, 16, 1, 3))
    source = films.write(tmp_path / "a.mkv", ramp, layout="yuv444p")

    shown = next(VideoFile(source).frames())

    assert abs(float((shown.astype(float) - ramp[0]).mean())) < 0.1
