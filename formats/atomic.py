"""Atomic writing: the old file or the complete new one, never anything between.

The file is written without a name (``O_TMPFILE``) where the system allows it, so that even ``kill
-9`` leaves nothing behind, else under a temporary name in the same folder; it is synced, then it
takes the target's place in one step. ``click.File(atomic=True)`` keeps partial content after an
exception and is no substitute.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from laconic.formats.errors import OutputError

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission was denied",
    errno.EPERM: "the operation is not permitted",
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is a file",
    errno.EISDIR: "it is a folder",
}


def _output_error(path: Path, error: OSError) -> OutputError:
    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"{path} cannot be written: {reason}; nothing was changed")


def check_target(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise ``OutputError`` if writing to ``path`` is bound to fail, before any work is done."""
    target = Path(path)
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise _output_error(target, error) from error
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError(f"{target} is a folder: give the name of a file")
    if mode is not None and stat.S_ISREG(mode) and not overwrite:
        raise OutputError(f"{target} exists already: choose another name or add -f to replace it")
    folder = target.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"{target} cannot be written: the folder {folder} does not exist")
    if (mode is None or stat.S_ISREG(mode)) and not os.access(folder, os.W_OK):
        raise OutputError(f"{target} cannot be written: the folder {folder} is not writable")


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[BinaryIO]:
    """Binary file that becomes ``path`` when the block ends well, and vanishes when it does not.

    Symbolic links are followed; devices and pipes are written directly. Raises ``OutputError`` for
    an existing file without ``overwrite`` and for every failure of the system.
    """
    target = Path(path)
    check_target(target, overwrite)
    if target.exists() and not target.is_file():
        with _reported(target), target.open("wb") as device:
            yield device
        return
    target = target.resolve()
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
    with _reported(target):
        handle, name = _open_temporary(target.parent)
    try:
        with _reported(target):
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                if name is None:
                    name = _name_it(file.fileno(), target)
            if overwrite:
                os.replace(name, target)
            else:
                os.link(name, target)
                os.unlink(name)
            name = None
            _sync_folder(target.parent)
    except FileExistsError as error:
        raise OutputError(
            f"{target} appeared while it was being made: nothing was changed; add -f to replace it"
        ) from error
    finally:
        if name is not None:
            with suppress(OSError):
                os.unlink(name)


@contextmanager
def _reported(target: Path) -> Iterator[None]:
    try:
        yield
    except (OutputError, FileExistsError, BrokenPipeError):
        raise
    except OSError as error:
        if error.errno not in REASONS:
            raise
        raise _output_error(target, error) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _open_temporary(folder: Path) -> tuple[int, str | None]:
    """Descriptor of a new file in ``folder`` and its name, None while it has none."""
    unnamed = getattr(os, "O_TMPFILE", None)
    if unnamed is not None and Path("/proc/self/fd").is_dir():
        with suppress(OSError):
            return os.open(folder, unnamed | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
    return tempfile.mkstemp(prefix=".laconic-", suffix=".tmp", dir=folder)


def _name_it(descriptor: int, target: Path) -> str:
    """Give an unnamed file a temporary name beside ``target``."""
    for _ in range(100):
        name = str(target.parent / f".laconic-{os.urandom(6).hex()}.tmp")
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            # With dst_dir_fd CPython calls linkat, which follows the link in /proc.
            os.link(
                f"/proc/self/fd/{descriptor}",
                Path(name).name,
                dst_dir_fd=folder,
                follow_symlinks=True,
            )
        except FileExistsError:
            continue
        finally:
            os.close(folder)
        return name
    raise OutputError(f"{target} cannot be written: no temporary name is free beside it")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
