"""The published SemantiCodec: keys, shapes and numbers, its files as a model, audio in and out.

Comparisons at full size need up to 4 GB and minutes: run them with ``-m heavy``.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from full_models import REDUCED, published_files, rule_decoder, rule_encoder
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from weight_rule import fill, noise, rule_sound

from laconic import codec
from laconic.cli.main import cli
from laconic.codec import models
from laconic.codec.audio.header import AudioCodecHeader
from laconic.codec.audio.loading import import_files
from laconic.codec.audio.semanticodec.config import FullConfig, config_of
from laconic.codec.audio.semanticodec.decoder import FirstStage, FullDecoder
from laconic.codec.audio.semanticodec.export import read_full
from laconic.codec.audio.semanticodec.model import (
    Block,
    FullEncoder,
    FullModel,
    PatchEmbedding,
    filter_banks,
    mark_padding,
    nearest,
    padded_from,
    sine_cosine,
    stack_patches,
)
from laconic.codec.audio.semanticodec.unet import STEPS, UNet, ddim_steps, sample, velocity
from laconic.codec.models import ModelInfo
from laconic.formats.audio import Audio
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ModelError, OutputError

NUMBERS = Path(__file__).parent / "numbers"
# Number of keys and digest, equal to those of the published lists.
UNET_KEYS = [
    (1104, "2301a78a9330ac31"),
    (1104, "c1e0eacb7511078b"),
    (1104, "a882731857abef38"),
]
ENCODER_KEYS = (291, "a20341be7c594ba4")
DECODER_KEYS = (2622, "590b095742162e26")
GOLDEN: dict[str, Any] = json.loads((NUMBERS / "semanticodec.json").read_text())


def close(key: str, found: Tensor, tolerance: float | None = None) -> None:
    """Compare with an excerpt of the published numbers, to 2e-6 of their peak by default."""
    wanted = GOLDEN[key]
    flat = found.detach().double().flatten()[:: wanted["step"]].numpy()
    limit = tolerance or 2e-6 * max(1.0, wanted["peak"])
    assert flat.shape == (len(wanted["values"]),), key
    assert np.abs(flat - np.array(wanted["values"])).max() <= limit, key


def digest(module: torch.nn.Module, extra: list[str] | None = None) -> tuple[int, str]:
    """Number and SHA-256 of all keys with their shapes."""
    lines = [f"{k} {list(v.shape)}\n" for k, v in module.state_dict().items()]
    lines += [f"{k}\n" for k in extra or []]
    return len(lines), hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]


def test_keys_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        unets = [digest(UNet(config_of(rate))) for rate in (100, 50, 25)]
        encoder = digest(FullEncoder(config_of(100), complete=True))
        whole = FullDecoder(config_of(100), complete=True)
        decoder = digest(whole, whole.averaged_keys())

    assert unets == UNET_KEYS
    assert encoder == ENCODER_KEYS
    assert decoder == DECODER_KEYS


@pytest.mark.parametrize(("rate", "layers", "lstm"), [(100, 4, 208), (50, 3, 604), (25, 2, 1510)])
def test_the_rates_have_the_published_sizes(rate: int, layers: int, lstm: int) -> None:
    config = config_of(rate, 4096)

    with torch.device("meta"):
        network = FullEncoder(config)

    assert config.lstm_layers == layers
    assert round(sum(p.numel() for p in network.encoder.parameters()) / 1e6) == lstm
    assert 2 * config.tokens == round(10.24 * rate)


def test_no_other_rate_was_published() -> None:
    with pytest.raises(ModelError, match="75 tokens per second"):
        config_of(75)


def test_the_front_end_gives_the_published_spectrogram() -> None:
    mel = filter_banks(rule_sound(155_200, 0))

    close("mel", mel, 5e-5)
    assert padded_from(mel, 512).tolist() == [485]
    assert padded_from(torch.zeros(1, 1024, 128), 512).tolist() == [0]


@torch.no_grad()
def test_patches_positions_and_a_transformer_block_are_the_published_ones() -> None:
    mel = filter_banks(rule_sound(155_200, 0)).double()
    parts = torch.nn.ModuleDict({"patch_embed": PatchEmbedding(768), "block": Block(768, 12)})
    holder = torch.nn.Module()
    holder.audiomae = torch.nn.Module()
    holder.audiomae.model = torch.nn.Module()
    holder.audiomae.model.patch_embed = parts["patch_embed"]
    holder.audiomae.model.blocks = torch.nn.ModuleList([parts["block"]])
    fill(holder, "semanticodec").double()
    token = 0.5 * noise("audiomae.model.cls_token", (1, 1, 768), 0)

    patches = parts["patch_embed"](mel[:, None])
    places = sine_cosine(768).double()
    first = torch.from_numpy(token.astype(np.float32)).double() + places[:, :1]
    block = parts["block"](torch.cat([first, patches + places[:, 1:]], 1))

    close("patch_embed_rows16", patches[0, ::16], 3e-4)
    close("block0_rows16", block[0, ::16], 3e-4)


def test_stacking_joins_neighbours_in_frequency_then_in_time() -> None:
    index = torch.arange(512.0)[None, :, None]  # 8 t + f

    assert torch.equal(stack_patches(index, 1), index)
    assert stack_patches(index, 2)[0, :5].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert stack_patches(index, 4)[0, :2].tolist() == [[0, 1, 8, 9], [2, 3, 10, 11]]
    assert stack_patches(index, 4)[0, 4].tolist() == [16, 17, 24, 25]


def test_a_perfect_network_is_sampled_to_the_latent_it_knows() -> None:
    truth = torch.from_numpy(noise("truth", (1, 4, 16, 4), 0))
    alphas = FullDecoder(REDUCED).alphas_cumprod.double()

    def predict(z: Tensor, t: Tensor) -> Tensor:
        alpha = alphas[t[0]]
        eps = (z - alpha.sqrt() * truth) / (1 - alpha).sqrt()
        return velocity(truth, eps, alpha)

    for steps, eta in ((0, 1.0), (1, 1.0), (10, 0.0), (10, 1.0), (25, 1.0)):
        found = sample(predict, alphas, (1, 4, 16, 4), steps=steps, seed=3, eta=eta, like=truth)
        # What noise is left is that of the first training step.
        assert (found - truth).square().mean() < 4 * float(1 - alphas[0])


@pytest.mark.parametrize("count", [9, 10, 37, 50, 333, 1000])
def test_time_steps_rise_and_stay_in_range(count: int) -> None:
    steps = ddim_steps(count)

    assert len(steps) >= count
    assert steps == sorted(steps)
    assert steps[0] == 1
    assert steps[-1] < STEPS
    assert ddim_steps(1) == [STEPS - 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("semanticodec")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LACONIC_MODELS", str(path / "store"))
        yield path


@pytest.fixture(scope="module")
def files(folder: Path) -> list[Path]:
    return published_files(folder)


@pytest.fixture(scope="module")
def plain_files(folder: Path) -> list[Path]:
    """The same as safetensors."""
    (folder / "plain").mkdir()
    return published_files(folder / "plain", plain=True)


@pytest.fixture(scope="module")
def info(files: list[Path]) -> ModelInfo:
    result = CliRunner().invoke(
        cli, ["models", "import", *map(str, reversed(files)), "--arch", "semanticodec"]
    )
    assert result.exit_code == 0, result.output
    assert "CC BY-NC 4.0" in result.output
    return models.find("semanticodec-50-64")


@pytest.fixture(scope="module")
def model(info: ModelInfo) -> FullModel:
    return read_full(info)


def test_published_files_become_a_model_that_says_what_it_is(info: ModelInfo) -> None:
    assert info.codec == "semanticodec"
    assert "CC BY-NC 4.0" in info.config["licence"]
    expected = FullConfig(
        **{**REDUCED.__dict__, "pretraining_width": 512, "pretraining_depth": 8}
    ).to_dict()
    assert {k: info.config[k] for k in expected} == expected


def test_an_imported_model_computes_what_the_checkpoint_did(model: FullModel) -> None:
    wave = rule_sound(40_000, 1)

    tokens = model.encode(wave, 2)

    expected = rule_encoder(REDUCED)(filter_banks(wave))[:, : tokens.shape[1]]
    assert tokens.shape == (1, 16 * 4, 2)
    assert torch.equal(tokens, expected)
    assert torch.equal(model.encode(wave, 1), tokens[..., :1])


def test_an_imported_model_makes_files_of_exact_length(info: ModelInfo) -> None:
    sound = Audio(rule_sound(30_001, 3).numpy(), 22_050)

    data = codec.encode(sound, model=info.name, steps=1, seed=4)
    decoded = codec.decode(data)

    assert codec.probe(data).codec == "semanticodec"
    assert decoded.samples.shape == (1, 30_001)
    assert np.array_equal(decoded.samples, codec.decode(data).samples)
    assert not np.array_equal(decoded.samples, codec.decode(data, seed=5).samples)
    assert AudioCodecHeader.unpack(
        ContainerReader(codec.encode(sound, model=info.name)).header.codec_header
    ) == AudioCodecHeader(2, 60, 50, 0)


def test_a_reduced_model_keeps_its_numbers(model: FullModel) -> None:
    expected = json.loads((NUMBERS / "semanticodec_reduced.json").read_text())
    encoder = rule_encoder(REDUCED).double()
    decoder = rule_decoder(REDUCED).double()
    mel = filter_banks(rule_sound(155_200, 1))
    # The spectrogram is rounded so that its last bits decide nothing.
    tokens = encoder((mel * 1024).round().double() / 1024)

    sound = decoder(encoder.dequantize(tokens), steps=2, seed=5)[0]

    assert tokens[0, ::8].flatten().tolist() == expected["tokens"]
    assert sound[5000::5000].tolist() == pytest.approx(expected["sound"], abs=1e-7)


def test_decoding_is_reproducible_and_follows_its_seed(model: FullModel) -> None:
    tokens = model.encode(rule_sound(9_000, 2), 2)

    def decode(steps: int, seed: int) -> NDArray[np.float32]:
        return model.decode(tokens, steps=steps, seed=seed).numpy()

    first = decode(2, 7)
    assert first.shape == (1, 4 * 2560)
    assert np.abs(first).max() <= 1
    assert np.array_equal(first, decode(2, 7))
    assert not np.array_equal(first, decode(2, 8))
    assert np.array_equal(decode(0, 7), decode(0, 8))


def test_the_semantic_stream_alone_decodes(model: FullModel) -> None:
    tokens = model.encode(rule_sound(2_561, 2), 1)

    assert tokens.shape == (1, 2 * 4, 1)
    assert torch.isfinite(model.decode(tokens, steps=1, seed=0)).all()


@pytest.mark.parametrize("wave", [torch.zeros(1, 1), torch.ones(1, 5000), torch.zeros(2, 163_840)])
def test_silence_a_constant_and_single_samples_have_tokens(model: FullModel, wave: Tensor) -> None:
    tokens = model.encode(wave, 2)

    assert tokens.shape[1] == -(-wave.shape[1] // model.hop) * model.positions
    assert all(t.min() >= 0 and t.max() < v
               for t, v in zip(tokens.unbind(-1), model.vocabularies, strict=True))  # fmt: skip


def test_a_model_of_that_name_is_not_replaced_silently(
    plain_files: list[Path], info: ModelInfo
) -> None:
    with pytest.raises(OutputError, match="already a model"):
        import_files(plain_files, arch=None, name=info.name)


def test_wrong_files_are_named(plain_files: list[Path], tmp_path: Path) -> None:
    encoder, decoder, codebook = plain_files
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((64, 64), np.float32))
    strange = tmp_path / "strange.safetensors"
    save_file({"conv1.weight": torch.zeros(3, 3)}, strange)
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}, {}], object), allow_pickle=True)
    partial = tmp_path / "partial.safetensors"
    state = load_file(decoder)
    del state["first_stage_model.vocoder.conv_post.bias"]
    save_file(state, partial)

    for given, message in (
        ([encoder, decoder], "the codebook is missing"),
        ([encoder, encoder, codebook], "a second encoder"),
        ([encoder, decoder, other], "tokens per second"),
        ([encoder, decoder, objects], "no codebook"),
        ([strange, decoder, codebook], "strange.safetensors was not imported"),
        ([encoder, partial, codebook], "lacks first_stage_model.vocoder.conv_post.bias"),
    ):
        with pytest.raises(ModelError, match=message):
            import_files(given, arch="semanticodec", name="wrong")
    with pytest.raises(ModelError, match="give one checkpoint"):
        import_files(plain_files, arch="mlic++", name="wrong")


def test_parts_of_different_rates_are_refused(plain_files: list[Path], tmp_path: Path) -> None:
    other = FullConfig(**{**REDUCED.__dict__, "stack": 1})
    decoder = published_files(tmp_path, other, plain=True)[1]

    with pytest.raises(ModelError, match="different token rates"):
        import_files([plain_files[0], decoder, plain_files[2]], arch=None, name="mixed")


@pytest.mark.heavy
@torch.no_grad()
def test_the_full_encoder_equals_the_published_numbers() -> None:
    wave = rule_sound(155_200, 0)
    encoder = rule_encoder(config_of(100, 4096)).double()
    mel = filter_banks(wave).double()

    features = encoder.features(mel)
    semantic = nearest(features, encoder.centroids)
    first = padded_from(mel, 512)
    known = torch.cat([features, F.embedding(semantic, encoder.centroids)], -1)
    known = mark_padding(known, first)
    context, _ = encoder.encoder(known)
    residual = encoder.encoder_output_linear(context)
    tokens = torch.stack([semantic, nearest(residual, encoder.quantizer.entries)], -1)

    # The spectrogram is a float32 transform, whose last bits differ between libraries.
    close("features_rows4", features[0, ::4], 1e-5)
    close("lstm_in_rows64", known[0, ::64], 1e-5)
    close("lstm_out_rows32", context[0, ::32], 1e-4)
    close("residual_rows4", residual[0, ::4], 1e-4)
    assert tokens.flatten().tolist() == GOLDEN["tokens"]["values"]
    close("dequantized_rows8", encoder.dequantize(tokens)[0, :488:8])


@pytest.mark.heavy
@torch.no_grad()
def test_the_full_diffusion_network_equals_the_published_numbers() -> None:
    network = fill(UNet(config_of(100)), "semanticodec")
    latent, context = plain("test.latent", (1, 8, 32, 16)), plain("test.context", (1, 64, 1728))
    step = torch.tensor([501])

    close("unet_out", network(latent, step, context, torch.arange(64)[None] < 50), 2e-5)
    close("unet_out_maskall1", network(latent, step, context), 2e-5)


@pytest.mark.heavy
@torch.no_grad()
def test_the_full_autoencoder_and_vocoder_equal_the_published_numbers() -> None:
    stage = FirstStage(config_of(100), complete=True)
    vocoder = fill(stage.vocoder, "semanticodec").double()
    fill(stage, "semanticodec").double()
    fill(vocoder, "semanticodec")

    close("vae_decoded", stage.decode(plain("test.latent", (1, 8, 32, 16)).double()))
    picture = plain("test.melimage", (1, 1, 64, 64)) - 2
    close("vae_moments", stage.moments(picture.double()))
    close("vocoder_wave", vocoder((plain("test.mel", (1, 64, 32)) - 2).double()))


def plain(key: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(noise(key, shape, 0).astype(np.float32))
