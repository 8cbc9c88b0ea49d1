"""Audio and video through the baselines: aligned, exact where promised, rates from files."""

import math
import os
from fractions import Fraction
from pathlib import Path

import av
import films
import numpy as np
import pytest
from pictures import scene

from laconic.codec.evaluate import Config, evaluate, mel_distance, si_sdr, stft_distance
from laconic.codec.evaluate.metrics import METRICS, choose, psnr
from laconic.codec.evaluate.runner import measure
from laconic.codec.evaluate.subject import Item, Spec, find_subject
from laconic.formats.audio import Audio, read_audio, resample
from laconic.formats.container import Media
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.video import frame_to_rgb, read_frames, read_info
from laconic.formats.video_planes import Sampling, frame_of, planes_of, sampling_of

RATE = 16000


def melody(channels: int = 1, seconds: float = 1.3, rate: int = RATE) -> Audio:
    """Decaying notes with a little noise."""
    t = np.arange(round(seconds * rate)) / rate
    notes = sum(
        np.sin(2 * np.pi * f * t) * np.exp(-6 * ((t - start) % 0.4))
        for f, start in ((330, 0.0), (440, 0.13), (660, 0.27))
    )
    noise = np.random.default_rng(0).normal(0, 0.002, (channels, t.size))
    pan = np.linspace(1, 0.5, channels)[:, None]
    return Audio((0.2 * pan * notes + noise).astype(np.float32), rate)


def write_wave(path: Path, sound: Audio) -> Path:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(np.rint(sound.samples.T * 32767).astype("<i2").tobytes())
    return path


def write_film(path: Path, frames: int = 6, width: int = 192, height: int = 176) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25, 2))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        picture = scene(height, width + frames * 4)
        for i in range(frames):
            view = np.ascontiguousarray(picture[:, 4 * i : 4 * i + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_comes_back_aligned_and_of_equal_length(tmp_path: Path, channels: int) -> None:
    source = write_wave(tmp_path / "melody.wav", melody(channels))
    codecs = ("opus:32", "aac:64", "mp3:64", "flac")

    run = evaluate(Config((str(source),), codecs, ("si-sdr", "mel")), tmp_path / "run")

    assert not run.failures
    by_codec = {row["codec"]: row for row in run.rows}
    for name in ("opus", "aac", "mp3"):
        assert by_codec[name]["si-sdr"] > 10, name  # one sample of delay would cost far more
    assert by_codec["flac"]["si-sdr"] == math.inf
    for row in run.rows:
        assert row["kbps"] == pytest.approx(8 * row["bytes"] / 1.3 / 1000)
    assert 20 < by_codec["opus"]["kbps"] < 50


def test_wave_files_are_read_as_written_and_resampling_keeps_the_length(tmp_path: Path) -> None:
    sound = melody(2)

    read = read_audio(write_wave(tmp_path / "x.wav", sound))

    assert (read.rate, read.channels, read.seconds) == (RATE, 2, 1.3)
    assert np.abs(read.samples - sound.samples).max() < 1e-4
    assert resample(read, 48000).samples.shape == (2, 3 * sound.samples.shape[1])
    back = resample(resample(read, 48000), RATE)
    assert si_sdr(read, back) > 30


def test_distances_grow_with_damage_and_vanish_for_equal_sounds() -> None:
    sound = melody()
    rng = np.random.default_rng(1)
    little, much = (
        Audio((sound.samples + rng.normal(0, s, sound.samples.shape)).astype(np.float32), RATE)
        for s in (0.001, 0.03)
    )
    for distance in (mel_distance, stft_distance):
        assert distance(sound, sound) == 0
        assert 0 < distance(sound, little) < distance(sound, much)
    assert si_sdr(sound, little) > si_sdr(sound, much)
    louder = Audio(sound.samples * np.float32(0.5), RATE)
    assert si_sdr(sound, louder) > 100


def test_sounds_of_different_shape_are_not_compared() -> None:
    with pytest.raises(ParameterError, match="cannot be compared"):
        mel_distance(melody(1), melody(2))


def test_measures_of_missing_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(UnsupportedError, match="pip install pesq"):
        METRICS["pesq"].compute(melody(), melody())


def test_files_without_sound_are_refused(tmp_path: Path) -> None:
    film = write_film(tmp_path / "silent.mkv", 2)
    (tmp_path / "noise.wav").write_bytes(b"RIFF nothing of the kind")

    with pytest.raises(UnsupportedError, match="no audio track"):
        read_audio(film)
    with pytest.raises((UnsupportedError, FormatError)):
        read_audio(tmp_path / "noise.wav")


@pytest.mark.parametrize("codec", ["x264@veryfast", "x265@ultrafast", "svt-av1@9", "vp9@8"])
def test_films_are_measured_frame_by_frame(tmp_path: Path, codec: str) -> None:
    film = write_film(tmp_path / "film.mkv")

    run = evaluate(Config((str(film),), (f"{codec}:20,45",), ("psnr", "ms-ssim")), tmp_path / "run")

    assert not run.failures
    good, bad = run.rows
    assert good["frames"] == bad["frames"] == 6
    assert good["psnr"] > bad["psnr"] > 20
    assert good["psnr"] > 30
    assert good["bytes"] > bad["bytes"]
    assert good["kbps"] == pytest.approx(8 * good["bytes"] / (6 / 12.5) / 1000)
    assert good["bpp"] == pytest.approx(8 * good["bytes"] / (192 * 176 * 6))


def test_an_encoder_leaves_the_scheduling_of_the_process_alone(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)
    film = write_film(tmp_path / "film.mkv")

    run = evaluate(Config((str(film),), ("svt-av1@9:40",), ("psnr",)), tmp_path / "run")

    assert run.rows
    assert os.sched_getscheduler(0) == before


def test_films_are_measured_by_structure_and_by_vmaf(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="VMAF needs the extra eval")
    film = write_film(tmp_path / "film.mkv")
    measures = ("ms-ssim-y", "vmaf")

    run = evaluate(Config((str(film),), ("x264@veryfast:10,45",), measures), tmp_path / "run")

    good, bad = run.rows
    for name, top in (("ms-ssim-y", 1), ("vmaf", 100)):
        assert top >= good[name] > bad[name] > 0
    luma = next(read_frames(film)).to_ndarray()[:176]
    with METRICS["vmaf"].compute() as same, METRICS["vmaf"].compute() as other:
        for n in range(3):
            same.add(luma, luma)
            other.add(luma, np.roll(luma, n, 1) // 2)
        assert same.score() > 95 > 60 > other.score()


@pytest.mark.parametrize("layout", ["gray", "bgr0"])
def test_films_without_planes_of_chroma_are_measured(tmp_path: Path, layout: str) -> None:
    film = films.write(tmp_path / "film.mkv", films.moving(3, 176, 192), layout=layout)

    run = evaluate(Config((str(film),), ("x264@fast:4,30",), ("psnr-y", "psnr-yuv", "psnr")),
                   tmp_path / "run")  # fmt: skip

    assert not run.failures
    for name in ("psnr-y", "psnr-yuv", "psnr"):
        good, bad = (row[name] for row in run.rows)
        assert good > bad + 3
    assert run.rows[0]["psnr-y"] > 45


SHAPES = [("yuv420p", 1), ("yuv420p", 2), ("yuvj420p", 2), ("yuv422p", 1), ("yuv444p", 1),
          ("yuv420p10le", 1)]  # fmt: skip


def write_planes(path: Path, layout: str, span: int, frames: int = 3) -> Sampling:
    """Planes of noise around a scene, which any conversion would change."""
    rng = np.random.default_rng(4)
    shape = Sampling(*((1, 1) if "420" in layout else (1, 0) if "422" in layout else (0, 0)),
                     depth=10 if "10" in layout else 8, matrix=1, full=span == 2)  # fmt: skip
    low, high = (0, 255) if shape.full else (16, 235)
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 176, shape.format
        stream.codec_context.color_range, stream.codec_context.colorspace = span, 1
        for index in range(frames):
            planes = [
                rng.integers(low, high, size, dtype=np.uint16) << (shape.depth - 8)
                for size in shape.sizes(192, 176)
            ]
            frame = frame_of(planes, shape)
            frame.pts, frame.color_range, frame.colorspace = index, span, 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return shape


@pytest.mark.parametrize(("layout", "span"), SHAPES)
def test_a_film_that_comes_back_as_it_was_is_measured_as_equal(
    tmp_path: Path, layout: str, span: int
) -> None:
    film = tmp_path / "film.mkv"
    write_planes(film, layout, span)

    run = evaluate(Config((str(film),), ("x264@ultrafast:0",), ("psnr-y", "psnr-yuv")), tmp_path)

    assert not run.failures
    if "10" in layout:  # x264's CRF 0 is lossless for 8 bits alone
        assert run.rows[0]["psnr-y"] > 50
    else:
        assert run.rows[0]["psnr-y"] == run.rows[0]["psnr-yuv"] == math.inf
        assert run.rows[0]["exact"]


@pytest.mark.parametrize(("layout", "span"), SHAPES)
def test_films_are_compared_with_the_planes_of_the_source(
    tmp_path: Path, layout: str, span: int
) -> None:
    film = tmp_path / "film.mkv"
    shape = write_planes(film, layout, span)
    info, subject = read_info(film), find_subject(Spec("x264", "ultrafast"))
    item = Item(film, film.name, Media.VIDEO)

    row, data = measure(subject, item, 30, choose(("psnr-y", "psnr-yuv"), Media.VIDEO))

    ratios: list[list[float]] = []
    for a, b in zip(read_frames(film), read_frames(data), strict=True):
        pairs = zip(planes_of(a, sampling_of(a, info)), planes_of(b, shape), strict=True)
        ratios.append([psnr(x, y, shape.depth) for x, y in pairs])
    mean = np.mean(ratios, 0)
    assert row["psnr-y"] == pytest.approx(mean[0], abs=1e-9)
    assert row["psnr-yuv"] == pytest.approx(mean @ [0.75, 0.125, 0.125], abs=1e-9)


def test_frames_are_read_one_at_a_time_with_their_facts(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", 3)

    info = read_info(film)
    frames = [frame_to_rgb(f, info) for f in read_frames(film)]

    assert (info.width, info.height, info.rate) == (192, 176, Fraction(25, 2))
    assert len(frames) == 3
    assert frames[0].shape == (176, 192, 3)
    shift = np.abs(frames[1][:, :-4].astype(int) - frames[0][:, 4:].astype(int)).mean()
    assert shift < 3


def test_damaged_films_are_reported(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", 4)
    (tmp_path / "broken.mkv").write_bytes(film.read_bytes()[:200])

    run = evaluate(Config((str(tmp_path),), ("x264@ultrafast:30",), ("psnr",)), tmp_path / "run")

    assert [item for item, _, _ in run.failures] == ["broken.mkv"]
    assert [row["item"] for row in run.rows] == ["film.mkv"]
