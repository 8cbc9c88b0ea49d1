"""Where networks are trained and fitted: the processor, or a GPU.

What is coded never depends on it: entropy models run in integers or float64 on the processor
everywhere, so that files decode alike on every machine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from laconic.formats.errors import ParameterError

if TYPE_CHECKING:
    from torch import device as Device

NAMES = ("auto", "cpu", "cuda", "mps")
VARIABLE = "LACONIC_DEVICE"  # so that worker processes take the same


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


def device(number: int = 0) -> Device:
    """The device to work on: the one that was chosen, or the best there is; of several GPUs the
    one with this number. Raises ``ParameterError`` as :func:`use`."""
    import torch

    name = _checked(os.environ.get(VARIABLE, "auto"))
    return torch.device(name, number) if name == "cuda" else torch.device(name)
