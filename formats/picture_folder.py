"""Folders of small gray pictures of one size as one array, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError, OutputError, ParameterError
from laconic.formats.image import SUFFIXES, Image, read_image, write_image
from laconic.formats.limits import DEFAULT_LIMITS, Limits


def read_folder(folder: Path, limits: Limits = DEFAULT_LIMITS) -> NDArray[Any]:
    """Samples ``[N, H, W]`` of the pictures of a folder in the order of their names.

    Raises:
        FormatError: no pictures, colours, transparency, or different sizes or depths.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise FormatError(f"the folder {folder} holds no pictures: expected gray ones of one size")
    pictures: list[NDArray[Any]] = []
    for path in files:
        image = read_image(path, limits)
        gray = image.pixels[..., 0]
        if image.alpha is not None or any(
            (image.pixels[..., k] != gray).any() for k in range(1, image.channels)
        ):
            raise FormatError(f"{path.name} has colours or transparency: expected gray pictures")
        if pictures and (gray.shape, gray.dtype) != (pictures[0].shape, pictures[0].dtype):
            raise FormatError(
                f"{path.name} has {gray.shape[1]} x {gray.shape[0]} pixels of {gray.dtype}:"
                f" {files[0].name} has {pictures[0].shape[1]} x {pictures[0].shape[0]} of"
                f" {pictures[0].dtype}; a set has one size"
            )
        pictures.append(gray)
    return np.stack(pictures)


def write_folder(array: NDArray[Any], folder: Path, *, overwrite: bool = False) -> None:
    """Write pictures ``[N, H, W]`` as 00000.png, 00001.png, ... into a new folder.

    Raises:
        ParameterError: the array does not hold pictures. OutputError: the folder holds files.
    """
    if array.ndim != 3 or array.dtype not in (np.uint8, np.uint16) or 0 in array.shape[1:]:
        raise ParameterError(
            f"an array of shape {list(array.shape)} of {array.dtype} holds no gray pictures: write"
            " it as .npy"
        )
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise OutputError(f"{folder} exists already: choose another folder or add -f")
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(5, len(str(len(array) - 1)))
    for n, picture in enumerate(array):
        image = Image(picture[..., None], bit_depth=8 * array.dtype.itemsize)
        write_image(image, folder / f"{n:0{digits}}.png", overwrite=overwrite)
