"""What is evaluated: media files found below folders, all of one kind.

Kinds are told apart by extension, so that a folder of ten thousand files is listed without opening
them. Files are read when their turn comes and forgotten afterwards.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from laconic.codec.media import MEDIA, of
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError
from laconic.formats.limits import DEFAULT_LIMITS, Limits

NOUNS = ", ".join(m.noun for m in MEDIA[:-1]) + f" or {MEDIA[-1].noun}"


@dataclass(frozen=True)
class Item:
    """A media file. ``name`` is unique in a run and is what results call it."""

    path: Path
    name: str
    media: Media
    limits: Limits = DEFAULT_LIMITS

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file in hexadecimal digits."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    @cached_property
    def original(self) -> Any:
        """What the codecs of its medium are compared with: an ``Image``, an ``Audio``,
        ``Records``; of a video its facts, since its frames are read one by one."""
        return of(self.media).load(self)


def find_items(
    inputs: Sequence[str | Path], media: Media | None = None, limits: Limits = DEFAULT_LIMITS
) -> list[Item]:
    """Files named or found below folders, sorted within each.

    Args:
        media: the kind to take from folders; None takes the only kind there is.

    Raises:
        ParameterError: nothing was found, kinds are mixed, or a file is of no known kind.
        FileNotFoundError: an input does not exist.
    """
    found: list[Item] = []
    for entry in map(Path, inputs):
        if entry.is_dir():
            for path in sorted(p for p in entry.rglob("*") if p.is_file()):
                kind = _kind_of(path)
                if kind is not None and (media is None or kind == media):
                    name = path.relative_to(entry).as_posix()
                    found.append(Item(path, name, kind, limits))
        else:
            if not entry.exists():
                raise FileNotFoundError(2, "No such file", str(entry))
            kind = _kind_of(entry)
            if kind is None:
                raise ParameterError(f"{entry} has an extension of no {NOUNS} that is known here")
            if media is None or kind == media:
                found.append(Item(entry, entry.name, kind, limits))
    if not found:
        wanted = NOUNS if media is None else of(media).noun
        raise ParameterError(f"no {wanted} was found in {', '.join(map(str, inputs))}")
    kinds = Counter(item.media for item in found)
    if len(kinds) > 1:
        counts = ", ".join(f"{n} {of(kind).name}" for kind, n in kinds.items())
        raise ParameterError(
            f"the inputs mix kinds of media ({counts} files): choose one with --media"
        )
    return _with_unique_names(found)


def _kind_of(path: Path) -> Media | None:
    suffix = path.suffix.lower()
    return next((medium.kind for medium in MEDIA if suffix in medium.suffixes), None)


def _with_unique_names(items: Iterable[Item]) -> list[Item]:
    """Names made unique by the whole path where two are equal; a file given twice counts once."""
    by_path = {item.path.resolve(): item for item in items}
    counts = Counter(item.name for item in by_path.values())
    return [
        item
        if counts[item.name] == 1
        else Item(item.path, item.path.as_posix().lstrip("/"), item.media, item.limits)
        for item in by_path.values()
    ]
