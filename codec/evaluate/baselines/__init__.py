"""The codecs people use today, through libraries they already have.

A family is a module with ``media``, ``names()`` and ``make(name, variant)``, which its medium names
(``codec.media``); adding a baseline is one row in its table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from laconic.codec.media import MEDIA

FAMILIES: tuple[Any, ...] = tuple(import_module(medium.baselines) for medium in MEDIA)

__all__ = ["FAMILIES"]
