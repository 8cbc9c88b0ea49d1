"""The command line on real files: results, exit codes, sentences, and that nothing is ever lost."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pictures import scene
from PIL import Image as Pillow

from laconic.cli.main import cli
from laconic.cli.tables import describe
from laconic.formats import Container
from laconic.formats.errors import LaconicError
from laconic.formats.image_reader import ImageHeader

LACONIC = [sys.executable, "-m", "laconic.cli"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Pillow.fromarray(scene(96, 130)).save(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


def code_of(result: Result) -> int:
    """Exit code as the console script would give it."""
    if result.exception is not None:
        if hasattr(result.exception, "exit_code"):
            return int(result.exception.exit_code)
        return describe(result.exception)[1]
    return result.return_value if isinstance(result.return_value, int) else 0


def message_of(result: Result) -> str:
    extra = str(result.exception) if isinstance(result.exception, LaconicError) else ""
    return result.stderr + extra + (getattr(result.exception, "message", "") or "")


def test_encode_info_verify_decode(photo: Path) -> None:
    assert code_of(run("encode", photo, "-q", 70)) == 0
    lac = photo.with_suffix(".lac")
    info = run("info", lac)
    verify = run("verify", lac)
    out = photo.with_name("back.png")

    assert code_of(run("decode", lac, "-o", out)) == 0
    assert "130 x 96" in info.output
    assert "mlic" in info.output
    assert "ok" in verify.output
    assert np.asarray(Pillow.open(out)).shape == (96, 130, 3)


def test_json_rows_describe_the_files_on_disk(photo: Path) -> None:
    row = json.loads(run("encode", photo, "--json").stdout)
    info = json.loads(run("info", photo.with_suffix(".lac"), "--json").stdout)

    size = photo.with_suffix(".lac").stat().st_size
    assert (row["bytes"], row["width"], row["height"]) == (size, 130, 96)
    assert row["bpp"] == pytest.approx(8 * size / (130 * 96))
    assert (info["file_bytes"], info["codec"], info["settings"]["quality"]) == (size, "mlic", 50.0)


def test_pipes_carry_pictures_both_ways(photo: Path) -> None:
    encoded = subprocess.run(
        [*LACONIC, "encode", "-", "-q", "40"],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
    )
    decoded = subprocess.run(
        [*LACONIC, "decode", "-"], input=encoded.stdout, capture_output=True, check=True
    )

    assert encoded.stdout.startswith(b"\x8fLAC")
    assert b"bpp" in encoded.stderr
    assert Pillow.open(io.BytesIO(decoded.stdout)).size == (130, 96)


@pytest.mark.parametrize(
    ("option", "bytes_"), [(("--target-size", "1.6kB"), 1600), (("--bpp", "1.2"), 1872)]
)
def test_size_targets_land_within_two_per_cent_below(
    photo: Path, option: tuple[str, str], bytes_: int
) -> None:
    assert code_of(run("encode", photo, *option)) == 0
    assert 0.98 * bytes_ <= photo.with_suffix(".lac").stat().st_size <= bytes_


def test_folders_keep_their_structure_and_workers_share_the_work(tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.png", "deep/er/c.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(scene(64, 64)).save(path)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG damaged")

    result = run("encode", tmp_path / "in", "--output-dir", tmp_path / "out", "--jobs", 2)

    assert code_of(result) == 3
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.lac")}
    assert found == {"a.lac", "deep/b.lac", "deep/er/c.lac"}


def test_a_region_is_decoded_alone(photo: Path) -> None:
    run("encode", photo)
    out = photo.with_name("part.png")

    assert (
        code_of(run("decode", photo.with_suffix(".lac"), "--region", "10,20,30,40", "-o", out)) == 0
    )
    assert Pillow.open(out).size == (30, 40)


def damaged_inputs(photo: Path) -> dict[str, tuple[bytes, str, int, str]]:
    """Name -> (bytes, command, exit code, part of the sentence)."""
    run("encode", photo)
    lac = photo.with_suffix(".lac").read_bytes()
    container = Container.from_bytes(lac)
    flipped = bytearray(lac)
    flipped[len(lac) // 2] ^= 4
    other = container.header.__class__(**{**container.header.__dict__, "model": b"\x07" * 6})
    bomb = container.header.__class__(
        **{**container.header.__dict__, "media_header": ImageHeader(2**24, 2**24).pack()}
    )
    return {
        "not an image": (b"hello", "encode", 6, "not an image"),
        "truncated image": (photo.read_bytes()[:4000], "encode", 3, "truncated"),
        "truncated lac": (lac[:-20], "decode", 3, "truncated"),
        "flipped lac": (bytes(flipped), "decode", 3, "damaged"),
        "not a lac": (photo.read_bytes(), "decode", 3, "not a .lac file"),
        "wrong model": (
            Container(other, container.segments).to_bytes(),
            "decode",
            4,
            "070707070707",
        ),
        "header bomb": (Container(bomb, container.segments).to_bytes(), "decode", 5, "pixels"),
        "newer version": (lac[:6] + b"\x21" + lac[7:], "decode", 6, "newer Laconic"),
    }


@pytest.mark.parametrize(
    "name",
    ["not an image", "truncated image", "truncated lac", "flipped lac", "not a lac", "wrong model",
     "header bomb", "newer version"],
)  # fmt: skip
def test_bad_input_gets_one_sentence_its_exit_code_and_leaves_the_target(
    photo: Path, name: str
) -> None:
    data, command, code, words = damaged_inputs(photo)[name]
    source = photo.with_name("bad.input")
    source.write_bytes(data)
    target = photo.with_name("target.png" if command == "decode" else "target.lac")
    target.write_bytes(b"precious")

    result = run(command, source, "-o", target, "-f")

    assert code_of(result) == code
    assert words in message_of(result)
    assert message_of(result).count("\n") <= 1
    assert "Traceback" not in message_of(result)
    assert target.read_bytes() == b"precious"


def test_existing_targets_are_refused_without_force(photo: Path) -> None:
    target = photo.with_suffix(".lac")
    target.write_bytes(b"precious")

    result = run("encode", photo)

    assert code_of(result) == 1
    assert "-f" in message_of(result)
    assert target.read_bytes() == b"precious"
    assert code_of(run("encode", photo, "-f")) == 0


def test_unwritable_targets_are_refused(photo: Path) -> None:
    result = run("encode", photo, "-o", photo / "below" / "a.lac")

    assert code_of(result) == 1


def test_missing_inputs_are_named_and_the_others_go_on(photo: Path) -> None:
    result = run("encode", photo.with_name("gone.png"), photo)

    assert code_of(result) == 1
    assert "gone.png" in message_of(result)
    assert photo.with_suffix(".lac").exists()


@pytest.mark.parametrize(
    "arguments",
    [("-q", "150"), ("-q", "10", "--bpp", "1"), ("--target-size", "10 parsecs"), ("--tile", "100")],
)
def test_wrong_options_are_usage_errors(photo: Path, arguments: tuple[str, ...]) -> None:
    assert code_of(run("encode", photo, *arguments)) == 2


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("encode", ("--kbps", "3")),
        ("encode", ("--stereo", "dual")),
        ("decode", ("--seconds", "0:1")),
        ("decode", ("--steps", "4")),
        ("decode", ("--frames", "0:1")),
    ],
)
def test_options_of_another_medium_are_refused_and_nothing_is_written(
    photo: Path, command: str, option: tuple[str, ...]
) -> None:
    coded = photo.with_suffix(".lac")
    target = photo.with_name("target.lac" if command == "encode" else "target.png")
    assert code_of(run("encode", photo, "-o", coded, "--no-verify")) == 0

    result = run(command, photo if command == "encode" else coded, *option, "-o", target)

    assert code_of(result) == 2
    assert option[0].strip("-") in message_of(result)
    assert re.search("semanticodec|recordings have|videos have", message_of(result))
    assert not target.exists()


def test_a_full_disk_leaves_the_old_file(photo: Path) -> None:
    target = photo.with_suffix(".lac")
    target.write_bytes(b"old")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "from laconic.cli.main import main; sys.argv[0] = 'laconic'; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "encode", str(photo), "-f"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "nothing was changed" in result.stderr
    assert target.read_bytes() == b"old"


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "large.png"
    Pillow.fromarray(np.zeros((4000, 4000, 3), np.uint8)).save(source, compress_level=1)
    with (tmp_path / "err").open("w") as errors:
        process = subprocess.Popen(
            [*LACONIC, "encode", str(source), "--progress"],
            stderr=errors,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while "[" not in (tmp_path / "err").read_text() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        code = process.wait()

    assert code == 130
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert sorted(os.listdir(tmp_path)) == ["err", "large.png"]


def test_models_are_listed_and_shown() -> None:
    listed = json.loads(run("models", "list", "--json").stdout.splitlines()[0])
    shown = json.loads(run("models", "show", listed["name"]).stdout)

    assert shown["id"] == listed["id"]
    assert code_of(run("models", "show", "nothing")) == 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str) -> None:
    assert "_LACONIC_COMPLETE" in run("completion", shell).stdout


def test_help_names_every_command_and_exit_code() -> None:
    text = run("--help").output

    for word in ("encode", "decode", "info", "verify", "models", "train", "demo", "130"):
        assert word in text


def test_the_demonstration_writes_files_a_table_and_a_picture(tmp_path: Path, photo: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    Pillow.fromarray(scene(200, 240)).save(samples / "one.png")

    result = run("demo", "--samples", samples, "--out", tmp_path / "out", "--json")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert code_of(result) == 0
    assert [row["quality"] for row in rows] == [10, 40, 75]
    for row in rows:
        file = tmp_path / "out" / f"one-q{row['quality']:g}.lac"
        assert row["lac_bytes"] == file.stat().st_size
    assert Pillow.open(tmp_path / "out" / "side-by-side.png").size[0] == 4 * 240
