"""Names and tags cannot move the cursor, colour the terminal or turn the text around."""

import subprocess
import unicodedata
from pathlib import Path

import pytest
from test_cli import LACONIC

from laconic.formats.container import TAGS, Chunk, Container
from laconic.formats.errors import printable
from laconic.formats.frame import pack_tags


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x9b31m", "a\nb", "a\r", "\u202egnp.exe", "\u2066x\u2069", "\0", "\ud800",
     "\u2028", "\ufeff", "\u200b", "\x7f", "\x85", "\U000e0041"],
)  # fmt: skip
def test_characters_without_a_glyph_are_shown_as_escapes(text: str) -> None:
    shown = printable(f"left {text} right")
    assert shown.startswith("left ")
    assert shown.endswith(" right")
    assert "\\" in shown
    shown.encode("utf-8")
    assert not any(unicodedata.category(c)[0] == "C" for c in shown)
    assert len(shown.splitlines()) == 1


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("Größe - 作者.png", "naïve café", "عربي", "🎵 song"):
        assert printable(name) == name
    assert printable("x" * 100, 10) == "x" * 9 + "…"


def test_names_of_files_cannot_control_the_terminal(tmp_path: Path) -> None:
    odd = "\x1b[31mred\x07\n\u202egpj"
    table = tmp_path / f"{odd}.csv"
    table.write_bytes(b"a,b\n" + b"1,2\n" * 40)
    broken = tmp_path / f"{odd}.lac"
    broken.write_bytes(b"nothing")
    coded = tmp_path / f"{odd} coded.lac"

    said = b""
    for command in (
        ["encode", str(table), "-o", str(coded)], ["info", str(coded)], ["info", str(broken)],
        ["verify", str(broken), str(coded)], ["decode", str(coded)],
    ):  # fmt: skip
        done = subprocess.run([*LACONIC, *command], capture_output=True, timeout=300, check=False)
        said += done.stdout + done.stderr

    assert b"red" in said
    assert coded.exists()
    for hidden in (b"\x1b", b"\x07", "\u202e".encode()):
        assert hidden not in said


@pytest.mark.parametrize("golden", ["semanticodec-1/one-sample", "photo-1/photo-dot"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_tags_inside_files_cannot_control_the_terminal(
    golden: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    odd = "\x1b[31mred\x07\r\n\u202egpj"
    source = (Path(__file__).parent / "golden" / f"{golden}.lac").read_bytes()
    whole = Container.from_bytes(source)
    tags = Chunk(TAGS, pack_tags({"title": odd, odd: "value"}))
    path = tmp_path / "x.lac"
    path.write_bytes(Container(whole.header, whole.segments, [tags]).to_bytes())

    done = subprocess.run(
        [*LACONIC, "info", str(path), *options], capture_output=True, timeout=300, check=False
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert (b"red" in said) == golden.startswith("semanticodec")
    for hidden in (b"\x1b", b"\x07", b"\r", "\u202e".encode()):
        assert hidden not in said
