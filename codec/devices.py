"""Where work runs and how wide: the processor or a GPU, threads and processes. The one place.

What is coded never depends on it: entropy models run in integers or float64 on the processor
everywhere, so that files decode alike on every machine. A codec with networks declares the option
of :func:`chosen`; images and recordings stay on the processor unless it says otherwise, fits and
trainings take the best device there is.

The cores of a process are those it may run on (affinity), that its container may use (the quota of
the control group) and that OMP_NUM_THREADS leaves it. Jobs, which are whole files, divide them:
``split``. Threads (``share``) are for compiled loops, which hold no lock: tiles of an image,
blocks of a table. Whole files are spread over processes and machines by
``laconic.codec.engines``; chunks of one video have processes of their own
(``codec.video.stream.fitting``), because they report progress and can be asked to stop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from laconic.codec.options import option
from laconic.formats.errors import ParameterError

if TYPE_CHECKING:
    from torch import device as Device

NAMES = ("auto", "cpu", "cuda", "mps")
VARIABLE = "LACONIC_DEVICE"  # so that worker processes take the same
PROCESSOR = "cpu"
Piece = TypeVar("Piece")
Result = TypeVar("Result")
MOST = 64  # threads
ENOUGH = 8  # files that are worth a process of their own, which starts for a second or two
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": 2 cores; "max 100000": all


def chosen(shown: str) -> Any:
    """The option ``device`` of an encoder or decoder; ``shown`` is what holds without it."""
    return option(
        None, "Where networks run; auto is the best there is.", choices=NAMES, shown=shown
    )


def use(name: str) -> None:
    """Take ``name``, one of :data:`NAMES`, from now on, in processes that are started too.

    Raises ``ParameterError`` for a device that is not here.
    """
    _checked(name)
    os.environ[VARIABLE] = name


def _checked(name: str) -> str:
    found = available()
    if name not in ("auto", *found):
        raise ParameterError(
            f"there is no device {name} here: choose {' or '.join(['auto', *found])}"
        )
    return found[-1] if name == "auto" else name


def available() -> list[str]:
    """The devices that torch finds here, the best one last."""
    import torch

    has = {"cpu": True, "mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    return [name for name, there in has.items() if there]


def has_bfloat16(device: Device) -> bool:
    """Whether matrix products in bfloat16 are faster there than in float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())


def device(name: str | None = None, number: int = 0) -> Device:
    """The device ``name``; None is the one that is in use, or the best there is. Of several GPUs
    it is the one with this number. Raises ``ParameterError`` as :func:`use`."""
    import torch

    name = _checked(name or os.environ.get(VARIABLE, "auto"))
    return torch.device(name, number) if name == "cuda" else torch.device(name)


def cores() -> int:
    """Threads to use: one for each core of this process, or as OMP_NUM_THREADS says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return min(MOST, int(said))
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST, found or 1, quota(QUOTA)))


def quota(path: Path) -> int:
    """Whole cores that the control group's file ``path`` grants; ``MOST`` where it sets no
    limit."""
    try:
        time, period = path.read_text().split()
        return max(1, int(time) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return MOST


def split(items: int, jobs: int | None = None, threads: int | None = None) -> tuple[int, int]:
    """Jobs at a time and threads of each, so that together they take the cores there are.

    Args:
        items: how many there are to do; few are done one after the other, with all the threads.
        jobs: as many as the caller says, None for a choice.
        threads: of each job, None for a choice.
    """
    if jobs is None:
        jobs = max(1, min(cores() // (threads or 1), items // ENOUGH))
    jobs = max(1, min(jobs, items))
    return jobs, threads or max(1, cores() // jobs)


def use_threads(threads: int) -> None:
    """Let everything that this process does from now on take so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when it is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def share(task: Callable[[Piece], Result], pieces: Sequence[Piece], threads: int) -> list[Result]:
    """What ``task`` makes of every piece, as many at a time as there are threads.

    The threads have ended when it returns. A generator must not keep a pool open between its
    results: one that nobody exhausts may be closed by the garbage collector inside the start of
    another thread, which then waits for itself.
    """
    if threads < 2 or len(pieces) < 2:
        return [task(piece) for piece in pieces]
    with ThreadPoolExecutor(min(threads, len(pieces))) as pool:
        return list(pool.map(task, pieces))
