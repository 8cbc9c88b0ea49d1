"""Grids of tokens <-> bytes: time by frequency, in streams of residual stages.

The grid is coded stream by stream, each in raster order (time outside, frequency inside): a token
is predicted from neighbours in both directions and from the streams below it. Predictions come from
a trained integer network (:mod:`laconic.entropy.token_prior`) if the model has one, and from what
the grid itself has shown (:mod:`laconic.entropy.short`). Every call is independent of others, so
that segments of a file decode alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.short import ShortDecoder, ShortEncoder, equal_chances
from laconic.entropy.token_loops import Net, code, seen_of
from laconic.entropy.token_prior import Grid, TokenPrior
from laconic.formats.errors import ParameterError

Tokens = NDArray[np.int64]  # [columns, positions, streams]


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
