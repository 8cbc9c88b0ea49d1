"""Where whole files are worked on: in this process, in processes of this machine, or on a Ray
cluster. Choose Ray (``laconic[ray]``) when one machine is too slow; it runs the same tasks.

An engine starts pieces of work and says which have ended. ``spread`` drives any of them: a bounded
number is in flight, and a piece whose worker died is done again elsewhere, at most ``TRIES`` times.
Workers live as long as the run, so that the models they load are loaded once.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol, TypeVar

from laconic.codec.devices import cores, use_threads
from laconic.formats.errors import LaconicError, ParameterError, UnsupportedError

Piece = TypeVar("Piece")
Result = TypeVar("Result")
TRIES = 3  # of a piece whose worker dies
GRACE = 2.0  # seconds for a worker to clean up
AHEAD = 2  # pieces in flight for each task that a cluster can run at once
PATIENCE = 5.0  # seconds for a cluster to answer
FRESH = 5.0  # seconds for which the size of a cluster is believed


@dataclass(frozen=True)
class Lost:
    """A worker died: why, as far as is known."""

    why: str


class Engine(Protocol):
    """Does pieces of work, several at a time."""

    def room(self) -> int:
        """How many pieces can be started now."""
        ...

    def start(self, task: Callable[[Any], Any], piece: Any) -> Any:
        """Begin; returns what :meth:`ended` calls it."""
        ...

    def ended(self) -> list[tuple[Any, Any]]:
        """Wait for one piece or more: what each was called, with its result or :class:`Lost`.
        Raises what a task raised."""
        ...

    def close(self) -> None:
        """Nothing more is started."""
        ...


def choose(name: str, jobs: int, threads: int, address: str | None) -> Engine:
    """The engine ``"local"`` or ``"ray"``; raises ``ParameterError``, ``UnsupportedError``."""
    if name == "ray":
        return Ray(address, threads, jobs)
    if address is not None:
        raise ParameterError(f"the address {address} is of a Ray cluster: add --engine ray")
    return Here() if jobs <= 1 else Processes(jobs, threads)


def spread(
    task: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    engine: Engine,
    *,
    lost: Callable[[Piece, str], Result],
    again: Callable[[Piece], Piece] = lambda piece: piece,
    in_order: bool = False,
) -> Iterator[tuple[Piece, Result]]:
    """Each piece, once, with what ``task`` makes of it.

    Args:
        task: a picklable function.
        pieces: are taken as there is room for them.
        lost: the result of a piece that was given up, from it and a sentence.
        again: what is tried when the worker of a piece died.
        in_order: yield in the order of the pieces, not as they are ready.

    What the task raises is raised here, and pieces that had not begun are dropped.
    """
    fresh, retried = iter(enumerate(pieces)), deque[tuple[int, Piece]]()
    running: dict[Any, tuple[int, Piece]] = {}
    ready: dict[int, tuple[Piece, Result]] = {}
    tries, turn, more = Counter[int](), 0, True
    try:
        while True:
            while (retried or more) and engine.room() > 0:
                found = retried.popleft() if retried else next(fresh, None)
                if found is None:
                    more = False
                    break
                running[engine.start(task, found[1])] = found
            if not running:
                return
            for handle, result in engine.ended():
                number, piece = running.pop(handle)
                if isinstance(result, Lost):
                    tries[number] += 1
                    if tries[number] < TRIES:
                        retried.append((number, again(piece)))
                        continue
                    result = lost(piece, f"its worker died {TRIES} times: {result.why}")
                ready[number] = (piece, result)
            for number in [n for n in sorted(ready) if not in_order]:
                yield ready.pop(number)
            while turn in ready:
                yield ready.pop(turn)
                turn += 1
    finally:
        engine.close()


class Here:
    """This process, one piece after the other."""

    def __init__(self) -> None:
        self._ended: list[tuple[int, Any]] = []

    def room(self) -> int:
        return 1 - len(self._ended)

    def start(self, task: Callable[[Any], Any], piece: Any) -> int:
        self._ended.append((0, task(piece)))
        return 0

    def ended(self) -> list[tuple[int, Any]]:
        found, self._ended = self._ended, []
        return found

    def close(self) -> None:
        return


class Processes:
    """Worker processes of this machine, each with its share of the threads. One that dies takes
    nothing but its own piece with it."""

    def __init__(self, jobs: int, threads: int) -> None:
        self._jobs, self._threads = jobs, threads
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[tuple[Any, Any]] = []
        self._busy: dict[Any, Any] = {}

    def room(self) -> int:
        return self._jobs - len(self._busy)

    def start(self, task: Callable[[Any], Any], piece: Any) -> Any:
        connection, process = self._idle.pop() if self._idle else self._born()
        self._busy[connection] = process
        with suppress(BrokenPipeError, ConnectionResetError):  # ended() finds out that it died
            connection.send((task, piece))
        return connection

    def _born(self) -> tuple[Any, Any]:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_work, args=(there, self._threads))
        process.start()
        there.close()
        return here, process

    def ended(self) -> list[tuple[Any, Any]]:
        found = []
        for ready in multiprocessing.connection.wait(list(self._busy)):
            connection: Any = ready
            process = self._busy.pop(connection)
            try:
                failed, value = connection.recv()
            except (EOFError, ConnectionResetError):
                process.join()
                found.append((connection, Lost(_ending(process.exitcode))))
                continue
            if failed:
                raise value
            self._idle.append((connection, process))
            found.append((connection, value))
        return found

    def close(self) -> None:
        """All workers end; nobody waits any more for what one is busy with."""
        for connection, _ in [*self._idle, *self._busy.items()]:
            connection.close()
        for process in self._busy.values():
            process.terminate()
        end = time.monotonic() + GRACE
        for process in self._busy.values():
            process.join(max(0.0, end - time.monotonic()))
            process.kill()
        for process in [*self._busy.values(), *(process for _, process in self._idle)]:
            process.join()
        self._idle, self._busy = [], {}


def _work(connection: Any, threads: int) -> None:
    """Pieces that come through the pipe, until it is closed."""
    signal.signal(signal.SIGTERM, _leave)
    use_threads(threads)
    while True:
        try:
            task, piece = connection.recv()
        except (EOFError, ConnectionResetError, KeyboardInterrupt):
            return
        try:
            answer = (False, task(piece))
        except BaseException as error:  # is raised by the parent
            answer = (True, error)
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _ending(code: int | None) -> str:
    if code == -9:
        return "it was killed, as the system does when memory runs out; try fewer --jobs"
    return f"signal {-code}" if code and code < 0 else f"exit code {code}"


class Ray:
    """A Ray cluster: the one at ``address``, or at RAY_ADDRESS, or one of this machine alone.

    Args:
        address: host:port of the head, or ray://host:port.
        threads: cores that a task takes; the cluster runs as many tasks as it has cores for.
        jobs: the most pieces in flight; 0 for twice what the cluster runs at once.
    """

    def __init__(self, address: str | None, threads: int, jobs: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise UnsupportedError(
                "the engine ray needs the package ray: pip install 'laconic[ray]'"
            ) from error
        self._ray, self._threads, self._jobs = ray, threads, jobs
        self._own = not ray.is_initialized()
        if self._own:
            self._connect(address or os.environ.get("RAY_ADDRESS") or "local")
        self._call = ray.remote(num_cpus=threads, max_retries=0)(_on_a_node)
        self._running: list[Any] = []
        self._most, self._asked = 0, float("-inf")
        largest = max((n["Resources"].get("CPU", 0) for n in ray.nodes() if n["Alive"]), default=0)
        if largest < threads:
            self.close()
            raise ParameterError(
                f"a task takes {threads} threads and the largest node of the cluster has"
                f" {largest:g} cores: use fewer --threads"
            )

    def _connect(self, address: str) -> None:
        """Ray itself would try for minutes."""
        how: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address == "local":
                how |= {"num_cpus": cores(), "include_dashboard": False}
            elif address != "auto":
                host, _, port = address.rpartition("://")[2].partition(":")
                socket.create_connection((host, int(port or 6379)), PATIENCE).close()
            self._ray.init(address=address, **how)
        except Exception as error:
            raise LaconicError(
                f"no Ray cluster answers at {address}: start one with 'ray start --head', or leave"
                " the address out to use this machine"
            ) from error

    def room(self) -> int:
        if time.monotonic() - self._asked > FRESH:  # nodes come and go
            found = self._ray.cluster_resources().get("CPU", 0)
            self._most = self._jobs or AHEAD * max(1, int(found // self._threads))
            self._asked = time.monotonic()
        return self._most - len(self._running)

    def start(self, task: Callable[[Any], Any], piece: Any) -> Any:
        handle = self._call.remote(self._threads, task, piece)
        self._running.append(handle)
        return handle

    def ended(self) -> list[tuple[Any, Any]]:
        found, self._running = self._ray.wait(self._running)
        return [(handle, self._result(handle)) for handle in found]

    def _result(self, handle: Any) -> Any:
        try:
            return self._ray.get(handle)
        except self._ray.exceptions.RayTaskError as error:
            if "failed to import on the worker" in str(error):
                raise LaconicError(
                    "a node of the cluster cannot import the work: install the same laconic on"
                    " every node"
                ) from error
            raise (error.cause or error) from None
        except self._ray.exceptions.RayError as error:
            return Lost(" ".join(str(error).split(". ")[0].split()))

    def close(self) -> None:
        for handle in self._running:
            self._ray.cancel(handle, force=True)
        self._running = []
        if self._own:
            self._ray.shutdown()


def _on_a_node(threads: int, task: Callable[[Any], Any], piece: Any) -> Any:
    use_threads(threads)
    return task(piece)
