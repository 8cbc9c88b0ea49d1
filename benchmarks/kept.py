"""Results that are kept beside the benchmarks, as JSON and as Markdown tables.

A benchmark of many measurements writes each into a `Journal` at once, so that the same command goes
on after an interruption, and ends with `keep`. `alone` measures a process by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROOT = HERE.parent
LACONIC = "from laconic.cli.main import main; sys.argv[0] = 'laconic'; main()"
# The peak is that of /proc: ``ru_maxrss`` counts the memory of the process that started this one.
_ALONE = """import sys
task = sys.argv.pop(1)
try:
    exec(task)
finally:
    facts = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(facts["VmHWM"].split()[0], file=sys.stderr)
"""


def alone(*arguments: str, task: str = LACONIC) -> dict[str, float]:
    """Processor seconds, seconds and peak memory in MiB of Python code in a process of its own.

    Args:
        arguments: of the code, which is the command line of laconic unless ``task`` names another.

    Raises SystemExit when it fails. Memory of processes that it starts does not count.
    """
    start = time.perf_counter()
    command = [sys.executable, "-c", _ALONE, task, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as stream:
        said = stream.read().splitlines()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sentence = "\n".join(said[:-1])
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}: {sentence}")
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "s": time.perf_counter() - start,
        "peak_mib": int(said[-1]) / 1024,
    }


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
