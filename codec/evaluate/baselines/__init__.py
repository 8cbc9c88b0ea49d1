"""The codecs people use today, through libraries they already have.

A family is a module with ``media``, ``names()`` and ``make(name, variant)``; adding a baseline is
one row in its table.
"""

from laconic.codec.evaluate.baselines import pictures, sounds, videos

FAMILIES = (pictures, videos, sounds)

__all__ = ["FAMILIES"]
