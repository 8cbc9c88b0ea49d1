"""Names and tags cannot move the cursor, colour the terminal or turn the text around."""

import unicodedata

import pytest

from laconic.formats.printable import printable


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
