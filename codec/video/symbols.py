"""Integers of a fitted chunk to bytes and back; all side information is coded with them.

Weights are coded group by group: a group has one step and one Gaussian. Latents are coded frame by
frame, each map against the map before it: residual = latent - predictor x latent before, with one
predictor (in quarters), one Gaussian for the first frame and one for the others per channel. The
tables follow from integers in the stream alone (`gaussians`), so any device decodes the same.

Stream, in the coder's order: for each group and then each latent tensor its step, scales and means
(as differences to the one before, in fixed Gaussian tables), then all weights in one step, then
one step per frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    for name, array in coded.latents.items():
        writer.side(coded.steps[name] - before, _WIDE)
        before = coded.steps[name]
        for channel in range(array.shape[1]):
            channels.append(_Channel.fit(array[:, channel]))
            channels[-1].write(writer, scale)
            scale = channels[-1].first.scale
    tables, starts = _tables(gauss, channels)
    if joined:
        sizes = [symbols.size for symbols in joined.values()]
        shifts, keys = _weight_models(gauss, sizes, starts)
        writer.push(np.concatenate(list(joined.values())) - shifts, keys, tables)
    arrays = list(coded.latents.values())
    for t in range(arrays[0].shape[0] if arrays else 0):
        _frame_step(arrays, channels, t, starts, tables, writer=writer)
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
            channels.append(_Channel.read(side, scale))
            scale = channels[-1].first.scale
    tables, starts = _tables(gauss, channels)
    check = SymbolCheck()
    values: dict[str, Ints] = {}
    if groups:
        sizes = [sum(math.prod(weights[n]) for n in names) for names in groups.values()]
        shifts, keys = _weight_models(gauss, sizes, starts)
        flat = coder.pull(keys, tables) + shifts
        check.update(flat)
        place = 0
        for names in groups.values():
            for name in names:
                count = math.prod(weights[name])
                values[name] = flat[place : place + count].reshape(weights[name])
                place += count
    arrays = [np.zeros(tuple(shape), np.int32) for shape in latents.values()]
    for t in range(arrays[0].shape[0] if arrays else 0):
        check.update(_frame_step(arrays, channels, t, starts, tables, coder=coder))
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
        check.update(np.concatenate([array[t].reshape(-1) for array in arrays]))
    return check.value32()


def fit_gauss(symbols: Ints) -> _Gauss:
    """The Gaussian whose table costs least, among those near the sample's moments."""
    if symbols.size == 0:
        return _Gauss(0, 0)
    deviation = float(symbols.std())
    wanted = float(symbols.mean())
    means = {round(PHASES * wanted), PHASES * round(wanted)}
    values, counts = np.unique(symbols, return_counts=True)
    best, cost = _Gauss(0, 0), math.inf
    middle = nearest_scale(deviation)
    for mean in means:
        for scale in range(max(0, middle - 4), min(SCALES, middle + 3)):
            bits = _cost(values, counts, scale, mean)
            if bits < cost:
                best, cost = _Gauss(scale, mean), bits
    return best


def _cost(values: Ints, counts: NDArray[np.int64], scale: int, mean: int) -> float:
    """Bits of symbols under a Gaussian, in closed form (float): for choosing, not for coding."""
    root = scale_of(scale) * math.sqrt(2)
    total = 0.0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        x = abs(value - mean / PHASES)
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
        scales += [channel.first.scale, channel.later.scale]
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

    first: _Gauss
    later: _Gauss
    predictor: int  # in quarters, 0..4

    @classmethod
    def fit(cls, maps: Ints) -> _Channel:
        """From ``[frames, rows, columns]``."""
        first = fit_gauss(maps[0])
        if maps.shape[0] == 1:
            return cls(first, _Gauss(first.scale, 0), 0)
        predictor = choose_predictor(maps)
        residual = maps[1:] * PHASES - predictor * maps[:-1]  # in quarters
        deviation, mean = float(residual.std()) / PHASES, round(float(residual.mean()))
        # The floor of the table's quarter grid: sixteen deviations tried by cost, not by moments.
        best = min(
            range(SCALES),
            key=lambda s: _quarter_cost(residual - mean, s) if _near(s, deviation) else math.inf,
        )
        return cls(first, _Gauss(best, mean), predictor)

    def write(self, writer: _Writer, scale: int) -> None:
        writer.side(self.first.scale - scale, _NARROW)
        writer.side(self.first.mean, _WIDE)
        writer.side(self.later.scale - self.first.scale, _NARROW)
        writer.side(self.later.mean, _NARROW)
        writer.side(self.predictor - PHASES, _NARROW)

    @classmethod
    def read(cls, side: object, scale: int) -> _Channel:
        assert callable(side)
        first = _in_range("scale", scale + side(_NARROW), 0, SCALES - 1)
        mean = _in_range("mean", side(_WIDE), -MAX_SYMBOL, MAX_SYMBOL)
        later = _in_range("scale", first + side(_NARROW), 0, SCALES - 1)
        drift = _in_range("mean", side(_NARROW), -MAX_SYMBOL, MAX_SYMBOL)
        predictor = _in_range("predictor", side(_NARROW) + PHASES, 0, PHASES)
        return cls(_Gauss(first, mean), _Gauss(later, drift), predictor)


def choose_predictor(maps: Ints) -> int:
    """Share of the latent before, in quarters 0..4, that leaves the smallest residual."""
    now, before = maps[1:].astype(np.float64), maps[:-1].astype(np.float64)
    now, before = now - now.mean(), before - before.mean()
    power = float((before * before).sum())
    share = float((now * before).sum()) / power if power else 0.0
    return min(max(round(PHASES * share), 0), PHASES)


def _near(scale: int, deviation: float) -> bool:
    return abs(scale - nearest_scale(deviation)) <= 4


def _quarter_cost(residual: Ints, scale: int) -> float:
    values, counts = np.unique(residual, return_counts=True)
    root = scale_of(scale) * math.sqrt(2)
    total = 0.0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        x = abs(value) / PHASES
        mass = 0.5 * (math.erfc((x - 0.5) / root) - math.erfc((x + 0.5) / root))
        total += count * (-math.log2(mass + 2.0**-24) if mass > 2.0**-30 else 24 + 2 * math.log2(x))
    return total


def _frame_step(
    arrays: list[Ints],
    channels: list[_Channel],
    t: int,
    starts: dict[int, int],
    tables: CdfTables,
    writer: _Writer | None = None,
    coder: SymbolDecoder | None = None,
) -> Ints:
    """Encode or decode the latents of frame ``t``; returns them, flat, in coding order."""
    means, keys, place = [], [], 0
    for array in arrays:
        _, count, rows, columns = array.shape
        for c in range(count):
            channel = channels[place]
            place += 1
            model = channel.later if t else channel.first
            mean = np.full((rows, columns), model.mean, np.int32)
            if t:
                mean += channel.predictor * array[t - 1, c]
            means.append(mean.reshape(-1))
            keys.append((starts[model.scale] + mean.reshape(-1) % PHASES).astype(np.uint8))
    shifts, indexes = np.concatenate(means) // PHASES, np.concatenate(keys)
    if writer is not None:
        symbols = np.concatenate([array[t].reshape(-1) for array in arrays])
        writer.push((symbols - shifts).astype(np.int32), indexes, tables)
        return symbols
    assert coder is not None
    symbols = (coder.pull(indexes, tables) + shifts).astype(np.int32)
    if symbols.size and max(-int(symbols.min()), int(symbols.max())) > MAX_SYMBOL:
        raise FormatError("a latent of a film chunk is out of range: the file is damaged")
    start = 0
    for array in arrays:
        size = array[t].size
        array[t] = symbols[start : start + size].reshape(array[t].shape)
        start += size
    return symbols


def _in_range(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise FormatError(
            f"a {name} of a film chunk is {value}; expected {low} to {high}: the file is damaged"
        )
    return value
