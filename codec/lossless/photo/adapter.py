"""Changes of a model's weights that travel with a picture (``--effort``).

The decoder adds them to the integer weights and works as before, so decoding costs the same. A
change is a multiple of a step of its tensor; multiples are mostly zero and follow a two-sided
geometric distribution whose parameter is stored. Finding them is the matter of `finetune`.

Layout: the number of planes; for each tensor of each plane (`network.TENSORS`) a byte, high nibble
the step as a power of two, low nibble the distribution, 255 for a tensor without changes; then one
ANS stream of `laconic.entropy` with the multiples of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.config import WEIGHT_LIMIT
from laconic.codec.lossless.photo.network import TENSORS, PhotoModel
from laconic.entropy import CdfTables, SymbolDecoder, SymbolEncoder, ideal_bits
from laconic.formats.errors import FormatError, ModelError

Integers = Mapping[str, NDArray[Any]]
UNCHANGED = 255
SHAPES = 15
_REACH = 40  # multiples beyond are escaped
_PRECISION = 20
_NUMERATORS = (1, 2, 3, 4, 6, 8, 11, 14, 18, 22, 28, 34, 42, 50, 58)  # of 64: decay per step


@cache
def change_tables() -> CdfTables:
    """One two-sided geometric distribution per shape, made of integers alone."""
    freqs: list[int] = []
    for numerator in _NUMERATORS:
        tail, share = [], 1 << (_PRECISION - 2)
        for _ in range(_REACH):
            share = share * numerator // 64
            tail.append(max(1, share))
        both = 2 * sum(tail) + 1
        scale = 1 << _PRECISION
        if both >= scale:
            tail = [max(1, f * (scale // 2) // both) for f in tail]
            both = 2 * sum(tail) + 1
        freqs += [*reversed(tail), scale - both, *tail, 1]
    size = 2 * _REACH + 2
    return CdfTables(_PRECISION, lows=[-_REACH] * SHAPES, sizes=[size] * SHAPES, freqs=freqs)


def pack_changes(changes: Integers, steps: Mapping[str, int], planes: int) -> bytes:
    """Bytes of `changes`, arrays of multiples of 2^steps[name], names as in the model."""
    tables = change_tables()
    heads, encoder = bytearray(), SymbolEncoder("ans")
    for name in _names(planes):
        multiples = changes.get(name)
        if multiples is None or not multiples.any():
            heads.append(UNCHANGED)
            continue
        flat = multiples.reshape(-1)
        costs = [ideal_bits(flat, np.full(flat.size, s, np.uint8), tables) for s in range(SHAPES)]
        shape = int(np.argmin(costs))
        heads.append(steps[name] << 4 | shape)
        encoder.push(flat, np.full(flat.size, shape, np.uint8), tables)
    return bytes([planes]) + bytes(heads) + encoder.finish()


def adapt(model: PhotoModel, data: bytes) -> PhotoModel:
    """The model with the changes of `data`.

    Raises ``FormatError`` for damaged data, or changes after which the network is not provably
    exact.
    """
    planes = data[0] if data else 0
    if planes not in (1, 3):
        raise FormatError("the picture's changes of the model are damaged")
    heads, tables = data[1 : 1 + planes * len(TENSORS)], change_tables()
    if len(heads) < planes * len(TENSORS):
        raise FormatError("the picture's changes of the model are truncated")
    decoder = SymbolDecoder(data[1 + len(heads) :], "ans")
    tensors = dict(model.tensors)
    for name, head in zip(_names(planes), heads, strict=True):
        if head == UNCHANGED:
            continue
        step, shape = head >> 4, head & 15
        if shape >= SHAPES:
            raise FormatError("the picture's changes of the model are damaged")
        old = tensors[name]
        multiples = decoder.pull(np.full(old.size, shape, np.uint8), tables).astype(np.int64)
        new = old.astype(np.int64) + (multiples << step).reshape(old.shape)
        if np.abs(new).max() > (WEIGHT_LIMIT if new.ndim == 2 else 1 << 30):
            raise FormatError("the picture's changes of the model are out of range")
        tensors[name] = new.astype(np.int32)
    decoder.finish()
    try:
        return model.adapted(tensors)
    except ModelError as error:
        raise FormatError(f"the picture's changes of the model are damaged: {error}") from error


def _names(planes: int) -> list[str]:
    return [f"{plane}.{tensor}" for plane in range(planes) for tensor in TENSORS]
