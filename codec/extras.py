"""Packages that only some commands need: imported where they are used, or named with their
command."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from laconic.formats.errors import UnsupportedError


def need(module: str, extra: str) -> Any:
    """The module; ``UnsupportedError`` says which extra of Laconic brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise UnsupportedError(
            f"this needs the package {package}: pip install 'laconic[{extra}]'"
        ) from error
