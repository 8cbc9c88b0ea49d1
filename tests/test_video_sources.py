"""What people have instead of a plain video: images, animations, and videos with more in them.

Fitting is replaced by one that keeps frames exactly (``stand_in.py``).
"""

import io
import re
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import films
import numpy as np
import pytest
from PIL import Image as Pillow
from test_cli import code_of, message_of, run

from laconic import codec
from laconic.codec.video.settings import FitSettings, expected_seconds
from laconic.formats.container import Chunk
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.video_extras import (
    MOST_CHAPTERS,
    Chapter,
    Light,
    pack_extras,
    unpack_extras,
)
from laconic.formats.video_images import VideoArray, VideoImages
from laconic.formats.video_reader import VideoFile

pytestmark = pytest.mark.usefixtures("kept_frames")


def numbered(folder: Path, frames: np.ndarray) -> Path:
    """Images 8.png, 9.png, 10.png, .. whose names do not sort by their letters."""
    folder.mkdir()
    for n, frame in enumerate(frames, 8):
        Pillow.fromarray(frame).save(folder / f"shot {n}.png")
    return folder


def notes_of(source: Path) -> list[str]:
    return VideoFile(source).scan().notices


def test_a_folder_of_numbered_pictures_is_a_film(tmp_path: Path) -> None:
    frames = films.moving(4, 32, 34)
    folder = numbered(tmp_path / "shots", frames)

    done = run("encode", folder, "--codec", "motion", "--fps", 29.97)

    assert code_of(done) == 0, message_of(done)
    video = codec.decode(tmp_path / "shots.lac")
    assert np.array_equal(np.asarray(video), frames)
    assert video.rate == Fraction(30000, 1001)
    assert codec.decode(codec.encode(folder, codec="motion")).rate == 25


def test_pictures_that_were_decoded_keep_their_times(tmp_path: Path) -> None:
    path = films.write(tmp_path / "a.mkv", films.moving(3, 32, 32), stamps=[0, 40, 200])
    run("encode", path)
    run("decode", tmp_path / "a.lac", "-o", tmp_path / "pictures")

    video = codec.decode(codec.encode(tmp_path / "pictures", codec="motion"))

    assert video.timestamps == [0, 0.04, 0.2]
    (tmp_path / "pictures" / "timestamps.txt").write_text("0\nnan\n")
    assert VideoImages(tmp_path / "pictures").scan().header.timing.rate == 25


def test_pictures_of_two_sizes_and_a_rate_for_a_film_are_refused(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "shots", films.moving(2, 32, 32))
    Pillow.fromarray(films.moving(1, 32, 40)[0]).save(folder / "shot 11.png")
    path = films.write(tmp_path / "a.mkv", films.moving(2, 16, 16))

    with pytest.raises(UnsupportedError, match="change from 32 x 32 to 40 x 32 at frame 3"):
        codec.encode(folder, codec="motion")
    with pytest.raises(ParameterError, match="has times of its own"):
        codec.encode(path, fps=30)
    assert code_of(run("encode", path, "--fps", 0)) == 2


def test_deep_and_transparent_pictures_are_noted(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    Pillow.fromarray(np.full((16, 16), 515, np.uint16)).save(folder / "1.png")
    Pillow.fromarray(np.full((16, 16, 4), 99, np.uint8)).save(folder / "2.png")

    film = VideoImages(folder)

    notes = film.scan().notices
    assert notes == ["the samples are coded with 8 bits", "transparency is left out"]
    assert [int(frame[0, 0, 0]) for frame in film.frames()] == [2, 99]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_animations_are_films(tmp_path: Path, name: str) -> None:
    levels = [30, 90, 200]
    pictures = [Pillow.new("RGB", (32, 32), (v, v, v)) for v in levels]
    path = tmp_path / name
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[80, 120, 200],
                     lossless=True)  # fmt: skip

    for source in (path, path.read_bytes()):
        notes: list[str] = []
        video = codec.decode(codec.encode(source, codec="motion", note=notes.append))

        assert np.asarray(video)[:, 5, 5].tolist() == [[v] * 3 for v in levels]
        assert video.timestamps == [0, 0.08, 0.2]
        assert video.timing.seconds == 0.4
        assert notes == []
    assert "--codec motion" in message_of(run("encode", path))


def test_a_damaged_animation_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pictures = [Pillow.fromarray(f) for f in films.moving(3, 32, 32)]
    pictures[0].save(buffer, "webp", save_all=True, append_images=pictures[1:])
    whole = buffer.getvalue()

    for length in (16, len(whole) // 2, len(whole) - 30):
        with pytest.raises((FormatError, UnsupportedError)):
            VideoImages(whole[:length]).scan()


def with_chapters(path: Path, plain: Path, words: Path | None = None) -> Path:
    """``plain`` with two chapters, and subtitles."""
    with ExitStack() as stack:
        film, out = (
            stack.enter_context(av.open(str(p), m)) for p, m in ((plain, "r"), (path, "w"))
        )
        sources = [(film, film.streams.video[0])]
        if words is not None:
            titles = stack.enter_context(av.open(str(words)))
            sources.append((titles, titles.streams.subtitles[0]))
        streams = [(out.add_stream_from_template(s), c.demux(s)) for c, s in sources]
        if words is not None:
            streams[1][0].metadata["language"] = "deu"
        out.set_chapters(
            [{"id": n, "start": start, "end": end, "time_base": Fraction(1, 1000),
              "metadata": {"title": title} if title else {}}
             for n, (start, end, title) in enumerate(CHAPTERS, 1)]
        )  # fmt: skip
        for stream, packets in streams:
            for packet in packets:
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    return path


CHAPTERS = [(0, 80, "Größe"), (80, 160, "")]


def chapters_in(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]),
             c["metadata"].get("title", ""))
            for c in container.chapters()
        ]  # fmt: skip


@pytest.mark.parametrize("chunk", [2, 4])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "webm"])
def test_chapters_are_carried_and_subtitles_are_named(
    tmp_path: Path, suffix: str, chunk: int
) -> None:
    plain = films.write(tmp_path / "plain.mkv", films.moving(4, 16, 16))
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:00,040\nGuten Tag\n\n")
    path = with_chapters(tmp_path / "more.mkv", plain, words)
    lac, back = tmp_path / "more.lac", tmp_path / f"back.{suffix}"

    done = run("encode", path, "--codec", "motion", "--chunk", chunk)
    again = run("decode", lac, "-o", back)

    assert "1 subtitle track (deu) are left out" in done.stderr
    assert "chapters are" not in done.stderr + again.stderr
    assert chapters_in(back) == [(0, 0.08, "Größe"), (0.08, 0.16, "")]
    assert "chapters" in run("info", lac).stdout
    assert notes_of(plain) == []
    run("decode", lac, "--frames", "3:4", "-o", tmp_path / f"part.{suffix}")
    assert chapters_in(tmp_path / f"part.{suffix}") == [(0, 0.04, "")]
    for name in ("a.y4m", "images"):
        assert "no chapters" in run("decode", lac, "-o", tmp_path / name).stderr


def test_damaged_chapters_and_hdr_are_refused() -> None:
    good = pack_extras([Chapter(5, 9, "a"), Chapter(9, 9)], Light((1,) * 8, 2, 1, 3, 4))

    assert unpack_extras(good) == (
        (Chapter(5, 9, "a"), Chapter(9, 9)), Light((1,) * 8, 2, 1, 3, 4)
    )  # fmt: skip
    for chunk in good:
        for length in range(1, len(chunk.data)):
            try:
                unpack_extras([Chunk(chunk.type, chunk.data[:length])])
            except FormatError:
                continue
            assert chunk.data[length - 1 : length] == b"\0"  # between two chapters
    with pytest.raises(FormatError, match="no text"):
        unpack_extras([Chunk(b"cHAp", b"\1\1\xff\0")])


def test_more_chapters_than_a_file_may_have_are_refused_before_they_fill_the_memory() -> None:
    most = b"\0\0\0" * MOST_CHAPTERS

    assert len(unpack_extras([Chunk(b"cHAp", most)])[0]) == MOST_CHAPTERS
    with pytest.raises(FormatError, match="more than 100,000 chapters"):
        unpack_extras([Chunk(b"cHAp", most + b"\0\0\0")])
    with pytest.raises(FormatError, match="at most 100,000"):
        pack_extras([Chapter(0, 1)] * (MOST_CHAPTERS + 1), None)


def test_interlaced_films_are_noted(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "a.mp4", films.moving(2, 32, 32), codec="libx264", layout="yuv420p",
        options={"flags": "+ilme+ildct", "x264-params": "tff=1:log-level=none"},
    )  # fmt: skip

    (note,) = notes_of(path)

    assert "interlaced" in note


def test_hdr10_keeps_its_colours_and_what_displays_are_told(tmp_path: Path) -> None:
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    settings = ("log-level=none", "bframes=0", "frame-threads=1", f"master-display={master}",
                "max-cll=1000,400")  # fmt: skip
    path = films.write(
        tmp_path / "a.mkv", films.moving(2, 32, 32), codec="libx265", layout="yuv420p10le",
        tags=(9, 16, 9, 1), options={"x265-params": ":".join(settings)},
    )  # fmt: skip

    scan = VideoFile(path).scan()
    run("encode", path, "--codec", "motion")
    told = [run("decode", tmp_path / "a.lac", "-o", tmp_path / f"b.{x}") for x in ("mp4", "mkv")]

    assert scan.header.color == (9, 16, 9, 1)
    assert scan.sampling.depth == 10
    assert scan.notices == ["the samples (yuv420p10le) are decoded to 8 bits"]
    light = scan.header.light
    assert light is not None
    assert light.primaries == (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)
    assert (light.highest, light.lowest) == (10000000, 1)
    assert (light.content, light.average) == (1000, 400)
    back = VideoFile(tmp_path / "b.mp4").scan().header
    assert (back.light, back.color[:3]) == (light, (9, 16, 9))
    assert "HDR" not in told[0].stderr
    assert "choose .mp4" in told[1].stderr


def test_transparency_is_noted_where_there_is_some(tmp_path: Path) -> None:
    films.write(tmp_path / "vp9.webm", films.moving(2, 32, 32), codec="libvpx-vp9",
                layout="yuva420p")  # fmt: skip
    films.write(tmp_path / "opaque.mkv", films.moving(2, 32, 32), layout="bgra")

    assert notes_of(tmp_path / "vp9.webm") == ["transparency is left out"]
    assert notes_of(tmp_path / "opaque.mkv") == []


def test_the_time_is_said_before_work_begins_and_long_films_are_encoded_fast() -> None:
    """What is fitted here takes no time; the estimate is that of the codec that was asked for."""
    short, long = films.moving(2, 16, 16), np.zeros((2, 400, 512, 1), np.uint8)
    said: list[str] = []

    codec.encode(short, codec="hnerv", note=said.append)
    assert said == []
    codec.encode(long, codec="hnerv", note=said.append)
    codec.encode(long, codec="hnerv", preset="medium", note=said.append)

    assert re.fullmatch(
        r"preset fast takes about \d minutes on a slow core, where medium would take \d\d minutes",
        said[0],
    )
    assert said[1:] == ["preset medium takes about 32 minutes on a slow core"]


def test_estimates_grow_with_the_work() -> None:
    def seconds(pixels: int = 10**6, frames: int = 100, **settings: object) -> float:
        return expected_seconds(FitSettings(**settings), pixels, frames, 1)  # type: ignore[arg-type]

    usual = seconds(quality=50)
    assert seconds(quality=25) < usual < seconds(quality=75)
    assert seconds(target_bytes=1000) > usual
    assert seconds(2 * 10**6, quality=50) == 2 * usual == seconds(frames=200, quality=50)
    medium = seconds(network="hnerv", preset="medium")
    assert seconds(network="hnerv", preset="slow") == 5 * medium


def test_progress_counts_steps_and_keeps_to_a_line(tmp_path: Path) -> None:
    drawn: list[tuple[int, int]] = []
    film = VideoArray(films.moving(10, 16, 16))

    codec.encode(film, codec="motion", chunk=4, progress=lambda *at: drawn.append(at))

    assert drawn[-1][0] == drawn[-1][1] == 60  # three fits of the stand-in's twenty steps
    assert all(done <= total for done, total in drawn)
    assert [done for done, _ in drawn] == sorted(done for done, _ in drawn)
    path = films.write(tmp_path / f"{'long name ' * 8}.mkv", films.moving(4, 16, 16))
    shown = run("encode", path, "--chunk", 2, "--progress").stderr
    assert max(map(len, re.split(r"[\r\n]", shown))) <= 80
    assert "40/40" in shown
