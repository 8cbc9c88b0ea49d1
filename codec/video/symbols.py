"""Integers of a fitted chunk to bytes and back; all side information is coded with them.

Weights are coded group by group: a group has one step and one Gaussian. Latents are coded frame by
frame and level by level, each map against the map before it: residual = latent - predictor x latent
before, with one predictor (in quarters) a channel. Most latents are zero and the others come in
clusters, so the scale of a residual follows from its surroundings: from the magnitudes around the
same place in the frame before, and in the coarser level of the same frame. All of that is integer
arithmetic, and the tables follow from integers in the stream alone (`gaussians`), so any device
decodes the same.

Stream, in the coder's order: for each group and then each latent tensor its step, scales and means
(as differences to the one before, in fixed Gaussian tables), then all weights in one step, then
one step per frame and level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.gaussians import (
    PHASES,
    SCALES,
    nearest_scale,
    scale_of,
    tables_for,
)
from laconic.entropy import CdfTables, SymbolCheck, SymbolDecoder, SymbolEncoder, ideal_bits
from laconic.formats.errors import FormatError

Ints = NDArray[np.int32]

STEPS_PER_OCTAVE = 8  # a step is 2^(index / 8)
MAX_STEP = 40 * STEPS_PER_OCTAVE
MAX_SYMBOL = 1 << 20
BEFORE_BOUNDS, PARENT_BOUNDS = (1, 3, 7), (1, 3)  # of sums of magnitudes
CLASSES = (len(BEFORE_BOUNDS) + 1) * (len(PARENT_BOUNDS) + 1)
NO_CLASSES = 255  # in place of a class where a map is too small for them
CLUSTERED_AREA = 256  # positions
OWN_GROUP = 256  # tensors with fewer elements share a group
SMALL, BIASES = "small", "biases"
_SIDE_TABLES, _SIDE_STARTS = tables_for([24, 28])  # deviations of 4 and 8
_NARROW, _WIDE = _SIDE_STARTS[24], _SIDE_STARTS[28]


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


@dataclass
class _Gauss:
    scale: int
    mean: int  # in quarters


class _Writer:
    """Side information and symbols into a coder, with the ideal size beside it."""

    def __init__(self) -> None:
        self.coder = SymbolEncoder("ans")
        self.bits = 0.0

    def push(self, symbols: Ints, indexes: NDArray[np.uint8], tables: CdfTables) -> None:
        self.coder.push(symbols, indexes, tables)
        self.bits += ideal_bits(symbols, indexes, tables)

    def side(self, value: int, table: int) -> None:
        self.push(np.array([value], np.int32), np.array([table], np.uint8), _SIDE_TABLES)


def encode_symbols(coded: Coded) -> tuple[bytes, float]:
    """The stream and its ideal size in bits."""
    writer = _Writer()
    groups = _groups({name: array.shape for name, array in coded.weights.items()})
    gauss: list[_Gauss] = []
    joined = {
        group: np.concatenate([coded.weights[name].reshape(-1) for name in names])
        for group, names in groups.items()
    }
    before, scale = 0, 16
    for group, symbols in joined.items():
        found = fit_gauss(symbols)
        writer.side(coded.steps[group] - before, _WIDE)
        writer.side(found.scale - scale, _NARROW)
        writer.side(found.mean, _NARROW)
        before, scale = coded.steps[group], found.scale
        gauss.append(found)
    channels: list[_Channel] = []
    found_classes = _all_classes(list(coded.latents.values()))
    for (name, array), classes in zip(coded.latents.items(), found_classes, strict=True):
        writer.side(coded.steps[name] - before, _WIDE)
        before = coded.steps[name]
        for c in range(array.shape[1]):
            channels.append(_Channel.fit(array[:, c], classes[:, c]))
            channels[-1].write(writer, scale)
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
        return int(coder.pull(np.array([table], np.uint8), _SIDE_TABLES)[0])

    groups = _groups(weights)
    gauss, steps, before, scale = [], {}, 0, 16
    for group in groups:
        before = _in_range("step", before + side(_WIDE), -MAX_STEP, MAX_STEP)
        scale = _in_range("scale", scale + side(_NARROW), 0, SCALES - 1)
        mean = _in_range("mean", side(_NARROW), -MAX_SYMBOL, MAX_SYMBOL)
        steps[group] = before
        gauss.append(_Gauss(scale, mean))
    channels: list[_Channel] = []
    for name, shape in latents.items():
        steps[name] = before = _in_range("step", before + side(_WIDE), -MAX_STEP, MAX_STEP)
        for _ in range(shape[1]):
            channels.append(_Channel.read(side, scale, _is_clustered(shape)))
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


def fit_gauss(symbols: Ints) -> _Gauss:
    """The Gaussian whose table costs least, among those near the sample's moments."""
    if symbols.size == 0:
        return _Gauss(0, 0)
    wanted = float(symbols.mean())
    means = {round(PHASES * wanted), PHASES * round(wanted)}
    found = [(*_best_scale(PHASES * symbols - mean), mean) for mean in sorted(means)]
    _, scale, mean = min(found)
    return _Gauss(scale, mean)


def _best_scale(residual: Ints) -> tuple[float, int]:
    """Least bits, and the scale index that has them, of residuals in quarters."""
    values, counts = np.unique(residual, return_counts=True)
    middle = nearest_scale(float(residual.std()) / PHASES)
    tried = range(max(0, middle - 4), min(SCALES, middle + 3))
    return min((_cost(values, counts, scale), scale) for scale in tried)


def _cost(quarters: Ints, counts: NDArray[np.int64], scale: int) -> float:
    """Bits of residuals under a Gaussian, in closed form (float): for choosing, not for coding."""
    root = scale_of(scale) * math.sqrt(2)
    total = 0.0
    for value, count in zip(quarters.tolist(), counts.tolist(), strict=True):
        x = abs(value) / PHASES
        mass = 0.5 * (math.erfc((x - 0.5) / root) - math.erfc((x + 0.5) / root))
        total += count * (-math.log2(mass + 2.0**-24) if mass > 2.0**-30 else 24 + 2 * math.log2(x))
    return total


def _groups(shapes: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """Names of the weights of each group, groups in order of first appearance."""
    groups: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault(group_of(name, shape), []).append(name)
    return groups


def _tables(gauss: list[_Gauss], channels: list[_Channel]) -> tuple[CdfTables, dict[int, int]]:
    scales = [g.scale for g in gauss]
    for channel in channels:
        scales += [*channel.first, *channel.later]
    return tables_for(scales)


def _weight_models(
    gauss: list[_Gauss], sizes: list[int], starts: dict[int, int]
) -> tuple[Ints, NDArray[np.uint8]]:
    """Integer part of the mean and table index of every weight."""
    shifts = [g.mean // PHASES for g in gauss]
    keys = [starts[g.scale] + g.mean % PHASES for g in gauss]
    return np.repeat(shifts, sizes).astype(np.int32), np.repeat(keys, sizes).astype(np.uint8)


@dataclass
class _Channel:
    """How one latent channel is coded: first frame, and residuals of the others."""

    first: list[int]  # scale of each class
    later: list[int]
    first_mean: int  # in quarters
    later_mean: int
    predictor: int  # in quarters, 0..4

    @classmethod
    def fit(cls, maps: Ints, classes: NDArray[np.uint8]) -> _Channel:
        """From latents and classes, ``[frames, rows, columns]`` each."""
        first = fit_gauss(maps[0])
        count = int(classes[0, 0, 0] != NO_CLASSES) * (CLASSES - 1) + 1
        classes = np.where(classes == NO_CLASSES, 0, classes)
        firsts = _class_scales(PHASES * maps[0] - first.mean, classes[0], count)
        if maps.shape[0] == 1:
            return cls(firsts, [firsts[0]] * count, first.mean, 0, 0)
        predictor = choose_predictor(maps)
        residual = maps[1:] * PHASES - predictor * maps[:-1]  # in quarters
        mean = round(float(residual.mean()))
        later = _class_scales(residual - mean, classes[1:], count)
        return cls(firsts, later, first.mean, mean, predictor)

    def write(self, writer: _Writer, scale: int) -> None:
        writer.side(self.first_mean, _WIDE)
        writer.side(self.later_mean, _NARROW)
        writer.side(self.predictor - PHASES, _NARROW)
        for value in (*self.first, *self.later):
            writer.side(value - scale, _NARROW)
            scale = value

    @classmethod
    def read(cls, side: Callable[[int], int], scale: int, clustered: bool) -> _Channel:
        first_mean = _in_range("mean", side(_WIDE), -MAX_SYMBOL, MAX_SYMBOL)
        later_mean = _in_range("mean", side(_NARROW), -MAX_SYMBOL, MAX_SYMBOL)
        predictor = _in_range("predictor", side(_NARROW) + PHASES, 0, PHASES)
        count = CLASSES if clustered else 1
        scales = []
        for _ in range(2 * count):
            scale = _in_range("scale", scale + side(_NARROW), 0, SCALES - 1)
            scales.append(scale)
        return cls(scales[:count], scales[count:], first_mean, later_mean, predictor)


def _class_scales(residual: Ints, classes: NDArray[np.uint8], count: int) -> list[int]:
    """Best scale of each class; a class without members repeats the one before."""
    scales = [_best_scale(residual)[1]]
    for k in range(count):
        members = residual[classes == k]
        scales.append(_best_scale(members)[1] if members.size else scales[-1])
    return scales[1:]


def choose_predictor(maps: Ints) -> int:
    """Share of the latent before, in quarters 0..4, that leaves the smallest residual."""
    now, before = maps[1:].astype(np.float64), maps[:-1].astype(np.float64)
    now, before = now - now.mean(), before - before.mean()
    power = float((before * before).sum())
    share = float((now * before).sum()) / power if power else 0.0
    return min(max(round(PHASES * share), 0), PHASES)


def _by_level(arrays: list[Ints], channels: list[_Channel]) -> Iterator[list[_Channel]]:
    place = 0
    for array in arrays:
        yield channels[place : place + array.shape[1]]
        place += array.shape[1]


def _level_step(
    arrays: list[Ints], channels: list[_Channel], t: int, level: int, starts: dict[int, int]
) -> tuple[Ints, Ints, NDArray[np.uint8]]:
    """Latents of one level of frame ``t``, integer parts of their means, and table indexes.

    The last two depend on what is coded before only.
    """
    array = arrays[level]
    classes = _classes(arrays, t, level)
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


def _is_clustered(shape: Sequence[int]) -> bool:
    """Whether a latent tensor is large enough for classes."""
    return shape[2] * shape[3] >= CLUSTERED_AREA


def _all_classes(arrays: list[Ints]) -> list[NDArray[np.uint8]]:
    """Classes of all latents, shaped like them."""
    return [
        np.stack([_classes(arrays, t, level) for t in range(array.shape[0])])
        for level, array in enumerate(arrays)
    ]


def _classes(arrays: list[Ints], t: int, level: int) -> NDArray[np.uint8]:
    """Class of each latent of one level of frame ``t``, ``[C, h, w]``, from what is coded before:
    the magnitudes around the place in the frame before, and those in the coarser level."""
    array = arrays[level]
    count, rows, columns = array.shape[1:]
    if not _is_clustered(array.shape):
        return np.full((count, rows, columns), NO_CLASSES, np.uint8)
    classes = np.zeros((count, rows, columns), np.uint8)
    if t:
        classes += _graded(_around(array[t - 1]), BEFORE_BOUNDS)
    if level:
        parent = _around(arrays[level - 1][t])
        y = np.arange(rows) * parent.shape[1] // rows
        x = np.arange(columns) * parent.shape[2] // columns
        c = np.minimum(np.arange(count), parent.shape[0] - 1)
        grade = _graded(parent, PARENT_BOUNDS)[c][:, y][:, :, x]
        classes += np.uint8(len(BEFORE_BOUNDS) + 1) * grade
    return classes


def _around(maps: Ints) -> Ints:
    """Sum of magnitudes over 3 x 3 places, ``[C, h, w]``."""
    padded = np.pad(np.minimum(np.abs(maps), 255), ((0, 0), (1, 1), (1, 1)))
    across = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    summed: Ints = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
    return summed


def _graded(sums: Ints, bounds: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.searchsorted(np.array(bounds), sums, side="right").astype(np.uint8)


def _shifted(decoded: Ints, shifts: Ints) -> Ints:
    """Decoded integers with their means, each of a size that an encoder may write."""
    symbols = decoded.astype(np.int64) + shifts
    if symbols.size and max(-int(symbols.min()), int(symbols.max())) > MAX_SYMBOL:
        raise FormatError("a number of a film chunk is out of range: the file is damaged")
    return symbols.astype(np.int32)


def _in_range(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise FormatError(
            f"a {name} of a film chunk is {value}; expected {low} to {high}: the file is damaged"
        )
    return value
