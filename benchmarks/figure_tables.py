"""Kept results and Markdown tables, for the blocks of figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROOT = HERE.parent


def load(name: str) -> Any:
    """A kept result."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(head: str, rows: list[str]) -> str:
    """A Markdown table; the first column is text."""
    columns = head.count("|") + 1
    lines = [f"| {head} |", "|---|" + "---:|" * (columns - 1)]
    return "\n".join([*lines, *(f"| {row} |" for row in rows)])
