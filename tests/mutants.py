"""Files of every codec, changed where checksums no longer tell: in headers, chunks, counts and
payloads, with every CRC right again. ``trusting`` lets all symbol checks pass as well."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from laconic.formats.container import Chunk, Container, Header, Media, Segment
from laconic.formats.errors import LaconicError
from laconic.formats.varint import read_varint, write_varint

GOLDEN = Path(__file__).parent / "golden"
SMALL = 4096  # bytes: what the promises about time and memory are made for
INTERESTING = (0, 1, 2, 7, 15, 16, 63, 64, 127, 128, 255, 256, 4096, 16383, 16384, 65535, 65536,
               1 << 20, 1 << 24, 1 << 28, (1 << 31) - 1, 1 << 31, (1 << 35) - 1)  # fmt: skip


# Their decoders take seconds for intact files already.
SLOW = ("mnist-", "small-stereo", "small-2-stereo", "small-3-stereo", "rgb-tiles", "rgba-tiles",
        "motion-chunks")  # fmt: skip


def seeds() -> list[tuple[str, Container]]:
    """The small golden files that decode quickly, by the name of their codec."""
    return [
        (path.parent.name.rpartition("-")[0], Container.from_bytes(path.read_bytes()))
        for path in sorted(GOLDEN.rglob("*.lac"))
        if path.stat().st_size < SMALL and not path.name.startswith(SLOW)
    ]


def bytes_changed(r: random.Random, data: bytes) -> bytes:
    """One or a few bytes set, inserted, removed, doubled, or the end cut off."""
    if not data:
        return r.randbytes(r.randrange(1, 9))
    for _ in range(r.choice((1, 1, 1, 2, 5))):
        at = r.randrange(len(data)) if data else 0
        match r.randrange(6):
            case 0 if data:
                data = data[:at] + bytes([data[at] ^ 1 << r.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at] + r.choice((b"\0", b"\xff", b"\x7f", b"\x80")) + data[at + 1 :]
            case 2:
                data = data[:at] + r.randbytes(r.randrange(1, 5)) + data[at:]
            case 3:
                data = data[:at] + data[at + r.randrange(1, 5) :]
            case 4:
                data = data[:at]
            case _:
                data = data[:at] + data[max(0, at - r.randrange(1, 30)) :]
    return data


def numbers_changed(r: random.Random, data: bytes) -> bytes:
    """One number of variable length replaced by an extreme one."""
    places = []
    for at in range(len(data)):
        try:
            _, end = read_varint(data, at)
        except LaconicError:
            continue
        places.append((at, end))
    if not places:
        return bytes_changed(r, data)
    at, end = r.choice(places)
    return data[:at] + write_varint(r.choice(INTERESTING)) + data[end:]


def changed(r: random.Random, data: bytes) -> bytes:
    """Either."""
    return (numbers_changed if r.random() < 0.4 else bytes_changed)(r, data)


def mutant(r: random.Random, source: Container, other: Container) -> bytes:
    """An intact file with something impossible, or too much, in it."""
    header, segments, chunks = source.header, list(source.segments), list(source.chunks)
    for _ in range(r.choice((1, 1, 1, 2))):
        part = r.choice(
            ("media", "media", "private", "private", "payload", "payload", "payload", "field",
             "chunk", "count")
        )  # fmt: skip
        if part == "media":
            header = replace(header, media_header=changed(r, header.media_header))
        elif part == "private":
            header = replace(header, codec_header=changed(r, header.codec_header))
        elif part == "field":
            header = _field(r, header, other.header)
        elif part == "chunk":
            data = r.choice(chunks).data if chunks else b""
            kinds = (b"ICCp", b"eXIf", b"xMPd", b"tAGs", b"TIME", b"PRMT", b"zzzz", b"ZZZZ")
            chunks = [*chunks[: r.randrange(3)], Chunk(r.choice(kinds), changed(r, data))]
        elif part == "count" or not segments:
            segments = r.choice((segments[:-1], segments * 2, segments + list(other.segments)))
        else:
            n = r.randrange(len(segments))
            # The beginning holds lengths and counts, and is changed more often.
            cut = r.choice((0, 0, 0, 16, 64))
            payload = segments[n].payload
            if cut and len(payload) > cut:
                payload = changed(r, payload[:cut]) + payload[cut:]
            else:
                payload = changed(r, payload)
            segments[n] = Segment(payload, segments[n].check)
    return Container(header, segments, chunks).to_bytes()


def _field(r: random.Random, header: Header, other: Header) -> Header:
    return r.choice(
        (
            lambda: replace(header, media=Media(r.randrange(1, 5))),
            lambda: replace(header, codec=r.randrange(10)),
            lambda: replace(header, codec_version=r.randrange(16)),
            lambda: replace(header, numerics=r.randrange(16)),
            lambda: replace(header, model=other.model),
            lambda: replace(header, model=r.choice((b"", r.randbytes(6)))),
            lambda: replace(header, media_header=other.media_header),
            lambda: replace(header, codec_header=other.codec_header),
        )
    )()


@contextmanager
def trusting() -> Iterator[None]:
    """Every symbol check passes, as in files whose maker computed them."""
    from laconic.codec.lossless.records.decoding import DecodeJob

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "matches", lambda self, check: True)
        patch.setattr(DecodeJob, "_compare", lambda self, original: None)
        yield


@dataclass
class Peak:
    """The largest resident memory of this process since :meth:`reset`, in bytes."""

    base: int = 0

    def reset(self) -> None:
        """Start from what is in use now."""
        Path("/proc/self/clear_refs").write_text("5")
        self.base = self._now()

    def above(self) -> int:
        """Bytes above the base."""
        return self._now() - self.base

    @staticmethod
    def _now() -> int:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
        return 0
