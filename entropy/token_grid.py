"""Grids of tokens <-> bytes, predicted by a small network in exact integers and by counts.

Tokens of a learned codec lie on a grid of time and frequency, in several streams (the stages of a
residual quantiser). The grid is coded stream by stream, each in raster order (time outside,
frequency inside). Every call is independent of others, so that segments of a file decode alone. For
each token the network, if the model has one, sees its neighbours that are already decoded - earlier
in time, lower in frequency, and the streams below it at the same place - and weighs every symbol of
the alphabet:

    x = embeddings of the neighbours                    int8, scale 2^-5
    h = clip(W x + place >> SHIFT, 0, 127)              scale 2^-5
    l = O h + bias                                      logits, scale 2^-10
    weight = 2^20 exp(l - max l)                        by a table of integers

All sums stay below 2^24, so they are exact in whatever order a machine adds (numerics profile 2);
:mod:`laconic.entropy.token_loops` computes them. An ordinary float network in this place is the
trap that made recordings unreadable elsewhere: one unit in the last place of one probability
desynchronises the rest.

Tables of counts (:mod:`laconic.entropy.short`) need no training and learn from the grid itself; the
two are used together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.short import ShortDecoder, ShortEncoder, equal_chances
from laconic.entropy.token_loops import Net, code, seen_of
from laconic.formats.errors import ModelError, ParameterError

# Neighbours (time, frequency) of the same stream, all coded before the token itself.
OWN = ((-1, 0), (-2, 0), (0, -1), (-1, 1), (0, -2), (-1, -1))
EMBEDDING_SCALE, WEIGHT_SCALE, HIDDEN_SCALE, HEAD_SCALE = 5, 6, 5, 5
SHIFT = EMBEDDING_SCALE + WEIGHT_SCALE - HIDDEN_SCALE
LOGIT_SCALE = HIDDEN_SCALE + HEAD_SCALE
TABLE_STEP = 6  # the exponential's table has 2^6 entries for a factor of e
LIMIT = 1 << 24

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]  # [columns, positions, streams]


def below(stream: int) -> tuple[int, ...]:
    """Streams whose token at the same place is seen: the semantic one and the two before."""
    return tuple(sorted({s for s in (0, stream - 1, stream - 2) if 0 <= s < stream}))


@dataclass(frozen=True)
class StreamPrior:
    """The network of one stream. Arrays hold whole numbers as float32.

    Attributes:
        embedding: ``[V + 1, D]``; the last row stands for "outside".
        weight: ``[slots * D, H]``.
        place: ``[positions, H]``.
        head: ``[H, V]``.
        bias: ``[V]``.
    """

    embedding: Floats
    weight: Floats
    place: Floats
    head: Floats
    bias: Floats


class TokenPrior:
    """Networks of all streams of a model.

    Args:
        streams: one network for each; a stream's network reads the embeddings of others.
    """

    def __init__(self, streams: Sequence[StreamPrior]) -> None:
        self.streams = list(streams)
        self.positions = len(self.streams[0].place)
        for number, stream in enumerate(self.streams):
            _check(stream)
            width = stream.embedding.shape[1]
            if width != self.streams[0].embedding.shape[1] or len(stream.weight) != width * len(
                self._slots(number)
            ):
                raise ModelError("the model's token prior does not fit its neighbours")
        self._nets: dict[int, Net] = {}
        self._tables: dict[int, tuple[NDArray[np.int32], NDArray[np.int64]]] = {}

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """Symbols of each stream."""
        return tuple(len(s.bias) for s in self.streams)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], prefix: str) -> TokenPrior | None:
        """The prior in a model file, whose tensors are called ``PREFIX.STREAM.PART``; None if
        there is none. Raises ``ModelError`` for impossible shapes or values."""
        streams: list[StreamPrior] = []
        while f"{prefix}.{len(streams)}.head" in tensors:
            key = f"{prefix}.{len(streams)}"
            try:
                parts = {
                    part.name: tensors[f"{key}.{part.name}"].astype(np.float32)
                    for part in fields(StreamPrior)
                }
            except KeyError as error:
                raise ModelError(f"the model's token prior lacks {error}") from error
            streams.append(StreamPrior(**parts))
        return cls(streams) if streams else None

    def grid(self, columns: int, streams: int) -> Grid:
        """An empty grid: its tokens are filled in in coding order."""
        return Grid(self.vocabularies[:streams], columns, self.positions)

    def net(self, grid: Grid, stream: int) -> Net:
        """The network of a stream as `token_loops` wants it."""
        if stream not in self._nets:
            table, offsets = self._first_layer(stream)
            part = self.streams[stream]
            self._nets[stream] = Net(
                table,
                np.zeros(0, np.int64),
                offsets.astype(np.int64),
                part.place.astype(np.int32),
                part.head.astype(np.int8),
                part.bias.astype(np.int32),
                exponentials(),
                np.zeros(0, np.int64),
            )
        shifts = [SHIFT, LOGIT_SCALE - TABLE_STEP, grid.offset(stream, 0, 0)]
        return self._nets[stream]._replace(
            reach=self._reach(grid, stream), shifts=np.array(shifts, np.int64)
        )

    def _slots(self, stream: int) -> list[tuple[int, int, int]]:
        return [(stream, dt, df) for dt, df in OWN] + [(s, 0, 0) for s in below(stream)]

    def _reach(self, grid: Grid, stream: int) -> NDArray[np.int64]:
        """Where the neighbours lie in the flat grid, seen from its stream 0."""
        if stream not in grid.reach:
            places = [grid.offset(*slot) for slot in self._slots(stream)]
            grid.reach[stream] = np.array(places, np.int64)
        return grid.reach[stream]

    def _first_layer(self, stream: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Products of all embeddings with their slots' weights ``[sum of V + 1, H]``, and where
        each slot begins: looking up and adding is all that is left of the first layer."""
        if stream not in self._tables:
            weight = self.streams[stream].weight
            slots = self._slots(stream)
            width = len(weight) // len(slots)
            parts = []
            for n, (source, _, _) in enumerate(slots):
                embedding = self.streams[source].embedding
                parts.append((embedding @ weight[n * width : (n + 1) * width]).astype(np.int32))
            starts = np.cumsum([0, *(len(p) for p in parts[:-1])])
            self._tables[stream] = np.concatenate(parts), starts
        return self._tables[stream]


class Grid:
    """Tokens ``[streams, columns, positions]`` with a frame that stands for "outside".

    Attributes:
        flat: all of them, for look-ups.
    """

    BEFORE, LOW, HIGH = 2, 2, 1  # width of the frame: columns before, positions below and above

    def __init__(self, vocabularies: Sequence[int], columns: int, positions: int) -> None:
        self.columns, self.positions = columns, positions
        size = (len(vocabularies), self.BEFORE + columns, self.LOW + positions + self.HIGH)
        framed = np.empty(size, np.int64)
        framed[:] = np.array(vocabularies, np.int64)[:, None, None]
        self.width = size[2]
        self._plane = size[1] * size[2]
        self.flat = framed.reshape(-1)
        self.tokens = framed[:, self.BEFORE :, self.LOW : self.LOW + positions]  # a view
        self.reach: dict[int, NDArray[np.int64]] = {}

    def at(self, column: Any, position: Any) -> Any:
        """Index of a place of stream 0 in ``flat``."""
        return (self.BEFORE + column) * self.width + self.LOW + position

    def offset(self, stream: int, columns: int, positions: int) -> int:
        """Index of a neighbour relative to a place of stream 0."""
        return stream * self._plane + columns * self.width + positions


@cache
def exponentials() -> NDArray[np.int64]:
    """round(2^20 exp(-n / 64)) to the first zero, by a recurrence of whole numbers."""
    factor = 4228380000  # 2^32 exp(-1 / 64)
    value, values = 1 << 52, []
    while value >> 31:
        values.append(value + (1 << 31) >> 32)
        value = value * factor >> 32
    return np.array([*values, 0], np.int64)


def _check(net: StreamPrior) -> None:
    """Raise ``ModelError`` unless all sums stay exact in float32."""
    if net.weight.ndim != 2 or net.embedding.ndim != 2:
        raise ModelError("the model's token prior has parts of impossible shapes")
    slots, width = net.weight.shape
    symbols = net.bias.size
    if (
        net.head.shape != (width, symbols)
        or net.place.shape[1:] != (width,)
        or len(net.embedding) != symbols + 1
    ):
        raise ModelError("the model's token prior has parts that do not fit each other")
    parts = (net.embedding, net.weight, net.head)
    small = max(float(np.abs(a).max(initial=0)) for a in parts) <= 127
    first = slots * 127 * 127 + float(np.abs(net.place).max())
    second = width * 127 * 127 + float(np.abs(net.bias).max())
    if not small or max(first, second) >= LIMIT:
        raise ModelError("the model's token prior has numbers that are too large to be exact")


class TokenCoder:
    """Codes grids for one model.

    Args:
        vocabularies: symbols of each stream.
        positions: tokens of each stream in a column.
        prior: trained predictions, or None.
        plain: code every token at the same cost, log2 of its alphabet.

    >>> import numpy as np
    >>> coder, encoder = TokenCoder([64, 16], 2), ShortEncoder()
    >>> tokens = np.array([[[5, 1], [6, 2]], [[5, 1], [6, 3]]])
    >>> coder.encode(encoder, tokens)
    >>> data = encoder.finish()
    >>> bool((coder.decode(ShortDecoder(data), 2, 2) == tokens).all())
    True
    """

    def __init__(
        self,
        vocabularies: Sequence[int],
        positions: int,
        prior: TokenPrior | None = None,
        *,
        plain: bool = False,
    ) -> None:
        self.vocabularies, self.positions = tuple(vocabularies), positions
        self.prior = None if plain else prior
        self.plain = plain
        if prior is not None and (prior.vocabularies[: len(vocabularies)] != self.vocabularies
                                  or prior.positions != positions):  # fmt: skip
            raise ParameterError(
                f"the prior is for streams of {prior.vocabularies} symbols at {prior.positions}"
                f" positions: the tokens have {self.vocabularies} at {positions}"
            )

    def encode(self, coder: ShortEncoder, tokens: Tokens) -> None:
        """Append a grid ``[columns, positions, streams]``; the number of columns and streams is
        not stored. Raises ``ParameterError`` for tokens outside their alphabets."""
        for stream in range(tokens.shape[2]):
            self.encode_stream(coder, tokens, stream)

    def encode_stream(self, coder: ShortEncoder, tokens: Tokens, stream: int) -> None:
        """Append one stream of a grid; streams below it have to be coded before."""
        grids = np.ascontiguousarray(tokens.transpose(2, 0, 1)).astype(np.int64)
        self._check(grids)
        symbols = self.vocabularies[stream]
        flat = grids[stream].reshape(-1).tolist()
        if self.plain:
            for symbol in flat:
                coder.push_uniform(symbol, symbols)
            return
        framed = None
        if self.prior is not None:
            framed = self.prior.grid(tokens.shape[0], stream + 1)
            framed.tokens[:stream] = grids[:stream]
        state, data = coder.lend(len(flat))
        self._run(True, state, data, grids[stream], framed, stream)
        coder.take_back(state, data)

    def decode(self, coder: ShortDecoder, columns: int, streams: int) -> Tokens:
        """Inverse of :meth:`encode`."""
        grids = np.zeros((streams, columns, self.positions), np.int64)
        framed = None if self.prior is None else self.prior.grid(columns, streams)
        for stream in range(streams):
            grids[stream] = self._decode_stream(coder, framed, columns, stream)
        return np.ascontiguousarray(grids.transpose(1, 2, 0))

    def decode_stream(self, coder: ShortDecoder, tokens: Tokens, stream: int) -> NDArray[np.int64]:
        """Inverse of :meth:`encode_stream`: ``[columns, positions]``, given the streams below it in
        ``tokens``."""
        grids = np.ascontiguousarray(tokens.transpose(2, 0, 1)).astype(np.int64)
        self._check(grids[:stream])
        framed = None
        if self.prior is not None:
            framed = self.prior.grid(tokens.shape[0], stream + 1)
            framed.tokens[:stream] = grids[:stream]
        return self._decode_stream(coder, framed, tokens.shape[0], stream)

    def _decode_stream(
        self, coder: ShortDecoder, framed: Grid | None, columns: int, stream: int
    ) -> NDArray[np.int64]:
        symbols, positions = self.vocabularies[stream], self.positions
        if self.plain:
            flat = [coder.pull_uniform(symbols) for _ in range(columns * positions)]
            return np.array(flat, np.int64).reshape(columns, positions)
        found = np.zeros((columns, positions), np.int64)
        state, data = coder.lend()
        self._run(False, state, data, found, framed, stream)
        coder.take_back(state)
        return found

    def _run(
        self,
        writing: bool,
        state: NDArray[np.int64],
        data: NDArray[np.uint8],
        tokens: NDArray[np.int64],
        framed: Grid | None,
        stream: int,
    ) -> None:
        """Code one stream's tokens [columns, positions] in `token_loops`."""
        symbols = self.vocabularies[stream]
        if framed is None or self.prior is None:
            flat, net, origin, row = np.zeros(0, np.int64), _no_net(), 0, 0
        else:
            flat, net = framed.flat, self.prior.net(framed, stream)
            origin, row = framed.at(0, 0), framed.width
        seen = seen_of(self.positions, symbols, tokens.size)
        base = equal_chances(symbols)
        code(writing, state, data, tokens, flat, origin, row, net, seen, base)

    def _check(self, grids: NDArray[np.int64]) -> None:
        if grids.shape[0] > len(self.vocabularies) or grids.shape[2] != self.positions:
            raise ParameterError(
                f"tokens of {grids.shape[0]} streams at {grids.shape[2]} positions: expected up to"
                f" {len(self.vocabularies)} at {self.positions}"
            )
        for stream, symbols in enumerate(self.vocabularies[: len(grids)]):
            row = grids[stream]
            if row.size and not 0 <= row.min() <= row.max() < symbols:
                raise ParameterError(
                    f"stream {stream} has tokens from {row.min()} to {row.max()}: expected 0 to"
                    f" {symbols - 1}"
                )


@cache
def _no_net() -> Net:
    """In the place of a network where there is none."""
    none = np.zeros(0, np.int64)
    return Net(
        np.zeros((0, 0), np.int32), none, none, np.zeros((1, 0), np.int32),
        np.zeros((0, 0), np.int8), np.zeros(0, np.int32), none, none,
    )  # fmt: skip
