"""Tables and arrays on the command line, and circuits as models."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from tables import digits, table
from test_cli import code_of, message_of, run

from laconic import codec
from laconic.codec.lossless.circuits import Schedule
from laconic.codec.lossless.records import training
from laconic.formats import Container, ContainerReader
from laconic.formats.errors import FormatError, ModelError, OutputError, ParameterError
from laconic.formats.records import from_array, read_records


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.csv"
    path.write_bytes(table(200))
    return path


def test_tables_on_the_command_line(sheet: Path) -> None:
    lac, back = sheet.with_suffix(".lac"), sheet.with_name("back.csv")

    assert code_of(run("encode", sheet, "--states", 4)) == 0
    info = run("info", lac)
    assert code_of(run("verify", lac)) == 0
    assert code_of(run("decode", lac, "-o", back)) == 0

    assert "records" in info.output
    assert back.read_bytes() == sheet.read_bytes()
    assert lac.stat().st_size < sheet.stat().st_size / 3


def test_rows_on_the_command_line(sheet: Path) -> None:
    lac, back = sheet.with_suffix(".lac"), sheet.with_name("rows.csv")
    run("encode", sheet, "--states", 2, "--block", 50)

    assert code_of(run("decode", lac, "-o", back, "--rows", "100:110")) == 0
    lines = sheet.read_bytes().split(b"\n")
    assert back.read_bytes() == b"\n".join([lines[0], *lines[101:111], b""])

    wrong = run("decode", lac, "-o", back, "--rows", "5:x", "-f")
    assert code_of(wrong) == 2
    assert "FIRST:END" in message_of(wrong)


def test_the_default_name_has_the_right_extension(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", digits(40))
    run("encode", tmp_path / "a.npy")
    (tmp_path / "a.npy").unlink()

    assert code_of(run("decode", tmp_path / "a.lac")) == 0

    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), digits(40))
    assert code_of(run("decode", tmp_path / "a.lac", "--format", "csv")) == 0
    assert (tmp_path / "a.csv").read_bytes().count(b"\n") == 40


def test_folders_of_pictures_come_back_as_folders(tmp_path: Path) -> None:
    folder = tmp_path / "icons"
    folder.mkdir()
    for n, picture in enumerate(digits(30)):
        Pillow.fromarray(picture).save(folder / f"icon{n:02}.png")

    assert code_of(run("encode", folder, "--codec", "records")) == 0
    assert code_of(run("decode", tmp_path / "icons.lac", "-o", tmp_path / "back")) == 0

    files = sorted((tmp_path / "back").iterdir())
    assert len(files) == 30
    for path, picture in zip(files, digits(30), strict=True):
        np.testing.assert_array_equal(np.asarray(Pillow.open(path)), picture)
    Pillow.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "odd.png")
    with pytest.raises(FormatError, match="one size"):
        read_records(folder)


def test_json_and_damage_on_the_command_line(sheet: Path) -> None:
    result = run("encode", sheet, "--states", 1, "--json")
    row = json.loads(result.output)
    lac = sheet.with_suffix(".lac")
    lac.write_bytes(lac.read_bytes()[:-20])

    assert (row["columns"], row["rows"]) == (7, 200)
    assert code_of(run("decode", lac, "-f")) == 3
    wrong = sheet.with_name("wrong.npy")
    wrong.write_bytes(b"\x93NUMPY\x01\x00garbage")
    assert code_of(run("encode", wrong)) == 3


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    recipe = training.Recipe(states=4, held_out=20, schedule=Schedule(epochs=2, batch=100))
    training.run(recipe, from_array(digits(300)), out, name="bars", report=lambda _: None)
    return out


def test_a_trained_circuit_is_a_model(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(run_folder))
    fresh = digits(100, seed=9)

    data = codec.encode(fresh, codec="records", model="bars")

    np.testing.assert_array_equal(codec.decode(data), fresh)
    np.testing.assert_array_equal(codec.decode(data, rows=(90, 95)), fresh[90:95])
    assert codec.probe(data).model == "bars"
    assert len(data) < fresh.size * 0.6
    with pytest.raises(ParameterError, match="shape"):
        codec.encode(fresh[:, :3], codec="records", model="bars")
    with pytest.raises(ParameterError, match="is 300"):
        codec.encode(fresh.astype(np.uint16) + 300, codec="records", model="bars")
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="was not found"):
        codec.decode(data)


def test_another_circuit_is_noticed(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = training.Recipe(states=4, held_out=20, schedule=Schedule(epochs=1, batch=100), seed=3)
    other = training.run(
        recipe, from_array(digits(300, seed=5)), run_folder / "other", name="other",
        report=lambda _: None,
    )  # fmt: skip
    monkeypatch.setenv("LACONIC_MODELS", str(run_folder))
    data = codec.encode(digits(50), codec="records", model="bars")
    container = Container.from_bytes(data)
    header = type(container.header)(
        **{**container.header.__dict__, "model": bytes.fromhex(other.id)}
    )
    monkeypatch.setenv("LACONIC_MODELS", str(run_folder / "other"))

    with pytest.raises(FormatError):
        codec.decode(Container(header, container.segments).to_bytes())


def test_interrupted_training_goes_on_to_the_same_circuit(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = training.Recipe(states=4, held_out=20, schedule=Schedule(epochs=2, batch=100))

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(recipe, from_array(digits(300)), tmp_path, name="bars", report=stop)
    with pytest.raises(OutputError, match="resume"):
        training.run(recipe, from_array(digits(300)), tmp_path, name="bars")
    info = training.run(
        recipe, from_array(digits(300)), tmp_path, name="bars", resume=True, report=lambda _: None
    )

    monkeypatch.setenv("LACONIC_MODELS", str(run_folder))
    assert info.id == codec.models.find("bars").id
    assert len((tmp_path / "log.tsv").read_text().splitlines()) == 2


def test_records_train_on_the_command_line(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.concatenate([digits(3500), digits(3500, seed=1)])[:, :2, :2])

    result = run(
        "train", "records", "--data", tmp_path / "a.npy", "--out", tmp_path / "run", "--states", 2,
        "--epochs", 1, "--name", "corner",
    )  # fmt: skip

    assert code_of(result) == 0
    assert (tmp_path / "run" / "corner.safetensors").exists()


def test_streams_to_and_from_pipes(sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.encode(io.BytesIO(sheet.read_bytes()), codec="records", states=1)

    assert codec.decode(io.BytesIO(data)).text == sheet.read_bytes()
    assert ContainerReader(data).header.codec == 3
