"""Outputs that appear whole or not at all, files and folders of numbered images.

Atomic writing: the old file or the complete new one, never anything between.

The file is written without a name (``O_TMPFILE``) where the system allows it, so that even ``kill
-9`` leaves nothing behind, else under a temporary name in the same folder; it is synced, then it
takes the target's place in one step. ``click.File(atomic=True)`` keeps partial content after an
exception and is no substitute.

Folders of small gray images of one size as one array, and back.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits, OutputError, ParameterError
from laconic.formats.image import SUFFIXES, Image, read_image, write_image

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


STALE = re.compile(r"\.laconic-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{12}\.tmp")


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file. Raises ``ParameterError`` for a name that no file can have, and
    ``OSError``."""
    if "\0" in os.fspath(path):
        raise ParameterError("the path holds a zero byte: no file can have that name")
    return Path(path).read_bytes()


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
    _remove_stale(target.parent)
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
    """The process's mask. It can be asked for without being changed only through /proc; a change,
    however short, would hold for files that other threads create meanwhile."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("Umask:")).split()[1], 8)
    return 0o077


def _remove_stale(folder: Path) -> None:
    """Remove temporary files of processes that are no more."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = STALE.fullmatch(entry.name)
            if found and found[1] == _host() and not _alive(int(found[2])):
                with suppress(OSError):
                    os.unlink(entry.path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _temporary_name() -> str:
    """With the number of this process, so that others know whether it is still in use."""
    return f".laconic-{_host()}-{os.getpid()}-{os.urandom(6).hex()}.tmp"


def _host() -> str:
    """Processes of other machines that share the folder are not known here."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _open_temporary(folder: Path) -> tuple[int, str | None]:
    """Descriptor of a new file in ``folder`` and its name, None while it has none."""
    unnamed = getattr(os, "O_TMPFILE", None)
    if unnamed is not None and Path("/proc/self/fd").is_dir():
        with suppress(OSError):
            return os.open(folder, unnamed | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
    path = str(folder / _temporary_name())
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), path


def _name_it(descriptor: int, target: Path) -> str:
    """Give an unnamed file a temporary name beside ``target``."""
    for _ in range(100):
        name = str(target.parent / _temporary_name())
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


def read_folder(folder: Path, limits: Limits = DEFAULT_LIMITS) -> NDArray[Any]:
    """Samples ``[N, H, W]`` of the images of a folder in the order of their names.

    Raises:
        FormatError: no images, colours, transparency, or different sizes or depths.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise FormatError(f"the folder {folder} holds no images: expected gray ones of one size")
    images: list[NDArray[Any]] = []
    for path in files:
        image = read_image(path, limits)
        gray = image.pixels[..., 0]
        if image.alpha is not None or any(
            (image.pixels[..., k] != gray).any() for k in range(1, image.channels)
        ):
            raise FormatError(f"{path.name} has colours or transparency: expected gray images")
        if images and (gray.shape, gray.dtype) != (images[0].shape, images[0].dtype):
            raise FormatError(
                f"{path.name} has {gray.shape[1]} x {gray.shape[0]} pixels of {gray.dtype}:"
                f" {files[0].name} has {images[0].shape[1]} x {images[0].shape[0]} of"
                f" {images[0].dtype}; a set has one size"
            )
        images.append(gray)
    return np.stack(images)


def write_folder(array: NDArray[Any], folder: Path, *, overwrite: bool = False) -> None:
    """Write images ``[N, H, W]`` as 00000.png, 00001.png, ... into a new folder.

    Raises:
        ParameterError: the array does not hold images. OutputError: the folder holds files.
    """
    if array.ndim != 3 or array.dtype not in (np.uint8, np.uint16) or 0 in array.shape[1:]:
        raise ParameterError(
            f"an array of shape {list(array.shape)} of {array.dtype} holds no gray images: write"
            " it as .npy"
        )
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise OutputError(f"{folder} exists already: choose another folder or add -f")
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(5, len(str(len(array) - 1)))
    for n, plane in enumerate(array):
        image = Image(plane[..., None], bit_depth=8 * array.dtype.itemsize)
        write_image(image, folder / f"{n:0{digits}}.png", overwrite=overwrite)
