"""CompressAI's published checkpoints: where they are, and which network a file is of.

Which model of the zoo a checkpoint is, from the names and shapes of its tensors.

CompressAI's published weights by name: ``mbt2018-mean:4``, or ``mbt2018-mean-vbr`` for a model
of all rates.

The file is looked for where CompressAI's own loader keeps it (PyTorch's hub folder), fetched from
where that loader would fetch it if it is not there, read by our importer and kept as a model named
``mbt2018-mean-4`` or ``mbt2018-mean-vbr``.
"""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Mapping
from itertools import count, takewhile
from pathlib import Path

from laconic.codec import models
from laconic.codec.image.compressai.networks import ZooConfig
from laconic.codec.image.compressai.variable import LAMBDAS
from laconic.codec.options import need
from laconic.formats.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]
KINDS = (
    "bmshj2018-factorized",
    "bmshj2018-factorized-relu",
    "bmshj2018-hyperprior",
    "bmshj2018-hyperprior-vbr",
    "mbt2018-mean",
    "mbt2018-mean-vbr",
    "mbt2018",
    "mbt2018-vbr",
    "cheng2020-anchor",
    "cheng2020-anchor-checkerboard",
    "cheng2020-attn",
    "elic2022-official",
    "elic2022-chandelier",
)
_GROUP = "latent_codec.y.latent_codec.y{}.context_prediction.weight"


def kind_of(shapes: Shapes) -> str | None:
    """Name of the model with such tensors, or None."""
    if "latent_codec.hyper.entropy_bottleneck.quantiles" in shapes:
        return _grouped_kind(shapes)
    if "entropy_bottleneck.quantiles" not in shapes:
        return None
    if "g_a.0.conv1.weight" in shapes:
        attention = "g_a.3.conv_a.0.conv.0.weight" in shapes
        return "cheng2020-attn" if attention else "cheng2020-anchor"
    if "g_a.0.weight" not in shapes:
        return None
    if "h_a.0.weight" not in shapes:
        return "bmshj2018-factorized" + ("" if "g_a.1.beta" in shapes else "-relu")
    variable = "-vbr" if "Gain" in shapes else ""
    if "context_prediction.weight" in shapes:
        return "mbt2018" + variable
    outputs, latent = shapes.get("h_s.4.weight", (0,))[0], shapes.get("g_a.6.weight", (-1,))[0]
    return ("bmshj2018-hyperprior" if outputs == latent else "mbt2018-mean") + variable


def _grouped_kind(shapes: Shapes) -> str | None:
    if "latent_codec.y.context_prediction.weight" in shapes:
        return "cheng2020-anchor-checkerboard"
    if _GROUP.format(0) not in shapes or "g_a.0.weight" not in shapes:
        return None
    # The last layer of h_s is a transposed convolution to 2N channels, or a convolution to 2M.
    n = shapes["g_a.0.weight"][0]
    last = shapes.get("latent_codec.hyper.h_s.4.weight", ())
    return "elic2022-official" if last[:2] == (n * 3 // 2, 2 * n) else "elic2022-chandelier"


def recognise(shapes: Shapes, kind: str) -> ZooConfig:
    """Widths of a model of that kind; raises ``ModelError``."""

    def size(key: str, axis: int = 0) -> int:
        shape = shapes.get(key)
        if shape is None or len(shape) != 4:
            raise ModelError(
                f"the checkpoint is no {kind}: {key} is {shape or 'missing'}, expected a tensor of"
                " 4 dimensions"
            )
        return shape[axis]

    if kind.startswith("cheng2020"):
        width = size("g_a.0.conv1.weight")
        return ZooConfig(kind, width, width)
    if kind.startswith("elic2022"):
        numbers = takewhile(lambda k: _GROUP.format(k) in shapes, count())
        groups = tuple(size(_GROUP.format(k), 1) for k in numbers) or (size(_GROUP.format(0)),)
        return ZooConfig(kind, size("g_a.0.weight"), size("g_a.13.weight"), groups)
    variable_z = kind.endswith("-vbr") and "gayn2zqstep.0.weight" in shapes
    n, m = size("g_a.0.weight"), size("g_a.6.weight")
    return ZooConfig(kind, n, m, variable_z=variable_z)


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
