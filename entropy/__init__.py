"""Entropy coding with integer tables: turn integers and their models into bytes and back.

A codec computes a table index for every symbol, then pushes symbols, indexes and tables to a
`SymbolEncoder`; the decoder pulls with the same indexes and tables.

* tables: `CdfTables`, from `gaussian_tables`, `factorized_tables`, `categorical_tables`,
  `logistic_mixture_tables`;
* coders: `SymbolEncoder`, `SymbolDecoder`, `ideal_bits`; for distributions that are computed symbol
  by symbol `LaneEncoder`, `LaneDecoder`;
* equal tables on every machine: `NumericsProfile`, `guard_indexes`, `push_guarded`,
  `pull_guarded`, `SymbolCheck`.

Importing this package needs NumPy only; `constriction` is imported when a coder is made.
"""

from laconic.entropy.categorical import (
    categorical_tables,
    channel_indexes,
    factorized_tables,
    gaussian_boundaries,
    gaussian_scales,
    gaussian_tables,
    logistic_mixture_pmf,
    logistic_mixture_tables,
)
from laconic.entropy.coder import SymbolDecoder, SymbolEncoder, ideal_bits
from laconic.entropy.guard import guard_indexes, pull_guarded, push_guarded
from laconic.entropy.lanes import LaneDecoder, LaneEncoder
from laconic.entropy.quantize import NumericsProfile, SymbolCheck, quantize_pmf
from laconic.entropy.tables import CdfTables

__all__ = [
    "CdfTables",
    "LaneDecoder",
    "LaneEncoder",
    "NumericsProfile",
    "SymbolCheck",
    "SymbolDecoder",
    "SymbolEncoder",
    "categorical_tables",
    "channel_indexes",
    "factorized_tables",
    "gaussian_boundaries",
    "gaussian_scales",
    "gaussian_tables",
    "guard_indexes",
    "ideal_bits",
    "logistic_mixture_pmf",
    "logistic_mixture_tables",
    "pull_guarded",
    "push_guarded",
    "quantize_pmf",
]
