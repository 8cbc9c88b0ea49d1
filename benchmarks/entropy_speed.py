"""Throughput and size of the entropy coder beside CompressAI's rANS, on one thread.

    python benchmarks/entropy_speed.py [--symbols N] [--repeats R] [--json FILE]

Symbols are Gaussian with 128 log-spaced scales from 0.11 to 256, mostly small ones, about one bit
each. Both coders get the same symbols and the same table choice. CompressAI takes Python lists:
"with lists" times the conversion from and to arrays too, as a codec has to, "lists ready" only the
call. Its tables have 16 bits, the most it supports. Repeats are interleaved and the median of their
processor time is reported; a warm-up round is discarded.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy import (
    CdfTables,
    SymbolDecoder,
    SymbolEncoder,
    gaussian_scales,
    gaussian_tables,
    ideal_bits,
)

Encode = Callable[[], bytes]
Decode = Callable[[bytes], Any]


def make_symbols(count: int, seed: int = 1) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Symbols [count] and their scale indexes [count]."""
    rng = np.random.default_rng(seed)
    indexes = np.minimum(rng.exponential(20.0, count), 127).astype(np.uint8)
    symbols = np.rint(rng.normal(0.0, gaussian_scales()[indexes]))
    return symbols.astype(np.int32), indexes


def exact_gaussian_bits(symbols: NDArray[np.int32], indexes: NDArray[np.uint8]) -> float:
    """Information of the symbols under the Gaussians themselves, before any quantisation."""
    from scipy.special import ndtr

    scale = gaussian_scales()[indexes]
    size = np.abs(symbols)
    mass = ndtr(-(size - 0.5) / scale) - ndtr(-(size + 0.5) / scale)
    return float(-np.log2(mass).sum())


def laconic_coder(
    symbols: NDArray[np.int32], indexes: NDArray[np.uint8], tables: CdfTables, backend: Any
) -> tuple[Encode, Decode]:
    def encode() -> bytes:
        encoder = SymbolEncoder(backend)
        encoder.push(symbols, indexes, tables)
        return encoder.finish()

    def decode(data: bytes) -> NDArray[np.int32]:
        decoder = SymbolDecoder(data, backend)
        decoded = decoder.pull(indexes, tables)
        decoder.finish()
        return decoded

    return encode, decode


def compressai_coder(
    symbols: NDArray[np.int32], indexes: NDArray[np.uint8], tables: CdfTables, with_lists: bool
) -> tuple[Encode, Decode]:
    from compressai.ans import RansDecoder, RansEncoder

    cdfs = [[0, *np.cumsum(tables.frequencies(t)).tolist()] for t in range(len(tables))]
    sizes, offsets = [len(cdf) for cdf in cdfs], tables.lows.tolist()
    ready_symbols, ready_indexes = symbols.tolist(), indexes.tolist()

    def encode() -> bytes:
        s = symbols.tolist() if with_lists else ready_symbols
        i = indexes.tolist() if with_lists else ready_indexes
        return bytes(RansEncoder().encode_with_indexes(s, i, cdfs, sizes, offsets))

    def decode(data: bytes) -> Any:
        i = indexes.tolist() if with_lists else ready_indexes
        s = RansDecoder().decode_with_indexes(data, i, cdfs, sizes, offsets)
        return np.array(s, dtype=np.int32) if with_lists else s

    return encode, decode


def measure(
    coders: dict[str, tuple[Encode, Decode]], symbols: NDArray[np.int32], repeats: int
) -> dict[str, dict[str, float]]:
    """Median million symbols per second both ways, and bytes, of every coder."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in coders}
    sizes: dict[str, int] = {}
    for repeat in range(repeats + 1):
        for name, (encode, decode) in coders.items():
            start = time.process_time()
            data = encode()
            middle = time.process_time()
            decoded = decode(data)
            end = time.process_time()
            if not np.array_equal(decoded, symbols):
                raise SystemExit(f"{name} does not round-trip")
            sizes[name] = len(data)
            if repeat:
                times[name][0].append(middle - start)
                times[name][1].append(end - middle)
    return {
        name: {
            "encode_msps": symbols.size / statistics.median(encode) / 1e6,
            "decode_msps": symbols.size / statistics.median(decode) / 1e6,
            "bytes": sizes[name],
        }
        for name, (encode, decode) in times.items()
    }


def precision_losses(
    symbols: NDArray[np.int32], indexes: NDArray[np.uint8], exact: float
) -> dict[int, float]:
    """Rate above the exact Gaussians, in percent, for several table precisions."""
    losses = {}
    for precision in (14, 16, 18, 20, 24):
        tables = gaussian_tables(gaussian_scales(), precision)
        losses[precision] = 100 * (ideal_bits(symbols, indexes, tables) / exact - 1)
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()

    symbols, indexes = make_symbols(options.symbols)
    tables = gaussian_tables(gaussian_scales())
    tables16 = gaussian_tables(gaussian_scales(), precision=16)
    ideal = ideal_bits(symbols, indexes, tables) / 8
    exact = exact_gaussian_bits(symbols, indexes)
    coders = {
        "laconic range": laconic_coder(symbols, indexes, tables, "range"),
        "laconic ans": laconic_coder(symbols, indexes, tables, "ans"),
        "compressai, with lists": compressai_coder(symbols, indexes, tables16, True),
        "compressai, lists ready": compressai_coder(symbols, indexes, tables16, False),
    }
    results = measure(coders, symbols, options.repeats)
    losses = precision_losses(symbols, indexes, exact)

    base = results["compressai, with lists"]
    print(
        f"{options.symbols} symbols, {exact / symbols.size:.4f} bits each, ideal {ideal:.0f} bytes"
    )
    print(f"{'coder':26}{'encode':>10}{'decode':>10}  Msymbols/s{'bytes':>10}{'excess':>10}")
    for name, row in results.items():
        row["excess_percent"] = 100 * (row["bytes"] / ideal - 1)
        row["encode_ratio"] = row["encode_msps"] / base["encode_msps"]
        row["decode_ratio"] = row["decode_msps"] / base["decode_msps"]
        print(
            f"{name:26}{row['encode_msps']:10.1f}{row['decode_msps']:10.1f}  "
            f"({row['encode_ratio']:4.1f}x {row['decode_ratio']:4.1f}x)"
            f"{row['bytes']:8.0f}{row['excess_percent']:9.4f} %"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process, all coders: {peak:.0f} MiB")
    print("loss of the tables against the exact Gaussians:")
    print("  " + ", ".join(f"P={p}: {loss:.4f} %" for p, loss in losses.items()))
    if options.json:
        figures = {
            "symbols": options.symbols,
            "bits_per_symbol": exact / symbols.size,
            "ideal_bytes": ideal,
            "coders": results,
            "precision_loss_percent": losses,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
