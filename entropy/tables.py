"""Sets of integer frequency tables: what models hand to the coders.

`CdfTables` holds T tables. Table t covers the integers low[t] .. low[t] + size[t] - 2, and its last
entry is the escape symbol for every other integer. Build one with `gaussian_tables`,
`factorized_tables`, `categorical_tables` or `logistic_mixture_tables`.

Tables are stored with a model as integers and never recomputed by a decoder: erf, exp and tanh may
differ in the last place between C libraries and SIMD widths, and one unit of one frequency is
enough to turn the rest of a stream into noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.entropy.quantize import MAX_PRECISION, check_precision
from laconic.entropy.stack import JointModel, Searches, exact_model, joint_span
from laconic.formats.errors import FormatError, ParameterError

MAX_TABLES = 1 << 16
_DIGEST_TAG = b"laconic.entropy.tables.1"


class CdfTables:
    """T frequency tables of one precision; immutable.

    Args:
        precision: P in 1..24; every table sums to 2^P.
        lows: smallest integer of each table, shape [T], int32 range.
        sizes: entries of each table with its escape symbol, shape [T], each >= 2.
        freqs: all tables one after the other, shape [sum(sizes)], each >= 1.

    Raises:
        ParameterError: anything above is violated.

    >>> tables = CdfTables(4, lows=[-1], sizes=[4], freqs=[3, 9, 3, 1])
    >>> len(tables), tables.frequencies(0).tolist()
    (1, [3, 9, 3, 1])
    """

    __slots__ = (
        "_bits",
        "_digest",
        "_joints",
        "_models",
        "_searches",
        "_starts",
        "freqs",
        "lows",
        "precision",
        "sizes",
    )

    def __init__(self, precision: int, lows: ArrayLike, sizes: ArrayLike, freqs: ArrayLike) -> None:
        self.precision = check_precision(precision)
        self.lows = _integers(lows, "lows")
        self.sizes = _integers(sizes, "sizes")
        self.freqs = _integers(freqs, "freqs")
        count = self.lows.size
        if not 1 <= count <= MAX_TABLES or self.sizes.size != count:
            raise ParameterError(
                f"{count} lows and {self.sizes.size} sizes; expected as many of each, "
                f"1 to {MAX_TABLES}"
            )
        sizes64 = self.sizes.astype(np.int64)
        if sizes64.min() < 2 or sizes64.sum() != self.freqs.size:
            raise ParameterError("sizes must be at least 2 and add up to the number of freqs")
        if (self.lows + sizes64 - 2).max() > np.iinfo(np.int32).max:
            raise ParameterError("a table reaches beyond the range of int32")
        self._starts = np.concatenate([[0], np.cumsum(sizes64)])
        sums = np.add.reduceat(self.freqs.astype(np.int64), self._starts[:-1])
        if self.freqs.min() < 1 or (sums != 1 << self.precision).any():
            raise ParameterError(
                f"frequencies must be at least 1 and sum to 2^{self.precision} in every table"
            )
        for array in (self.lows, self.sizes, self.freqs):
            array.flags.writeable = False
        self._models: list[Any] = [None] * count
        self._joints: dict[int, JointModel] = {}
        self._digest: bytes | None = None
        self._bits: NDArray[np.float64] | None = None
        self._searches: Searches | None = None

    @classmethod
    def from_frequencies(
        cls, precision: int, lows: Sequence[int], tables: Sequence[ArrayLike]
    ) -> CdfTables:
        """Join separate frequency vectors (escape last in each) into one set."""
        parts = [np.asarray(table).reshape(-1) for table in tables]
        joined = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        return cls(precision, lows, [part.size for part in parts], joined)

    def __len__(self) -> int:
        """Number of tables T."""
        return int(self.lows.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CdfTables):
            return NotImplemented
        return self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return f"CdfTables({len(self)} tables, {self.freqs.size} entries, P={self.precision})"

    def frequencies(self, table: int) -> NDArray[np.int32]:
        """Frequencies of one table, shape [size]; the last is the escape symbol's."""
        if not 0 <= table < len(self):
            raise ParameterError(f"table {table} of {len(self)}; expected 0 to {len(self) - 1}")
        return self.freqs[self._starts[table] : self._starts[table + 1]]

    def starts(self) -> NDArray[np.int64]:
        """Where each table starts in `freqs`, and the end of the last one, shape [T + 1]."""
        return self._starts

    def entry_bits(self) -> NDArray[np.float64]:
        """Ideal cost of every entry in bits, P - log2(freqs), shape [sum(sizes)]."""
        if self._bits is None:
            self._bits = float(self.precision) - np.log2(self.freqs.astype(np.float64))
        return self._bits

    def model(self, table: int) -> Any:
        """The constriction model of one table, exact; built at its first use."""
        model = self._models[table]
        if model is None:
            model = self._models[table] = exact_model(self.scaled(table))
        return model

    def joint(self, table: int) -> JointModel | None:
        """The model of several symbols of one table at once; None if the table is too large."""
        joint = self._joints.get(table)
        if joint is None and (span := joint_span(int(self.sizes[table]))) > 1:
            joint = self._joints[table] = JointModel(self.scaled(table), span)
        return joint

    def searches(self) -> Searches:
        """The tables as compiled loops read them."""
        if self._searches is None:
            self._searches = Searches(self)
        return self._searches

    def scaled(self, table: int) -> NDArray[np.int64]:
        """Frequencies of one table in units of 2^-24."""
        return self.frequencies(table).astype(np.int64) << (MAX_PRECISION - self.precision)

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """The tables as int32 arrays, to be stored with a model; see `from_arrays`."""
        precision = np.array([self.precision], dtype=np.int32)
        arrays = {"precision": precision, "lows": self.lows, "sizes": self.sizes}
        return {**arrays, "freqs": self.freqs}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> CdfTables:
        """Rebuild tables from `to_arrays`; untrusted input.

        Raises:
            FormatError: an array is missing or the values are not valid tables.
        """
        try:
            precision = int(_integers(arrays["precision"], "precision")[0])
            return cls(precision, arrays["lows"], arrays["sizes"], arrays["freqs"])
        except KeyError as error:
            raise FormatError(f"stored tables lack the array {error}") from None
        except ParameterError as error:
            raise FormatError(f"stored tables are not valid: {error}") from None

    def digest(self) -> bytes:
        """SHA-256 of the integers, 32 bytes; equal exactly when the tables are."""
        if self._digest is None:
            digest = hashlib.sha256(_DIGEST_TAG)
            digest.update(np.array([self.precision, len(self)], dtype="<i4").tobytes())
            for array in (self.lows, self.sizes, self.freqs):
                digest.update(array.astype("<i4").tobytes())
            self._digest = digest.digest()
        return self._digest


def _integers(values: ArrayLike, name: str) -> NDArray[np.int32]:
    """A private flat int32 copy of `values`, or `ParameterError`."""
    array = np.asarray(values)
    if array.size == 0 or array.dtype.kind not in "iu":
        raise ParameterError(f"{name} must be integers, at least one; got {array.dtype} values")
    limits = np.iinfo(np.int32)
    if array.min() < limits.min or array.max() > limits.max:
        raise ParameterError(f"{name} must fit in int32")
    return array.reshape(-1).astype(np.int32)
