"""Files of every codec, changed where checksums no longer tell: in headers, chunks, counts and
payloads, with every CRC right again. ``trusting`` lets all symbol checks pass as well.

    python tests/mutants.py STATE.json 1000000

goes on from the count that STATE.json has reached and prints what should not have happened.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import prompt_models
import pytest
import rule_models
import tiny_audio
import torch
from pictures import scene

from laconic import codec
from laconic.codec import models
from laconic.codec.audio import loading
from laconic.codec.image import architectures, codecs
from laconic.codec.image import codec as image_codec
from laconic.codec.image.codec import write_mlic
from laconic.codec.image.config import CONFIGS
from laconic.codec.image.model import Mlic
from laconic.codec.lossless.photo import network as photo_network
from laconic.codec.lossless.records import named
from laconic.formats.container import Chunk, Container, Header, Media, Segment
from laconic.formats.errors import LaconicError
from laconic.formats.frame import read_varint, write_varint

GOLDEN = Path(__file__).parent / "golden"
SMALL = 4096  # bytes: what the promises about time and memory are made for
INTERESTING = (0, 1, 2, 7, 15, 16, 63, 64, 127, 128, 255, 256, 4096, 16383, 16384, 65535, 65536,
               1 << 20, 1 << 24, 1 << 28, (1 << 31) - 1, 1 << 31, (1 << 35) - 1)  # fmt: skip


# Their decoders take seconds for intact files already.
SLOW = ("mnist-", "small-stereo", "small-2-stereo", "small-3-stereo", "small-4-stereo",
        "small-5-stereo", "small-6-stereo", "small-7-stereo", "small-8-stereo", "rgb-tiles",
        "rgba-tiles", "motion-chunks")  # fmt: skip


def seeds() -> list[tuple[str, Container]]:
    """The small golden files that decode quickly, by the name of their codec."""
    return [
        (f"{path.parent.name}/{path.stem}", Container.from_bytes(path.read_bytes()))
        for path in sorted(GOLDEN.rglob("*.lac"))
        if path.stat().st_size < SMALL and not path.name.startswith(SLOW)
    ]


def install(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put the models of all seeds into the store, which must be ``folder``, and let the store be
    read once and its models stay loaded: that would take longer than most mutants."""
    tiny_audio.install(folder, patch)
    tiny_audio.install(folder, patch, prior=False)
    prompt_models.install(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detailed = Mlic(CONFIGS["test-detail"])
    crops = np.stack([scene(64, 64, seed=n) for n in range(4)])
    detailed.initialise(torch.from_numpy(crops).float() / 255)
    write_mlic(folder / "test-detail.safetensors", detailed, name="test-detail", training={})
    known, wrong = list(models._readable()), models.unreadable()
    patch.setattr(models, "_readable", lambda: iter(known))
    patch.setattr(models, "unreadable", lambda: wrong)
    patch.setattr(models, "find", lru_cache(maxsize=None)(models.find))
    for module in (image_codec, architectures, named, loading, photo_network):
        patch.setattr(module, "_load", lru_cache(maxsize=None)(module._load.__wrapped__))


def made() -> list[tuple[str, Container]]:
    """Files of the smallest models, of what no small golden file holds; see :func:`install`."""
    drawing = np.full((40, 48, 3), 250, np.uint8)
    drawing[8:12, 4:40] = drawing[20:30:3, 6:30] = (20, 20, 90)
    small = scene(24, 20)
    half = np.concatenate([drawing, scene(40, 48)], axis=1)
    wanted = {
        "mlic-3/tiny-screen": (drawing, "test-mlic", 70.0),
        "mlic-3/tiny-mixed": (half, "test-mlic", 70.0),
        "mlic-3/tiny-detail": (small, "test-detail", 90.0),
        "mlic-3/base-detail": (small, "mlic-base", 95.0),
    }
    found = []
    with pytest.MonkeyPatch.context() as patch:  # keeps the files that exact ones are smaller than
        patch.setattr(codecs, "no_larger", lambda image, settings, data, target, screen: data)
        for name, (pixels, model, quality) in wanted.items():
            data = codec.encode(pixels, model=model, quality=quality)
            found.append((name, Container.from_bytes(data)))
    return found


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
    for _ in range(8 if data else 0):
        at = r.randrange(len(data))
        with suppress(LaconicError):
            _, end = read_varint(data, at)
            return data[:at] + write_varint(r.choice(INTERESTING)) + data[end:]
    return bytes_changed(r, data)


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


class Peak:
    """The largest resident memory of this process since :meth:`reset`, in bytes."""

    def __init__(self) -> None:
        self.base = 0

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


def decoded_whole(data: bytes) -> None:
    """Decode a file, videos to their last frame."""
    found = codec.decode(data)
    if hasattr(found, "close"):
        list(found)
        found.close()


class Late(BaseException):
    """Raised inside a decoder that takes more than ``SECONDS`` of processor time."""


MEMORY = 256 << 20  # bytes above the base
PROMISED = 1.0  # seconds of the processor
SECONDS = 20.0  # of the processor, far above the promise: busy machines stretch it
FEW = 3  # mutants of a file that are decoded whatever that takes
BATCH = 50  # mutants between two looks at the memory


@dataclass
class Attack:
    """Mutants of ``files`` opened and decoded; ``counts`` is what came of them, by codec.

    Every mutant is opened. It is decoded if it is among the first ``FEW`` of its seed that open, or
    its seed has had less than ``milliseconds`` of decoding per mutant so far, so that slow decoders
    do not take the time of the others.
    """

    files: list[tuple[str, Container]]
    seed: int
    milliseconds: float
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds of the processor for one mutant
    slow: list[str] = field(default_factory=list)  # those that take over ``PROMISED`` twice

    def __post_init__(self) -> None:
        for _, source in self.files:  # loads models, compiles loops
            decoded_whole(source.to_bytes())
        self._peak = Peak()
        self._seen: Counter[str] = Counter()
        self._decoded: Counter[str] = Counter()
        self._spent: defaultdict[str, float] = defaultdict(float)

    def run(self, count: int) -> None:
        """Try ``count`` more mutants. The n-th batch of a seed is always the same."""
        signal.signal(signal.SIGVTALRM, _late)
        for first in range(0, count, BATCH):
            r = random.Random(f"{self.seed} {self.counts['mutants']}")
            batch = [self._mutant(r) for _ in range(min(BATCH, count - first))]
            self._peak.reset()
            for name, data in batch:
                self._try(name, data)
            if self._peak.above() > MEMORY:
                self._blame(batch)

    def _mutant(self, r: random.Random) -> tuple[str, bytes]:
        while True:
            name, source = r.choice(self.files)
            with suppress(LaconicError):
                data = mutant(r, source, r.choice(self.files)[1])
                if len(data) < SMALL:
                    return name, data

    def _try(self, name: str, data: bytes) -> None:
        kind = name.partition("/")[0]
        self.counts["mutants"] += 1
        self._seen[name] += 1
        start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        decoding = False
        try:
            codec.probe(data)
            opened = time.process_time()
            cheap = self._spent[name] < self._seen[name] * self.milliseconds / 1000
            decoding = cheap or self._decoded[name] < FEW
            if decoding:
                decoded_whole(data)
            outcome = "decoded" if decoding else "opened"
        except LaconicError as error:
            outcome = f"{'decoding' if decoding else 'opening'} {type(error).__name__}"
        except Late:
            outcome = "late"
            self.wrong.append(f"{name} takes {SECONDS} s: {data.hex()}")
        except Exception as error:
            outcome = "undocumented"
            self.wrong.append(f"{name} {type(error).__name__} {error}: {data.hex()}")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        end = time.process_time()
        if decoding:
            self._decoded[name] += 1
            self._spent[name] += end - opened
        if end - start > PROMISED:
            self._time_again(name, data, end - start)
        else:
            self.slowest = max(self.slowest, end - start)
        self.counts[f"{kind} {outcome}"] += 1

    def _time_again(self, name: str, data: bytes, seconds: float) -> None:
        """Take the better of two times: the first may have loaded a library or compiled a loop."""
        start = time.process_time()
        with suppress(Exception):
            codec.probe(data)
            decoded_whole(data)
        seconds = min(seconds, time.process_time() - start)
        self.slowest = max(self.slowest, seconds)
        if seconds > PROMISED:
            self.counts["over a second"] += 1
            self.slow.append(f"{name} takes {seconds:.2f} s of the processor: {data.hex()}")

    def _blame(self, batch: list[tuple[str, bytes]]) -> None:
        """Find out which mutant took the memory."""
        for name, data in batch:
            self._peak.reset()
            with suppress(LaconicError):
                codec.probe(data)
                decoded_whole(data)
            if self._peak.above() > MEMORY:
                self.wrong.append(f"{name} takes {self._peak.above() >> 20} MiB: {data.hex()}")


def _late(number: int, frame: FrameType | None) -> None:
    raise Late


def main(state: Path, count: int) -> None:
    """Go on until ``count`` mutants were tried, and save the state every thousand."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder, trusting():
        patch.setenv("LACONIC_MODELS", folder)
        rule_models.install(Path(folder))
        install(Path(folder), patch)
        attack = Attack(seeds() + made(), seed=2, milliseconds=0.35)
        if state.exists():
            kept: dict[str, Any] = json.loads(state.read_text())
            attack.counts, attack.wrong = Counter(kept["counts"]), kept["wrong"]
            attack.slowest, attack.slow = kept["slowest"], kept["slow"]
        while attack.counts["mutants"] < count:
            wrong, slow = len(attack.wrong), len(attack.slow)
            attack.run(min(1000, count - attack.counts["mutants"]))
            for line in attack.wrong[wrong:] + attack.slow[slow:]:
                print(line, flush=True)
            kept = {"counts": attack.counts, "wrong": attack.wrong, "slow": attack.slow,
                    "slowest": attack.slowest}  # fmt: skip
            temporary = state.with_suffix(".new")
            temporary.write_text(json.dumps(kept, indent=1))
            os.replace(temporary, state)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
