"""Import of published audio checkpoints, which come in several files, as one model.

PyTorch's files are read by the memory-limited child process of
:mod:`laconic.codec.image.checkpoints`, which builds nothing but tensors; a codebook is a plain
array, read without pickles.
"""

from __future__ import annotations

from pathlib import Path

from laconic.codec.models import ModelInfo
from laconic.formats.errors import ModelError

NAMES = ("semanticodec",)


def import_files(
    paths: list[Path], *, arch: str | None, name: str | None, overwrite: bool = False
) -> ModelInfo:
    """Put the files of a published SemantiCodec into the user's model store.

    Args:
        paths: ``encoder.ckpt``, ``decoder.ckpt`` and ``codebook_*.npy``, in any order. Which rate
            they are is told by their shapes.
        arch: ``semanticodec`` or None.
        name: of the model; None makes one of rate and vocabulary, ``semanticodec-100-8192``.
        overwrite: replace a model of that name.

    Raises:
        ModelError: wrong, damaged or missing files, with what was found and expected.
        OutputError: a model of that name exists.
    """
    from laconic.codec.audio.full.export import import_parts, read_codebook
    from laconic.codec.audio.full.recognise import CODEBOOK
    from laconic.codec.image.checkpoints import read_checkpoint

    if arch not in (None, *NAMES):
        raise ModelError(
            f"several files make one model of the architecture {', '.join(NAMES)}, not of {arch!r}:"
            " give one checkpoint"
        )
    parts = [
        {CODEBOOK: read_codebook(p)} if p.suffix == ".npy" else read_checkpoint(p) for p in paths
    ]
    return import_parts(paths, parts, name=name, overwrite=overwrite)
