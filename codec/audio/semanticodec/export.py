"""Published checkpoints -> a model file, and model files -> networks.

What only training needs is left out: the decoder of AudioMAE's pre-training, the encoder of the
VAE, running means of the quantiser, the averaged copy of the diffusion network (the public code
decodes with the other one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from laconic.codec import models
from laconic.codec.audio.semanticodec.config import LICENCE, FullConfig, kind_of, recognise
from laconic.codec.audio.semanticodec.decoder import FullDecoder
from laconic.codec.audio.semanticodec.model import FullEncoder, FullModel
from laconic.codec.models import ModelInfo
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

CODEC = "semanticodec"
ARCHITECTURE = "full"
ENCODER, DECODER, CENTROIDS = "encode.", "decode.", "centroids"
CODEBOOK_BYTES = 1 << 30

Weights = Mapping[str, NDArray[Any]]


def read_codebook(path: Path) -> NDArray[np.float32]:
    """A semantic codebook ``[N, 768 K]`` from a .npy file.

    Raises ``ModelError`` for anything else, before more than its header is read.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} is no codebook: expected a .npy file of floats ({error})"
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        raise ModelError(f"{path} is no codebook: expected one array of floats, [centroids, width]")
    if array.nbytes > CODEBOOK_BYTES:
        raise ModelError(f"{path} is no codebook: {array.nbytes} bytes are more than any has")
    found = np.array(array, np.float32)
    if not np.isfinite(found).all():
        raise ModelError(f"{path} cannot be used: it has values that are not finite")
    return found


def import_parts(
    paths: list[Path], parts: Sequence[Weights], *, name: str | None, overwrite: bool
) -> ModelInfo:
    """Write the model that three files make, given in any order: the encoder's and the decoder's
    tensors, and the codebook as one tensor. Without a name it is named by rate and vocabulary.

    Raises ``ModelError`` when they are not one of each, of one rate, complete and finite.
    """
    found: dict[str, Weights] = {}
    for source, tensors in zip(paths, parts, strict=True):
        try:
            kind = kind_of({k: tuple(v.shape) for k, v in tensors.items()})
        except ModelError as error:
            raise ModelError(f"{source} was not imported: {error}") from error
        if kind in found:
            raise ModelError(
                f"{source} is a second {kind}: give one encoder.ckpt, one decoder.ckpt and one"
                " codebook .npy"
            )
        found[kind] = tensors
    missing = [kind for kind in ("encoder", "decoder", "codebook") if kind not in found]
    if missing:
        raise ModelError(
            f"a SemantiCodec is imported from three files, and the {' and the '.join(missing)} is"
            " missing: give encoder.ckpt, decoder.ckpt and a codebook .npy together"
        )
    centroids = next(iter(found["codebook"].values()))
    encoder, decoder = ({k: tuple(v.shape) for k, v in found[p].items()}
                        for p in ("encoder", "decoder"))  # fmt: skip
    config = recognise(encoder, decoder, centroids.shape)
    stored: dict[str, NDArray[Any]] = {CENTROIDS: centroids}
    with torch.device("meta"):
        sketches: dict[str, tuple[str, nn.Module]] = {
            "encoder": (ENCODER, FullEncoder(config)),
            "decoder": (DECODER, FullDecoder(config)),
        }
    for kind, (prefix, sketch) in sketches.items():
        kept = _needed(sketch, found[kind], f"the {kind}")
        stored |= {prefix + key: array for key, array in kept.items()}
    name = name or f"semanticodec-{config.token_rate}-{config.semantic}"
    return models.write_model(
        models.store_path(name, overwrite=overwrite),
        name=name,
        codec=CODEC,
        config={"architecture": ARCHITECTURE, "licence": LICENCE, **config.to_dict()},
        numerics=int(NumericsProfile.INTEGER_TABLES),
        tensors=stored,
        training={"imported": [p.name for p in paths]},
        overwrite=overwrite,
    )


def _needed(network: nn.Module, weights: Weights, whose: str) -> dict[str, NDArray[Any]]:
    """The arrays that a network keeps, checked. Raises ``ModelError``."""
    kept = {}
    for key, wanted in network.state_dict().items():
        array = weights.get(key)
        if array is None:
            raise ModelError(f"{whose} is incomplete: it lacks {key}")
        if wanted.ndim == 0 and array.size == 1:  # NumPy's files know no scalars
            array = array.reshape(())
        if tuple(array.shape) != tuple(wanted.shape) or array.dtype.kind != "f":
            raise ModelError(
                f"{whose} cannot be used: {key} is {array.dtype} {list(array.shape)}, expected"
                f" floats {list(wanted.shape)}"
            )
        if not np.isfinite(array).all():
            raise ModelError(
                f"{whose} cannot be used: {key} has values that are not finite; its training went"
                " wrong"
            )
        kept[key] = array
    return kept


def read_full(info: ModelInfo) -> FullModel:
    """The networks of an imported model. Raises ``ModelError``."""
    values = {k: v for k, v in info.config.items() if k not in ("architecture", "licence")}
    config = FullConfig.from_dict(values)
    tensors = models.read_tensors(info)
    with torch.device("meta"):
        encoder, decoder = FullEncoder(config), FullDecoder(config)
    complaint = f"the model {info.name} is not what it says"
    for prefix, network in ((ENCODER, encoder), (DECODER, decoder)):
        part = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        kept = _needed(network, part, complaint)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in kept.items()}, assign=True)
    centroids = tensors.get(CENTROIDS)
    if centroids is None or centroids.shape != (config.semantic, config.features):
        raise ModelError(f"{complaint}: it has no codebook of {config.semantic} centroids")
    encoder.centroids = torch.from_numpy(centroids)
    return FullModel(config, encoder, decoder)
