"""Recordings become files and come back: lengths, channels, rates, seams, damage, memory."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_audio import NAME, TinyTones, install, melody, wav

from laconic import codec
from laconic.codec.audio.segments import SegmentCoder, cancels, mix, spread
from laconic.formats.audio import Audio, AudioHeader
from laconic.formats.audio_stream import useful
from laconic.formats.audio_writer import write_audio
from laconic.formats.container import Container
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    LaconicError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import pack_tags, read_tags

PLAIN = NAME + "-plain"


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "tones"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("LACONIC_MODELS", str(folder))
    install(folder, monkeypatch)
    install(folder, monkeypatch, prior=False)


def encode(sound: Any, **settings: Any) -> bytes:
    return codec.encode(
        sound, codec="semanticodec", **{"model": PLAIN, "quality": 100, "steps": 0, **settings}
    )


class Pipe:
    """What can only be read forward."""

    def __init__(self, data: bytes) -> None:
        self.rest = io.BytesIO(data)

    def read(self, count: int = -1) -> bytes:
        return self.rest.read(min(count, 1000) if count > 0 else count)

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"),
    [(3.0, 16000, 1), (21.37, 44100, 2), (9.6, 16000, 1), (10.3, 8000, 1), (5.0, 192000, 2),
     (2.5, 48000, 6)],
)  # fmt: skip
def test_every_channel_comes_back_at_its_rate_and_length(
    seconds: float, rate: int, channels: int
) -> None:
    sound = melody(seconds, rate, channels)

    data = encode(sound)
    decoded = codec.decode(data)

    assert decoded.rate == rate
    assert decoded.samples.shape == sound.samples.shape
    error = ((decoded.samples - sound.samples) ** 2).mean(1)
    assert (error < 0.05 * (sound.samples**2).mean(1)).all()
    assert codec.verify(data).segments == codec.probe(data).segments


def test_one_sample_and_silence() -> None:
    for channels, count in ((1, 1), (2, 1), (1, 12345), (8, 400000)):
        sound = Audio(np.zeros((channels, count), np.float32), 44100)

        data = encode(sound)

        assert len(data) < 60
        assert np.array_equal(codec.decode(data).samples, sound.samples)


def test_a_silent_part_stays_silent() -> None:
    sound = melody(9.6 * 3)
    sound.samples[:, 153600 : 2 * 153600] = 0

    decoded = codec.decode(encode(sound)).samples

    assert not decoded[:, 153600 + 2000 : 2 * 153600 - 2000].any()
    assert decoded[:, :150000].any()


@pytest.mark.parametrize("seconds", [0.5, 9.6, 9.7, 19.2, 30.0])
def test_a_pipe_gives_the_same_sound_as_a_file(seconds: float) -> None:
    sound = melody(seconds, 22050)
    streamed = io.BytesIO()

    written = codec.audio.encode_to(Pipe(wav(sound)), streamed, model=PLAIN, quality=100, steps=0)
    data = streamed.getvalue()
    decoder = codec.audio.blocks(Pipe(data))
    piped = np.concatenate(list(decoder.blocks()), axis=1)

    assert written.bytes == len(data)
    assert np.array_equal(piped, codec.decode(data).samples)
    assert np.array_equal(piped, codec.decode(encode(wav(sound))).samples)
    facts = codec.probe(data).facts
    assert facts is not None
    assert facts["samples"] == sound.samples.shape[1] == piped.shape[1]


def test_blocks_of_any_size_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = melody(25, 16000, 2)
    whole = encode(sound)

    monkeypatch.setattr("laconic.formats.audio_stream.BLOCK", 7001)

    assert encode(sound) == whole


def test_seconds_are_those_of_the_whole() -> None:
    sound = melody(32, 44100, 2)
    data = encode(sound)
    whole = codec.decode(data).samples

    with codec.open(data) as file:
        for start, end in ((0, 1), (9.5, 9.7), (12.25, 20), (31, 99)):
            part = file.seconds(start, end).samples
            expected = whole[:, round(start * 44100) : round(end * 44100)]
            assert part.shape == expected.shape
            assert np.abs(part - expected).max() < 1e-4
        with pytest.raises(ParameterError, match="no part of a recording of 32 s"):
            file.seconds(40, 50)


def test_reading_a_few_seconds_decodes_few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(melody(96))
    calls = []
    decode = TinyTones.decode
    monkeypatch.setattr(
        TinyTones, "decode", lambda self, t, **k: calls.append(1) or decode(self, t, **k)
    )

    codec.decode(data, seconds=(50, 51))

    assert len(calls) <= 2


def log_mel(samples: Any) -> Any:
    """Log magnitudes ``[frames, bands]`` in bands of 250 Hz, 32 ms each."""
    spectrum = torch.stft(torch.from_numpy(samples), 512, 512, window=torch.hann_window(512),
                          center=False, return_complex=True).abs()  # fmt: skip
    return spectrum[:256].reshape(32, 8, -1).mean(1).clamp(min=1e-4).log().T


def test_seams_are_no_worse_than_the_rest() -> None:
    sound = melody(60, seed=3)

    decoded = codec.decode(encode(sound))

    distance = (log_mel(sound.samples[0]) - log_mel(decoded.samples[0])).abs().mean(1).numpy()
    times = np.arange(len(distance)) * 512
    at_seams = np.zeros(len(distance), bool)
    for seam in range(153600, 60 * 16000, 153600):
        at_seams |= np.abs(times + 256 - seam) < 2560
    assert at_seams.sum() > 50
    assert distance[at_seams].mean() < 1.1 * distance[~at_seams].mean()


def test_windows_that_disagree_are_cross_faded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(melody(19.2), steps=4)
    numbers = iter(range(9))
    monkeypatch.setattr(
        TinyTones,
        "decode",
        lambda self, tokens, **k: torch.full(
            (1, tokens.shape[1] // 4 * 2560), float(next(numbers))
        ),
    )

    decoded = codec.decode(data).samples[0]

    steps = np.abs(np.diff(decoded))
    assert decoded[0] == 0.0
    assert decoded[-1] == 1.0
    assert steps.max() < 0.002  # instead of 1


def test_joint_stereo_keeps_where_sounds_stand() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(20 * 2560).astype(np.float32) * 0.1
    for left, right in ((1.0, 1.0), (1.0, 0.3), (0.0, 1.0)):
        wave = np.stack([left * noise, right * noise])
        mixture, levels = mix(wave, 20, 16000)
        both = spread(mixture, levels, 16000)
        wanted = np.sqrt((wave**2).mean(1))
        got = np.sqrt((both**2).mean(1))
        assert np.abs(got - wanted).max() < 0.012
    assert cancels(np.stack([noise, -noise]))


def test_channels_that_cancel_are_coded_on_their_own() -> None:
    one = melody(4).samples[0]
    sound = Audio(np.stack([one, -one]), 16000)

    decoded = codec.decode(encode(sound)).samples

    assert (decoded**2).mean() > 0.5 * (sound.samples**2).mean()
    mono = len(encode(Audio(one[None], 16000)))
    assert len(encode(melody(4, 16000, 2))) < 1.5 * mono
    assert len(encode(melody(4, 16000, 2), stereo="dual")) > 1.5 * mono


def test_seed_and_steps_travel_in_the_file() -> None:
    sound = melody(12)
    noisy = encode(sound, steps=4, seed=7)

    assert codec.probe(noisy).settings["seed"] == 7
    assert np.array_equal(codec.decode(noisy).samples, codec.decode(noisy).samples)
    assert not np.array_equal(codec.decode(noisy).samples, codec.decode(noisy, seed=8).samples)
    plain = codec.decode(encode(sound)).samples
    assert np.array_equal(codec.decode(noisy, steps=0).samples, plain)


def test_rates_are_upper_bounds_of_the_file() -> None:
    sound = melody(20)
    sizes = [len(encode(sound, quality=q)) for q in (0, 50, 100)]
    assert sizes == sorted(set(sizes))
    for kbps in (0.11, 0.15, 0.5):
        data = encode(sound, quality=None, kbps=kbps)
        assert 8 * len(data) / 20 <= 1000 * kbps
    assert len(encode(sound, quality=None, target_bytes=sizes[1])) == sizes[1]
    with pytest.raises(ParameterError, match="the lowest rate of tiny-tones-plain takes"):
        encode(sound, quality=None, kbps=0.01)


def test_tags_are_kept_unless_stripped(tmp_path: Path) -> None:
    sound = melody(1)
    sound.tags = {"title": "Wind", "artist": "Élise"}
    for name in ("a.wav", "a.flac", "a.mp3", "a.opus", "a.m4a"):
        write_audio(sound, tmp_path / name)

        data = codec.encode(tmp_path / name, model=PLAIN)

        assert codec.decode(data).tags == sound.tags, name
        assert codec.decode(codec.encode(tmp_path / name, model=PLAIN, strip=True)).tags == {}
    assert useful({"TITLE": "a", "encoder": "b", "x": ""}) == {"title": "a"}
    assert read_tags(pack_tags({})) == {}
    for damaged in (b"a", b"a\0", b"\xff\0b\0"):
        with pytest.raises(FormatError):
            read_tags(damaged)


def test_bad_sounds_are_named() -> None:
    sound = melody(2)
    hole = Audio(sound.samples.copy(), 16000)
    hole.samples[0, 16000] = np.nan
    for bad in (hole, wav(hole, "wav32f")):
        with pytest.raises(FormatError, match=r"sample 16000 of the audio \(1\.000 s\)"):
            encode(bad)
    with pytest.raises(FormatError, match="truncated"):
        encode(wav(sound)[:20000])
    with pytest.raises(FormatError):
        encode(wav(sound, "flac")[:9000])
    with pytest.raises(UnsupportedError, match="no audio that FFmpeg reads"):
        encode(b"not a sound at all" * 20)
    with pytest.raises(ParameterError, match="no option tile"):
        encode(sound, tile=64)


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnsupportedError, match="no audio track"):
        encode(tmp_path / "mute.mp4")


def test_loud_floats_are_clipped_not_wrapped() -> None:
    sound = Audio(20 * melody(3).samples, 16000)
    clipped = Audio(sound.samples.clip(-1, 1), 16000)

    assert encode(wav(sound, "wav32f")) == encode(clipped)


def test_truncated_and_damaged_files() -> None:
    data = encode(melody(40))
    for length in range(0, len(data), 41):
        with pytest.raises(FormatError):
            codec.decode(data[:length])
    broken = bytearray(data)
    broken[len(data) // 2] ^= 1
    with pytest.raises(FormatError):
        codec.decode(bytes(broken))

    whole = codec.decode(data).samples
    left = codec.decode(bytes(broken), partial=True)

    assert left.samples.shape == whole.shape
    assert len(left.notices) == 1
    silent = (left.samples == 0)[0]
    assert 0.2 < silent.mean() < 0.3
    assert np.array_equal(left.samples[:, :140000], whole[:, :140000])


def test_every_changed_byte_is_found() -> None:
    data = encode(melody(2), model=NAME)
    rng = np.random.default_rng(0)
    for place in rng.choice(len(data), 40, replace=False):
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(LaconicError):
            codec.decode(bytes(broken))


def test_payloads_that_lie_are_refused() -> None:
    container = Container.from_bytes(encode(melody(3)))
    segment = container.segments[0]
    for payload in (b"", b"\x03", b"\x10abc", b"\x02abc", b"\x04" + segment.payload[1:],
                    segment.payload + b"abcdefgh", segment.payload[:20] + b"\1"):  # fmt: skip
        changed = [type(segment)(payload, segment.check)]
        data = Container(container.header, changed, container.chunks).to_bytes()
        with pytest.raises(LaconicError):
            codec.decode(data)
    wrong = [type(segment)(segment.payload, segment.check ^ 1)]
    with pytest.raises(DesyncError):
        codec.decode(Container(container.header, wrong).to_bytes())


def test_headers_that_lie_are_refused() -> None:
    for header in (AudioHeader(44100, 2, "stereo", 99), AudioHeader(8000, 9), AudioHeader(1, 1)):
        packed = header.pack()
        assert AudioHeader.unpack(packed) == header
        for bad in (packed[:-1], packed + b"\0", b"\xff" + packed[1:]):
            with pytest.raises(LaconicError):
                AudioHeader.unpack(bad)
    data = encode(melody(3))
    reader = ContainerReader(data)
    longer = AudioHeader(16000, 1, "mono", 16000 * 3600)
    header = type(reader.header)(**{**reader.header.__dict__, "media_header": longer.pack()})
    with pytest.raises(FormatError, match="segments"):
        codec.decode(Container(header, list(reader)).to_bytes())


def test_a_long_sound_is_never_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes through encoder and decoder: what either holds is bounded by a window."""
    import laconic.codec.audio.windows as windows

    largest = 0
    push = windows.WindowEncoder.push

    def watched(self: Any, block: Any) -> Iterator[Any]:
        nonlocal largest
        yield from push(self, block)
        largest = max(largest, self._kept.shape[1])

    monkeypatch.setattr(windows.WindowEncoder, "push", watched)
    piece = melody(30).samples
    long = Audio(np.tile(piece, 10), 16000)
    data = encode(long, quality=0, verify=False)

    total = sum(b.shape[1] for b in codec.audio.blocks(io.BytesIO(data)).blocks())

    assert total == long.samples.shape[1]
    assert largest < 3 * 64 * 2560


@pytest.mark.parametrize("asked", [{"quality": 100}, {"quality": None, "kbps": 2.0}, "pipe"])
def test_tokens_that_do_not_decode_are_not_written(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = SegmentCoder.unpack

    def wrong(self: SegmentCoder, *given: Any) -> Any:
        segment, geometry = decoded(self, *given)
        return replace(segment, tokens=segment.tokens ^ 1), geometry

    monkeypatch.setattr(SegmentCoder, "unpack", wrong)
    sound = melody(12.0)

    def write(**settings: Any) -> bytes:
        if asked != "pipe":
            return encode(sound, **asked, **settings)
        buffer = io.BytesIO()
        codec.audio.encode_to(sound, buffer, model=PLAIN, quality=100, steps=0, **settings)
        return buffer.getvalue()

    with pytest.raises(DesyncError, match="segment 0 does not decode"):
        write()
    assert write(verify=False)
