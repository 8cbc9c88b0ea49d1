"""An optimiser's state as plain arrays, for the work file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

PREFIX = "optimiser/"


def arrays_of(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Arrays and numbers by ``optimiser/PLACE/KEY``."""
    found: dict[str, Any] = {}
    for place, entries in optimiser.state_dict()["state"].items():
        for key, value in entries.items():
            array = value.detach().cpu().numpy().copy() if torch.is_tensor(value) else value
            found[f"{PREFIX}{place}/{key}"] = array
    return found


def load_arrays(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put back what :func:`arrays_of` took; other entries of ``state`` are passed over."""
    entries: dict[int, dict[str, Any]] = {}
    for name, value in state.items():
        if name.startswith(PREFIX):
            _, place, key = name.split("/")
            array = np.asarray(value)
            entry = torch.from_numpy(array.copy()) if array.ndim or key == "step" else value
            entries.setdefault(int(place), {})[key] = entry
    optimiser.load_state_dict({**optimiser.state_dict(), "state": entries})
