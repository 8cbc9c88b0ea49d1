"""Integers of a fitted chunk to bytes and back; all side information is coded with them.

Weights are coded group by group: a group has one step and one Gaussian. Latents are coded frame by
frame and level by level (`channels`). All of that is integer arithmetic, and the tables follow from
integers in the stream alone, so any device decodes the same.

Stream, in the coder's order: for each group and then each latent tensor its step, scales and means
(as differences to the one before, in fixed Gaussian tables), then all weights in one step, then
one step per frame and level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.channels import (
    MAX_SYMBOL,
    NARROW,
    NO_CLASSES,
    PHASES,
    SCALES,
    SIDE_TABLES,
    WIDE,
    Channel,
    Gauss,
    Ints,
    all_classes,
    classes_of,
    fit_gauss,
    in_range,
    is_clustered,
    tables_for,
)
from laconic.entropy import CdfTables, SymbolCheck, SymbolDecoder, SymbolEncoder, ideal_bits
from laconic.formats.errors import FormatError

STEPS_PER_OCTAVE = 8  # a step is 2^(index / 8)
MAX_STEP = 40 * STEPS_PER_OCTAVE
OWN_GROUP = 256  # tensors with fewer elements share a group
SMALL, BIASES = "small", "biases"


def group_of(name: str, shape: Sequence[int]) -> str:
    """The group whose step and Gaussian a weight tensor uses."""
    if name.endswith("bias"):
        return BIASES
    return name if math.prod(shape) >= OWN_GROUP else SMALL


def step_size(index: int) -> float:
    """Value of one step.

    >>> step_size(-16)
    0.25
    """
    return float(2.0 ** (index / STEPS_PER_OCTAVE))


def step_index(size: float) -> int:
    """Index of the nearest step."""
    return min(max(round(STEPS_PER_OCTAVE * math.log2(size)), -MAX_STEP), MAX_STEP)


@dataclass(frozen=True)
class Coded:
    """Integers of a chunk.

    Attributes:
        weights: by name, in coding order.
        latents: by name, ``[frames, channels, rows, columns]``.
        steps: step index of each group and each latent tensor.
    """

    weights: Mapping[str, Ints]
    latents: Mapping[str, Ints]
    steps: Mapping[str, int]


class _Writer:
    """Side information and symbols into a coder, with the ideal size beside it."""

    def __init__(self) -> None:
        self.coder = SymbolEncoder("ans")
        self.bits = 0.0

    def push(self, symbols: Ints, indexes: NDArray[np.uint8], tables: CdfTables) -> None:
        self.coder.push(symbols, indexes, tables)
        self.bits += ideal_bits(symbols, indexes, tables)

    def side(self, value: int, table: int) -> None:
        self.push(np.array([value], np.int32), np.array([table], np.uint8), SIDE_TABLES)


def encode_symbols(coded: Coded) -> tuple[bytes, float]:
    """The stream and its ideal size in bits."""
    writer = _Writer()
    groups = _groups({name: array.shape for name, array in coded.weights.items()})
    gauss: list[Gauss] = []
    joined = {
        group: np.concatenate([coded.weights[name].reshape(-1) for name in names])
        for group, names in groups.items()
    }
    before, scale = 0, 16
    for group, symbols in joined.items():
        found = fit_gauss(symbols)
        writer.side(coded.steps[group] - before, WIDE)
        writer.side(found.scale - scale, NARROW)
        writer.side(found.mean, NARROW)
        before, scale = coded.steps[group], found.scale
        gauss.append(found)
    channels: list[Channel] = []
    found_classes = all_classes(list(coded.latents.values()))
    for (name, array), classes in zip(coded.latents.items(), found_classes, strict=True):
        writer.side(coded.steps[name] - before, WIDE)
        before = coded.steps[name]
        for c in range(array.shape[1]):
            channels.append(Channel.fit(array[:, c], classes[:, c]))
            channels[-1].write(writer.side, scale)
            scale = channels[-1].first[0]
    tables, starts = _tables(gauss, channels)
    if joined:
        sizes = [symbols.size for symbols in joined.values()]
        shifts, keys = _weight_models(gauss, sizes, starts)
        writer.push(np.concatenate(list(joined.values())) - shifts, keys, tables)
    arrays = list(coded.latents.values())
    for t in range(arrays[0].shape[0] if arrays else 0):
        for level, model in enumerate(_by_level(arrays, channels)):
            symbols, shifts, keys = _level_step(arrays, model, t, level, starts)
            writer.push(symbols - shifts, keys, tables)
    return writer.coder.finish(), writer.bits


def decode_symbols(
    data: bytes,
    weights: Mapping[str, Sequence[int]],
    latents: Mapping[str, Sequence[int]],
) -> tuple[Coded, int]:
    """Integers of a stream for tensors of known shapes, and the check over all of them.

    Raises:
        FormatError: damaged.
    """
    coder = SymbolDecoder(data, "ans")

    def side(table: int) -> int:
        return int(coder.pull(np.array([table], np.uint8), SIDE_TABLES)[0])

    groups = _groups(weights)
    gauss, steps, before, scale = [], {}, 0, 16
    for group in groups:
        before = in_range("step", before + side(WIDE), -MAX_STEP, MAX_STEP)
        scale = in_range("scale", scale + side(NARROW), 0, SCALES - 1)
        mean = in_range("mean", side(NARROW), -MAX_SYMBOL, MAX_SYMBOL)
        steps[group] = before
        gauss.append(Gauss(scale, mean))
    channels: list[Channel] = []
    for name, shape in latents.items():
        steps[name] = before = in_range("step", before + side(WIDE), -MAX_STEP, MAX_STEP)
        for _ in range(shape[1]):
            channels.append(Channel.read(side, scale, is_clustered(shape)))
            scale = channels[-1].first[0]
    tables, starts = _tables(gauss, channels)
    check = SymbolCheck()
    values: dict[str, Ints] = {}
    if groups:
        sizes = [sum(math.prod(weights[n]) for n in names) for names in groups.values()]
        shifts, keys = _weight_models(gauss, sizes, starts)
        flat = _shifted(coder.pull(keys, tables), shifts)
        check.update(flat)
        place = 0
        for names in groups.values():
            for name in names:
                count = math.prod(weights[name])
                values[name] = flat[place : place + count].reshape(weights[name])
                place += count
    arrays = [np.zeros(tuple(shape), np.int32) for shape in latents.values()]
    for t in range(arrays[0].shape[0] if arrays else 0):
        for level, model in enumerate(_by_level(arrays, channels)):
            _, shifts, keys = _level_step(arrays, model, t, level, starts)
            symbols = _shifted(coder.pull(keys, tables), shifts)
            arrays[level][t] = symbols.reshape(arrays[level][t].shape)
            check.update(symbols)
    coder.finish()
    in_order = {name: values[name] for name in weights}
    return Coded(in_order, dict(zip(latents, arrays, strict=True)), steps), check.value32()


def symbols_check(coded: Coded) -> int:
    """The check that a decoder finds, from the encoder's integers."""
    check = SymbolCheck()
    for names in _groups({n: a.shape for n, a in coded.weights.items()}).values():
        for name in names:
            check.update(coded.weights[name])
    arrays = list(coded.latents.values())
    for t in range(arrays[0].shape[0] if arrays else 0):
        for array in arrays:
            check.update(array[t])
    return check.value32()


def _groups(shapes: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """Names of the weights of each group, groups in order of first appearance."""
    groups: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault(group_of(name, shape), []).append(name)
    return groups


def _tables(gauss: list[Gauss], channels: list[Channel]) -> tuple[CdfTables, dict[int, int]]:
    scales = [g.scale for g in gauss]
    for channel in channels:
        scales += [*channel.first, *channel.later]
    return tables_for(scales)


def _weight_models(
    gauss: list[Gauss], sizes: list[int], starts: dict[int, int]
) -> tuple[Ints, NDArray[np.uint8]]:
    """Integer part of the mean and table index of every weight."""
    shifts = [g.mean // PHASES for g in gauss]
    keys = [starts[g.scale] + g.mean % PHASES for g in gauss]
    return np.repeat(shifts, sizes).astype(np.int32), np.repeat(keys, sizes).astype(np.uint8)


def _by_level(arrays: list[Ints], channels: list[Channel]) -> Iterator[list[Channel]]:
    place = 0
    for array in arrays:
        yield channels[place : place + array.shape[1]]
        place += array.shape[1]


def _level_step(
    arrays: list[Ints], channels: list[Channel], t: int, level: int, starts: dict[int, int]
) -> tuple[Ints, Ints, NDArray[np.uint8]]:
    """Latents of one level of frame ``t``, integer parts of their means, and table indexes.

    The last two depend on what is coded before only.
    """
    array = arrays[level]
    classes = classes_of(arrays, t, level)
    means, keys = np.empty(array.shape[1:], np.int32), np.empty(array.shape[1:], np.uint8)
    for c, channel in enumerate(channels):
        if t:
            means[c] = channel.later_mean + channel.predictor * array[t - 1, c]
        else:
            means[c] = channel.first_mean
        scales = channel.later if t else channel.first
        chosen = np.array([starts[scale] for scale in scales], np.uint8)
        keys[c] = chosen[np.where(classes[c] == NO_CLASSES, 0, classes[c])]
    keys += (means % PHASES).astype(np.uint8)
    return array[t].reshape(-1), (means // PHASES).reshape(-1), keys.reshape(-1)


def _shifted(decoded: Ints, shifts: Ints) -> Ints:
    """Decoded integers with their means, each of a size that an encoder may write."""
    symbols = decoded.astype(np.int64) + shifts
    if symbols.size and max(-int(symbols.min()), int(symbols.max())) > MAX_SYMBOL:
        raise FormatError("a number of a video chunk is out of range: the file is damaged")
    return symbols.astype(np.int32)
