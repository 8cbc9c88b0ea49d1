"""The stream around the chunks of a film: times, sound, chunks, work files, damage.

Fitting is replaced by one that keeps frames exactly (``stand_in.py``); the networks are tested in
files of their own.
"""

import contextlib
import io
import random
import sys
import zlib
from fractions import Fraction
from math import floor
from pathlib import Path

import films
import numpy as np
import pytest
import stand_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import laconic.codec.video
from laconic import codec
from laconic.codec.base import FilmSettings
from laconic.codec.video.header import HnervHeader
from laconic.codec.video.stream import fitting
from laconic.codec.video.stream.cuts import plan_chunks, scene_cuts
from laconic.codec.video.stream.work import Fitted, Work, load
from laconic.formats.container import Container
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    LaconicError,
    LimitError,
    OutputError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.limits import Limits
from laconic.formats.sound_track import Sound, take_sound
from laconic.formats.timing import Timing
from laconic.formats.varint import write_varint
from laconic.formats.video_header import VideoHeader
from laconic.formats.video_reader import FilmFile

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def kept_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks keep their frames."""
    monkeypatch.setitem(sys.modules, "laconic.codec.video.chunk", stand_in)
    monkeypatch.setattr(laconic.codec.video, "chunk", stand_in, raising=False)
    stand_in.calls.clear()
    stand_in.pause.seconds, stand_in.pause.at_step = 0.0, None


def chunked(length: int | None, **more: object) -> FilmSettings:
    return FilmSettings(chunk=length, **more)  # type: ignore[arg-type]


# Times


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
        with pytest.raises(ParameterError, match="outside the film"):
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


# Chunks


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
    film = FilmFile(films.write(tmp_path / "cut.mkv", two))

    assert scene_cuts(film.scan().changes) == [60]


# Round trips


@pytest.mark.parametrize("size", [(48, 64), (37, 51), (1, 1), (18, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_come_back_in_order_and_exactly(size: tuple[int, int], channels: int) -> None:
    frames = films.moving(11, *size, channels)

    data = codec.encode(frames, codec="hnerv", film=chunked(4))
    video = codec.decode(data)

    assert np.array_equal(np.asarray(video), frames)
    assert (len(video), video.height, video.width, video.channels) == (11, *size, channels)
    assert codec.probe(data).settings["chunks"] == 3
    report = codec.verify(data)
    assert (report.segments, report.symbols) == (3, 3 * frames.size // channels)


def test_variable_frame_times_are_exact(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 200, 233, 266, 1000]
    path = films.write(tmp_path / "vfr.mkv", films.moving(7, 32, 48), stamps=stamps)

    video = codec.decode(codec.encode(path, film=chunked(3)))

    assert [round(1000 * t) for t in video.timestamps] == stamps
    assert video.timing.base == Fraction(1, 1000)
    assert np.array_equal(video.at(0.21), video[3])
    assert np.array_equal(video.at(0.999), video[5])
    with pytest.raises(ParameterError, match="outside the film"):
        video.at(2)


def test_what_a_source_says_of_its_frames_is_kept(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "tagged.mp4",
        films.moving(3, 32, 48),
        codec="libx264",
        layout="yuv420p",
        tags=(9, 16, 9, 1),
        aspect=Fraction(4, 3),
        rotation=90,
        base=Fraction(1, 12800),
    )

    video = codec.decode(codec.encode(path))

    assert video.header.color == (9, 16, 9, 1)
    assert video.header.aspect == (4, 3)
    assert (video.width, video.height) == (32, 48)  # upright
    assert video[0].shape == (48, 32, 3)
    assert np.array_equal(np.rot90(next(video.stored())), video[0])
    assert video.timing.base == Fraction(1, 12800)


def test_gray_films_are_gray_again(tmp_path: Path) -> None:
    frames = films.moving(5, 31, 33, 1)
    path = films.write(tmp_path / "gray.mkv", frames, layout="gray")

    video = codec.decode(codec.encode(path))

    assert np.array_equal(np.asarray(video), frames)


def test_films_without_usable_times_get_a_rate(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "raw.h264", films.moving(9, 32, 32), codec="libx264", layout="yuv420p"
    )
    notes: list[str] = []

    video = codec.decode(codec.encode(path, codec="hnerv", film=FilmSettings(note=notes.append)))

    assert video.rate == 25
    assert video.timestamps == [n / 25 for n in range(9)]
    assert notes == ["the film has no usable time stamps: it gets 25 frames a second"]


def test_ten_bits_and_transparency_are_reported(tmp_path: Path) -> None:
    path = films.write(tmp_path / "deep.mkv", films.moving(3, 32, 32), layout="yuv444p10le")
    notes: list[str] = []

    codec.encode(path, film=FilmSettings(note=notes.append))

    assert notes == ["the samples (yuv444p10le) are coded with 8 bits"]


def test_films_are_sequences(tmp_path: Path) -> None:
    frames = films.moving(20, 16, 24)
    path = tmp_path / "clip.lac"
    path.write_bytes(codec.encode(frames, codec="hnerv", film=chunked(8)))

    with codec.open(path) as video:
        assert len(video) == 20
        assert np.array_equal(video[12], frames[12])
        assert np.array_equal(video[-1], frames[-1])
        assert np.array_equal(np.asarray(video[5:11]), frames[5:11])
        assert np.array_equal(np.asarray(video[18:2:-5]), frames[18:2:-5])
        assert np.array_equal(np.asarray(video[::3][2:4]), frames[::3][2:4])
        assert [f.shape for f in video[7:9]] == [(16, 24, 3)] * 2
        assert video.rate == 25
        assert video[5:7].timestamps == [0.2, 0.24]
        assert video.info.settings["frames"] == 20
        with pytest.raises(IndexError):
            video[20]


class Counting(io.BytesIO):
    """Bytes that know how many of them were read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_ten_frames_read_and_decode_only_their_chunk() -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (60, 24, 32, 3), np.uint8)  # takes as many bytes as it has
    data = codec.encode(frames, codec="hnerv", film=chunked(20))
    stand_in.calls.clear()
    file = Counting(data)

    video = codec.decode(file, frames=(25, 35))

    assert np.array_equal(np.asarray(video), frames[25:35])
    assert stand_in.calls == [("decode", 20)]
    assert file.taken < len(data) / 2
    with pytest.raises(ParameterError, match="frames 60:70 of 60"):
        codec.decode(data, frames=(60, 70))


def test_going_through_a_film_decodes_each_chunk_once_and_keeps_two() -> None:
    frames = films.moving(40, 8, 8)
    data = codec.encode(frames, codec="hnerv", film=chunked(5))
    stand_in.calls.clear()

    video = codec.decode(data)
    for frame, original in zip(video, frames, strict=True):
        assert np.array_equal(frame, original)

    assert stand_in.calls == [("decode", 5)] * 8
    assert len(video._file._decoders) == 2


# Sound


@pytest.mark.parametrize(
    ("name", "audio"),
    [("a.mp4", ("aac",)), ("o.mkv", ("libopus",)), ("p.mov", ("pcm_s16le",)),
     ("o.mp4", ("libopus",)), ("two.mkv", ("aac", "libopus"))],
)  # fmt: skip
def test_packets_of_sound_are_untouched(tmp_path: Path, name: str, audio: tuple[str, ...]) -> None:
    path = films.write(
        tmp_path / name, films.moving(10, 32, 32), codec="libx264", layout="yuv420p", audio=audio
    )

    video = codec.decode(codec.encode(path))
    sound = video.audio

    assert codec.probe(codec.encode(path)).settings["audio tracks"] == len(audio)
    for number, track in enumerate(sound.tracks):
        original = films.packets(path, number)
        kept = [p.data for p in sound if p.track == number]
        assert kept == [data for data, _, _ in original]
        assert [s * track.base for s in track.starts] == [start for _, start, _ in original]
        assert [d * track.base for d in track.durations] == [d for _, _, d in original]
        assert sound.audio(number).samples.shape[0] == 2


def test_sound_longer_than_a_part_is_split_and_read_in_pieces(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "long.mov", films.moving(2, 16, 16), codec="libx264", layout="yuv420p",
        stamps=[0, 12000], audio=("pcm_s16le",),
    )  # fmt: skip
    data = codec.encode(path)

    video = codec.decode(data)

    original = films.packets(path)
    assert sum(len(d) for d, _, _ in original) > 2**21
    assert len(Container.from_bytes(data).segments) == 4
    assert [p.data for p in video.audio] == [d for d, _, _ in original]
    some = list(video.audio.between(Fraction(5), Fraction(6)))
    assert 45 < len(some) < 50


def test_damaged_tables_of_sound_are_refused(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "a.mp4", films.moving(10, 32, 32), codec="libx264", layout="yuv420p",
        audio=("aac",),
    )  # fmt: skip
    blob, _, _ = take_sound(str(path))
    data = blob.read()

    def parse(data: bytes) -> Sound:
        return Sound.parse(len(data), lambda offset, size: data[offset : offset + size])

    assert parse(data).packets > 10
    rng = random.Random(3)
    for _ in range(500):
        mutant = bytearray(data)
        mutant[rng.randrange(200)] ^= 1 << rng.randrange(8)
        with contextlib.suppress(LaconicError):
            parse(bytes(mutant))
    for length in range(300):
        with pytest.raises(FormatError):
            parse(data[:length])


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "a.mp4", films.moving(3, 32, 32), codec="libx264", layout="yuv420p",
        audio=("aac",),
    )  # fmt: skip

    video = codec.decode(codec.encode(path, film=FilmSettings(audio=False)))

    assert video.audio is None


# Target sizes


def test_a_target_leaves_room_for_sound_and_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.write(
        tmp_path / "a.mp4", films.moving(20, 32, 32), codec="libx264", layout="yuv420p",
        audio=("aac",),
    )  # fmt: skip
    monkeypatch.setattr(stand_in.Fit, "payload", lambda self: bytes(self.settings.target_bytes))
    monkeypatch.setattr(
        stand_in,
        "decode",
        lambda _, n, w, h, limits: stand_in.Decoder(np.zeros((n, h, w, 3), np.uint8)),
    )

    data = codec.encode(path, target_bytes=30000, film=chunked(6))
    assert 29900 <= len(data) <= 30000
    by_bpp = codec.encode(path, bpp=10, film=chunked(6))
    assert 0.99 * 25600 <= len(by_bpp) <= 25600
    with pytest.raises(ParameterError, match="of which the sound takes"):
        codec.encode(path, target_bytes=4000)


# Chains and work files


def test_chunks_start_from_the_one_before_unless_a_scene_begins(tmp_path: Path) -> None:
    codec.encode(films.moving(12, 16, 16), codec="hnerv", film=chunked(4))

    assert [c for c in stand_in.calls if c[0] != "decode"] == [("fit", 4), ("warm", 4), ("warm", 4)]


def interrupted(path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encode until the second chunk was saved in the middle, then die."""
    saves = []

    def save(self: Work) -> None:
        original(self)
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    original = Work.save
    stand_in.pause.at_step = None
    monkeypatch.setattr(Work, "save", save)
    run = stand_in.Fit.run

    def half(self: stand_in.Fit, *arguments: object, **more: object) -> bool:
        if stand_in.calls.count(("warm", 4)) == 1 and self.step == 0:
            stand_in.pause.at_step = 7
        return run(self, *arguments, **more)

    monkeypatch.setattr(stand_in.Fit, "run", half)
    with pytest.raises(KeyboardInterrupt):
        codec.encode(path, film=chunked(4, work=str(work)))
    monkeypatch.setattr(Work, "save", original)
    monkeypatch.setattr(stand_in.Fit, "run", run)
    stand_in.pause.at_step = None


def test_a_killed_encoder_goes_on_from_its_work_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(11, 16, 16))
    work = tmp_path / "clip.lac.work"
    interrupted(path, work, monkeypatch)
    saved = load(work)
    assert [*saved.done] == [0]
    assert saved.states[1]["step"] == 7
    stand_in.calls.clear()
    notes: list[str] = []

    data = codec.encode(path, film=chunked(4, work=str(work), note=notes.append))

    assert [c for c in stand_in.calls if c[0] != "decode"] == [("resume", 4), ("warm", 3)]
    assert np.array_equal(np.asarray(codec.decode(data)), films.moving(11, 16, 16))
    assert not work.exists()
    assert notes == [f"going on from {work}: 1 of 3 chunks are fitted"]


def test_a_work_file_of_something_else_is_never_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(11, 16, 16))
    other = films.write(tmp_path / "other.mkv", films.moving(11, 16, 16, seed=3))
    work = tmp_path / "clip.lac.work"
    interrupted(path, work, monkeypatch)
    before = work.read_bytes()

    for source, more in ((other, {}), (path, {"quality": 70}), (path, {"preset": "slow"})):
        with pytest.raises(ParameterError, match="another film or with other settings"):
            codec.encode(source, film=chunked(4, work=str(work)), **more)
    with pytest.raises(ParameterError, match="another film or with other settings"):
        codec.encode(path, film=chunked(5, work=str(work)))
    assert work.read_bytes() == before
    notes: list[str] = []
    codec.encode(other, film=chunked(4, work=str(work), fresh=True, note=notes.append))
    assert "it is replaced" in notes[0]
    assert not work.exists()
    work.write_bytes(b"something else")
    with pytest.raises(ParameterError, match="is no work file"):
        codec.encode(path, film=chunked(4, work=str(work)))


def test_work_files_keep_nested_states(tmp_path: Path) -> None:
    import torch

    state = {
        "step": 3,
        "rate": 0.5,
        "name": "x",
        "none": None,
        "order": [3, 1],
        "pair": (1, {"a": np.arange(3.0)}),
        "weights": {"w": torch.ones(2, 2, dtype=torch.bfloat16)},
    }
    work = Work("key", tmp_path / "w", {0: Fitted(b"abc", 7, (30.0, 31.0))}, {1: state}, state, 0)
    work.save()

    found = load(tmp_path / "w")

    assert (found.key, found.done, found.warm_of) == ("key", work.done, 0)
    back = found.states[1]
    assert [back[k] for k in ("step", "rate", "name", "none", "order")] == [
        3,
        0.5,
        "x",
        None,
        [3, 1],
    ]
    assert np.array_equal(back["pair"][1]["a"], np.arange(3.0))
    assert back["weights"]["w"].dtype == torch.bfloat16
    rng = random.Random(1)
    data = (tmp_path / "w").read_bytes()
    for _ in range(200):
        mutant = bytearray(data)
        mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
        (tmp_path / "m").write_bytes(mutant[: rng.randrange(len(mutant) + 1)])
        with contextlib.suppress(FormatError):
            load(tmp_path / "m")


def test_a_full_disk_stops_fitting_and_keeps_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource
    import signal

    path = films.write(tmp_path / "clip.mkv", films.moving(11, 16, 16))
    work = tmp_path / "clip.lac.work"
    interrupted(path, work, monkeypatch)
    before = work.read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="what was saved before is kept: make room"):
            codec.encode(path, film=chunked(4, work=str(work)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert work.read_bytes() == before
    codec.encode(path, film=chunked(4, work=str(work)))


def test_a_stop_writes_every_frame_and_keeps_the_work(tmp_path: Path) -> None:
    import os
    import signal

    path = films.write(tmp_path / "clip.mkv", films.moving(12, 16, 16))
    work = tmp_path / "clip.lac.work"
    notes: list[str] = []

    def interrupt(done: int, total: int) -> None:
        if 0.4 < done / total < 0.5 and not hit:
            hit.append(done)
            os.kill(os.getpid(), signal.SIGINT)

    hit: list[int] = []
    stand_in.pause.seconds = 0.21  # the bar is drawn five times a second
    data = codec.encode(
        path, film=chunked(4, work=str(work), note=notes.append), progress=interrupt
    )

    assert np.array_equal(np.asarray(codec.decode(data)), films.moving(12, 16, 16))
    assert work.exists()
    assert "stopped early" in notes[-1]
    saved = load(work)
    assert [*saved.done] == [0]
    assert [*saved.states] == [1]


def test_a_stop_with_too_much_left_refuses_and_keeps_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(12, 16, 16))
    work = tmp_path / "clip.lac.work"
    monkeypatch.setattr(fitting, "BRIEF_CHUNKS", 1)
    notes: list[str] = []

    def stop_at_once(self: object) -> bool:
        return True

    monkeypatch.setattr("laconic.codec.video.stream.stopping.Stopper.__call__", stop_at_once)
    with pytest.raises(KeyboardInterrupt):
        codec.encode(path, film=chunked(4, work=str(work), note=notes.append))

    assert notes == [f"the same command goes on from {work}"]


# Bad input


def test_films_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(UnsupportedError, match="no film that FFmpeg reads"):
        codec.encode(tmp_path / "text.mp4")
    with pytest.raises(FileNotFoundError):
        codec.encode(tmp_path / "none.mp4")
    import av

    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        films._sing(container, films._track(container, "aac"), 0.2)
    with pytest.raises(UnsupportedError, match="no video track"):
        codec.encode(tmp_path / "sound.mp4")


def test_a_film_without_frames(tmp_path: Path) -> None:
    path = films.write(tmp_path / "a.mkv", films.moving(5, 32, 32))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster

    with pytest.raises(UnsupportedError, match="damaged at its beginning"):
        codec.encode(path)
    (tmp_path / "b.y4m").write_bytes(b"YUV4MPEG2 W32 H32 F25:1 Ip A1:1 C420jpeg\n")
    with pytest.raises(FormatError, match="it has no frames"):
        codec.encode(tmp_path / "b.y4m")


def test_damage_in_the_middle_is_reported_and_the_rest_encoded(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "a.mkv", films.moving(30, 64, 64), codec="libx264", layout="yuv420p",
        options={"g": "5"},
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    rng = random.Random(2)
    for at in rng.sample(range(len(data) // 2, len(data) * 3 // 4), 60):
        data[at] ^= 0xFF
    path.write_bytes(data)
    notes: list[str] = []

    coded = codec.encode(path, film=FilmSettings(note=notes.append))

    assert any("damaged in" in n for n in notes)
    assert len(codec.decode(coded)) >= 10


def test_absurd_sizes_are_refused_from_the_header(tmp_path: Path) -> None:
    path = films.write(tmp_path / "a.mkv", films.moving(2, 64, 64))

    with pytest.raises(LimitError, match="64 x 64"):
        codec.encode(path, limits=Limits(pixels=1000))
    with pytest.raises(LimitError, match="number of frames"):
        codec.encode(path, limits=Limits(frames=1))


def test_sizes_that_change_are_refused(tmp_path: Path) -> None:
    parts = [
        films.write(
            tmp_path / f"{n}.h264", films.moving(3, n, n), codec="libx264", layout="yuv420p"
        )
        for n in (32, 64)
    ]
    path = tmp_path / "joined.h264"
    path.write_bytes(b"".join(p.read_bytes() for p in parts))

    with pytest.raises(UnsupportedError, match="change from 32 x 32 to 64 x 64"):
        codec.encode(path, codec="hnerv")


@pytest.fixture(scope="module")
def whole() -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "laconic.codec.video.chunk", stand_in)
        patch.setattr(laconic.codec.video, "chunk", stand_in, raising=False)
        return codec.encode(films.moving(20, 16, 24), codec="hnerv", film=chunked(5))


def test_truncated_streams_are_refused_or_give_their_intact_chunks(whole: bytes) -> None:
    for length in range(0, len(whole), 97):
        with pytest.raises(FormatError):
            np.asarray(codec.decode(whole[:length]))
    cut = whole[: len(whole) * 6 // 10]

    video = codec.decode(cut, partial=True)

    assert video.notices == ["10 of 20 frames are lost"]
    assert np.array_equal(np.asarray(video), films.moving(20, 16, 24)[:10])
    with pytest.raises(FormatError, match="no chunk of the film is intact"):
        codec.decode(whole[:80], partial=True)


def test_a_damaged_chunk_in_the_middle_is_left_out(whole: bytes) -> None:
    damaged = bytearray(whole)
    damaged[len(whole) * 4 // 10] ^= 1

    with pytest.raises(FormatError, match="segment 1 is damaged"):
        np.asarray(codec.decode(bytes(damaged)))
    video = codec.decode(bytes(damaged), partial=True)

    assert list(video.indexes) == [*range(5), *range(10, 20)]
    assert [round(25 * t) for t in video.timestamps] == list(video.indexes)


def test_wrong_symbols_are_noticed(whole: bytes) -> None:
    container = Container.from_bytes(whole)
    wrong = [type(s)(s.payload, s.check ^ 1) for s in container.segments]
    data = Container(container.header, wrong, container.chunks).to_bytes()

    with pytest.raises(DesyncError, match="chunk 0"):
        codec.decode(data)[0]
    with pytest.raises(DesyncError):
        codec.verify(data)


def test_newer_versions_are_refused(whole: bytes) -> None:
    container = Container.from_bytes(whole)
    fields = container.header.__dict__
    for change, words in (
        ({"codec_version": 2}, "codec version 2"),
        ({"numerics": 9}, "profile 9"),
    ):
        header = type(container.header)(**{**fields, **change})
        data = Container(header, container.segments, container.chunks).to_bytes()
        with pytest.raises(UnsupportedError, match=words):
            codec.decode(data)
    newer = bytearray(whole)
    newer[6] = 0x23
    with pytest.raises(UnsupportedError, match="format version 2"):
        codec.decode(bytes(newer))


def test_headers_that_contradict_each_other_are_refused(whole: bytes) -> None:
    container = Container.from_bytes(whole)
    fields = container.header.__dict__
    header = type(container.header)(
        **{**fields, "codec_header": HnervHeader("hnerv", (5, 5)).pack()}
    )
    with pytest.raises(FormatError, match="chunks hold 10 frames"):
        codec.decode(Container(header, container.segments[:2]).to_bytes())
    with pytest.raises(FormatError, match="3 segments but the header announces 4"):
        codec.decode(Container(container.header, container.segments[:3]).to_bytes())


def test_contradictory_settings_are_refused() -> None:
    frames = films.moving(2, 8, 8)
    for more in ({"effort": 3}, {"film": chunked(0)}, {"preset": "eternal"}, {"model": "vgg"}):
        with pytest.raises(ParameterError):
            codec.encode(frames, codec="hnerv", **more)
    with pytest.raises(ParameterError, match="shape"):
        codec.encode(np.zeros((2, 8, 8, 2), np.uint8), codec="hnerv")
    with pytest.raises(ParameterError, match="no film"):
        codec.decode(GOLDEN / "mlic-1" / "1x1.lac", frames=(0, 1))
