"""Sizes and speed of the records codec: MNIST, tables, coding orders. From bytes of files.

    python benchmarks/lossless_records.py --mnist DIR --tables DIR --out benchmarks/results

MNIST is read from its IDX files; a table is any CSV in the folder. ``zstandard`` and a JPEG XL
plugin of Pillow are measured if they are installed. Writes lossless_records.json and .md; parts
whose folder is not given are taken from an existing .json. Timings are processor seconds of one
process with models and loops loaded.
"""

from __future__ import annotations

import argparse
import bz2
import importlib
import io
import json
import lzma
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from laconic import codec
from laconic.codec.lossless import circuits
from laconic.codec.lossless.circuits.integer import cost
from laconic.codec.lossless.records.named import load_circuit
from laconic.formats.records import read_records
from laconic.formats.table import Table

MODEL = "mnist-hclt"
SMALL = "mnist-small"
PUBLISHED = {
    "HCLT (Liu et al., ICLR 2022; theoretical, as quoted by Sparse PC)": 1.20,
    "Sparse PC (Dang et al., NeurIPS 2022)": 1.14,
    "BitSwap (as quoted by Sparse PC)": 1.27,
    "IDF (as quoted by Sparse PC)": 1.90,
}


def main() -> None:
    """Measure what was asked for and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--tables", type=Path)
    keep = "keep the measurements of other formats on MNIST from the .json"
    parser.add_argument("--keep-peers", action="store_true", help=keep)
    parser.add_argument("--samples", type=Path, help="PNG of digits drawn from the circuit")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    path = options.out / "lossless_records.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if options.tables:
        results["tables"] = [table_sizes(p) for p in sorted(options.tables.glob("*.csv"))]
    if options.mnist:
        kept = results["mnist"]["rows"] if options.keep_peers else []
        results["mnist"] = mnist(options.mnist, kept)
        results["orders"] = orders()
    if options.samples:
        draw_samples(options.samples)
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    report = markdown(results)
    path.with_suffix(".md").write_text(report)
    print(report)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Result and processor seconds."""
    start = time.process_time()
    return call(), time.process_time() - start


def mnist(folder: Path, kept: list[dict[str, Any]]) -> dict[str, Any]:
    """Bits per dimension of the 10,000 test digits."""
    digits = read_records(folder / "t10k-images-idx3-ubyte.gz").array
    assert digits is not None
    pictures = digits.reshape(-1, 28, 28)
    rows = [row for row in kept if not row["name"].startswith("laconic")]
    if not rows:
        for name, size in peers(pictures):
            rows.append({"name": name, "bytes": size, "bpd": 8 * size / digits.size})
    for name in installed():
        load_circuit(name)
        encode = {"codec": "records", "model": name, "verify": False}
        data, seconds = timed(lambda encode=encode: codec.encode(pictures, **encode))
        decoded, back = timed(lambda data=data: codec.decode(data))
        assert (decoded == pictures).all()
        bpd = 8 * len(data) / digits.size
        rows.append({"name": f"laconic {name}", "bytes": len(data), "bpd": bpd,
                     "encode_s": seconds, "decode_s": back})  # fmt: skip
    return {"rows": rows, "models": {n: codec.models.find(n).bytes for n in installed()}}


def peers(pictures: Any) -> Iterator[tuple[str, int]]:
    """``(name, bytes)`` of other formats."""
    for kind, options in (
        ("PNG", {"optimize": True}),
        ("WebP", {"lossless": True, "quality": 100, "method": 6}),
        ("JXL", {"lossless": True, "effort": 9}),
    ):
        if kind != "JXL":
            yield f"{kind}, a file each", sum(picture_bytes(p, kind, options) for p in pictures)
        elif has("pillow_jxl"):
            some = pictures[:: len(pictures) // 500]
            size = sum(picture_bytes(p, kind, options) for p in some)
            name = f"JPEG XL effort 9, a file each (from {len(some)} digits)"
            yield name, round(size * len(pictures) / len(some))
    mosaic = pictures.reshape(100, 100, 28, 28).swapaxes(1, 2).reshape(2800, 2800)
    whole = picture_bytes(mosaic, "WebP", {"lossless": True, "quality": 100})
    yield "WebP, one mosaic", whole
    raw = pictures.tobytes()
    yield "bz2 -9, all digits", len(bz2.compress(raw, 9))
    yield "xz -9e, all digits", len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))
    if has("zstandard"):
        zstandard = importlib.import_module("zstandard")
        yield "zstd -22, all digits", len(zstandard.ZstdCompressor(level=22).compress(raw))


def installed() -> list[str]:
    """Which of our models are there."""
    return [m.name for m in codec.models.list_models() if m.name in (MODEL, SMALL)]


def picture_bytes(picture: Any, kind: str, options: dict[str, Any]) -> int:
    """Size of one image file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **options)
    return len(stream.getvalue())


def has(module: str) -> bool:
    """Whether an optional module is installed."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def table_sizes(path: Path) -> dict[str, Any]:
    """Bytes of a table with general methods and ours, model included."""
    text = path.read_bytes()
    sizes = {
        "bz2 -9": len(bz2.compress(text, 9)),
        "xz -9e": len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)),
    }
    if has("zstandard"):
        zstandard = importlib.import_module("zstandard")
        sizes["zstd -22"] = len(zstandard.ZstdCompressor(level=22).compress(text))
    codec.decode(codec.encode(Table(text), verify=False))  # loads what is compiled
    data, seconds = timed(lambda: codec.encode(Table(text), verify=False))
    decoded, back = timed(lambda: codec.decode(data))
    assert decoded.text == text
    best = min(sizes.values())
    return {
        "name": path.name,
        "rows": len(decoded),
        "columns": len(decoded.names),
        "bytes": len(text),
        "sizes": sizes,
        "laconic": len(data),
        "against_best": len(data) / best - 1,
        "encode_s": seconds,
        "decode_s": back,
    }


def orders() -> list[dict[str, Any]]:
    """Cost of coding orders in evaluations of the circuit, by number of variables."""
    rows = []
    rng = np.random.default_rng(0)
    for variables in (16, 64, 256, 1024):
        shapes = {
            "path": np.arange(-1, variables - 1),
            "balanced": (np.arange(variables) + 1) // 2 - 1,
            "random": np.array([-1, *(rng.integers(0, k) for k in range(1, variables))]),
        }
        rows += [order_row(name, parents) for name, parents in shapes.items()]
    if MODEL in installed():
        rows.append(order_row(f"{MODEL}'s tree", load_circuit(MODEL).circuit.parents))
    return rows


def order_row(name: str, parents: Any) -> dict[str, Any]:
    """One tree."""
    balanced_encode, balanced_decode, walk = cost(parents).evaluations
    return {
        "tree": name,
        "variables": len(parents),
        "balanced_encode": balanced_encode,
        "balanced_decode": balanced_decode,
        "walk": walk,
    }


def draw_samples(path: Path) -> None:
    """An image of digits: drawn freely, and completed from their upper halves."""
    circuit = load_circuit(MODEL).circuit.to_float()
    drawn = circuits.sample(circuit, 30, seed=3).reshape(3, 10, 28, 28)
    half = drawn[0].reshape(10, 784).copy()
    half[:, 392:] = circuits.MISSING
    completed = circuits.sample(circuit, given=half, seed=4).reshape(1, 10, 28, 28)
    sheet = np.concatenate([drawn, completed]).swapaxes(1, 2).reshape(4 * 28, 280)
    picture = Image.fromarray(sheet.astype(np.uint8))
    picture.resize((560, 224), Image.Resampling.NEAREST).save(path, optimize=True)


def markdown(results: dict[str, Any]) -> str:
    """The tables of docs/design/records.md."""
    lines: list[str] = []
    if "mnist" in results:
        lines += [
            "| MNIST test, 10,000 digits | bytes | bits per dimension | encode s | decode s |",
            "|---|---|---|---|---|",
        ]
        for row in results["mnist"]["rows"]:
            times = [f"{row[k]:.1f}" if k in row else "" for k in ("encode_s", "decode_s")]
            lines.append(
                f"| {row['name']} | {row['bytes']:,} | {row['bpd']:.4f} | {times[0]} | {times[1]} |"
            )
        lines += [f"| *published:* {name} | | {bpd:.2f} | | |" for name, bpd in PUBLISHED.items()]
        lines.append("")
    if "tables" in results:
        names = list(results["tables"][0]["sizes"])
        lines.append(
            f"| table | rows x columns | bytes | {' | '.join(names)} | laconic | against the best |"
            " encode s | decode s |"
        )
        lines.append("|---" * (len(names) + 7) + "|")
        for row in results["tables"]:
            sizes = " | ".join(f"{row['sizes'][n]:,}" for n in names)
            lines.append(
                f"| {row['name']} | {row['rows']:,} x {row['columns']} | {row['bytes']:,}"
                f" | {sizes} |"
                f" {row['laconic']:,} | {100 * row['against_best']:+.1f} % |"
                f" {row['encode_s']:.1f} | {row['decode_s']:.1f} |"
            )
        lines.append("")
    if "orders" in results:
        lines += [
            "| tree | variables | balanced, encode | balanced, decode | pre-order walk |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {r['tree']} | {r['variables']} | {r['balanced_encode']:.1f} |"
            f" {r['balanced_decode']:.1f} | {r['walk']:.2f} |"
            for r in results["orders"]
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
