"""The pitch beside the tokens: found in voices, coded exactly, used by the decoder; and rates
between whole numbers of streams."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic import codec
from laconic.codec.audio import side_information
from laconic.codec.audio.header import Geometry
from laconic.codec.audio.segments import PARTLY, PITCHED, SegmentCoder, SegmentTokens
from laconic.codec.audio.semanticodec_small.config import CONFIGS
from laconic.codec.audio.semanticodec_small.mae import mel_bank
from laconic.codec.audio.semanticodec_small.model import SmallSemantiCodec, write_small
from laconic.entropy.short import ShortDecoder, ShortEncoder
from laconic.formats.audio import Audio
from laconic.formats.container import Container
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError

RNG = np.random.default_rng(1)


def vowel(f0: np.ndarray) -> np.ndarray:
    """Harmonics of a pitch given sample by sample, at 16 kHz."""
    phase = 2 * np.pi * np.cumsum(f0) / 16000
    wave = sum(0.1 / h * np.sin(h * phase) for h in range(1, 12))
    return np.asarray(wave, np.float32)


@pytest.mark.parametrize("f0", [60, 85, 110, 160, 240, 400, 550])
def test_the_pitch_of_low_and_high_voices_is_found(f0: int) -> None:
    track = side_information.track_of(vowel(np.full(16000, f0)))

    inner = track[2:-2]
    assert (inner > 0).all()
    assert np.abs(side_information.hertz(inner) / f0 - 1).max() < 0.015


def test_a_glide_is_followed_and_what_has_no_pitch_has_no_track() -> None:
    f0 = np.geomspace(100, 200, 16000)
    glide = np.r_[np.zeros(8192), vowel(f0), 0.02 * RNG.standard_normal(8192)].astype(np.float32)

    track = side_information.track_of(glide)

    assert not track[:14].any()
    assert not track[-13:].any()
    middle = track[20:44]
    expected = f0[np.arange(20, 44) * 512 + 256 - 8192]
    assert np.abs(side_information.hertz(middle) / expected - 1).max() < 0.03
    assert not side_information.track_of(np.zeros(4000, np.float32)).any()
    assert len(side_information.track_of(np.zeros(100, np.float32))) == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, side_information.STEPS), max_size=60))
def test_any_track_comes_back(steps: list[int]) -> None:
    track = np.array(steps, np.int64)
    encoder = ShortEncoder()
    side_information.encode_track(encoder, track)

    decoder = ShortDecoder(encoder.finish())

    assert (side_information.decode_track(decoder, len(track)) == track).all()
    decoder.finish()


def test_a_voice_costs_less_than_a_hundred_bits_a_second() -> None:
    encoder = ShortEncoder()
    steady = np.repeat([0, 40, 0, 44], 75) + np.repeat([0, 1, 0, 1], 75) * RNG.integers(0, 3, 300)
    side_information.encode_track(encoder, steady)

    assert 8 * len(encoder.finish()) / (300 * 0.032) < 100


def segments() -> list[SegmentTokens]:
    """Of one channel and of two, with and without pitch, with and without the last stream."""
    tokens = RNG.integers(0, 8, (2, 6, 4, 3))
    tracks = RNG.integers(0, side_information.STEPS + 1, (2, 30))
    partly = tokens.copy()
    partly[:, [1, 2, 5], :, -1] = -1
    none = tokens.copy()
    none[..., -1] = -1
    return [
        SegmentTokens(tokens, pitch=tracks),
        SegmentTokens(tokens, pitch=0 * tracks),
        SegmentTokens(partly, pitch=tracks),
        SegmentTokens(partly),
        SegmentTokens(none, pitch=tracks),
    ]


@pytest.mark.parametrize("number", range(5))
def test_pitch_and_missing_columns_come_back(number: int) -> None:
    segment = segments()[number]
    coder = SegmentCoder((8, 8, 8), 4, None, 2, knots=5)
    geometry = Geometry(16000, 16000, 2560, 60, 64, 6 * 2560)

    packed = coder.pack(segment, 3)
    again, _ = coder.unpack(packed, 0, geometry, 3)

    assert (again.tokens == segment.tokens).all()
    told = segment.pitch is not None and segment.pitch.any()
    assert (again.pitch is not None) == told
    if told:
        assert (again.pitch == segment.pitch).all()
    for flag in (PITCHED, PARTLY):
        if packed.payload[0] & flag:
            with pytest.raises(UnsupportedError):  # by files of version 1
                SegmentCoder((8, 8, 8), 4, None, 2).unpack(packed, 0, geometry, 3)


def test_changed_pitch_and_columns_are_found() -> None:
    coder = SegmentCoder((8, 8, 8), 4, None, 2, knots=5)
    geometry = Geometry(16000, 16000, 2560, 60, 64, 6 * 2560)
    packed = coder.pack(segments()[2], 3)
    for at in range(len(packed.payload)):
        data = bytearray(packed.payload)
        data[at] ^= 0x11
        with pytest.raises((FormatError, UnsupportedError)):
            coder.unpack(replace(packed, payload=bytes(data)), 0, geometry, 3)


@pytest.fixture
def tiny(made: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network with random weights that uses the pitch, in the store."""
    monkeypatch.setenv("LACONIC_MODELS", str(Path(made).parent))
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its file."""
    torch.manual_seed(0)
    model = SmallSemantiCodec(CONFIGS["tiny"]).eval()
    model.tokens.semantic.centroids.normal_()
    model.tokens.quantiser.codebooks.normal_()
    torch.nn.init.normal_(model.tokens.decoder.pitch.into.weight, std=0.5)
    path = tmp_path_factory.mktemp("models") / "tiny-pitch.safetensors"
    write_small(path, model, name="tiny-pitch", training={})
    return str(path)


def spoken(seconds: float) -> Audio:
    f0 = 110 + 30 * np.sin(np.arange(int(16000 * seconds)) / 8000)
    return Audio(vowel(f0)[None], 16000)


def test_files_tell_the_pitch_and_the_decoder_uses_it(tiny: str) -> None:
    said = spoken(3)
    data = codec.encode(said, model=tiny, quality=100.0)

    container = Container.from_bytes(data)
    assert container.header.codec_version == 2
    assert container.segments[0].payload[0] & PITCHED
    tokens = codec.audio.tokens(data)
    assert codec.verify(data).segments == 1
    untold = codec.audio.from_tokens(tokens, model=tiny, samples=said.samples.shape[1])
    assert np.abs(codec.decode(data).samples - untold.samples).max() > 1e-3


def test_tokens_with_their_prosody_are_the_whole_file(tiny: str) -> None:
    audio = spoken(12)
    streams = codec.audio.alphabet(tiny).vocabularies
    data = codec.encode(audio, codec="semanticodec", model=tiny, quality=100)

    tokens = codec.audio.tokens(audio, model=tiny)
    prosody = codec.audio.prosody(audio, model=tiny)
    again = codec.audio.from_tokens(
        tokens, prosody=prosody, model=tiny, samples=audio.samples.shape[1]
    )

    assert tokens.shape[1] == len(streams)
    assert prosody.pitch.any()
    stored = codec.audio.prosody(data)
    assert np.array_equal(stored.pitch, prosody.pitch)
    assert np.array_equal(stored.gains, prosody.gains)
    assert np.array_equal(again.samples, codec.decode(data).samples)


def test_prosody_of_other_tokens_is_refused(tiny: str) -> None:
    audio = spoken(2)
    tokens, prosody = (f(audio, model=tiny) for f in (codec.audio.tokens, codec.audio.prosody))
    for changed, sentence in (
        (replace(prosody, pitch=prosody.pitch[:, 1:]), "pitch of shape"),
        (replace(prosody, gains=prosody.gains[:, 1:]), "gains of shape"),
        (replace(prosody, pitch=prosody.pitch * 0.5), "expected integers"),
        (replace(prosody, pitch=prosody.pitch + 999), "expected 0 to 132"),
        (replace(prosody, gains=prosody.gains - 99), "expected -12 to 12"),
    ):
        with pytest.raises(ParameterError, match=sentence):
            codec.audio.pack(tokens, prosody=changed, model=tiny)


@pytest.mark.parametrize("seconds", [4, 21])
@pytest.mark.parametrize("share", [0.3, 0.55, 0.9])
def test_a_rate_between_two_numbers_of_streams_is_used_up(
    tiny: str, seconds: int, share: float
) -> None:
    said = spoken(seconds)
    said.samples += 0.05 * RNG.standard_normal(said.samples.shape).astype(np.float32)
    low, high = (
        8 * len(codec.encode(said, model=tiny, quality=q)) / said.seconds / 1000 for q in (0, 100)
    )
    wanted = low + share * (high - low)

    data = codec.encode(said, model=tiny, kbps=wanted)

    assert 0.9 * wanted < 8 * len(data) / said.seconds / 1000 <= wanted
    assert codec.decode(data).samples.shape == said.samples.shape


def test_levels_are_corrected_to_within_two_decibels() -> None:
    wanted = np.cumsum(RNG.normal(0, 0.5, (2, 60)), axis=1)
    wanted[1, 30:40] -= 9  # a pause
    decoded = wanted + RNG.normal(-0.5, 0.4, (2, 60))
    found = side_information.gains_of(wanted, decoded)

    heard = wanted > wanted.max(1, keepdims=True) - side_information.RANGE
    left = (decoded + side_information.STEP * found - wanted)[heard]
    assert np.abs(left).max() <= side_information.STICKY * side_information.STEP + 1e-9
    assert (np.diff(found[1, 30:40]) == 0).all()

    encoder = ShortEncoder()
    side_information.encode_gains(encoder, found)
    assert (side_information.decode_gains(ShortDecoder(encoder.finish()), 2, 60) == found).all()


def test_a_quiet_and_a_loud_sound_keep_their_distance(tiny: str) -> None:
    """The level is the original's, whatever the network makes of it."""
    said = spoken(3)
    levels = []
    for factor in (0.05, 1.0):
        sound = Audio(said.samples * np.float32(factor), 16000)
        decoded = codec.decode(codec.encode(sound, model=tiny, quality=100.0))
        levels.append(20 * np.log10(np.sqrt((decoded.samples**2).mean())))

    assert levels[1] - levels[0] == pytest.approx(26, abs=4)


def test_harmonics_are_brought_out_where_they_are() -> None:
    """Bands on harmonics rise, those between fall, and nothing changes without pitch."""
    told = SmallSemantiCodec(CONFIGS["tiny"]).tokens.decoder.pitch
    step = 1 + side_information.PER_OCTAVE * np.log2(100 / side_information.LOWEST)
    track = torch.full((1, 10), round(step))

    raised = told.emphasis(track)[0, 10]
    assert not told.emphasis(torch.zeros_like(track)).any()
    assert not told.emphasis(-torch.ones_like(track)).any()
    bank = mel_bank(80)
    centres = (bank * torch.arange(513)[:, None]).sum(0) / bank.sum(0) * 16000 / 1024
    phase = (centres[:20] / 100 - (centres[:20] / 100).round()).abs()
    assert (raised[:20][phase < 0.1] > 0).all()
    assert (raised[:20][phase > 0.4] < 0).all()
    assert raised[60:].abs().max() < 0.1
