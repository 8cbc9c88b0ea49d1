"""Grids of tokens <-> bytes: time by frequency, in streams of residual stages.

The grid is coded stream by stream, each in raster order (time outside, frequency inside): a token
is predicted from neighbours in both directions and from the streams below it. Predictions come from
a trained integer network (:mod:`laconic.entropy.token_prior`) if the model has one, and from what
the grid itself has shown (:mod:`laconic.entropy.counts`). Every call is independent of others, so
that segments of a file decode alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.counts import AdaptiveCounts, equal_chances
from laconic.entropy.short import ShortDecoder, ShortEncoder
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
    >>> (coder.decode(ShortDecoder(data), 2, 2) == tokens).all()
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
        model = AdaptiveCounts()
        bases = None
        if self.prior is not None:
            framed = self.prior.grid(tokens.shape[0], stream + 1)
            framed.tokens[:] = grids[: stream + 1]
            bases = self.prior.rows(framed, stream)
        even = equal_chances(symbols)
        for n, symbol in enumerate(flat):
            base = even if bases is None else bases[n]
            before = flat[n - self.positions] if n >= self.positions else -1
            model.encode(coder, base, n % self.positions, before, symbol)

    def decode(self, coder: ShortDecoder, columns: int, streams: int) -> Tokens:
        """Inverse of :meth:`encode`."""
        grids = np.zeros((streams, columns, self.positions), np.int64)
        framed = None if self.prior is None else self.prior.grid(columns, streams)
        for stream in range(streams):
            grids[stream] = self._decode_stream(coder, framed, columns, stream)
        return np.ascontiguousarray(grids.transpose(1, 2, 0))

    def _decode_stream(
        self, coder: ShortDecoder, framed: Grid | None, columns: int, stream: int
    ) -> NDArray[np.int64]:
        symbols, positions = self.vocabularies[stream], self.positions
        if self.plain:
            flat = [coder.pull_uniform(symbols) for _ in range(columns * positions)]
            return np.array(flat, np.int64).reshape(columns, positions)
        model, even = AdaptiveCounts(), equal_chances(symbols)
        before = [-1] * positions
        found = np.zeros((columns, positions), np.int64)
        for column in range(columns):
            for position in range(positions):
                base = even
                if framed is not None and self.prior is not None:
                    base = self.prior.row(framed, stream, column, position)
                symbol = model.decode(coder, base, position, before[position])
                before[position] = found[column, position] = symbol
                if framed is not None:
                    framed.tokens[stream, column, position] = symbol
        return found

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
