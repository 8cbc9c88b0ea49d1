"""Import of published checkpoints: ``.pth.tar``, ``.pth``, ``.pt`` or safetensors -> a model file.

PyTorch's files are pickles inside a zip archive. They are read by a child process that can only
build tensors (``weights_only=True``), whose memory is limited, and which hands over plain arrays;
whatever a hostile file makes of it stays there. Names and shapes then decide what the checkpoint
is (``architectures.py``).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from laconic.codec import models
from laconic.codec.image.architectures import ARCHITECTURES, assemble, model_tensors
from laconic.codec.models import ModelInfo
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

MEMORY = 8 << 30  # address space of the child, beside four times the file
SECONDS = 600
# Names of older CompressAI versions: of the factorised prior, and of shortcuts.
OLD_NAMES = (
    (re.compile(r"\._(?:matrices\.|matrix)(\d)$"), r".matrices.\1"),
    (re.compile(r"\._(?:biases\.|bias)(\d)$"), r".biases.\1"),
    (re.compile(r"\._(?:factors\.|factor)(\d)$"), r".factors.\1"),
    (re.compile(r"\.downsample\."), ".skip."),
)
# Buffers that constructors make: tables are built anew, masks depend on the size of the image.
NOT_WEIGHTS = re.compile(
    r"(^|\.)(_offset|_quantized_cdf|_cdf_length|scale_table|scale_bound|target|pedestal|bound"
    r"|relative_position_index|attn_mask|mask)$"
)


def import_checkpoint(
    checkpoint: Path,
    *,
    arch: str | None,
    name: str | None,
    multiplier: float | None = None,
    overwrite: bool = False,
) -> ModelInfo:
    """Put a checkpoint into the user's model store.

    Args:
        checkpoint: file of a PyTorch checkpoint or of safetensors.
        arch: architecture; None recognises it from names and shapes.
        name: name of the model; None takes the file's.
        multiplier: lambda of 255^2 * MSE that it was trained with; encoding with effort needs it.
        overwrite: replace a model of that name.

    Raises:
        ModelError: the file is not such a checkpoint, with what was found and expected.
        OutputError: a model of that name exists.
    """
    name = name or checkpoint.name.removesuffix(".tar").rsplit(".", 1)[0]
    path = models.store_path(name, overwrite=overwrite)
    weights = {
        key: array
        for old, array in read_checkpoint(checkpoint).items()
        if not NOT_WEIGHTS.search(key := _modern(old))
    }
    try:
        made = assemble(weights, arch)
    except ModelError as error:
        raise ModelError(f"{checkpoint} was not imported: {error}") from error
    return models.write_model(
        path,
        name=name,
        codec=ARCHITECTURES[made.architecture].codec,
        config={"arch": made.architecture, **made.config},
        numerics=int(NumericsProfile.FLOAT64_GUARD),
        tensors=model_tensors(made.network),
        training={
            "imported": checkpoint.name,
            **({} if multiplier is None else {"lambda": multiplier}),
        },
        overwrite=overwrite,
    )


def _modern(key: str) -> str:
    key = key.removeprefix("module.")
    for pattern, replacement in OLD_NAMES:
        key = pattern.sub(replacement, key)
    return key


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of a checkpoint by name, floats as float32. Raises ``ModelError``."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if head[8:9] == b"{":  # an eight-byte length, then JSON
        return _read_safetensors(path)
    with tempfile.TemporaryDirectory(prefix="laconic-") as folder:
        plain = Path(folder) / "weights.safetensors"
        limit = MEMORY + 4 * path.stat().st_size
        module = "laconic.codec.image.unpack"
        command = [sys.executable, "-m", module, str(path), str(plain), str(limit)]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and module
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{path} was not read within {SECONDS} seconds") from error
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["it was ended by the system"]
            raise ModelError(
                f"{path} is no checkpoint that can be imported: {reason[0]}; expected a PyTorch"
                " file with a state dict of tensors, or safetensors"
            )
        return _read_safetensors(plain)


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
    return {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in tensors.items()}
