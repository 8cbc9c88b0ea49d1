"""CompressAI's published weights by name, such as ``mbt2018-mean:4``.

The file is looked for where CompressAI's own loader keeps it (PyTorch's hub folder), fetched from
where that loader would fetch it if it is not there, read by our importer and kept as a model named
``mbt2018-mean-4``.
"""

from __future__ import annotations

import re
import urllib.error
from pathlib import Path

from laconic.codec import models
from laconic.codec.image.zoo.recognise import KINDS
from laconic.formats.errors import ModelError

SPEC = re.compile(r"([a-z0-9-]+):([1-8])")
# lambda of 255^2 * MSE of the published qualities 1 to 8.
LAMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)


def installed(spec: str) -> str:
    """Name of the model for ``kind:quality``, imported if need be.

    Raises ``ModelError``: no such weights exist, or they cannot be fetched; the sentence says which
    file to put where.
    """
    match = SPEC.fullmatch(spec)
    if match is None or match[1] not in KINDS:
        raise ModelError(
            f"there are no published weights {spec!r}: name one of {', '.join(KINDS)}, a colon and"
            " a quality from 1 to 8"
        )
    kind, quality = match[1], int(match[2])
    name = f"{kind}-{quality}"
    if any(m.name == name for m in models.list_models()):
        return name
    file = _file(kind, quality)
    models.import_checkpoint(file, arch=kind, name=name, multiplier=LAMBDAS[quality - 1])
    return name


def _file(kind: str, quality: int) -> Path:
    """The checkpoint on this machine."""
    import torch
    from compressai.zoo.image import model_urls

    url = model_urls.get(kind, {}).get("mse", {}).get(quality)
    if url is None:
        raise ModelError(f"CompressAI publishes no {kind} of quality {quality}")
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.exists():
        digest = path.name.split(".")[0].rsplit("-", 1)[1]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), digest, progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise ModelError(
                f"the weights of {kind}:{quality} are not on this machine and cannot be fetched"
                f" ({error}): put {path.name} into {path.parent}, or import any checkpoint with"
                ' "laconic models import"'
            ) from error
    return path
