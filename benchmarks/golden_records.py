"""Writes golden streams of the records codec into ``tests/golden``; existing ones are kept.

python benchmarks/golden_records.py
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from laconic import codec
from laconic.formats.container import Container
from laconic.formats.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from tables import clustered, glyphs, table  # noqa: E402


def main() -> None:
    """Encode every case that has no file yet."""
    folder = ROOT / "tests" / "golden" / "records-1"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    wide = np.stack([np.cumsum(rng.integers(0, 999, 300)), rng.integers(-(2**40), 2**40, 300)], 1)
    cases: dict[str, tuple[Any, dict[str, Any]]] = {
        "table-300": (Table(table(300)), {"states": 4}),
        "table-blocks": (Table(table(200, seed=3)), {"states": 2, "block": 60}),
        "stored-table": (Table(b"a,b\n1,2\n"), {}),
        "array-8": (clustered(1500), {"states": 8}),
        "wide-integers": (wide, {"states": 3}),
        "constant": (np.full((500, 4), 7, np.uint16), {}),
        "empty": (np.zeros((0, 3), np.int32), {}),
        "mnist-hclt": (glyphs(20), {"model": "mnist-hclt", "block": 12}),
        "mnist-small": (glyphs(20), {"model": "mnist-small", "block": 12}),
    }
    for name, (source, options) in cases.items():
        path = folder / f"{name}.lac"
        if path.exists():
            continue
        data = codec.encode(source, codec="records", **options)
        decoded = codec.decode(data)
        container = Container.from_bytes(data)
        about = {
            "checks": [s.check for s in container.segments],
            "model": container.header.model.hex(),
            "sha256": digest(decoded),
        }
        path.write_bytes(data)
        path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
        print(path.relative_to(ROOT), len(data), "bytes")


def digest(decoded: Any) -> str:
    """SHA-256 of what was decoded, with type and shape."""
    if isinstance(decoded, Table):
        return hashlib.sha256(decoded.text).hexdigest()
    head = f"{decoded.dtype.str}{list(decoded.shape)}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(decoded).tobytes()).hexdigest()


if __name__ == "__main__":
    main()
