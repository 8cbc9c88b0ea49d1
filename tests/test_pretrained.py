"""Models as objects, by name, id, file or folder; and models that live in a wheel of their own."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture

from laconic import codec
from laconic.codec import models
from laconic.codec.image.codec import read_mlic
from laconic.formats.errors import ModelError, ParameterError

EXTRA = Path(__file__).parents[1] / "codec" / "models_extra"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_named", [])


@pytest.fixture
def file(rule_store: Path, tmp_path: Path) -> Path:
    """The model file of a published architecture, outside every store."""
    kinds = ("mlic++", "compressai")
    stored = sorted(rule_store.glob("*.safetensors"))
    first = next(p for p in stored if models.read_info(p).codec in kinds)
    return Path(shutil.copy(first, tmp_path / "elsewhere.safetensors"))


def test_a_model_file_encodes_and_its_files_decode_wherever_it_lies(file: Path) -> None:
    model = codec.from_pretrained(file)
    image = picture(48, 64)

    data = model.encode(image)

    assert codec.probe(data).model_id == model.info.id
    assert np.array_equal(codec.decode(data).pixels, model.decode(data).pixels)
    assert model.info.codec == codec.probe(data).codec
    assert sum(p.numel() for p in model.network.parameters()) > 0


def test_a_folder_with_one_model_stands_for_it(file: Path) -> None:
    assert codec.from_pretrained(file.parent).info == codec.from_pretrained(file).info
    shutil.copy(file, file.with_name("second.safetensors"))
    with pytest.raises(ModelError, match=r"holds 2 files .*: expected one"):
        codec.from_pretrained(file.parent)


def test_names_and_ids_of_shipped_models_are_found() -> None:
    by_name = codec.from_pretrained(models.DEFAULT_MODEL)

    assert by_name.info == codec.from_pretrained(by_name.info.id).info
    assert len(by_name.encode(picture(48, 64), quality=20)) > 0
    assert not by_name.network.training


def test_a_file_does_not_take_over_a_name_of_the_store(tmp_path: Path) -> None:
    shipped = models.find("photo")
    other = models.find("photo-preview")
    path = tmp_path / "mine.safetensors"
    tensors = models.read_tensors(other)
    models.write_model(
        path,
        name="photo",
        codec=other.codec,
        config=other.config,
        numerics=other.numerics,
        tensors=tensors,
        training={},
    )

    assert codec.from_pretrained(path).info.path == path
    assert models.find("photo") == shipped
    assert models.find(models.read_info(path).id).id == other.id


def test_what_is_no_model_file_is_named(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mlicpp.pth.tar"
    checkpoint.write_bytes(b"PK")
    with pytest.raises(ModelError, match="laconic models import"):
        codec.from_pretrained(checkpoint)
    with pytest.raises(ModelError, match="was not found: available are"):
        codec.from_pretrained("no-such-model")
    with pytest.raises(ParameterError, match="no networks of torch"):
        _ = codec.from_pretrained("photo").network


def test_the_table_of_extra_models_is_what_the_second_wheel_holds() -> None:
    found = {i.id: i.name for i in map(models.read_info, EXTRA.glob("weights/*.safetensors"))}

    assert found == models.IN_EXTRA
    assert all(models.find(identity).id == identity for identity in found)
    page = (EXTRA / "README.md").read_text()
    assert all(f"`{name}`" in page for name in found.values())


def test_models_of_the_second_wheel_are_named_with_its_command_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    golden = Path(__file__).parent / "golden" / "records-1" / "mnist-small.lac"
    assert len(codec.decode(golden))
    monkeypatch.setattr(models, "EXTRA", "laconic_models_that_nobody_has")
    monkeypatch.setitem(sys.modules, "laconic_models_that_nobody_has", None)

    with pytest.raises(ModelError, match=r"177d2819da25 \(mnist-small\).*: pip install laconic-"):
        codec.decode(golden)
    with pytest.raises(ModelError, match="pip install laconic-models"):
        models.find("mnist-small")


def test_loading_a_model_leaves_the_callers_random_numbers() -> None:
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    read_mlic(models.find(models.DEFAULT_MODEL))
    assert torch.equal(torch.rand(4), expected)
