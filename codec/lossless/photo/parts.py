"""What encoder and decoder of pictures share: the check of a tile and the grouping of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from laconic.codec.lossless.photo.header import Tiles
from laconic.entropy import SymbolCheck

BATCH_SAMPLES = 1 << 22  # of all tiles coded in step: bounds memory


def check_of(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> int:
    """The symbol check of samples [H, W, C] and their alpha plane."""
    check = SymbolCheck()
    check.update(pixels)
    if alpha is not None:
        check.update(alpha)
    return check.value32()


def batches_of(
    tiles: Tiles, numbers: Sequence[int], channels: int, processes: int
) -> list[list[int]]:
    """Tiles grouped by shape, in at least one batch for each process where there are enough."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for number in numbers:
        box = tiles.box(number)
        shapes.setdefault((box.height, box.width), []).append(number)
    result = []
    for (height, width), group in shapes.items():
        most = max(1, BATCH_SAMPLES // (height * width * channels))
        size = min(most, -(-len(group) // processes))
        result += [group[i : i + size] for i in range(0, len(group), size)]
    return sorted(result, key=lambda group: -len(group))


def rounds_of(batches: list[list[int]], processes: int) -> list[list[list[int]]]:
    """Batches, as many at a time as there are processes."""
    return [batches[i : i + processes] for i in range(0, len(batches), processes)]
