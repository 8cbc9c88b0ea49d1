"""Long encodings: chunks cut at scenes, resumed from a work file, stopped politely.

The work file: what fitting has reached, so that a killed encoder goes on where it was.

A safetensors file beside the target (``clip.lac.work``), replaced in one step every now and then,
with the payloads of finished chunks, the states of unfinished ones and, for the chain, the weights
that the next chunk starts from. Its key names the video and all settings that decide the stream: a
file with another key is never continued.

Where a video is cut into chunks: at scene cuts where that leaves chunks of sensible length.

The network of a chunk is a fixed cost, so chunks are long; frames of a chunk are held in memory, so
they are not too long; and a chunk that ends at a scene cut need not describe two scenes.

Stopping a long fit politely: the first Ctrl-C ends it with the best so far, the second at once.

SIGTERM keeps what was fitted and then does what it did before. Where a fit has nothing to show
before its end, as that of "motion", both signals end it at once, and the work file keeps the chunks
that are done. Handlers are only set in the main thread, where Python allows it.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.atomic import atomic_write
from laconic.formats.errors import FormatError, OutputError

VERSION = 1
NAME = "laconic work"
TORCH = '"array": "torch"'  # in the facts: some state is torch's own


@dataclass(frozen=True)
class Fitted:
    """A chunk's payload, its symbol check, and the PSNR of each frame decoded from it."""

    payload: bytes
    check: int
    psnr: tuple[float, ...] = ()


@dataclass
class Work:
    """Progress of one encoding. ``path`` None keeps it in memory only."""

    key: str
    path: Path | None = None
    done: dict[int, Fitted] = field(default_factory=dict)
    states: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    warm: Mapping[str, Any] | None = None
    warm_of: int = -1  # the chunk that ``warm`` comes from

    def save(self) -> None:
        """Replace the file. Raises ``OutputError``, and the file of before stays."""
        if self.path is None:
            return
        tensors: dict[str, Any] = {}
        facts: dict[str, Any] = {
            "version": VERSION,
            "key": self.key,
            "done": {str(n): [f.check, list(f.psnr)] for n, f in self.done.items()},
            "states": {str(n): _split(s, f"states/{n}", tensors) for n, s in self.states.items()},
            "warm": None if self.warm is None else _split(self.warm, "warm", tensors),
            "warm_of": self.warm_of,
        }
        for n, fitted in self.done.items():
            tensors[f"done/{n}"] = np.frombuffer(fitted.payload, np.uint8)
        data = _packed(tensors, {NAME: json.dumps(facts)})
        try:
            with atomic_write(self.path, overwrite=True) as file:
                file.write(data)
        except OutputError as error:
            kept = "what was saved before is kept" if self.path.exists() else "nothing was saved"
            raise OutputError(
                f"{error} by the unfinished encoding; {kept}: make room and run the same command"
                " again"
            ) from error

    def remove(self) -> None:
        """Delete the file, if there is one."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def load(path: Path) -> Work:
    """Read a work file. Raises ``FormatError`` for anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            text = (file.metadata() or {})[NAME]
        facts = json.loads(text)
        with safe_open(path, "pt" if TORCH in text else "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if facts["version"] != VERSION:
            raise FormatError(f"{path} was written by another version: delete it to begin anew")
        done = {
            int(n): Fitted(np.asarray(tensors[f"done/{n}"]).tobytes(), int(check), tuple(psnr))
            for n, (check, psnr) in facts["done"].items()
        }
        states = {
            int(n): _joined(layout, f"states/{n}", tensors) for n, layout in facts["states"].items()
        }
        warm = None if facts["warm"] is None else _joined(facts["warm"], "warm", tensors)
        return Work(str(facts["key"]), path, done, states, warm, int(facts["warm_of"]))
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} is no work file: delete it to begin anew") from error


def _packed(tensors: dict[str, Any], facts: dict[str, str]) -> bytes:
    """A safetensors file. Torch is imported where something is its own: "motion" has no need."""
    arrays = {k: np.array(v, order="C") for k, v in tensors.items() if isinstance(v, np.ndarray)}
    if TORCH not in facts[NAME]:
        from safetensors.numpy import save

        return save(arrays, facts)
    import torch
    from safetensors.torch import save as save_torch

    own = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items() if k not in arrays}
    return save_torch(own | {k: torch.from_numpy(v) for k, v in arrays.items()}, facts)


def _split(value: Any, name: str, tensors: dict[str, Any]) -> Any:
    """The JSON-able layout of nested mappings; arrays go to ``tensors`` under their path."""
    if isinstance(value, np.ndarray) or hasattr(value, "detach"):
        tensors[name] = value
        return {"array": "numpy" if isinstance(value, np.ndarray) else "torch"}
    if isinstance(value, Mapping):
        return {"map": {str(k): _split(v, f"{name}/{k}", tensors) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_split(v, f"{name}/{k}", tensors) for k, v in enumerate(value)]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{name} is a {type(value).__name__}: it cannot be kept in a work file")
    return {"value": value}


def _joined(layout: Any, name: str, tensors: Mapping[str, Any]) -> Any:
    """Inverse of :func:`_split`."""
    ((kind, inner),) = layout.items()
    if kind == "array":
        return np.asarray(tensors[name]) if inner == "numpy" else tensors[name]
    if kind == "map":
        return {k: _joined(v, f"{name}/{k}", tensors) for k, v in inner.items()}
    if kind in ("list", "tuple"):
        values = (_joined(v, f"{name}/{k}", tensors) for k, v in enumerate(inner))
        return list(values) if kind == "list" else tuple(values)
    return inner


LONGEST = 160  # frames of a chunk by default
SHORTEST = 48  # no chunk is made shorter than this for a scene cut
CHUNK_BYTES = 2**29  # RGB frames of a chunk in memory
LEVELS = 18.0  # mean difference of thumbnails that may be a cut
TIMES = 3.0  # and how far it stands out from its neighbours


@dataclass(frozen=True)
class Span:
    """``count`` frames from ``first``; ``fresh`` if they begin a new scene."""

    first: int
    count: int
    fresh: bool


def scene_cuts(changes: NDArray[Any]) -> list[int]:
    """First frames of new scenes: changes that are large and far above those around them."""
    found = []
    for n in range(1, len(changes)):
        around = [*changes[max(1, n - 3) : n], *changes[n + 1 : n + 4]]
        usual = float(np.median(around)) if around else 0.0
        if changes[n] > LEVELS and changes[n] > TIMES * usual:
            found.append(n)
    return found


def longest_chunk(width: int, height: int, asked: int | None) -> int:
    """Frames of a chunk at most: the number asked for, or what memory allows."""
    if asked is not None:
        return asked
    return max(1, min(LONGEST, CHUNK_BYTES // (3 * width * height)))


def plan_chunks(changes: NDArray[Any], longest: int, fixed: bool = False) -> list[Span]:
    """Spans that cover all frames.

    Args:
        changes: difference of each frame from the one before (``video_reader.Scan``).
        longest: frames of a chunk at most.
        fixed: pay no attention to scenes, for chunks of exactly ``longest`` frames but the last.
    """
    total = len(changes)
    if fixed:
        return [Span(a, min(longest, total - a), a == 0) for a in range(0, total, longest)]
    cuts = scene_cuts(changes)
    shortest = min(SHORTEST, longest)
    starts = [0]
    for cut in cuts:
        if cut - starts[-1] >= shortest and total - cut >= shortest:
            starts.append(cut)
    spans = []
    for first, end in zip(starts, [*starts[1:], total], strict=True):
        parts = ceil((end - first) / longest)
        edges = [first + (end - first) * k // parts for k in range(parts + 1)]
        for k in range(parts):
            spans.append(Span(edges[k], edges[k + 1] - edges[k], k == 0))
    return spans


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Deliver a Ctrl-C after the block, and never to a process that is started in it.

    A terminal sends the signal to every process of the program; one that has just been started
    would die of it before it could say that only the first process answers.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stopper:
    """``with Stopper() as stop: ... stop.asked`` - whether somebody wants the work to end.

    Args:
        patient: the work looks at this and ends by itself; else signals do what they did before.
    """

    def __init__(self, patient: bool = True) -> None:
        self.asked = False
        self.terminated = False
        self._patient = patient
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        if self._patient and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.asked

    def leave(self) -> None:
        """What the signal would have done by itself, once everything is saved."""
        handler = self._before.get(signal.SIGTERM if self.terminated else signal.SIGINT)
        if self.terminated and callable(handler):
            handler(signal.SIGTERM, None)
        raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        self.terminated = self.terminated or number == signal.SIGTERM
