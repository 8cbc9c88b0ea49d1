"""What lies in folders of training data: every file of a kind, inside ``.tar`` files too.

A collection of thousands of recordings or images has a few that cannot be read. None of them ends a
training that has waited for all the others: it is named and left out.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

Read = TypeVar("Read")


def each_file(place: Path, suffixes: Collection[str]) -> Iterator[tuple[Path, bytes]]:
    """Path relative to ``place`` and bytes of every file with one of ``suffixes``, in a fixed
    order. ``place`` is a folder, a ``.tar`` file or a file."""
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        name = path.relative_to(place) if place.is_dir() else Path(path.name)
        if path.suffix.lower() in suffixes and path.is_file():
            yield name, path.read_bytes()
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in sorted((m for m in tar if m.isfile()), key=lambda m: m.name):
                    handle = tar.extractfile(member)
                    if handle and Path(member.name).suffix.lower() in suffixes:
                        yield name / member.name, handle.read()


def read_each(
    place: Path, suffixes: Collection[str], read: Callable[[bytes], Read]
) -> Iterator[tuple[Path, Read]]:
    """Path and what ``read`` makes of the bytes, for every file of :func:`each_file` that it can
    read; the others are named on standard output."""
    for name, data in each_file(place, suffixes):
        try:
            found = read(data)
        except Exception as error:  # whatever a damaged file provokes
            print(f"left out {name}: {error}", flush=True)
        else:
            yield name, found
