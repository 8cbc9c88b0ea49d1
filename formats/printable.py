"""Names and tags from files, safe to print."""

from __future__ import annotations

import unicodedata

# Control characters, surrogates, private use, and everything that changes the order or the place
# of what stands around it.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def printable(text: str, limit: int | None = None) -> str:
    """``text`` with terminal escapes, newlines, marks of direction and other characters without a
    glyph shown as escapes, cut to ``limit`` characters.

    >>> printable("a\\x1b[31mred\\n\\u202etxt.exe")
    'a\\\\x1b[31mred\\\\n\\\\u202etxt.exe'
    """
    shown = "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN else c for c in text)
    if limit is not None and len(shown) > limit:
        return shown[: max(0, limit - 1)] + "…"
    return shown


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
