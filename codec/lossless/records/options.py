"""What the codec ``records`` can be told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.codec.base import EncodeSettings
from laconic.codec.options import option


@dataclass(frozen=True)
class RecordsOptions(EncodeSettings):
    """Options of the encoder."""

    effort: int = option(0, "More records looked at, more often, for fewer bits.", low=0, high=9)
    states: int | None = option(
        None, "Latent states of the circuit that is learned.", low=1, high=1024, shown="chosen"
    )
    block: int | None = option(
        None, "Rows that decode on their own.", unit="rows", low=1, shown="chosen"
    )
