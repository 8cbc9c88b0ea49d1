"""Importing checkpoints: what is taken, what is refused, and that nothing in a file is executed."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pictures import picture
from rule_models import RULE_MODELS, checkpoint, network
from safetensors.numpy import save_file

from laconic import codec
from laconic.cli.main import cli
from laconic.codec import models
from laconic.codec.image import unpack
from laconic.codec.image.checkpoints import import_checkpoint, read_checkpoint
from laconic.formats.errors import ModelError, OutputError, ParameterError


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    monkeypatch.setenv("LACONIC_MODELS", str(folder))
    return folder


def weights(name: str = "test-mlicpp") -> dict[str, Any]:
    return {k: v.contiguous() for k, v in network(name).state_dict().items()}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_a_training_checkpoint_becomes_a_model_that_codes(store: Path, tmp_path: Path) -> None:
    source = checkpoint("test-mlicpp", tmp_path)
    result = CliRunner().invoke(cli, ["models", "import", str(source)], standalone_mode=False)

    assert result.exit_code == 0, result.output
    assert "mlic++" in result.output
    info = models.find("test-mlicpp")
    assert info.codec == "mlic++"
    assert info.config["slices"] == 3
    data = codec.encode(picture(70, 90), model="test-mlicpp")
    assert codec.probe(data).codec == "mlic++"
    assert codec.decode(data).pixels.shape == (70, 90, 3)


def test_the_same_weights_give_the_same_model_from_any_kind_of_file(
    store: Path, tmp_path: Path
) -> None:
    plain = weights()
    old_names = {
        k.replace("matrices.", "_matrix").replace("biases.", "_bias").replace("factors.", "_factor")
        if k.startswith("entropy_bottleneck.")
        else k: v
        for k, v in plain.items()
    }
    wrapped = {"module." + k: v for k, v in old_names.items()}
    tables = {**plain, "gaussian_conditional._quantized_cdf": torch.zeros(64, 99).int()}
    numpy_file = tmp_path / "e.safetensors"
    save_file({k: v.numpy() for k, v in plain.items()}, numpy_file)

    files = [
        saved(tmp_path / "a.pth", tables),
        saved(tmp_path / "b.pth.tar", {"state_dict": wrapped, "epoch": 3}),
        numpy_file,
    ]

    assert len({import_checkpoint(f, arch=None, name=None).id for f in files}) == 1


def test_the_generation_before_2024_is_recognised(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    save_file({k: v.numpy() for k, v in weights("test-mlicpp-2023").items()}, path)
    info = import_checkpoint(path, arch=None, name=None)

    assert info.config["narrow_synthesis"]
    assert info.config["residual_widths"] == []


class Hostile:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_not_executed(store: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    file = saved(tmp_path / "x.pth", {"state_dict": {**weights(), "extra": Hostile(trace)}})

    with pytest.raises(ModelError, match="more than tensors"):
        import_checkpoint(file, arch=None, name=None)

    assert not trace.exists()
    assert not list(store.glob("*"))


def test_a_checkpoint_that_asks_for_too_much_memory_is_refused(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from laconic.codec.image import checkpoints

    monkeypatch.setattr(checkpoints, "MEMORY", 3 << 30)
    small = saved(tmp_path / "x.pth", {"a": torch.zeros(1, dtype=torch.uint8).expand(6 << 30)})
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(small) as inner, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in inner.namelist():
            out.writestr(entry, inner.read(entry))

    with pytest.raises(ModelError, match="no checkpoint that can be imported"):
        import_checkpoint(small, arch=None, name=None)
    with pytest.raises(ModelError, match="no checkpoint that can be imported"):
        import_checkpoint(bomb, arch=None, name=None)


def broken(change: str) -> dict[str, Any]:
    tensors = weights()
    key = "g_a.analysis_transform.1.conv1.weight"
    if change == "NaN":
        tensors[key][0, 0, 0, 0] = float("nan")
    elif change == "shape":
        tensors[key] = torch.zeros(4, 5, 3, 3)
    elif change == "missing":
        del tensors[key]
    elif change == "left over":
        tensors["attention.weight"] = torch.zeros(3)
    elif change == "integers":
        tensors[key] = tensors[key].int()
    elif change == "slice":
        tensors["local_context.0.norm1.weight"] = torch.zeros(5)
    elif change == "other network":
        tensors = {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(10)}
    return tensors


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("NaN", "g_a.analysis_transform.1.conv1.weight has values that are not finite"),
        ("shape", r"conv1.weight is \[4, 5, 3, 3\], expected \[4, 4, 3, 3\]"),
        ("missing", "lacks g_a.analysis_transform.1.conv1.weight"),
        ("left over", "has attention.weight, which that architecture has not"),
        ("integers", "is int32, expected floats"),
        ("slice", "12 latent channels are not whole slices of 5"),
        ("other network", "is of none of the architectures"),
    ],
)
def test_wrong_tensors_are_named(change: str, sentence: str, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({k: v.numpy() for k, v in broken(change).items()}, path)

    with pytest.raises(ModelError, match=sentence):
        import_checkpoint(path, arch=None, name=None)

    assert not list(store.glob("*"))


def test_files_that_are_no_checkpoints_are_refused(store: Path, tmp_path: Path) -> None:
    whole = checkpoint("test-mlicpp", tmp_path).read_bytes()
    cases = {"cut": whole[: len(whole) // 2], "text": b"no checkpoint " * 20}
    for name, content in cases.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"cannot be read|no checkpoint that can be imported"):
            import_checkpoint(path, arch=None, name=None)
    plain = tmp_path / "cut.safetensors"
    save_file({k: v.numpy() for k, v in weights().items()}, plain)
    plain.write_bytes(plain.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        import_checkpoint(plain, arch=None, name=None)
    with pytest.raises(ModelError, match="'epoch' is no tensor"):
        import_checkpoint(saved(tmp_path / "l.pth", {"epoch": 1}), arch=None, name=None)


def test_wrong_architectures_and_names_are_refused(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({k: v.numpy() for k, v in weights().items()}, path)
    with pytest.raises(ModelError, match="no architecture 'vgg'"):
        import_checkpoint(path, arch="vgg", name=None)
    with pytest.raises(ModelError, match="is no name for a model"):
        import_checkpoint(path, arch=None, name="../x")
    import_checkpoint(path, arch=None, name="twice")
    with pytest.raises(OutputError, match="already a model twice"):
        import_checkpoint(path, arch=None, name="twice")
    with pytest.raises(OutputError, match="already a model"):
        import_checkpoint(path, arch=None, name=models.DEFAULT_MODEL, overwrite=True)
    assert import_checkpoint(path, arch=None, name="twice", overwrite=True).name == "twice"


def test_models_and_codecs_that_do_not_belong_together_are_named(rule_models: Path) -> None:
    with pytest.raises(ModelError, match="made for the codec 'mlic'"):
        codec.encode(picture(64, 64), codec="mlic++", model=models.DEFAULT_MODEL)
    with pytest.raises(ModelError, match=r"needs the name of a model.*test-mlicpp"):
        codec.encode(picture(64, 64), codec="mlic++")
    with pytest.raises(ParameterError, match="codes at one rate"):
        codec.encode(picture(64, 64), model="test-mlicpp", quality=40)
    with pytest.raises(ParameterError, match="trained for a lower rate"):
        codec.encode(picture(64, 64), model="test-mlicpp", target_bytes=60)


def test_a_model_whose_weights_were_changed_is_refused(
    rule_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = codec.encode(picture(64, 64), model="test-mlicpp")
    original = models.find("test-mlicpp").path.read_bytes()
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    changed = bytearray(original)
    changed[-2000] ^= 1
    (tmp_path / "test-mlicpp.safetensors").write_bytes(changed)
    from laconic.codec.image import architectures

    architectures._load.cache_clear()
    with pytest.raises(ModelError, match="the file is damaged"):
        codec.decode(data)
    (tmp_path / "test-mlicpp.safetensors").unlink()
    with pytest.raises(ModelError, match="was not found"):
        codec.decode(data)


def test_streams_find_a_model_whose_name_another_one_has(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({k: v.numpy() for k, v in weights("test-mean").items()}, path)
    import_checkpoint(path, arch=None, name="same")
    data = codec.encode(picture(64, 64), model="same")
    other = tmp_path / "other"
    monkeypatch.setenv("LACONIC_MODELS", str(other))
    save_file({k: v.numpy() for k, v in weights("test-joint").items()}, path)
    import_checkpoint(path, arch=None, name="same")
    (store / "same.safetensors").rename(other / "z.safetensors")

    assert models.find("same").config["arch"] == "mbt2018"
    assert codec.decode(data).pixels.shape == (64, 64, 3)


def test_every_test_model_was_imported(rule_models: Path) -> None:
    assert set(RULE_MODELS) <= {m.name for m in models.list_models()}
    assert np.all([m.parameters > 0 for m in models.list_models()])


def test_what_is_no_state_dict_is_said(tmp_path: Path) -> None:
    for content, sentence in (([1, 2], "holds a list"), ({}, "empty")):
        with pytest.raises(TypeError, match=sentence):
            unpack._tensors(content)


def test_published_weights_are_found_by_name_where_the_library_keeps_them(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("compressai.zoo.image")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = image.model_urls["mbt2018-mean"]["mse"][4].rsplit("/", 1)[1]
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    old = {
        k.replace("matrices.", "_matrices.").replace("biases.", "_biases.")
        if k.startswith("entropy_bottleneck.")
        else k: v
        for k, v in weights("test-mean").items()
    }
    saved(folder / file, old)

    data = codec.encode(picture(64, 64), codec="compressai:mbt2018-mean:4")

    assert codec.probe(data).model == "mbt2018-mean-4"
    assert models.find("mbt2018-mean-4").training["lambda"] == 0.013
    assert codec.decode(data).pixels.shape == (64, 64, 3)
    (folder / file).unlink()
    assert codec.encode(picture(64, 64), codec="compressai:mbt2018-mean:4") == data


def test_published_weights_of_all_rates_have_a_name_without_a_number(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("compressai.zoo.image_vbr")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    file = image.model_urls["mbt2018-mean-vbr"]["mse"].rsplit("/", 1)[1]
    saved(folder / file, {**weights("test-mean-vbr"), "lower_bound_zqstep.bound": torch.ones(1)})

    small, large = (
        codec.encode(picture(64, 64), codec="compressai:mbt2018-mean-vbr", quality=q)
        for q in (10, 90)
    )

    assert len(small) < len(large)
    assert codec.probe(large).model == "mbt2018-mean-vbr"


def test_missing_published_weights_say_which_file_belongs_where(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("compressai.zoo.image")

    def offline(*arguments: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ModelError, match=r"no network.*put mbt2018-1-3f36cd77.pth.tar into"):
        codec.encode(picture(64, 64), codec="compressai:mbt2018:1")
    with pytest.raises(ModelError, match="no published weights 'vgg:1'"):
        codec.encode(picture(64, 64), codec="compressai:vgg:1")
    with pytest.raises(ModelError, match="no weights of cheng2020-attn at quality 8"):
        codec.encode(picture(64, 64), codec="compressai:cheng2020-attn:8")
    with pytest.raises(ModelError, match=r"put mbt2018-mean-mse-vbr-45d095e9.pth.tar into"):
        codec.encode(picture(64, 64), codec="compressai:mbt2018-mean-vbr")
    with pytest.raises(ModelError, match="serves all rates: name it without a number"):
        codec.encode(picture(64, 64), codec="compressai:mbt2018-vbr:3")
    with pytest.raises(ModelError, match="publishes no weights of elic2022-official: import"):
        codec.encode(picture(64, 64), codec="compressai:elic2022-official:3")


@pytest.mark.parametrize(
    "change",
    [{"latent_channels": 1 << 20}, {"slices": 7}, {"window": "5"}, {"heads": 0}, {"x": 1}],
)
def test_model_files_with_impossible_configurations_are_refused(
    change: dict[str, Any], rule_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = models.find("test-mlicpp")
    tensors = models.read_tensors(info)
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    config = {**info.config, **change}
    models.write_model(
        tmp_path / "forged.safetensors",
        name="forged",
        codec="mlic++",
        config=config,
        numerics=info.numerics,
        tensors=tensors,
        training={},
    )

    with pytest.raises(ModelError):
        codec.encode(picture(64, 64), model="forged")


def test_settings_beside_the_weights_are_inert_and_other_objects_are_refused(
    tmp_path: Path,
) -> None:
    import argparse
    import fractions

    state = network("test-factorized").state_dict()
    path = tmp_path / "run.pth.tar"
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1, name="x")}, path)

    assert read_checkpoint(path).keys() == state.keys()
    torch.save({"state_dict": state, "args": fractions.Fraction(1, 3)}, path)
    with pytest.raises(ModelError, match="never loaded"):
        read_checkpoint(path)
