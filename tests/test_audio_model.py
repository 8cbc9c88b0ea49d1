"""The small audio model: shapes, prefixes of streams, determinism, recipes that resume."""

import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from laconic import codec
from laconic.codec import models
from laconic.codec.audio.semanticodec_small.config import CONFIGS, SmallConfig
from laconic.codec.audio.semanticodec_small.heard import Heard
from laconic.codec.audio.semanticodec_small.mae import FFT, Synthesis, mel_bank
from laconic.codec.audio.semanticodec_small.model import (
    SmallSemantiCodec,
    read_small,
    resized,
)
from laconic.codec.audio.semanticodec_small.quantisers import (
    ResidualQuantiser,
    kmeans,
    merged,
    nearest,
    places,
)
from laconic.codec.audio.semanticodec_small.tokens import blocks_of, frames_of
from laconic.codec.audio.semanticodec_small.vocoder import (
    MEL_MEAN,
    MEL_SCALE,
    Consistency,
    Excitation,
    InverseStft,
)
from laconic.codec.audio.side_information import track_of
from laconic.codec.train import audio
from laconic.codec.train.audio_stages import begin_from
from laconic.formats.audio import Audio
from laconic.formats.errors import ModelError, ParameterError

TINY = CONFIGS["tiny"]
SHORT = replace(TINY, refiner_depth=0, vocoder_depth=0, mel_hop=128, mel_window=512)
WIDE = replace(SHORT, detail=6, stages=5)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make(config: SmallConfig = TINY) -> SmallSemantiCodec:
    """A model with random weights and codebooks."""
    model = SmallSemantiCodec(config).eval()
    model.tokens.semantic.centroids.normal_()
    model.tokens.quantiser.codebooks.normal_()
    if model.refiner is not None:
        torch.nn.init.normal_(model.refiner.head.weight, std=0.05)
    return model


@pytest.mark.parametrize(("bands", "window", "rate"), [(128, 1024, 16000), (150, 2048, 44100)])
@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_filters_are_those_of_torchaudio_to_the_bit(bands: int, window: int, rate: int) -> None:
    bank = pytest.importorskip("torchaudio.functional").melscale_fbanks
    expected = bank(window // 2 + 1, 0.0, rate / 2, bands, rate, norm="slaney", mel_scale="slaney")
    assert torch.equal(mel_bank(bands, window, rate), expected)


def test_models_are_built_where_torchaudio_does_not_load() -> None:
    script = (
        "import sys; sys.modules['torchaudio'] = None\n"
        "from laconic.codec.audio.semanticodec_small.config import CONFIGS\n"
        "from laconic.codec.audio.semanticodec_small.model import SmallSemantiCodec\n"
        "from laconic.codec.evaluate.audio_measures import mel_distance\n"
        "SmallSemantiCodec(CONFIGS['tiny'])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(("stack", "rate"), [(1, 50), (2, 25), (4, 12.5)])
def test_stacking_sets_the_token_rate(stack, rate):
    model = make(replace(TINY, stack=stack))
    assert model.positions * model.rate / model.hop == rate
    assert model.window * model.hop == 163_840
    sound = 0.1 * torch.randn(2, 3 * model.hop + 1)
    tokens = model.encode(sound, 3)
    assert tokens.shape == (2, 4 * model.positions, 3)
    assert tokens.dtype == torch.int64
    assert model.decode(tokens, steps=0, seed=0).shape == (2, 4 * model.hop)


def test_first_streams_do_not_depend_on_how_many_follow():
    model = make()
    sound = 0.1 * torch.randn(1, 20_000)
    full = model.encode(sound, 4)
    for streams in (1, 2, 3):
        assert torch.equal(model.encode(sound, streams), full[..., :streams])


def test_decoding_is_reproducible_and_noise_follows_the_seed():
    model = make()
    tokens = model.encode(0.1 * torch.randn(2, 20_000), 4)
    plain = model.decode(tokens, steps=0, seed=1)
    assert torch.equal(plain, model.decode(tokens, steps=0, seed=2))
    refined = model.decode(tokens, steps=2, seed=1)
    assert torch.equal(refined, model.decode(tokens, steps=2, seed=1))
    assert not torch.equal(refined, model.decode(tokens, steps=2, seed=2))
    alone = model.decode(tokens[1:], steps=2, seed=1)
    torch.testing.assert_close(alone, refined[1:], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("config", [TINY, SHORT], ids=["vocoder", "short frames"])
@pytest.mark.parametrize("samples", [1, 159, 2_560, 2_561])
def test_short_sounds_fill_whole_columns(samples, config):
    model = make(config)
    tokens = model.encode(torch.zeros(1, samples), 2)
    assert tokens.shape[1] == -(-samples // model.hop) * model.positions
    assert torch.isfinite(model.decode(tokens, steps=0, seed=0)).all()


def test_windows_and_tokens_outside_the_model_are_refused():
    model = make()
    with pytest.raises(ParameterError, match="65 columns"):
        model.encode(torch.zeros(1, 64 * model.hop + 1), 2)
    with pytest.raises(ParameterError, match="0 columns"):
        model.encode(torch.zeros(1, 0), 2)
    with pytest.raises(ParameterError, match="5 streams"):
        model.encode(torch.zeros(1, 100), 5)
    with pytest.raises(ParameterError, match="whole columns"):
        model.decode(torch.zeros(1, 3, 2, dtype=torch.long), steps=0, seed=0)
    wrong = torch.zeros(1, 4, 2, dtype=torch.long)
    wrong[0, 0, 1] = TINY.acoustic
    with pytest.raises(ParameterError, match="alphabets"):
        model.decode(wrong, steps=0, seed=0)


@pytest.mark.parametrize("config", [TINY, SHORT], ids=["vocoder", "short frames"])
def test_decoder_reaches_no_further_than_it_says(config):
    model = make(replace(config, reach=0.32))  # 2 columns to each side, one block
    tokens = torch.randint(0, 16, (1, 24 * model.positions, 3))
    changed = tokens.clone()
    changed[:, -model.positions :] = (changed[:, -model.positions :] + 1) % 16
    mel, other = model.tokens.decode(tokens), model.tokens.decode(changed)
    near = config.split * (
        10 * 21 - 3
    )  # frames before the reach of the last column and of one convolution
    torch.testing.assert_close(mel[:, :near], other[:, :near], atol=1e-5, rtol=1e-5)
    assert (mel[:, near:] - other[:, near:]).abs().max() > 1e-3


def test_inverse_stft_undoes_the_spectrogram():
    sound = torch.randn(2, 4_096)
    edge = (FFT - 256) // 2
    spectrum = torch.stft(
        torch.nn.functional.pad(sound, (edge, edge)), FFT, 256,
        window=torch.hann_window(FFT), center=False, return_complex=True,
    )  # fmt: skip
    back = InverseStft()(spectrum.transpose(1, 2))
    torch.testing.assert_close(back[:, 512:-512], sound[:, 512:-512], atol=1e-5, rtol=1e-4)
    assert Synthesis()(sound).shape == (2, 16, 80)


def test_samples_are_brought_to_the_spectrogram_that_was_asked_for():
    time = torch.arange(16_384) / 16_000
    sound = 0.3 * torch.sin(2 * torch.pi * 300 * time * (1 + time))[None]
    mel = Synthesis()(sound)
    edge = (FFT - 256) // 2
    spectrum = torch.stft(
        torch.nn.functional.pad(sound, (edge, edge)), FFT, 256,
        window=torch.hann_window(FFT), center=False, return_complex=True,
    ).transpose(1, 2)  # fmt: skip
    wrong = InverseStft()(spectrum * torch.exp(2j * torch.pi * torch.rand(spectrum.shape)))
    before = (Synthesis()(wrong) - mel).abs().mean()
    after = (Synthesis()(Consistency()(wrong, mel)) - mel).abs().mean()
    assert after < 0.5 * before
    kept = Consistency()(sound, mel)
    torch.testing.assert_close(kept, sound, atol=1e-3, rtol=0)
    assert torch.isfinite(Consistency()(torch.zeros(1, 2_560), mel[:, :10])).all()


def hum(f0: float, seconds: float = 1.6) -> torch.Tensor:
    """``[1, samples]``: harmonics of a voice with two formants."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    total = np.zeros(len(time))
    for k in range(1, int(7_000 / f0)):
        level = np.exp(-(((k * f0 - 600) / 400) ** 2)) + 0.3 * np.exp(
            -(((k * f0 - 2_300) / 600) ** 2)
        )
        total += (level + 0.003) * np.cos(2 * np.pi * k * f0 * time + k * k)
    return torch.from_numpy((0.1 * total / np.abs(total).max()).astype(np.float32))[None]


@pytest.mark.parametrize("f0", [85.0, 130.0, 240.0])
def test_a_voice_keeps_its_pitch_and_its_level_without_a_vocoder(f0: float) -> None:
    model = make(replace(SHORT, rounds=12))
    sound = hum(f0)
    track = track_of(sound[0].numpy())
    back = model.sound(model.synthesis(sound), torch.from_numpy(track)[None])
    inner = slice(4, -4)
    assert np.abs(track_of(back[0].numpy())[inner] - track[inner]).max() <= 2
    level = 10 * torch.log10(back.square().mean() / sound.square().mean())
    assert abs(level) < 1


def test_an_excitation_has_the_power_of_noise_whatever_the_pitch() -> None:
    noise, *voices = (
        Excitation()(32_768, torch.full((1, 64), step), 1)[0].double() for step in (0, 20, 60, 120)
    )
    expected = torch.fft.rfft(noise).abs().square()[400:14_000].mean()
    for voice in voices:
        power = torch.fft.rfft(voice).abs().square()
        for part in (slice(1_000, 7_500), slice(9_000, 15_000)):
            assert abs(10 * torch.log10(power[part].mean() / expected)) < 1.5


def test_nothing_sounds_where_no_band_looks() -> None:
    model = make(replace(SHORT, rounds=4))
    sound = hum(140.0)
    back = model.sound(model.synthesis(sound), torch.from_numpy(track_of(sound[0].numpy()))[None])
    power = torch.fft.rfft(back[0].double()).abs().square()
    edge = len(power) // 200  # 40 Hz
    assert power[:edge].sum() + power[-edge:].sum() < 1e-3 * power.sum()


def test_windows_that_overlap_have_the_same_excitation() -> None:
    track = torch.tensor([[0, 0, 0, 40, 41, 42, 42, 41, 0, 0, 30, 31, 30, 0, 0]])
    whole = Excitation()(15 * 512, track, 1, 1_000)
    later = Excitation()(13 * 512, track[:, 2:], 1, 1_000 + 2 * 512)
    assert torch.equal(whole[:, 2 * 512 :], later)
    assert not torch.equal(whole[:, 2 * 512 :], Excitation()(13 * 512, track[:, 2:], 1, 1_000))


def test_a_model_with_short_frames_begins_as_the_one_it_is_made_from() -> None:
    model = make(replace(TINY, refiner_depth=0))
    grown = make(SHORT)
    weights = resized(model.state_dict(), model.config, SHORT)
    grown.load_state_dict(weights)
    tokens = torch.randint(0, 16, (1, 6 * model.positions, 3))
    old, new = model.tokens.decode(tokens), grown.tokens.decode(tokens)
    assert new.shape == (1, 120, 80)
    shift = new[:, ::2] - old
    torch.testing.assert_close(new[:, ::2], new[:, 1::2])
    torch.testing.assert_close(shift, shift[:1, :1, :1].expand_as(shift), atol=1e-4, rtol=0)
    sound = 0.1 * torch.randn(1, 32_000)
    apart = grown.synthesis(sound).mean() - model.synthesis(sound).mean()
    assert abs(shift.mean() - apart) < 0.25


def test_earlier_configurations_keep_their_identity() -> None:
    assert "mel_hop" not in CONFIGS["small"].to_dict()
    assert SmallConfig.from_dict(SHORT.to_dict()) == SHORT
    with pytest.raises(ModelError, match="impossible"):
        replace(TINY, mel_hop=100)
    with pytest.raises(ModelError, match="impossible"):
        replace(TINY, vocoder_depth=0, rounds=0)


@pytest.mark.parametrize("stack", [1, 2, 4])
def test_blocks_are_the_frames_and_bands_of_their_positions(stack: int) -> None:
    config = replace(WIDE, stack=stack)
    mel = torch.randn(2, 2 * config.hop // config.mel_hop, 80)
    blocks = blocks_of(mel, config)
    frames, bands = config.block
    assert blocks.shape == (2, 2 * config.positions, frames * bands)
    torch.testing.assert_close(frames_of(blocks, config) * MEL_SCALE + MEL_MEAN, mel)
    second = mel.clone()
    second[:, frames:, bands : 2 * bands] += 1  # second column, second position
    changed = (blocks_of(second, config) - blocks).abs().amax((0, 2)) > 0
    assert changed.nonzero()[:, 0].tolist() == [config.positions + 1]


def test_a_model_that_grows_sounds_as_before_until_it_is_trained() -> None:
    """Streams that both have mean the same; further ones are new."""
    before = make(SHORT)
    after = SmallSemantiCodec(WIDE).eval()
    grown = resized(before.state_dict(), SHORT, WIDE)
    after.load_state_dict({**after.state_dict(), **grown})
    sound = hum(150.0)
    tokens = before.encode(sound, 4)
    assert torch.equal(after.encode(sound, 4), tokens)
    for streams in (1, 2, 4):
        expected = before.decode(tokens[..., :streams], steps=0, seed=0)
        torch.testing.assert_close(after.decode(tokens[..., :streams], steps=0, seed=0), expected)


def test_harmonics_are_brought_out_less_the_more_streams_there_are() -> None:
    model = make(WIDE)
    pitch = torch.full((1, 8 * model.knots), 30)
    columns, decoder = 8 * model.positions, model.tokens.decoder
    raised = [decoder.emphasis(pitch, torch.tensor(n)).abs().max().item() for n in range(6)]
    assert raised == sorted(raised, reverse=True)
    assert raised[5] == pytest.approx(0.6 * raised[0])
    used = torch.full((1, columns), 2)
    used[:, columns // 2 :] = 5
    some = decoder.emphasis(pitch, used)
    middle = some.shape[1] // 2
    for part, stages in ((slice(middle), 2), (slice(middle, None), 5)):
        expected = decoder.emphasis(pitch, torch.tensor(stages))[:, part]
        torch.testing.assert_close(some[:, part], expected)
    with pytest.raises(ModelError, match="impossible"):
        replace(WIDE, detail=-1)


@pytest.mark.parametrize("uneven", [False, True])
def test_all_streams_hold_every_stage_of_every_position_once(uneven: bool) -> None:
    for stages, positions in ((24, 4), (12, 8), (5, 2), (1, 4)):
        place, stage = places(stages, positions, uneven)
        seen: dict[int, int] = dict.fromkeys(range(positions), 0)
        for row in zip(place.tolist(), stage.tolist(), strict=True):
            for where, level in zip(*row, strict=True):
                assert level == seen[where]  # a prefix of the streams has a prefix of the stages
                seen[where] += 1
            counts = list(seen.values())
            assert counts == sorted(counts, reverse=True)
            assert uneven or len(set(counts)) == 1
        assert counts == [stages] * positions


def test_uneven_streams_give_low_bands_more_stages_at_middle_rates() -> None:
    place, _ = places(24, 4, True)
    counts = torch.nn.functional.one_hot(place, 4).sum(1).cumsum(0)
    assert counts[5].tolist() == [6, 6, 6, 6]
    assert counts[11].tolist() == [18, 14, 10, 6]


def test_prefixes_of_uneven_streams_decode_to_their_stages() -> None:
    model = make(replace(WIDE, uneven=1, stages=8)).tokens
    latents = torch.randn(2, 3 * model.config.positions, model.config.width)
    semantic = torch.randint(model.config.semantic, latents.shape[:2])
    tokens = model.tokens(semantic, latents, 9)
    for streams in range(1, 10):
        entries = model.entries(tokens[..., :streams])
        used = model.used(torch.full(latents.shape[:2], streams - 1))
        assert torch.equal((entries >= 0).sum(-1), used)
        expected = model.quantiser(latents, used)
        torch.testing.assert_close(model.quantiser.decode(entries), expected)
        assert torch.equal(model.tokens(semantic, latents, streams), tokens[..., :streams])
    searched = model.tokens(semantic, latents, 9, 4, [4])
    assert torch.equal(searched[..., :5], model.tokens(semantic, latents, 5, 4, [4]))
    strengths = make(replace(WIDE, uneven=1, stages=8)).strengths(5)
    assert strengths.shape == (model.config.positions, model.config.acoustic)


def test_kmeans_finds_clusters_and_shares_the_codebook():
    centres = 10 * torch.randn(4, 3)
    points = centres[torch.arange(400) % 4] + 0.1 * torch.randn(400, 3)
    found = kmeans(points, 16, rounds=20)
    assert (centres - found[nearest(centres, found)]).norm(dim=1).max() < 0.2
    codebook = merged({"general": points, "speech": points + 100, "music": points - 100}, 16)
    sums = codebook.sum(1)
    assert [(sums.abs() < 150).sum(), (sums > 150).sum(), (sums < -150).sum()] == [8, 4, 4]


def test_every_stage_of_the_quantiser_lowers_the_error():
    quantiser = ResidualQuantiser(4, 32, 6)
    latents = torch.randn(500, 1, 6)
    quantiser.fit(latents[:, 0])
    indices = quantiser.encode(latents, 4)
    errors = [
        (quantiser.decode(indices[..., :n]) - latents).square().mean().item() for n in range(5)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[4] < 0.1 * errors[0]
    used = torch.randint(1, 5, (500,))
    found = quantiser.eval()(latents, used)
    expected = torch.stack(
        [quantiser.decode(i[None, :, :n])[0] for i, n in zip(indices, used, strict=True)]
    )
    torch.testing.assert_close(found, expected)
    beam = quantiser.encode(latents, 4, 4)
    assert (quantiser.decode(beam) - latents).square().mean() < 0.97 * errors[4]
    early = quantiser.encode(latents, 4, 4, likely=[2])
    assert torch.equal(early[..., :2], quantiser.encode(latents, 2, 4))
    assert not torch.equal(early[..., :2], beam[..., :2])
    quantiser.fit(latents[:, 0], first=2)
    torch.testing.assert_close(quantiser.encode(latents, 2), indices[..., :2])


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """A few seconds of tones and noise in three domains, one recording of each held out."""
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    for domain in ("speech", "music", "general"):
        for name in ("a", "b", "validation/c"):
            time = np.arange(96_000) / 16_000
            tone = np.sin(2 * np.pi * random.uniform(100, 900) * time) * np.cos(9 * time)
            samples = 8_000 * tone + 200 * random.standard_normal(len(time))
            path = folder / domain / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                file.writeframes(samples.astype("<i2").tobytes())
    return folder


def train(stage: str, sounds: Path, runs: Path, minutes: float, *, resume: bool = False) -> Path:
    changes = {"model": "tiny", "minutes": minutes, "batch": 4, "seconds": 1.28}
    return audio.run(stage, changes, [sounds], runs / stage, resume=resume)


def test_stages_are_trained_resumed_and_exported(sounds, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    with pytest.raises(ParameterError, match="audio-mae"):
        train("audio-tokens", sounds, runs, 0.01)
    (runs / "audio-tokens").rmdir()
    train("audio-mae", sounds, runs, 0.01)
    first = torch.load(runs / "audio-mae" / "checkpoint.pt", weights_only=True)
    with pytest.raises(ParameterError, match="--resume"):
        train("audio-mae", sounds, runs, 0.02)
    spent = first["seconds"] / 60  # one step of a busy machine may outlast the first budget
    train("audio-mae", sounds, runs, 0.02 + 2 * spent, resume=True)
    second = torch.load(runs / "audio-mae" / "checkpoint.pt", weights_only=True)
    assert second["step"] > first["step"] > 0
    for stage in list(audio.STAGES)[1:]:
        checkpoint = train(stage, sounds, runs, 0.03)
        assert len((runs / stage / "log.jsonl").read_text().splitlines()) >= 1

    path = tmp_path / "store" / "try.safetensors"
    info = models.export(checkpoint, path, name="try")
    assert info.codec == "semanticodec"
    assert set(info.training) == set(audio.STAGES)
    monkeypatch.setenv("LACONIC_MODELS", str(path.parent))
    model = read_small(models.find("try"))
    sound = 0.1 * torch.randn(1, 30_000)
    tokens = model.encode(sound, 4)
    assert torch.isfinite(model.decode(tokens, steps=2, seed=3)).all()
    trained = torch.load(runs / "audio-tokens" / "checkpoint.pt", weights_only=True)["average"]
    books, kept_books = model.tokens.quantiser.codebooks, trained["quantiser.codebooks"]
    assert ((books - kept_books).abs() <= 0.005 * kept_books.abs().amax(-1, keepdim=True)).all()
    name = "blocks.0.up.weight"
    kept = torch.load(runs / "audio-mae" / "checkpoint.pt", weights_only=True)["average"]
    stored = model.mae.state_dict()[name]
    assert (stored - kept[f"encoder.{name}"]).abs().max() < 0.005 * stored.abs().max()
    with pytest.raises(ModelError, match="semanticodec"):
        read_small(replace(info, codec="mlic"))

    further = tmp_path / "further"
    changes = {"model": "tiny", "minutes": 0.01, "batch": 4, "seconds": 1.28}
    audio.run("audio-tokens", changes, [sounds], further / "audio-tokens", init="try")
    again = torch.load(further / "audio-tokens" / "checkpoint.pt", weights_only=True)
    assert again["start"]["id"] == info.id
    assert again["recipe"]["adam_lr"] < trained_recipe(runs)["adam_lr"] / 2
    assert torch.equal(again["average"]["semantic.centroids"], model.tokens.semantic.centroids)
    resumed = audio.run(
        "audio-tokens",
        changes | {"minutes": 0.02 + again["seconds"] / 20},
        [sounds],
        further / "audio-tokens",
        resume=True,
    )
    kept = torch.load(resumed, weights_only=True)
    assert kept["step"] > again["step"]
    assert kept["recipe"]["adam_lr"] == again["recipe"]["adam_lr"]
    second = models.export(resumed, tmp_path / "second.safetensors", name="second")
    assert second.training["started_from"]["id"] == info.id
    assert "audio-tokens" in second.training
    assert second.id != info.id
    before, ran = model.tokens.quantiser.codebooks, kept["average"]["quantiser.codebooks"]
    assert not torch.equal(before, ran)
    written = read_small(second).tokens.quantiser.codebooks
    assert ((written - ran).abs() <= 0.005 * ran.abs().amax(-1, keepdim=True)).all()
    changes |= {"minutes": 0.01}
    audio.run("audio-sound", changes, [sounds], further / "audio-sound", init="try")
    assert not (further / "audio-decoder").exists()  # that of the model fits other tokens
    fresh = tmp_path / "fresh"
    audio.run("audio-sound", changes, [sounds], fresh / "audio-sound", init="try")
    assert (fresh / "audio-decoder" / "checkpoint.pt").exists()
    with pytest.raises(ModelError, match="another size"):
        audio.run("audio-tokens", {"minutes": 0.01}, [sounds], tmp_path / "wrong" / "b", init="try")


@pytest.mark.parametrize("stage", ["audio-vocoder", "audio-sound", "audio-refiner"])
def test_stages_that_a_size_does_not_have_are_refused(stage: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=f"have nothing that {stage} trains"):
        audio.run(stage, {"model": "small-fine", "minutes": 0.01}, [tmp_path], tmp_path / stage)


def test_a_model_with_short_frames_does_not_begin_one_with_long_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="another size than 'small'"):
        begin_from("semanticodec-small-6", "small", tmp_path, "audio-tokens")


def trained_recipe(runs: Path) -> dict:
    """Recipe of the token stage in ``runs``."""
    checkpoint = runs / "audio-tokens" / "checkpoint.pt"
    return torch.load(checkpoint, weights_only=True)["recipe"]


@pytest.mark.parametrize("of_round", ["", "-2", "-3", "-4", "-5", "-6", "-7", "-8"])
def test_shipped_models_are_small_and_keep_more_with_more_streams(of_round: str) -> None:
    info = models.find("semanticodec-small" + of_round)
    assert info.bytes <= 30_000_000
    assert info.parameters <= 30_000_000
    model = read_small(info)
    time = torch.arange(48_000) / 16_000
    pitch = 2 * torch.pi * (120 * time + 6 * torch.sin(5 * time))
    voice = sum(torch.sin(k * pitch) / k for k in range(1, 20))
    sound = (0.1 * voice * (0.6 + 0.4 * torch.sin(20 * time)))[None]
    mel = Synthesis()(torch.nn.functional.pad(sound, (0, -sound.shape[1] % model.hop)))
    distances = []
    for streams in (2, 6, 13):
        decoded = model.decode(model.encode(sound, streams), steps=0, seed=0)
        distances.append(float((Synthesis()(decoded) - mel).abs().mean()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1.0  # silence is further off than 4


def test_effort_finds_tokens_that_are_heard_better() -> None:
    torch.manual_seed(3)
    model = make(replace(SHORT, rounds=4))
    model.tokens.decoder.requires_grad_(False)
    sound = hum(150.0)
    pitch = torch.from_numpy(track_of(sound[0].numpy()))[None]
    heard, target = Heard(model.config), model.synthesis(sound)

    def loss(tokens: torch.Tensor) -> float:
        mel = model.tokens.decode(tokens, pitch)
        emphasis = model.tokens.decoder.emphasis(pitch, torch.tensor(2))
        return float(heard(mel, target, emphasis)[0])

    found = [loss(model.encode(sound, 3))]
    found += [loss(model.searched(sound, 3, pitch, [3], effort)) for effort in (1, 4)]
    assert found[2] < found[1] < found[0]
    with torch.inference_mode():
        again = model.searched(sound, 4, pitch, [3, 4], 1)
    assert again.shape == (1, 10 * model.positions, 4)
    assert torch.equal(model.searched(sound, 2, pitch, [1], 1), model.encode(sound, 2))


def test_more_effort_keeps_a_bound_and_changes_the_file() -> None:
    sound = Audio(hum(120.0, 2.4).numpy(), 16_000)
    model = "semanticodec-small-8"
    files = [codec.encode(sound, model=model, kbps=2.0, effort=e) for e in (0, 1, 3)]
    limit = 2_000 / 8 * 2.4
    assert all(0.85 * limit < len(data) <= limit for data in files)
    assert len(set(files)) == 3
    assert files[1] == codec.encode(sound, model=model, kbps=2.0)
    decoded = Synthesis(128, 512)  # what the model decodes
    mels = [decoded(torch.from_numpy(codec.decode(data).samples)) for data in files]
    true = decoded(torch.from_numpy(sound.samples))
    distances = [float((mel - true).abs().mean()) for mel in mels]
    assert distances[2] < distances[0]
