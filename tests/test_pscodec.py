"""PSCodec: prompts are heard and paid for, codebooks live, files keep their length, runs resume."""

import json
import os
import signal
import threading
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from prompt_models import GOLDEN, TINY, golden_sound, install
from weight_rule import rule_sound

from laconic import codec
from laconic.cli.main import cli
from laconic.codec import models
from laconic.codec.audio.pscodec.config import FULL, VARIANTS, PromptConfig, config_of
from laconic.codec.audio.pscodec.fusion import FFT, HOP, CrossAttention, frames_of, wave_of
from laconic.codec.audio.pscodec.losses import (
    Discriminator,
    discriminator_loss,
    mel_filters,
    similarity,
    spectral_loss,
)
from laconic.codec.audio.pscodec.model import PromptModel, PsCodec
from laconic.codec.audio.pscodec.quantize import Codebook, GroupResidual, prompt_mel
from laconic.codec.train.pscodec import PromptRecipe, Trainer, run
from laconic.formats.audio import Audio
from laconic.formats.container import PROMPT, Chunk, Container
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import FormatError, ModelError, ParameterError

RECIPE = PromptRecipe(steps=6, batch=2, columns=10, prompt_columns=20, adversarial_from=0.5)


def tiny(variant: str, **changes: object) -> PromptConfig:
    return replace(TINY, **{**VARIANTS[variant], "entries": 16, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_training_reaches_every_weight_of_every_configuration(variant: str, spectral: bool) -> None:
    torch.manual_seed(0)
    config = tiny(variant, spectral=spectral, encoder_width=4 if not spectral else 16)
    network = PsCodec(config).train()
    for module in network.modules():
        if isinstance(module, CrossAttention):  # gates start closed
            torch.nn.init.constant_(module.gate, 0.1)
    sound = 0.1 * torch.randn(2, 8 * HOP)

    result = network(sound, 0.1 * torch.randn(2, 4000))
    (spectral_loss(result.wave, sound) + result.commitment + result.similarity).backward()

    assert result.wave.shape == sound.shape
    assert (result.similarity.item() > 0) == (variant == "drl-ict")
    assert silent_in(network) == []


@pytest.mark.parametrize("fusion", ["weighted", "cascade"])
@pytest.mark.parametrize("speaker", [True, False])
def test_training_reaches_what_tells_the_encoder_of_the_prompts(fusion: str, speaker: bool) -> None:
    torch.manual_seed(0)
    network = PsCodec(replace(TINY, fusion=fusion, told=True, speaker=speaker)).train()
    for name, parameter in network.named_parameters():
        if "gate" in name or "project" in name or "tell" in name:  # begin closed
            torch.nn.init.constant_(parameter, 0.1)
    sound = 0.1 * torch.randn(2, 8 * HOP)

    result = network(sound, 0.1 * torch.randn(2, 4000))
    (spectral_loss(result.wave, sound) + result.commitment).backward()

    assert silent_in(network) == []


def silent_in(network: PsCodec) -> list[str]:
    """Weights that are trained and have no gradient."""
    trained = [(k, p) for k, p in network.named_parameters() if p.requires_grad]
    return [k for k, p in trained if p.grad is None or not p.grad.any()]


def test_an_encoder_that_is_told_codes_a_sound_by_its_prompt() -> None:
    torch.manual_seed(0)
    network = PsCodec(replace(TINY, told=True)).eval()
    torch.nn.init.normal_(network.tell.weight)
    model = PromptModel(network)
    sound = 0.1 * torch.randn(1, 40 * HOP)
    first, second = (torch.full((1, len(TINY.prompts)), n) for n in (0, 1))

    tokens = [model.prompted(codes).encode(sound, 2) for codes in (first, second)]

    assert not torch.equal(*tokens)


def test_the_full_size_is_hifi_codecs() -> None:
    with torch.device("meta"):
        network = PsCodec(FULL)

    assert [d.weight.shape[:2] for d in network.encoder.downs] == [
        (64, 32), (128, 64), (256, 128), (512, 256),
    ]  # fmt: skip
    assert [(u.in_channels, u.stride[0]) for u in network.decoder.ups] == [
        (512, 8), (256, 5), (128, 4), (64, 2),
    ]  # fmt: skip
    assert FULL.vocabularies == (1024,) * 4  # 50 Hz of 40 bits: 2 kbit/s
    assert FULL.prompts == (256,) * 16


def test_frames_of_a_sound_add_up_to_it() -> None:
    sound = rule_sound(20 * HOP, 1)

    spectra = frames_of(sound)

    assert spectra.shape == (1, FFT // 2 + 1, 20)
    assert torch.allclose(wave_of(spectra), sound, atol=1e-5)


def test_mel_filters_cover_the_band_once() -> None:
    filters = mel_filters(1024, 64, 16_000)

    assert filters.shape == (64, 513)
    inner = filters.sum(0)[40:470]
    assert float(inner.min()) > 0.9
    assert float(inner.max()) < 1.1


def test_similarity_is_one_for_equal_maps_and_small_for_unlike_ones() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 40, 8).unbind()

    assert float(similarity(a, a)) == pytest.approx(1, abs=1e-5)
    assert abs(float(similarity(a, b))) < 0.2


def test_unused_entries_are_put_to_use() -> None:
    torch.manual_seed(0)
    book = Codebook(64, 4).train()
    centres = torch.randn(64, 4)
    for _ in range(150):
        book(centres[torch.randint(64, (256,))] + 0.01 * torch.randn(256, 4))

    quantised, indices, loss = book.eval()(centres)

    assert len(indices.unique()) > 48
    assert float(loss) < 0.05
    assert torch.allclose(quantised, book.lookup(indices))


def test_streams_are_layers_of_groups_and_fewer_say_less() -> None:
    torch.manual_seed(0)
    quantizer = GroupResidual(8, 2, 2, 16).train()
    z = torch.randn(4, 50, 8)
    for _ in range(60):
        quantizer(z)
    quantizer.eval()

    quantised, tokens, _ = quantizer(z)

    assert tokens.shape == (4, 50, 4)
    errors = [float((quantizer.decode(tokens[..., :n]) - z).square().mean()) for n in range(5)]
    assert torch.allclose(quantizer.decode(tokens), quantised, atol=1e-5)
    assert errors == sorted(errors, reverse=True)
    assert errors[4] < errors[2] < errors[0]


def test_a_prompt_tells_the_voice_and_not_the_level() -> None:
    sound = rule_sound(16_000, 1) + 0.05 * torch.randn(1, 16_000)

    assert torch.allclose(prompt_mel(sound), prompt_mel(0.5 * sound), atol=2e-2)
    assert not torch.allclose(prompt_mel(sound), prompt_mel(rule_sound(16_000, 2)), atol=0.5)
    assert prompt_mel(torch.zeros(1, 1)).shape == (1, 4, 64)


def test_critic_scores_are_trained_apart() -> None:
    torch.manual_seed(0)
    critic = Discriminator()
    real, false = rule_sound(8_000, 1), 0.1 * torch.randn(1, 8_000)
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        loss = discriminator_loss(critic(real), critic(false))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    assert losses[-1] < losses[0]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for seed in range(4):
        samples = (rule_sound(24_000, seed)[0].numpy() * 32767).astype(np.int16)
        with wave.open(str(folder / f"{seed}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(samples.tobytes())
    return folder


@pytest.fixture(scope="module")
def trained(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(RECIPE, tiny("base"), [speech], tmp_path_factory.mktemp("run"))


@pytest.fixture
def store(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    models.export(trained, tmp_path / "pscodec-base.safetensors", name="pscodec-base")
    return tmp_path


def sound(samples: int, seed: int = 1, rate: int = 16_000) -> Audio:
    return Audio(rule_sound(samples, seed).numpy(), rate)


def test_a_trained_model_makes_files_of_exact_length(store: Path) -> None:
    for samples, rate in ((1, 16_000), (3_333, 16_000), (40_001, 22_050), (200_000, 16_000)):
        data = codec.encode(sound(samples, rate=rate), codec="pscodec")
        decoded = codec.decode(data)

        assert decoded.samples.shape == (1, samples)
        assert decoded.rate == rate
        assert np.array_equal(decoded.samples, codec.decode(data).samples)


def test_prompts_are_part_of_the_file_and_of_its_size(store: Path) -> None:
    data = codec.encode(sound(32_000), codec="pscodec")
    container = ContainerReader(data)

    [prompt] = [c for c in container.chunks if c.type == PROMPT]

    assert len(prompt.data) == 6
    assert all(code < 8 for code in prompt.data)
    # Other prompts give another audio, of the same tokens.
    other = Chunk(PROMPT, bytes((code + 1) % 8 for code in prompt.data))
    changed = Container(container.header, list(container), [other]).to_bytes()
    assert len(changed) == len(data)
    difference = codec.decode(changed).samples - codec.decode(data).samples
    assert np.abs(difference).max() > 1e-5


@pytest.mark.parametrize(
    ("prompt", "message"),
    [(b"", "0 codes"), (b"\0" * 5, "5 codes"), (b"\0\0\0\0\0\x08", "code 8 is none of 8")],
)
def test_damaged_prompts_are_found(store: Path, prompt: bytes, message: str) -> None:
    container = ContainerReader(codec.encode(sound(5_000), codec="pscodec"))
    chunks = [Chunk(PROMPT, prompt)] if prompt else []

    data = Container(container.header, list(container), chunks).to_bytes()

    with pytest.raises(FormatError, match=message):
        codec.decode(data)


def test_the_golden_stream_decodes_and_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    about = json.loads((GOLDEN / "prompted.json").read_text())
    data = (GOLDEN / "prompted.lac").read_bytes()
    install(tmp_path)

    decoded = codec.decode(data)
    again = ContainerReader(codec.encode(golden_sound(), codec="pscodec", steps=4))
    container = ContainerReader(data)

    assert [segment.check for segment in container] == about["checks"]
    assert container.header.model.hex() == about["model"]
    assert [list(c.data) for c in container.chunks] == about["prompt"]
    assert decoded.samples.shape == (1, about["samples"])
    assert decoded.samples[0, ::5000].tolist() == pytest.approx(about["every_5000"], abs=1e-4)
    # An encoder's networks run in float32, where a close call may fall either way.
    assert again.header == container.header
    for cut in range(0, len(data), 37):
        with pytest.raises(FormatError):
            codec.verify(data[:cut])


def test_a_model_of_another_kind_is_named(store: Path) -> None:
    with pytest.raises(ModelError, match="made for the codec photo"):
        codec.encode(sound(5_000), codec="pscodec", model="photo")


def test_without_prompts_no_chunk_is_written() -> None:
    model = PromptModel(PsCodec(tiny("plain")))

    assert model.prompt_vocabularies == ()
    assert model.prompt(rule_sound(5_000, 1)).shape == (1, 0)
    tokens = model.encode(rule_sound(5_000, 1), 2)
    assert model.decode(tokens, steps=0, seed=0).shape == (1, 16 * HOP)


def test_runs_resume_where_they_ended(speech: Path, tmp_path: Path) -> None:
    config = tiny("base")
    long = replace(RECIPE, steps=10_000, adversarial_from=1.0)
    threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM)).start()

    checkpoint = run(long, config, [speech], tmp_path)

    first = torch.load(checkpoint, weights_only=True)["step"]
    assert first < 10_000
    with pytest.raises(ParameterError, match="--resume"):
        run(long, config, [speech], tmp_path)
    with pytest.raises(ParameterError, match="another configuration"):
        run(long, tiny("casan"), [speech], tmp_path, resume=True)
    run(replace(long, steps=first + 2), config, [speech], tmp_path, resume=True)
    assert torch.load(checkpoint, weights_only=True)["step"] == first + 2


def test_one_command_trains_and_one_exports(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    out, model = tmp_path / "run", tmp_path / "casan.safetensors"
    train = ["train", "pscodec", "--config", "casan", "--steps", "1", "--batch", "2"]

    trained = CliRunner().invoke(cli, [*train, "--data", str(speech), "--out", str(out)])
    again = CliRunner().invoke(cli, [*train, "--data", str(speech), "--out", str(out)])
    export = ["models", "export", str(out / "checkpoint.pt"), "--name", "casan", "-o", str(model)]
    exported = CliRunner().invoke(cli, export)

    assert trained.exit_code == 0, trained.output
    assert again.exit_code != 0
    assert "--resume" in str(again.exception)
    assert exported.exit_code == 0, exported.output
    info = models.find("casan")
    assert (info.codec, info.config["fusion"], info.training["steps"]) == ("pscodec", "cascade", 1)
    decoded = codec.decode(codec.encode(sound(9_000), model="casan"))
    assert decoded.samples.shape == (1, 9_000)


def test_disentangling_follows_a_base(speech: Path, trained: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, variant="drl-ict")
    alone = Trainer(recipe, tiny("drl-ict"), [speech], tmp_path / "a")
    continued = Trainer(recipe, tiny("drl-ict"), [speech], tmp_path / "b", trained)

    def weights(trainer: Trainer) -> list[float]:
        found = []
        for trainer.step in (0, 3, 6):
            found.append(trainer.disentangling())
        return found

    assert weights(alone) == [0.0, 0.0, recipe.disentangle]
    assert weights(continued) == pytest.approx([0.0, recipe.disentangle / 2, recipe.disentangle])
    base = torch.load(trained, weights_only=True)["average"]
    assert torch.equal(continued.model.state_dict()["fusion.weights"], base["fusion.weights"])
    with pytest.raises(ParameterError, match="same configuration"):
        Trainer(recipe, tiny("casan"), [speech], tmp_path / "c", trained)


def test_configurations_by_name() -> None:
    assert config_of("casan").fusion == "cascade"
    assert config_of("drl-ict", full=True).disentangled
    assert PromptConfig.from_dict(FULL.to_dict()) == FULL
    with pytest.raises(ModelError, match="no PSCodec"):
        PromptConfig(groups=3)
