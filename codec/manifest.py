"""What a run over many files has done, kept as JSON lines, so that it goes on where it stopped.

The first line of a manifest says what was asked for; a run that asks for something else is refused.
Then two lines for each item: ``{"item", "begun"}`` before its output may appear, which says that a
file found there without a result is this run's own and may be replaced; and its result::

    {"item": "a.png", "output": "a.lac", "stamp": "7145 1764371201", "bytes": 1832,
     "hash": "sha256:9f2c...", "seconds": 0.41, "error": null, "code": 0}

``stamp`` is size and time of the input: a changed input is done again. Evaluations keep their
measurements with the same two functions, ``read_lines`` and ``Lines``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from laconic.codec import places
from laconic.formats.errors import FormatError, OutputError, ParameterError

VERSION = 1
Entry = dict[str, Any]


def read_lines(path: Path) -> list[Entry]:
    """The objects in a file of JSON lines, [] where there is none; a last line that an interruption
    cut short is taken off the file. Raises ``FormatError``."""
    if not path.exists():
        return []
    found: list[Entry] = []
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or not line.endswith(b"\n"):
                raise ValueError  # noqa: TRY301  # as of a line that is no JSON
            found.append(entry)
        except ValueError as error:
            if number < len(lines):
                raise FormatError(
                    f"line {number} of {path} is damaged: delete that line"
                ) from error
            os.truncate(path, len(data) - len(line))
    return found


class Lines:
    """A file of JSON lines that one process at a time appends to; each line is there at once.

    Raises ``OutputError`` where another process writes it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        with suppress(ImportError):  # there are systems without locks
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._file.close()
                raise OutputError(
                    f"another run is writing {path}: wait for its end, or name another file"
                ) from error

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append one object."""
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}; what is finished is kept, and"
                " the same command goes on from there"
            ) from error

    def close(self) -> None:
        """Let others write."""
        with suppress(OSError):
            self._file.close()


class Manifest:
    """The manifest of a run.

    Args:
        path: a file of this machine; it is continued if it is there.
        asked: what decides the outputs, JSON-able: the command and its options.

    Raises:
        ParameterError: it is the manifest of a run that was asked for something else.
        FormatError: it is no manifest, or a line of it is damaged.
        OutputError: another process is writing it.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self._lines = Lines(path)
        try:
            found = read_lines(path)
            if found:
                self._check(path, found.pop(0), asked)
        except BaseException:
            self._lines.close()
            raise
        self._results: dict[str, Entry] = {}
        self._begun: set[str] = set()
        for entry in found:
            if "begun" in entry:
                self._begun.add(str(entry.get("item")))
            else:
                self._results[str(entry.get("item"))] = entry
        if path.stat().st_size == 0:
            self._lines.add({"manifest": VERSION, "asked": dict(asked)})

    @staticmethod
    def _check(path: Path, head: Entry, asked: Mapping[str, Any]) -> None:
        if "asked" not in head or not isinstance(head["asked"], dict):
            raise FormatError(f"{path} is no manifest of a run: name another file")
        if head.get("manifest") != VERSION:
            raise FormatError(f"{path} has version {head.get('manifest')}: expected {VERSION}")
        before = head["asked"]
        for name in [*before, *asked]:
            if before.get(name) != asked.get(name):
                raise ParameterError(
                    f"{path} is the manifest of another run: its {name.replace('_', ' ')} is"
                    f" {before.get(name)}, here {asked.get(name)}; name another file, or delete it"
                    " to begin anew"
                )

    def is_done(self, item: str, output: str, stamp: str) -> bool:
        """Whether the item was finished without an error, is as it was, and its output is there. At
        a URL the output is believed to be."""
        entry = self._results.get(item)
        if entry is None or entry.get("error") is not None or entry.get("stamp") != stamp:
            return False
        return not output or places.is_url(output) or os.path.exists(output)

    def is_begun(self, item: str) -> bool:
        """Whether a file found where its output belongs may be this run's own."""
        return item in self._begun

    def begin(self, item: str) -> None:
        """Work on an item begins."""
        if item not in self._begun:
            self._begun.add(item)
            self._lines.add({"item": item, "begun": True})

    def end(self, item: str, **facts: Any) -> None:
        """Work on an item ended: ``output``, ``stamp``, ``bytes``, ``hash``, ``seconds``,
        ``error``, ``code``."""
        self._results[item] = {"item": item, **facts}
        self._lines.add(self._results[item])

    def close(self) -> None:
        """Let others write it."""
        self._lines.close()


def digest(path: str) -> str | None:
    """``sha256:`` and the hexadecimal digits of a file; None for folders and what is not there."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    except OSError:
        return None
    return f"sha256:{found.hexdigest()}"
