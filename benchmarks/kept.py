"""Results that are kept beside the benchmarks, as JSON and as Markdown tables.

A benchmark of many measurements writes each into a `Journal` at once, so that the same command goes
on after an interruption, and ends with `keep`.
"""

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


def keep(out: Path, result: Any, *tables: str) -> None:
    """Write ``OUT.json``, and the tables into ``OUT.md`` and to the terminal."""
    text = "\n\n".join(tables)
    out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(text + "\n")
    print(text)


def table(head: str, rows: list[str], texts: int = 1) -> str:
    """A Markdown table.

    Args:
        head: titles of the columns, with ``|`` between them.
        rows: cells of each row, likewise.
        texts: leading columns that hold text; the others are aligned as numbers.
    """
    columns = head.count("|") + 1
    rule = "|" + "---|" * texts + "---:|" * (columns - texts)
    return "\n".join([f"| {head} |", rule, *(f"| {row} |" for row in rows)])


class Journal:
    """Rows of an interrupted benchmark, in ``OUT.jsonl``.

    Attributes:
        rows: those of earlier runs, and those added since.
    """

    def __init__(self, out: Path) -> None:
        self.path = out.with_suffix(".jsonl")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def add(self, row: dict[str, Any]) -> None:
        """Keep one more."""
        self.rows.append(row)
        with self.path.open("a") as log:
            log.write(json.dumps(row) + "\n")
