"""An arbitrary token prior for the tiny audio model; no torch here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.token_grid import OWN, below

VOCABULARIES = (24, 8, 4)
POSITIONS = 4


def prior_tensors(seed: int = 0) -> dict[str, NDArray[Any]]:
    """An arbitrary token prior of the right shapes."""
    rng = np.random.default_rng(seed)
    width, hidden = 6, 10
    tensors: dict[str, NDArray[Any]] = {}
    for stream, symbols in enumerate(VOCABULARIES):
        slots = len(OWN) + len(below(stream))
        key = f"tables.prior.{stream}"
        shape = {
            "embedding": (symbols + 1, width),
            "weight": (slots * width, hidden),
            "place": (POSITIONS, hidden),
            "head": (hidden, symbols),
        }
        for name, size in shape.items():
            tensors[f"{key}.{name}"] = rng.integers(-40, 41, size).astype(np.int8)
        tensors[f"{key}.bias"] = rng.integers(-999, 999, symbols).astype(np.int32)
    return tensors
