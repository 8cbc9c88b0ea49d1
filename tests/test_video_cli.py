"""Videos on the command line: real files in and out, what is printed, what survives kill -9.

Fitting is replaced by one that keeps frames exactly (``stand_in.py``).
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import films
import numpy as np
import pytest
import stand_in
from PIL import Image as Pillow
from test_cli import code_of, message_of, run

from laconic import codec

TESTS = Path(__file__).parent
pytestmark = pytest.mark.usefixtures("kept_frames")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return films.write(
        tmp_path / "clip.mp4", films.moving(12, 32, 48), codec="libx264", layout="yuv420p",
        base=Fraction(1, 12800), audio=("aac",),
    )  # fmt: skip


def test_encode_info_verify_decode(clip: Path) -> None:
    encoded = run("encode", clip, "--json", "--chunk", 5)
    lac = clip.with_suffix(".lac")
    row = json.loads(encoded.stdout)
    info = run("info", lac)
    verified = run("verify", lac)
    decoded = run("decode", lac, "--json")

    assert (row["frames"], row["chunks"], row["bytes"]) == (12, 3, lac.stat().st_size)
    assert row["bpp"] == pytest.approx(8 * row["bytes"] / (12 * 32 * 48))
    assert row["psnr"] is None  # infinite: nothing was lost
    assert not Path(f"{lac}.work").exists()
    assert "video 48 x 32" in info.output
    assert "audio tracks" in info.output
    assert "ok" in verified.output
    back = Path(json.loads(decoded.stdout)["output"])
    assert back.suffix == ".mkv"
    frames, times = films.decoded(back)
    assert np.array_equal(frames, np.asarray(codec.decode(lac)))
    assert times == [Fraction(n, 25) for n in range(12)]
    assert [d for d, _, _ in films.packets(back)] == [d for d, _, _ in films.packets(clip)]


def test_info_needs_no_torch(clip: Path) -> None:
    run("encode", clip)
    script = (
        "import sys; from laconic import codec; print(codec.probe(sys.argv[1]).facts['frames']);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, clip.with_suffix(".lac")], capture_output=True, text=True
    )

    assert done.stdout.split() == ["12", "False"], done.stderr


@pytest.mark.parametrize("name", ["back.mp4", "back.mov", "back.mkv"])
def test_exact_times_and_sound_go_back(clip: Path, name: str) -> None:
    stamps = [0, 512, 1000, 2001, 2500, 3333, 4096, 4608, 5120, 5632, 6144, 9999]
    films.write(
        clip, films.moving(12, 32, 48), codec="libx264", layout="yuv420p", stamps=stamps,
        base=Fraction(1, 12800), audio=("aac",),
    )  # fmt: skip
    lac, back = clip.with_suffix(".lac"), clip.with_name(name)
    run("encode", clip)

    assert code_of(run("decode", lac, "-o", back)) == 0

    frames, times = films.decoded(back)
    exact = [Fraction(s, 12800) for s in stamps]
    grid = 0 if name != "back.mkv" else Fraction(1, 2000)  # Matroska counts milliseconds
    assert max(abs(a - b) for a, b in zip(times, exact, strict=True)) <= grid
    error = np.mean((frames.astype(float) - np.asarray(codec.decode(lac))) ** 2)
    assert error == 0 if name == "back.mkv" else error < 60
    original, kept = films.packets(clip), films.packets(back)
    assert [d for d, _, _ in kept] == [d for d, _, _ in original]
    if name != "back.mkv":
        assert [t for _, t, _ in kept] == [t for _, t, _ in original]


@pytest.mark.parametrize("name", ["back.webm", "back.y4m"])
def test_other_formats(tmp_path: Path, name: str) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(6, 31, 45), audio=("libopus",))
    lac, back = path.with_suffix(".lac"), tmp_path / name
    run("encode", path)

    done = run("decode", lac, "-o", back)

    assert code_of(done) == 0, message_of(done)
    frames, times = films.decoded(back)
    assert frames.shape == (6, 31, 45, 3)
    assert times == [Fraction(n, 25) for n in range(6)]
    assert np.mean((frames.astype(float) - films.moving(6, 31, 45)) ** 2) < 60
    assert ("holds no audio" in done.stderr) == (name == "back.y4m")


def test_a_container_that_cannot_hold_the_sound_is_refused_with_nothing_written(
    clip: Path,
) -> None:
    run("encode", clip)
    lac, back = clip.with_suffix(".lac"), clip.with_name("back.webm")

    refused = run("decode", lac, "-o", back)

    assert code_of(refused) == 2
    assert "cannot hold aac audio" in message_of(refused)
    assert not back.exists()
    assert code_of(run("decode", lac, "-o", back, "--no-audio")) == 0
    with av.open(str(back)) as container:
        assert not container.streams.audio
    assert code_of(run("decode", lac, "-o", clip.with_name("x.xyz"))) == 2


def test_colour_tags_and_rotation_go_back(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "clip.mp4", films.moving(3, 32, 48), codec="libx264", layout="yuv420p",
        tags=(1, 1, 1, 1), aspect=Fraction(4, 3), rotation=90,
    )  # fmt: skip
    run("encode", path)
    back = tmp_path / "back.mp4"
    run("decode", path.with_suffix(".lac"), "-o", back)

    with av.open(str(back)) as container:
        context = container.streams.video[0].codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert tags == (1, 1, 1, 1)
        assert (context.width, context.height) == (32, 48)
        assert context.sample_aspect_ratio == Fraction(3, 4)
    with av.open(str(path)) as container:
        original = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(films.decoded(back)[0][0].astype(int) - np.rot90(original)).mean() < 5


def test_gray_films_stay_gray(tmp_path: Path) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(3, 32, 48, 1), layout="gray")
    run("encode", path)
    run("decode", path.with_suffix(".lac"), "-o", tmp_path / "back.mkv")

    with av.open(str(tmp_path / "back.mkv")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "gray"


def test_a_range_of_frames_with_its_sound(tmp_path: Path) -> None:
    path = films.write(
        tmp_path / "clip.mp4", films.moving(60, 32, 48), codec="libx264", layout="yuv420p",
        audio=("aac",),
    )  # fmt: skip
    run("encode", path, "--chunk", 20)
    lac = path.with_suffix(".lac")
    stand_in.calls.clear()

    done = run("decode", lac, "--frames", "25:35", "-o", tmp_path / "part.mkv")

    assert code_of(done) == 0
    assert stand_in.calls == [("decode", 20)]
    frames, times = films.decoded(tmp_path / "part.mkv")
    assert np.array_equal(frames, np.asarray(codec.decode(lac, frames=(25, 35))))
    assert times[0] == 0
    assert times[-1] == Fraction(9, 25)
    sound = films.packets(tmp_path / "part.mkv")
    everything = [d for d, _, _ in films.packets(path)]
    place = everything.index(sound[0][0])
    assert [d for d, _, _ in sound] == everything[place : place + len(sound)]
    assert 18 <= len(sound) <= 21  # 0.4 s in packets of 21 ms
    assert code_of(run("decode", lac, "--frames", "60:70", "-f", "-o", tmp_path / "x.mkv")) == 2


def test_pictures_of_a_film(clip: Path) -> None:
    run("encode", clip)
    lac, folder = clip.with_suffix(".lac"), clip.parent / "pictures"

    assert code_of(run("decode", lac, "-o", folder)) == 0
    assert code_of(run("decode", lac, "-o", folder)) == 1  # it holds files

    assert len(list(folder.glob("*.png"))) == 12
    shown = np.asarray(Pillow.open(folder / "00007.png"))
    assert np.array_equal(shown, codec.decode(lac)[7])
    lines = (folder / "timestamps.txt").read_text().split("\n")
    assert lines[:3] == ["# timestamp format v2", "0.000000", "40.000000"]


def test_pipes(clip: Path) -> None:
    lac = clip.with_suffix(".lac")
    run("encode", clip)
    from click.testing import CliRunner

    from laconic.cli.main import cli

    runner = CliRunner()
    done = runner.invoke(
        cli, ["encode", "-", "--codec", "motion", "-o", "-"], input=clip.read_bytes()
    )
    assert done.stdout_bytes == lac.read_bytes()
    stdin = io.BufferedReader(io.BytesIO(lac.read_bytes()))  # type: ignore[arg-type]
    piped = runner.invoke(cli, ["decode", "-", "--format", "y4m"], input=stdin)
    assert piped.stdout_bytes.startswith(b"YUV4MPEG2 W48 H32")


def test_a_truncated_film_and_its_intact_chunks(clip: Path) -> None:
    run("encode", clip, "--chunk", 4)
    lac, back = clip.with_suffix(".lac"), clip.with_name("back.mkv")
    lac.write_bytes(lac.read_bytes()[: lac.stat().st_size * 6 // 10])

    refused = run("decode", lac, "-o", back)
    assert code_of(refused) == 3
    assert not back.exists()
    partial = run("decode", lac, "-o", back, "--partial")

    assert code_of(partial) == 3
    assert "frames are lost" in message_of(partial)
    assert "the audio is lost" in message_of(partial)
    assert len(films.decoded(back)[0]) in (4, 8)


def test_losses_are_noted_and_other_options_explained(tmp_path: Path) -> None:
    path = films.write(tmp_path / "deep.mkv", films.moving(2, 16, 16), layout="yuv444p10le")

    assert "note: the samples (yuv444p10le) are decoded to 8 bits" in run("encode", path).stderr
    lac = path.with_suffix(".lac")
    assert code_of(run("encode", path)) == 1  # exists
    assert code_of(run("encode", path, "-f", "--lossless")) == 2
    assert code_of(run("encode", path, "-f", "--effort", 3)) == 2
    assert code_of(run("encode", path, "-f", "--model", "vgg")) == 4
    assert code_of(run("encode", path, "-f", "--codec", "motion:vgg")) == 2
    assert code_of(run("decode", lac, "--region", "0,0,4,4")) == 2
    picture = TESTS / "golden" / "mlic-1" / "1x1.lac"
    assert code_of(run("decode", picture, "--frames", "0:1", "-o", tmp_path / "p.png")) == 2


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(TESTS / "slow_encoder.py"), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def until(condition: object, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_kill_9_and_the_same_command_again(clip: Path) -> None:
    lac = clip.with_suffix(".lac")
    work = Path(f"{lac}.work")
    process = started("encode", clip, "--chunk", 4)
    until(lambda: work.exists() and b"done/0" in work.read_bytes(), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not lac.exists()

    again = run("encode", clip, "--chunk", 4)

    assert code_of(again) == 0
    assert "of 3 chunks are fitted" in again.stderr
    assert not work.exists()
    assert len(codec.decode(lac)) == 12
    assert sorted(p.name for p in clip.parent.iterdir()) == ["clip.lac", "clip.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_the_best_so_far_and_termination_keeps_the_work(
    clip: Path, number: signal.Signals
) -> None:
    lac = clip.with_suffix(".lac")
    work = Path(f"{lac}.work")
    process = started("encode", clip, "--chunk", 4)
    until(work.exists, process)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)

    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert not lac.exists()
        assert f"goes on from {work}" in error
    else:
        assert process.returncode == 0, error
        assert len(codec.decode(lac)) == 12
        assert "stopped early: the same command with -f goes on" in error
    assert work.exists()
    assert code_of(run("encode", clip, "--chunk", 4, "-f")) == 0
    assert not work.exists()


def test_films_are_evaluated_beside_other_codecs(tmp_path: Path) -> None:
    films.write(tmp_path / "clip.mkv", films.moving(4, 32, 48), layout="bgr0")

    done = run("eval", tmp_path / "clip.mkv", "-c", "motion@fast:40", "-c", "x264:30", "--out",
               tmp_path / "run", "--gallery", 0)  # fmt: skip

    assert code_of(done) == 0, message_of(done)
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["measurements"]
    ours = next(r for r in rows if r["codec"] == "motion@fast")
    assert ours["frames"] == 4
    assert ours["psnr"] is None or ours["psnr"] > 60  # infinite
    assert ours["bpp"] == pytest.approx(8 * ours["bytes"] / (4 * 32 * 48))


def test_the_demonstration_of_films(tmp_path: Path) -> None:
    films.write(tmp_path / "in.mkv", films.moving(7, 32, 48))

    done = run("demo", "--video", "--samples", tmp_path, "--out", tmp_path / "out", "--json")

    assert code_of(done) == 0, message_of(done)
    row = json.loads(done.stdout)
    assert (row["frames"], row["width"], row["height"]) == (7, 48, 32)
    assert row["lac_bytes"] == (tmp_path / "out" / "in.lac").stat().st_size
    sheet = Pillow.open(tmp_path / "out" / "contact-sheet.png")
    assert sheet.size == (6 * 48, 24 + 2 * 32)
    pixels = np.asarray(sheet)[24:]
    assert np.array_equal(pixels[:32, :48], films.moving(7, 32, 48)[0])
    assert np.array_equal(pixels[:32], pixels[32:])  # the stand-in loses nothing


def test_several_processes_fit_every_chunk_and_stop_together(tmp_path: Path) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(6, 16, 16))
    lac, work = path.with_suffix(".lac"), Path(f"{path.with_suffix('.lac')}.work")
    process = started("encode", path, "--chunk", 3, "--jobs", 2)
    until(work.exists, process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert "stopped early" in error
    assert np.array_equal(np.asarray(codec.decode(lac)), films.moving(6, 16, 16))

    process = started("encode", path, "--chunk", 3, "--jobs", 2, "-f")
    _, error = process.communicate(timeout=300)

    assert process.returncode == 0, error
    assert "going on from" in error
    assert np.array_equal(np.asarray(codec.decode(lac)), films.moving(6, 16, 16))
    assert not work.exists()


def test_what_the_page_on_films_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (TESTS.parent / "docs" / "video.md").read_text()
    page = page[page.index("## Use") : page.index("## Networks")]
    films.write(
        tmp_path / "clip.mp4", films.moving(140, 16, 16), codec="libx264", layout="yuv420p",
        audio=("aac",),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots").mkdir()
    drawn = [Pillow.fromarray(frame) for frame in films.moving(3, 16, 16)]
    for number, image in enumerate(drawn):
        image.save(tmp_path / "shots" / f"{number}.png")
    drawn[0].save(tmp_path / "cat.gif", save_all=True, append_images=drawn[1:])
    lines = re.findall(r"^laconic (.*?)(?:\s+#.*)?$", page, re.MULTILINE)
    skipped = ("eval", "demo")  # tested above; several jobs would load the networks
    chosen = [line.replace("--jobs 2", "") for line in lines if line.split()[0] not in skipped]
    chosen = [line.replace("--bpp 0.05", "--bpp 30") for line in chosen]  # the audio has its share

    for line in chosen:
        force = ["-f"] if line.split()[0] in ("encode", "decode") else []
        done = run(*line.split(), *force)
        assert code_of(done) == 0, (line, message_of(done))
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "video.md", "exec"), {})

    assert len(chosen) >= 10
    assert {"clip.lac", "clip.mkv", "part.mkv", "pictures"} <= {p.name for p in tmp_path.iterdir()}
    assert len(films.decoded(tmp_path / "part.mkv")[0]) == 30
