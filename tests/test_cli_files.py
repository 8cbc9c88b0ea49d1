"""Files on the command line: nothing is lost, outputs take after their sources, batches go on.

Tables are used throughout: they need no network.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pictures import scene
from PIL import Image as Pillow
from test_cli import LACONIC, code_of, message_of, run

from laconic.cli.tables import WorkProgress


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.csv"
    path.write_bytes(b"a,b\n" + b"".join(b"%d,%d\n" % (n % 3, n % 5) for n in range(60)))
    return path


def lac(path: Path) -> Path:
    return path.with_suffix(".lac")


@pytest.mark.parametrize("how", ["same", "spelled", "symbolic", "hard", "other input"])
def test_an_output_never_replaces_an_input(sheet: Path, how: str) -> None:
    folder, inputs, target = sheet.parent, [sheet], sheet
    if how == "spelled":
        target = folder / "." / ".." / folder.name / sheet.name
    elif how == "symbolic":
        target = folder / "link.lac"
        target.symlink_to(sheet)
    elif how == "hard":
        target = folder / "hard.lac"
        os.link(sheet, target)
    elif how == "other input":
        (folder / "b.csv").write_bytes(b"x\n1\n")
        lac(sheet).write_bytes((folder / "b.csv").read_bytes())
        inputs, target = [sheet, lac(sheet)], lac(sheet)
    before = target.read_bytes()

    extra = [] if how == "other input" else ["-o", target]
    result = run("encode", *inputs, *extra, "-f", "--force-extension")

    assert code_of(result) != 0
    assert "is the input" in message_of(result) + result.output
    assert target.read_bytes() == before


def test_a_lac_file_under_another_extension_needs_a_word(sheet: Path) -> None:
    target = sheet.with_name("y.png")

    assert code_of(run("encode", sheet, "-o", target)) == 2
    assert not target.exists()
    assert code_of(run("encode", sheet, "-o", target, "--force-extension")) == 0
    assert code_of(run("decode", target, "-o", sheet.with_name("z.lac"))) == 2


def test_outputs_take_the_mode_and_time_of_their_source(sheet: Path) -> None:
    sheet.chmod(0o600)
    os.utime(sheet, (1_000_000_000, 1_000_000_000))
    back = sheet.with_name("back.csv")

    assert code_of(run("encode", sheet)) == 0
    assert code_of(run("decode", lac(sheet), "-o", back)) == 0

    for path in (lac(sheet), back):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_mtime == 1_000_000_000


def test_only_inputs_that_clash_are_refused_and_extensions_can_be_kept(tmp_path: Path) -> None:
    for name in ("a.csv", "a.tsv", "b.csv"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x\ty\n1\t2\n")
    out = tmp_path / "out"

    result = run("encode", tmp_path / "in", "--output-dir", out)

    assert code_of(result) == 2
    assert result.output.count("--keep-extension") == 1
    assert [p.name for p in out.iterdir()] == ["b.lac"]
    assert code_of(run("encode", tmp_path / "in", "--output-dir", out, "--keep-extension")) == 0
    assert {p.name for p in out.iterdir()} == {"a.csv.lac", "a.tsv.lac", "b.csv.lac", "b.lac"}


def test_what_is_no_lac_file_is_said_before_what_exists(sheet: Path) -> None:
    sheet.with_suffix(".png").write_bytes(b"there")

    result = run("decode", sheet)

    assert code_of(result) == 3
    assert "not a .lac file" in result.output
    assert code_of(run("encode", sheet)) == 0
    assert "is a .lac file already" in run("encode", lac(sheet), "-o", "x.lac").output


def test_the_kind_of_an_input_is_said_before_that_its_output_has_its_name(sheet: Path) -> None:
    picture = sheet.with_name("small.png")
    picture.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    run("encode", sheet)

    for command, path, code, words in (
        ("decode", picture, 3, "not a .lac file"),
        ("encode", lac(sheet), 2, "is a .lac file already"),
    ):
        before = path.read_bytes()
        result = run(command, path)
        assert code_of(result) == code
        assert words in result.output
        assert result.output.count(str(path)) == 1
        assert path.read_bytes() == before


def test_a_misspelt_command_gets_a_suggestion_and_messages_name_a_file_once(sheet: Path) -> None:
    assert "did you mean encode" in message_of(run("enocde", sheet))
    lac(sheet).write_bytes(b"there")

    said = run("encode", sheet).output

    assert said.count(str(lac(sheet))) == 1


def test_tables_show_sizes_ratio_and_total(sheet: Path) -> None:
    other = sheet.with_name("other.csv")
    other.write_bytes(sheet.read_bytes() * 2)

    lines = run("encode", sheet, other).output.splitlines()

    assert "ratio" in lines[0]
    assert "rows" in lines[0]
    total = sheet.stat().st_size + other.stat().st_size
    assert lines[-1].startswith("total")
    assert f"{total:,}" in lines[-1]


def test_info_explains_its_numbers_and_separates_files(sheet: Path) -> None:
    run("encode", sheet)

    text = run("info", lac(sheet), lac(sheet)).output

    assert text.count("\n\n") == 1
    assert "bits per cell" in text
    assert "bit depth" not in text
    assert "bpp" not in text
    assert "integer tables" in text


def test_a_batch_goes_on_after_broken_inputs_and_a_second_run_does_the_rest(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for n in range(30):
        data = b"a,b\n" + b"1,2\n" * (n + 1)
        (folder / f"{n:02}.npy" if n % 10 == 3 else folder / f"{n:02}.csv").write_bytes(
            b"\x93NUMPY damaged" if n % 10 == 3 else data
        )

    first = run("encode", folder, "--output-dir", out, "--json")
    times = {p.name: p.stat().st_ctime_ns for p in out.iterdir()}
    again = run("encode", folder, "--output-dir", out, "--json", "--skip-existing")

    assert (code_of(first), code_of(again)) == (3, 3)
    assert len([x for x in first.stdout.splitlines() if json.loads(x)["bytes"]]) == 27
    assert again.stdout == ""
    assert {p.name: p.stat().st_ctime_ns for p in out.iterdir()} == times
    assert len(times) == 27


def test_ctrl_c_among_broken_pictures_keeps_what_is_done_and_a_re_run_ends_it(
    tmp_path: Path,
) -> None:
    folder, out, broken = tmp_path / "in", tmp_path / "out", range(7, 300, 30)
    folder.mkdir()
    for n in range(300):
        picture = folder / f"{n:03}.png"
        Pillow.fromarray(scene(12, 12, seed=n)).save(picture)
        if n in broken:
            picture.write_bytes(picture.read_bytes()[: 20 + n % 60])
    arguments = [*LACONIC, "encode", str(folder), "--output-dir", str(out), "--lossless", "--json"]

    def called(*options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*arguments, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def kept() -> dict[str, int]:
        return {p.name: p.stat().st_ctime_ns for p in out.iterdir()}

    process = called()
    while process.poll() is None and not (out.is_dir() and len(list(out.iterdir())) >= 60):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    done = kept()
    assert 60 <= len(done) < 290
    assert all(name.endswith(".lac") for name in done)

    again = called("--skip-existing")
    rows, errors = again.communicate()
    assert again.returncode == 3
    assert len(rows.splitlines()) == 290 - len(done)
    assert len(errors.splitlines()) == len(broken)
    assert all(f"{n:03}.png" in errors for n in broken)
    assert len(kept()) == 290
    assert done.items() <= kept().items()

    last = called("--skip-existing")
    assert (last.communicate()[0], last.returncode) == ("", 3)


def test_progress_names_the_file_fits_the_line_and_says_what_it_waits_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bar = WorkProgress("folder/" + "very-long-name" * 9 + ".png")
    bar.note("loading the model")
    bar.draw(3, 10)
    bar.draw(10, 10)

    lines = capsys.readouterr().err.replace("\n", "\r").split("\r")
    assert any("loading the model" in line and "very-long" in line for line in lines)
    assert any("3/10" in line for line in lines)
    assert max(map(len, lines)) < 80


def test_pipes_get_no_progress(sheet: Path) -> None:
    done = subprocess.run([*LACONIC, "encode", str(sheet)], capture_output=True, check=True)

    assert done.stderr == b""


def test_help_lists_flags_by_medium_with_defaults_and_examples() -> None:
    done = subprocess.run(
        [*LACONIC, "encode", "--help"], capture_output=True, text=True, check=True
    )
    text = done.stdout

    order = ["Rate:", "Images:", "Recordings:", "Videos:", "Tables:", "Output:", "Examples:"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)
    for words in ("default: medium", "0 to 63", "laconic encode photo.png", "images, tables"):
        assert words in " ".join(text.split())
    code = "import sys, laconic.cli.encode, laconic.cli.decode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
