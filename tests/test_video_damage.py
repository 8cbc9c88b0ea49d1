"""Videos that are none, damaged sources and damaged streams."""

import random
import sys
from pathlib import Path

import films
import numpy as np
import pytest
import stand_in

import laconic.codec.video
from laconic import codec
from laconic.codec.video.plan import HnervHeader
from laconic.formats.container import Container
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)

pytestmark = pytest.mark.usefixtures("kept_frames")
GOLDEN = Path(__file__).parent / "golden"


def chunked(length: int | None, **more: object) -> dict[str, object]:
    return {"chunk": length, **more}


def test_films_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnsupportedError, match="no video that FFmpeg reads"):
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

    coded = codec.encode(path, note=notes.append)

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
        codec.encode(path, codec="motion")


@pytest.fixture(scope="module")
def whole() -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "laconic.codec.video.chunk", stand_in)
        patch.setattr(laconic.codec.video, "chunk", stand_in, raising=False)
        return codec.encode(films.moving(20, 16, 24), codec="motion", **chunked(5))


def test_truncated_streams_are_refused_or_give_their_intact_chunks(whole: bytes) -> None:
    for length in range(0, len(whole), 97):
        with pytest.raises(FormatError):
            np.asarray(codec.decode(whole[:length]))
    cut = whole[: len(whole) * 6 // 10]

    video = codec.decode(cut, partial=True)

    assert video.notices == ["10 of 20 frames are lost"]
    assert np.array_equal(np.asarray(video), films.moving(20, 16, 24)[:10])
    with pytest.raises(FormatError, match="no chunk of the video is intact"):
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
    for more in ({"effort": 3}, chunked(0), {"preset": "eternal"}, {"model": "vgg"}):
        with pytest.raises(ParameterError):
            codec.encode(frames, codec="motion", **more)
    with pytest.raises(ParameterError, match="shape"):
        codec.encode(np.zeros((2, 8, 8, 2), np.uint8), codec="motion")
    with pytest.raises(ParameterError, match="only videos"):
        codec.decode(GOLDEN / "mlic-1" / "1x1.lac", frames=(0, 1))
