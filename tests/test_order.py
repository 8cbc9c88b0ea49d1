"""Models with an order of channels: files, exactness, what is written, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pictures import picture, scene
from PIL import Image as Pillow
from rule_models import write_order

from laconic import codec
from laconic.cli.main import cli
from laconic.codec import models, registry
from laconic.codec.image.codec import load_model
from laconic.codec.image.codecs import ImageCodec
from laconic.codec.image.coding import split_payload
from laconic.codec.image.config import ChannelOrder, Plan
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.reorder import channel_order, write_ordered
from laconic.formats import ContainerReader
from laconic.formats.errors import FormatError, LaconicError, ModelError, ParameterError

SMALL = "small-ordered"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The default model with a core of its first three slices."""
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    info = models.find(models.DEFAULT_MODEL)
    order = ChannelOrder(tuple(range(320)), (16, 24, 40), (80, 160))
    write_ordered(info, order, SMALL, by="hand")
    return SMALL


def loaded(name: str) -> ImageModel:
    info = models.find(name)
    kind = registry.get(info.codec)
    assert isinstance(kind, ImageCodec)
    return kind.load(info.id)


@pytest.mark.parametrize("source", ["test-factorized", "test-hyperprior", "test-mean"])
def test_channels_independent_given_z_cost_the_same_in_any_order(
    source: str, rule_models: Path
) -> None:
    info = models.find(source)
    order = ChannelOrder((5, 2, 0, 7, 1, 3, 6, 4), (1, 2), (3, 2))
    name = write_ordered(info, order, f"{source}-shuffled", by="hand").name
    plain = codec.encode(picture(90, 70), model=source)

    data = codec.encode(picture(90, 70), model=name)

    assert np.array_equal(codec.decode(data).pixels, codec.decode(plain).pixels)
    assert codec.verify(data).symbols == codec.verify(plain).symbols
    assert len(data) <= len(plain) + 6 * (len(order.core) + len(order.groups))
    (path := models.find(name).path).unlink()
    assert not path.exists()


@pytest.mark.parametrize("source", ["test-hyperprior", "test-hyperprior-vbr", "test-mean-vbr"])
def test_the_cost_of_an_order_is_what_the_table_says(source: str, rule_models: Path) -> None:
    name = f"{source}-by-parameters"
    write_order(source, name)
    for size in ((60, 90), (200, 300)):
        for quality in (10.0, 50.0, 90.0) if "vbr" in source else (None,):
            before, after = (
                len(codec.encode(scene(*size, seed=1), model=m, quality=quality))
                for m in (source, name)
            )
            print(f"{source} {quality}: {before} -> {after}, {100 * (after / before - 1):+.1f} %")
            assert before <= after <= 1.07 * before + 5
    models.find(name).path.unlink()


@pytest.mark.parametrize(
    "name", ["test-mlicpp-ordered", "test-factorized-ordered", "test-mean-ordered"]
)
def test_ordered_models_code_pictures_with_every_option(name: str, rule_models: Path) -> None:
    image = picture(50, 100, alpha=True)
    data = codec.encode(image, model=name, tile=64)

    whole = codec.decode(data)
    part = codec.decode(data, region=(10, 5, 40, 30))

    assert whole.alpha is not None
    assert image.alpha is not None
    assert np.array_equal(whole.alpha, image.alpha)
    assert np.array_equal(part.pixels, whole.pixels[5:35, 10:50])
    assert ContainerReader(data).header.model.hex() == models.find(name).id


def test_the_core_alone_decides_what_a_group_decodes_to(small: str) -> None:
    """Another stream in the place of one group leaves core and other groups as they were."""
    model = load_model(small)
    y = torch.randn(1, 8, 8, 320, generator=torch.Generator().manual_seed(1)) * 4
    other = y.clone()
    other[..., 80:160] = 3 * y[..., 80:160].flip(1)
    z = model.hyper(y, 50.0)

    one, two = model.encode(y, z, 50.0), model.encode(other, z, 50.0)

    streams = [split_payload(c.payload, 3) for c in (one, two)]
    assert streams[0][0] == streams[1][0]
    assert streams[0][1] != streams[1][1]
    assert streams[0][2] == streams[1][2]
    same = [c for c in range(320) if not 80 <= c < 160]
    assert torch.equal(one.y_hat[..., same], two.y_hat[..., same])
    again = model.decode(two.payload, 8, 8, 50.0)
    assert torch.equal(again.y_hat, two.y_hat)
    assert again.check.value32() == two.check.value32()


def test_a_core_of_all_slices_is_the_model_itself(small: str) -> None:
    info = models.find(models.DEFAULT_MODEL)
    order = ChannelOrder(tuple(range(320)), (16, 24, 40, 80, 160), ())
    name = write_ordered(info, order, "same", by="hand").name
    image = picture(70, 90)

    plain, same = codec.encode(image, quality=40), codec.encode(image, quality=40, model=name)

    assert ContainerReader(plain)[0].payload == ContainerReader(same)[0].payload
    assert ContainerReader(plain).header.model != ContainerReader(same).header.model


def test_effort_refines_latents_of_ordered_models(small: str) -> None:
    image = picture(64, 64)
    data = codec.encode(image, quality=30, model=small, effort=1)

    assert codec.decode(data).pixels.shape == (64, 64, 3)


def test_damage_to_any_stream_is_found(small: str) -> None:
    model = load_model(small)
    y = torch.randn(1, 4, 4, 320, generator=torch.Generator().manual_seed(2)) * 3
    coded = model.encode(y, model.hyper(y, 50.0), 50.0)

    for at in range(0, len(coded.payload), max(1, len(coded.payload) // 60)):
        damaged = bytearray(coded.payload)
        damaged[at] ^= 0x10
        try:
            found = model.decode(bytes(damaged), 4, 4, 50.0)
        except LaconicError:
            continue
        assert found.check.value32() != coded.check.value32()
    for length in (0, 1, 2, len(coded.payload) // 3):
        with pytest.raises(FormatError):
            assert model.decode(coded.payload[:length], 4, 4, 50.0).check == coded.check


def test_slices_are_ranked_as_wholes_and_keep_their_order_within_the_core(
    rule_models: Path,
) -> None:
    model = loaded("test-mlicpp")
    energy = np.arange(12, dtype=np.float64) + 1  # the last slice of 4 is the strongest
    energy[:4] += 6.5

    order = channel_order(model, energy, 0.75)

    assert order.core == (4, 4)
    assert sorted(order.permutation[:4]) == [0, 1, 2, 3]
    assert sorted(order.permutation[4:8]) == [8, 9, 10, 11]
    assert order.permutation[0] == 3  # the strongest of its slice
    assert order.groups == (4,)
    assert order.plan([4, 4, 4]) == Plan((0, 2), ((1,),))


def test_orders_that_no_model_can_have_are_named() -> None:
    good = {"permutation": [2, 0, 1], "core": [1], "groups": [2]}
    assert ChannelOrder.of({}, 3) is None
    found = ChannelOrder.of({"order": good}, 3)
    assert found is not None
    assert found.to_dict() == good
    bad = [
        ({**good, "permutation": [0, 0, 1]}, "each of 3 once"),
        ({**good, "groups": [1]}, "a core and 3 channels in all"),
        ({**good, "core": [], "groups": [3]}, "expected a core"),
        ({"core": [3]}, "cannot be read"),
        ({**good, "core": ["x"]}, "cannot be read"),
    ]
    for values, message in bad:
        with pytest.raises(ModelError, match=message):
            ChannelOrder.of({"order": values}, 3)
    with pytest.raises(ModelError, match="cuts through its slices of 2, 1 channels"):
        ChannelOrder((0, 2, 1), (2,), (1,)).plan([2, 1])


@pytest.mark.parametrize("name", ["test-joint", "test-anchor", "test-attn"])
def test_models_that_code_position_after_position_have_no_order(
    name: str, rule_models: Path
) -> None:
    result = CliRunner().invoke(
        cli, ["models", "order", name, "--write", "never"], standalone_mode=False
    )

    assert isinstance(result.exception, ModelError)
    assert "codes all channels of a position before the next" in str(result.exception)
    assert not (rule_models / "never.safetensors").exists()


def test_the_command_writes_a_model_that_encode_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path / "store"))
    pictures = tmp_path / "in"
    pictures.mkdir()
    Pillow.fromarray(scene(64, 128)).save(pictures / "a.png")
    order = ["models", "order", models.DEFAULT_MODEL, "--by", "energy"]
    measured = ["--pictures", str(pictures), "--write", "mine"]

    refused = CliRunner().invoke(cli, [*order, "--write", "mine"])
    made = CliRunner().invoke(cli, [*order, *measured], standalone_mode=False)
    twice = CliRunner().invoke(cli, [*order, *measured], standalone_mode=False)
    again = CliRunner().invoke(
        cli, ["models", "order", "mine", "--write", "other"], standalone_mode=False
    )

    assert refused.exit_code == 2
    assert made.exit_code == 0, made.output
    assert "side by side" in made.output
    assert models.find("mine").training["ordered"]["by"] == "energy"
    assert "there is already a model mine" in str(twice.exception)
    assert isinstance(again.exception, ParameterError)
    data = codec.encode(pictures / "a.png", quality=30, model="mine")
    assert codec.decode(data).pixels.shape == (64, 128, 3)
