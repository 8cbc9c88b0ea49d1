"""Files at URLs, through fsspec: ``s3://``, ``gs://``, ``memory://`` and whatever else it knows.

Codecs read and write plain files. A file at a URL is fetched into a temporary folder and what is
made of it is sent, whole, when it is complete; ``file://`` is the plain path. The packages that
stores need (s3fs, gcsfs) are those that fsspec asks for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from laconic.formats.errors import LaconicError, OutputError, ParameterError, UnsupportedError

URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.ASCII)
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "memory"}
"""Stores in which a file appears when all of it has come; elsewhere it is renamed when it has."""
STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


def is_url(name: str) -> bool:
    """Whether a name is a URL of anything but a plain file."""
    return URL.match(name) is not None and not name.startswith("file://")


def plain(name: str) -> str:
    """A name with ``file://`` taken off."""
    return unquote(urlsplit(name).path) if name.startswith("file://") else name


def join(folder: str, below: str | PurePath) -> str:
    """A name in a folder, which may be a URL."""
    if is_url(folder):
        return f"{folder.rstrip('/')}/{PurePosixPath(below)}"
    return str(Path(folder) / below)


def renamed(name: str, suffix: str, *, keep: bool) -> str:
    """``name`` with another extension, or with one more."""
    if keep:
        return name + suffix
    if not is_url(name):
        return str(Path(name).with_suffix(suffix))
    head, slash, last = name.rpartition("/")
    return head + slash + str(PurePosixPath(last).with_suffix(suffix))


def below(url: str) -> Iterator[tuple[str, PurePosixPath, str]] | None:
    """The files of a folder in order, as ``(url, path below the folder, stamp)``; None for a URL
    that is no folder. The stamp changes when the file does."""
    with _reported(url):
        system, path = _system(url)
        if not system.isdir(path):
            return None
        found = sorted(system.find(path, detail=True).items())
    scheme, root = url.partition("://")[0], path.strip("/")
    return (
        (f"{scheme}://{name.lstrip('/')}", PurePosixPath(os.path.relpath(name.strip("/"), root)),
         _stamp(facts))
        for name, facts in found
    )  # fmt: skip


def stamp(name: str) -> str:
    """What changes when a file does: its size and time; "" where there is none."""
    if not is_url(name):
        with suppress(OSError):
            about = os.stat(name)
            return f"{about.st_size} {about.st_mtime_ns}"
        return ""
    with _reported(name):
        system, path = _system(name)
        try:
            return _stamp(system.info(path))
        except FileNotFoundError:
            return ""


def _stamp(facts: dict[str, Any]) -> str:
    known = [str(facts[key]) for key in STAMPS if facts.get(key) is not None]
    return " ".join([str(facts.get("size")), *known[:1]])


def exists(name: str) -> bool:
    """Whether there is such a file."""
    if not is_url(name):
        return Path(name).exists()
    with _reported(name):
        system, path = _system(name)
        return bool(system.exists(path))


def names_in(folder: str) -> frozenset[str]:
    """The URLs of the files right in a folder at a URL, none where there is no folder."""
    with _reported(folder):
        system, path = _system(folder)
        try:
            found = system.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
    return frozenset(f"{folder}/{name.rpartition('/')[2]}" for name in found)


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """A file to read from, which can be searched."""
    if not is_url(name):
        with open(name, "rb") as file:
            yield file
        return
    with _reported(name):
        system, path = _system(name)
        with system.open(path, "rb") as remote:
            yield remote


def fetch(url: str, target: Path) -> None:
    """Copy a file from a URL into an existing folder."""
    with _reported(url):
        system, path = _system(url)
        system.get_file(path, str(target))


def near(name: str, folder: Path) -> Path:
    """The plain file or folder of a name, of one at a URL the copy that ``bring`` makes."""
    return folder / name.partition("://")[2].strip("/") if is_url(name) else Path(plain(name))


def bring(name: str, folder: Path) -> Path:
    """The plain file or folder of a name; what is at a URL is copied below ``folder``."""
    copy = near(name, folder)
    if is_url(name):
        listed = below(name)
        files = [(name, copy)] if listed is None else [(u, copy / p) for u, p, _ in listed]
        for url, path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            fetch(url, path)
    return copy


def send(source: Path, url: str) -> None:
    """Copy a file or folder to a URL; the file appears whole. Raises ``OutputError``."""
    with _reported(url, writing=True):
        system, path = _system(url)
        with suppress(NotImplementedError, FileExistsError):
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
        if source.is_dir():
            for file in sorted(p for p in source.rglob("*") if p.is_file()):
                send(file, join(url, file.relative_to(source)))
        elif URL.match(url)[1] in WHOLE:  # type: ignore[index]
            system.put_file(str(source), path)
        else:
            part = f"{path}.laconic-{os.urandom(6).hex()}.tmp"
            try:
                system.put_file(str(source), part)
                system.mv(part, path)
            except BaseException:
                with suppress(Exception):
                    system.rm_file(part)
                raise


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise UnsupportedError(f"{url} needs the package fsspec: pip install fsspec") from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UnsupportedError(f"{url} cannot be reached: {error}") from error
    except ValueError as error:
        raise ParameterError(f"{url} is of no kind that is known here: {error}") from error
    return system, path


@contextmanager
def _reported(url: str, *, writing: bool = False) -> Iterator[None]:
    """Every store has exceptions of its own."""
    try:
        yield
    except LaconicError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(2, "No such file", url) from error
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if writing:
            raise OutputError(f"{url} cannot be written: {words}; nothing was changed") from error
        raise LaconicError(f"{url} cannot be read: {words}") from error
