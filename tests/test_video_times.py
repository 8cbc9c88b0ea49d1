"""Times of frames, and how a video is cut into chunks."""

import contextlib
import random
import zlib
from fractions import Fraction
from math import floor
from pathlib import Path

import films
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laconic.codec.video.plan import HnervHeader
from laconic.codec.video.stream.work import plan_chunks, scene_cuts
from laconic.formats.errors import (
    FormatError,
    LaconicError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import write_varint
from laconic.formats.timing import Timing
from laconic.formats.video import VideoHeader
from laconic.formats.video_reader import VideoFile

pytestmark = pytest.mark.usefixtures("kept_frames")
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@calm
@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), min_size=1, max_size=40),
    st.integers(-(2**40), 2**40),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
)
def test_any_times_survive(
    pairs: list[tuple[int, int]], start: int, numerator: int, denominator: int
) -> None:
    stamps = np.cumsum([start, *(step for step, _ in pairs[1:])]).tolist()
    base = Fraction(numerator, denominator)
    timing = Timing(base, tuple(stamps), tuple(duration for _, duration in pairs))

    packed, chunks = VideoHeader(33, 17, timing).pack()

    assert VideoHeader.unpack(packed, chunks).timing == timing


@pytest.mark.parametrize("rate", ["25", "30", "24000/1001", "30000/1001", "60000/1001", "12.5"])
@pytest.mark.parametrize("base", ["1/1000", "1/90000", "1/12800", "1/30000"])
def test_a_constant_rate_takes_a_few_bytes_however_a_container_rounded_it(
    rate: str, base: str
) -> None:
    step = 1 / Fraction(rate) / Fraction(base)
    stamps = tuple(floor(n * step + Fraction(1, 2)) for n in range(500))
    timing = Timing(Fraction(base), stamps, (round(step),) * 500)

    packed, chunks = VideoHeader(1920, 1080, timing).pack()

    assert len(packed) <= 24
    assert chunks == []
    assert timing.rate == Fraction(rate)


def test_frames_are_found_by_time() -> None:
    timing = Timing(Fraction(1, 1000), (500, 540, 700), (40, 160, 40))

    assert [timing.at(s) for s in (0, 0.0399, 0.04, 0.19, 0.2, 0.2399)] == [0, 0, 1, 1, 2, 2]
    for outside in (-0.001, Fraction(24, 100)):
        with pytest.raises(ParameterError, match="outside the video"):
            timing.at(outside)


def test_damaged_film_headers_are_refused() -> None:
    timing = Timing(Fraction(1, 1000), (0, 40, 95, 100), (40, 55, 5, 9))
    packed, chunks = VideoHeader(
        33, 17, timing, gray=True, turns=1, color=(9, 16, 9, 2), aspect=(4, 3), tracks=2
    ).pack()
    assert len(chunks) == 1
    for length in range(len(packed)):
        with pytest.raises((FormatError, UnsupportedError)):
            VideoHeader.unpack(packed[:length], chunks)
    with pytest.raises(FormatError, match="missing"):
        VideoHeader.unpack(packed, [])
    rng = random.Random(5)
    for _ in range(2000):
        mutant = bytearray(packed)
        mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
        listed = bytearray(chunks[0].data)
        listed[rng.randrange(len(listed))] ^= 1 << rng.randrange(8)
        with contextlib.suppress(LaconicError):
            VideoHeader.unpack(bytes(mutant), [type(chunks[0])(b"TIME", bytes(listed))])
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bomb.compress(bytes(10**7)) + bomb.flush()
    with pytest.raises(FormatError):
        VideoHeader.unpack(packed, [type(chunks[0])(b"TIME", data)])


def test_claims_beyond_the_limits_are_refused_before_anything_is_made() -> None:
    timing = Timing(Fraction(1, 25), tuple(range(100)), (1,) * 100)
    packed, chunks = VideoHeader(5000, 4000, timing).pack()

    with pytest.raises(LimitError, match="5000 x 4000"):
        VideoHeader.unpack(packed, chunks, Limits(pixels=10**7))
    with pytest.raises(LimitError, match="number of frames is 100"):
        VideoHeader.unpack(packed, chunks, Limits(frames=99))


def test_a_header_that_claims_millions_of_frames_takes_no_memory() -> None:
    import tracemalloc

    short, chunks = VideoHeader(8, 8, Timing(Fraction(1, 25), (0, 1), (1, 1))).pack()
    claims = short.replace(b"\x08\x08\x02", b"\x08\x08" + write_varint(2**24))
    tracemalloc.start()
    try:
        header = VideoHeader.unpack(claims, chunks)
        assert header.frames == 2**24
        assert header.timing.rate == 25
        assert header.timing.at(400000) == 10**7
        assert header.timing.durations[-1] == 1
        assert tracemalloc.get_traced_memory()[1] < 10**5
    finally:
        tracemalloc.stop()


@calm
@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_lists_of_chunks_survive(lengths: list[int]) -> None:
    header = HnervHeader("hnerv", tuple(lengths))

    assert HnervHeader.unpack(header.pack()) == header


def test_impossible_lists_of_chunks_are_refused() -> None:
    for data in (
        b"",
        b"\x01",
        b"\x01\x05",
        b"\x01\x00\x01",
        b"\x01\x05\x00",
        b"\x01\x05\x01\x05\x01",
    ):
        with pytest.raises(FormatError):
            HnervHeader.unpack(data)
    with pytest.raises(UnsupportedError, match="network 77"):
        HnervHeader.unpack(b"\x4d\x05\x01")
    with pytest.raises(LimitError):
        HnervHeader.unpack(b"\x01\x01\xff\xff\xff\xff\x0f")


def test_chunks_end_at_scene_cuts_where_that_leaves_enough_frames() -> None:
    changes = np.full(300, 4.0, np.float32)
    changes[[0]] = 0
    changes[[20, 110, 117, 290]] = 60

    spans = plan_chunks(changes, 160)

    assert scene_cuts(changes) == [20, 110, 117, 290]
    assert [s.first for s in spans] == [0, 110, 205]
    assert [s.fresh for s in spans] == [True, True, False]
    assert sum(s.count for s in spans) == 300
    assert [s.count for s in plan_chunks(changes, 7, fixed=True)][-2:] == [7, 6]


@calm
@given(st.integers(1, 500), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_spans_cover_every_frame_once(total: int, longest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    changes = rng.exponential(6, total) + 70 * (rng.random(total) < 0.02)

    spans = plan_chunks(changes, longest)

    assert [n for s in spans for n in range(s.first, s.first + s.count)] == list(range(total))
    assert max(s.count for s in spans) <= longest


def test_a_real_cut_is_found(tmp_path: Path) -> None:
    two = np.concatenate([films.moving(60, 36, 64), 255 - films.moving(60, 36, 64, seed=4) // 2])
    film = VideoFile(films.write(tmp_path / "cut.mkv", two))

    assert scene_cuts(film.scan().changes) == [60]
