"""What encoder and decoder of pictures share: the check of a tile."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from laconic.entropy import SymbolCheck


def check_of(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> int:
    """The symbol check of samples [H, W, C] and their alpha plane."""
    check = SymbolCheck()
    check.update(pixels)
    if alpha is not None:
        check.update(alpha)
    return check.value32()
