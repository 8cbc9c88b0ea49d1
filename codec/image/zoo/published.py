"""CompressAI's published weights by name: ``mbt2018-mean:4``, or ``mbt2018-mean-vbr`` for a model
of all rates.

The file is looked for where CompressAI's own loader keeps it (PyTorch's hub folder), fetched from
where that loader would fetch it if it is not there, read by our importer and kept as a model named
``mbt2018-mean-4`` or ``mbt2018-mean-vbr``.
"""

from __future__ import annotations

import re
import urllib.error
from pathlib import Path

from laconic.codec import models
from laconic.codec.extras import need
from laconic.codec.image.zoo.recognise import KINDS
from laconic.codec.image.zoo.variable import LAMBDAS
from laconic.formats.errors import ModelError

SPEC = re.compile(r"([a-z0-9-]+):([1-8])")


def is_published(name: str) -> bool:
    """Whether a name is one of published weights and not of a file or an imported model."""
    return SPEC.fullmatch(name) is not None or (name in KINDS and name.endswith("-vbr"))


def installed(spec: str) -> str:
    """Name of the model for ``kind:quality`` or ``kind-vbr``, imported if need be.

    Raises ``ModelError``: no such weights exist, or they cannot be fetched; the sentence says which
    file to put where.
    """
    kind, _, level = spec.partition(":")
    if kind not in KINDS:
        raise ModelError(
            f"there are no published weights {spec!r}: name one of {', '.join(KINDS)}, and for"
            " those without -vbr a colon and a quality from 1 to 8"
        )
    if level and kind.endswith("-vbr"):
        raise ModelError(
            f"one {kind} serves all rates: name it without a number and choose with --quality"
        )
    name = f"{kind}-{level}" if level else kind
    if any(m.name == name for m in models.list_models()):
        return name
    multiplier = LAMBDAS[int(level) - 1] if level else None
    models.import_checkpoint(_file(spec), arch=kind, name=name, multiplier=multiplier)
    return name


def _file(spec: str) -> Path:
    """The checkpoint on this machine."""
    import torch

    model_urls = need("compressai.zoo.image", "compressai").model_urls
    vbr_urls = need("compressai.zoo.image_vbr", "compressai").model_urls

    kind, _, level = spec.partition(":")
    url = model_urls.get(kind, {}).get("mse", {}).get(int(level)) if level else None
    url = url or vbr_urls.get(kind, {}).get("mse")
    if url is None:
        raise ModelError(
            f"CompressAI publishes no weights of {kind}"
            + (f" at quality {level}" if kind in model_urls else "")
            + ': import a checkpoint with "laconic models import"'
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.exists():
        digest = path.name.split(".")[0].rsplit("-", 1)[1]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), digest, progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise ModelError(
                f"the weights of {spec} are not on this machine and cannot be fetched ({error}):"
                f" put {path.name} into {path.parent}, or import any checkpoint with"
                ' "laconic models import"'
            ) from error
    return path
