"""What token follows: a small network in exact integer arithmetic.

Tokens of a learned codec lie on a grid of time and frequency, in several streams (the stages of a
residual quantiser). For each token the network sees its neighbours that are already decoded -
earlier in time, lower in frequency, and the streams below it at the same place - and weighs every
symbol of the alphabet:

    x = embeddings of the neighbours                    int8, scale 2^-5
    h = clip(W x + place >> SHIFT, 0, 127)              scale 2^-5
    l = O h + bias                                      logits, scale 2^-10
    weight = 2^20 exp(l - max l)                        by a table of integers

All sums stay below 2^24, so matrix products in float32 are exact in whatever order a machine adds
(numerics profile 2). An ordinary float network in this place is the trap that made recordings
unreadable elsewhere: one unit in the last place of one probability desynchronises the rest.

Tables of counts (:mod:`laconic.entropy.counts`) need no training and learn from the file itself;
the two are used together by :mod:`laconic.entropy.token_grid`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.counts import Weights, normalised
from laconic.formats.errors import ModelError

# Neighbours (time, frequency) of the same stream, all coded before the token itself.
OWN = ((-1, 0), (-2, 0), (0, -1), (-1, 1), (0, -2), (-1, -1))
EMBEDDING_SCALE, WEIGHT_SCALE, HIDDEN_SCALE, HEAD_SCALE = 5, 6, 5, 5
SHIFT = EMBEDDING_SCALE + WEIGHT_SCALE - HIDDEN_SCALE
LOGIT_SCALE = HIDDEN_SCALE + HEAD_SCALE
TABLE_STEP = 6  # the exponential's table has 2^6 entries for a factor of e
LIMIT = 1 << 24


def below(stream: int) -> tuple[int, ...]:
    """Streams whose token at the same place is seen: the semantic one and the two before."""
    return tuple(sorted({s for s in (0, stream - 1, stream - 2) if 0 <= s < stream}))


@dataclass(frozen=True)
class StreamPrior:
    """The network of one stream. Arrays hold whole numbers as float32.

    Attributes:
        weight: ``[slots * D, H]``.
        place: ``[positions, H]``.
        head: ``[H, V]``.
        bias: ``[V]``.
    """

    weight: NDArray[np.float32]
    place: NDArray[np.float32]
    head: NDArray[np.float32]
    bias: NDArray[np.float32]


class TokenPrior:
    """Networks of all streams of a model.

    Args:
        embeddings: int8 ``[V + 1, D]`` for each stream; the last row stands for "outside".
        streams: one network for each.
    """

    def __init__(
        self, embeddings: Sequence[NDArray[np.float32]], streams: Sequence[StreamPrior]
    ) -> None:
        self.embeddings, self.streams = list(embeddings), list(streams)
        self.positions = len(self.streams[0].place)
        for table, stream in zip(self.embeddings, self.streams, strict=True):
            _check(table, stream)

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """Symbols of each stream."""
        return tuple(len(s.bias) for s in self.streams)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], prefix: str) -> TokenPrior | None:
        """The prior in a model file, whose tensors are called ``PREFIX.STREAM.PART``; None if
        there is none. Raises ``ModelError`` for impossible shapes or values."""
        embeddings, streams = [], []
        while f"{prefix}.{len(streams)}.head" in tensors:
            key = f"{prefix}.{len(streams)}"
            try:
                parts = {
                    name: tensors[f"{key}.{name}"].astype(np.float32)
                    for name in ("embedding", "weight", "place", "head", "bias")
                }
            except KeyError as error:
                raise ModelError(f"the model's token prior lacks {error}") from error
            embeddings.append(parts.pop("embedding"))
            streams.append(StreamPrior(**parts))
        return cls(embeddings, streams) if streams else None

    def row(self, grids: NDArray[np.int64], stream: int, column: int, position: int) -> Weights:
        """Base distribution ``[V]`` of one token, from the tokens coded before it.

        Args:
            grids: ``[streams, columns, positions]``; what is not coded yet is not looked at.
        """
        found = self._neighbours(grids, stream, np.array([column]), np.array([position]))
        return self._weigh(stream, found, np.array([position]))[0]

    def rows(self, grids: NDArray[np.int64], stream: int) -> Weights:
        """Base distributions ``[columns * positions, V]`` of a stream whose tokens are known."""
        columns, positions = grids.shape[1:]
        time, place = (a.reshape(-1) for a in np.indices((columns, positions)))
        return self._weigh(stream, self._neighbours(grids, stream, time, place), place)

    def _neighbours(
        self, grids: NDArray[np.int64], stream: int, time: NDArray[Any], place: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Embeddings ``[N, slots * D]``."""
        slots = [(stream, dt, df) for dt, df in OWN] + [(s, 0, 0) for s in below(stream)]
        columns, positions = grids.shape[1:]
        parts = []
        for source, dt, df in slots:
            t, f = time + dt, place + df
            inside = (t >= 0) & (f >= 0) & (f < positions) & (t < columns)
            table = self.embeddings[source]
            tokens = grids[source, np.where(inside, t, 0), np.where(inside, f, 0)]
            parts.append(table[np.where(inside, tokens, len(table) - 1)])
        return np.concatenate(parts, axis=1)

    def _weigh(self, stream: int, x: NDArray[np.float32], place: NDArray[Any]) -> Weights:
        net = self.streams[stream]
        pre = x @ net.weight + net.place[place]
        hidden = np.clip(np.floor(pre / (1 << SHIFT)), 0, 127).astype(np.float32)
        logits = (hidden @ net.head + net.bias).astype(np.int64)
        distance = (logits.max(-1, keepdims=True) - logits) >> (LOGIT_SCALE - TABLE_STEP)
        table = exponentials()
        return normalised(table[np.minimum(distance, len(table) - 1)])


@cache
def exponentials() -> NDArray[np.int64]:
    """round(2^20 exp(-n / 64)) to the first zero, by a recurrence of whole numbers."""
    factor = 4228380000  # 2^32 exp(-1 / 64)
    value, values = 1 << 52, []
    while value >> 31:
        values.append(value + (1 << 31) >> 32)
        value = value * factor >> 32
    return np.array([*values, 0], np.int64)


def _check(table: NDArray[np.float32], net: StreamPrior) -> None:
    """Raise ``ModelError`` unless all sums stay exact in float32."""
    slots, width = net.weight.shape
    symbols = len(net.bias)
    shapes = (
        net.head.shape == (width, symbols)
        and net.place.shape[1:] == (width,)
        and len(table) == symbols + 1
        and slots % table.shape[1] == 0
    )
    if not shapes:
        raise ModelError("the model's token prior has parts that do not fit each other")
    small = max(float(np.abs(a).max(initial=0)) for a in (table, net.weight, net.head)) <= 127
    first = slots * 127 * 127 + float(np.abs(net.place).max())
    second = width * 127 * 127 + float(np.abs(net.bias).max())
    if not small or max(first, second) >= LIMIT:
        raise ModelError("the model's token prior has numbers that are too large to be exact")
