"""Configurations of networks as the plain values of a model file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from laconic.formats.errors import ModelError

Config = TypeVar("Config")


def to_values(config: Any) -> dict[str, Any]:
    """The fields of a dataclass; tuples become lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}


def from_values(kind: type[Config], values: Mapping[str, Any], advice: str = "") -> Config:
    """Inverse of :func:`to_values`; lists become tuples.

    Raises ``ModelError``, with ``advice`` at its end, for unknown or missing entries.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if set(values) != names:
        raise ModelError(
            f"the model's configuration differs in {sorted(set(values) ^ names)}: it is of"
            f" another version of Laconic{advice}"
        )
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
