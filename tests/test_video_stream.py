"""The stream around the chunks of a video: frames, times, audio, target sizes.

Fitting is replaced by one that keeps frames exactly (``stand_in.py``); the networks are tested in
files of their own.
"""

import contextlib
import io
import random
from fractions import Fraction
from pathlib import Path

import films
import numpy as np
import pytest
import stand_in

from laconic import codec
from laconic.formats.audio_track import AudioTracks, take_audio
from laconic.formats.container import Container
from laconic.formats.errors import (
    FormatError,
    LaconicError,
    ParameterError,
)

pytestmark = pytest.mark.usefixtures("kept_frames")


def chunked(length: int | None, **more: object) -> dict[str, object]:
    return {"chunk": length, **more}


@pytest.mark.parametrize("size", [(48, 64), (37, 51), (1, 1), (18, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_come_back_in_order_and_exactly(size: tuple[int, int], channels: int) -> None:
    frames = films.moving(11, *size, channels)

    data = codec.encode(frames, codec="motion", **chunked(4))
    video = codec.decode(data)

    assert np.array_equal(np.asarray(video), frames)
    assert (len(video), video.height, video.width, video.channels) == (11, *size, channels)
    assert codec.probe(data).settings["chunks"] == 3
    report = codec.verify(data)
    assert (report.segments, report.symbols) == (3, 3 * frames.size // channels)


def test_variable_frame_times_are_exact(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 200, 233, 266, 1000]
    path = films.write(tmp_path / "vfr.mkv", films.moving(7, 32, 48), stamps=stamps)

    video = codec.decode(codec.encode(path, **chunked(3)))

    assert [round(1000 * t) for t in video.timestamps] == stamps
    assert video.timing.base == Fraction(1, 1000)
    assert np.array_equal(video.at(0.21), video[3])
    assert np.array_equal(video.at(0.999), video[5])
    with pytest.raises(ParameterError, match="outside the video"):
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

    video = codec.decode(codec.encode(path, codec="motion", note=notes.append))

    assert video.rate == 25
    assert video.timestamps == [n / 25 for n in range(9)]
    assert notes == ["the video has no usable time stamps: it gets 25 frames a second"]


def test_ten_bits_and_transparency_are_reported(tmp_path: Path) -> None:
    path = films.write(tmp_path / "deep.mkv", films.moving(3, 32, 32), layout="yuv444p10le")
    notes: list[str] = []

    codec.encode(path, note=notes.append)

    assert notes == ["the samples (yuv444p10le) are decoded to 8 bits"]


def test_films_are_sequences(tmp_path: Path) -> None:
    frames = films.moving(20, 16, 24)
    path = tmp_path / "clip.lac"
    path.write_bytes(codec.encode(frames, codec="motion", **chunked(8)))

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
        assert video.info.facts["frames"] == 20
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
    data = codec.encode(frames, codec="motion", **chunked(20))
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
    data = codec.encode(frames, codec="motion", **chunked(5))
    stand_in.calls.clear()

    video = codec.decode(data)
    for frame, original in zip(video, frames, strict=True):
        assert np.array_equal(frame, original)

    assert stand_in.calls == [("decode", 5)] * 8
    assert len(video._file._decoders) == 2


# Audio


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

    assert codec.probe(codec.encode(path)).facts["audio_tracks"] == len(audio)
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
    blob, _, _ = take_audio(str(path))
    data = blob.read()

    def parse(data: bytes) -> AudioTracks:
        return AudioTracks.parse(len(data), lambda offset, size: data[offset : offset + size])

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

    video = codec.decode(codec.encode(path, audio=False))

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
        lambda _, n, w, h, limits, device: stand_in.Decoder(np.zeros((n, h, w, 3), np.uint8)),
    )

    data = codec.encode(path, target_bytes=30000, **chunked(6))
    assert 29900 <= len(data) <= 30000
    by_bpp = codec.encode(path, bpp=10, **chunked(6))
    assert 0.99 * 25600 <= len(by_bpp) <= 25600
    with pytest.raises(ParameterError, match="of which the audio takes"):
        codec.encode(path, target_bytes=4000)
