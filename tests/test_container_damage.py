"""Damaged containers: nothing undetected, nothing but documented errors, bounded memory."""

import random
import tracemalloc
from collections.abc import Callable

import pytest
from test_container_format import header, segments, streamed

from laconic.formats import Chunk, Container, ContainerReader
from laconic.formats.errors import LaconicError

Mutator = Callable[[random.Random, bytes], bytes]


def flip_bit(r: random.Random, d: bytes) -> bytes:
    at = r.randrange(len(d))
    return d[:at] + bytes([d[at] ^ 1 << r.randrange(8)]) + d[at + 1 :]


def flip_many(r: random.Random, d: bytes) -> bytes:
    for _ in range(r.randrange(2, 20)):
        d = flip_bit(r, d)
    return d


def overwrite(r: random.Random, d: bytes) -> bytes:
    at, n = r.randrange(len(d)), r.randrange(1, 16)
    return d[:at] + r.randbytes(n) + d[at + n :]


def truncate(r: random.Random, d: bytes) -> bytes:
    return d[: r.randrange(len(d))]


def insert(r: random.Random, d: bytes) -> bytes:
    at = r.randrange(len(d) + 1)
    return d[:at] + r.randbytes(r.randrange(1, 9)) + d[at:]


def delete(r: random.Random, d: bytes) -> bytes:
    at = r.randrange(len(d))
    return d[:at] + d[at + r.randrange(1, 9) :]


def duplicate(r: random.Random, d: bytes) -> bytes:
    a, b = sorted((r.randrange(len(d)), r.randrange(len(d) + 1)))
    return d[:b] + d[a:b] + d[b:]


def reverse_run(r: random.Random, d: bytes) -> bytes:
    a, b = sorted((r.randrange(len(d)), r.randrange(len(d) + 1)))
    return d[:a] + d[a:b][::-1] + d[b:]


def swap_runs(r: random.Random, d: bytes) -> bytes:
    a, b, c = sorted(r.randrange(len(d) + 1) for _ in range(3))
    return d[:a] + d[b:c] + d[a:b] + d[c:]


def zero_run(r: random.Random, d: bytes) -> bytes:
    at, n = r.randrange(len(d)), r.randrange(1, 40)
    return d[:at] + bytes(len(d[at : at + n])) + d[at + n :]


def text_mode(r: random.Random, d: bytes) -> bytes:
    old, new = r.choice([(b"\r\n", b"\n"), (b"\n", b"\r\n"), (b"\r", b"\n"), (b"\0", b"")])
    return d.replace(old, new)


def append(r: random.Random, d: bytes) -> bytes:
    return d + r.randbytes(r.randrange(1, 30))


def splice(r: random.Random, d: bytes) -> bytes:
    other = r.choice(FILES)
    return d[: r.randrange(len(d))] + other[r.randrange(len(other)) :]


MUTATORS: list[Mutator] = [
    flip_bit, flip_many, overwrite, truncate, insert, delete, duplicate,
    reverse_run, swap_runs, zero_run, text_mode, append, splice,
]  # fmt: skip
CHUNKS = (Chunk(b"ICCp", b"a profile"), Chunk(b"eXIf", b"some \r\n metadata"))
FILES = [
    Container(header(), segments(1)).to_bytes(),
    Container(header(), segments(1), CHUNKS).to_bytes(),
    Container(header(), segments(5), CHUNKS).to_bytes(),
    Container(header(), segments(40, size=9)).to_bytes(),
    streamed(segments(18), CHUNKS),
]


def attack(count: int, seed: int) -> int:
    """Parse ``count`` mutants; returns how many were real mutations, all of them refused."""
    r = random.Random(seed)
    originals = set(FILES)
    real = 0
    for n in range(count):
        mutant = MUTATORS[n % len(MUTATORS)](r, r.choice(FILES))
        if mutant in originals:
            continue
        real += 1
        try:
            list(ContainerReader(mutant))
        except LaconicError:
            continue
        pytest.fail(f"mutant {n} of seed {seed} was accepted: {mutant.hex()}")
    return real


def test_twenty_thousand_mutants_are_refused_with_documented_errors_in_bounded_memory() -> None:
    tracemalloc.start()
    try:
        assert attack(22_000, seed=1) >= 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 110))
def test_a_million_mutants_are_refused(seed: int) -> None:
    assert attack(105_000, seed) >= 95_000


@pytest.mark.parametrize("data", FILES, ids=range(len(FILES)))
def test_every_single_bit_flip_is_detected(data: bytes) -> None:
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LaconicError):
            list(ContainerReader(bytes(damaged)))
