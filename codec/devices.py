"""Where networks run: the processor, or a GPU.

What is coded never depends on it: entropy models run in integers or float64 on the processor
everywhere, so that files decode alike on every machine. A codec with networks declares the option
of :func:`chosen`; images and recordings stay on the processor unless it says otherwise, fits and
trainings take the best device there is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from laconic.codec.options import option
from laconic.formats.errors import ParameterError

if TYPE_CHECKING:
    from torch import device as Device

NAMES = ("auto", "cpu", "cuda", "mps")
VARIABLE = "LACONIC_DEVICE"  # so that worker processes take the same
PROCESSOR = "cpu"


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


def device(name: str | None = None, number: int = 0) -> Device:
    """The device ``name``; None is the one that is in use, or the best there is. Of several GPUs
    it is the one with this number. Raises ``ParameterError`` as :func:`use`."""
    import torch

    name = _checked(name or os.environ.get(VARIABLE, "auto"))
    return torch.device(name, number) if name == "cuda" else torch.device(name)
