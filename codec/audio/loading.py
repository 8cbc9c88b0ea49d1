"""Audio models from the store and from published checkpoints.

Import of published audio checkpoints, which come in several files, as one model.

PyTorch's files are read by the memory-limited child process of
:mod:`laconic.codec.image.checkpoints`, which builds nothing but tensors; a codebook is a plain
array, read without pickles.

Model files -> networks and the priors of their tokens, kept for further calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from math import log2
from pathlib import Path

import torch

from laconic.codec import devices, models
from laconic.codec.audio.windows import AudioModel
from laconic.codec.models import ModelInfo
from laconic.entropy import NumericsProfile
from laconic.entropy.token_grid import TokenPrior
from laconic.formats.errors import ModelError, ParameterError

NAMES = ("semanticodec",)
# The setting "architecture" of a model -> the function that makes its network.
ARCHITECTURES = {
    "small": "laconic.codec.audio.semanticodec_small.model:read_small",
    "full": "laconic.codec.audio.semanticodec.export:read_full",
    "prompt": "laconic.codec.audio.pscodec.model:read_prompt",
}
PRIOR = models.TABLE_PREFIX + "prior"
DEFAULT_EFFORT = 1
MARGIN = 0.32  # seconds of its neighbours that a segment is coded with


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
    from laconic.codec.audio.semanticodec.config import CODEBOOK
    from laconic.codec.audio.semanticodec.export import import_parts, read_codebook
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


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to use, and what its files need."""

    info: ModelInfo
    network: AudioModel
    prior: TokenPrior | None

    @property
    def numerics(self) -> NumericsProfile:
        """Profile of the entropy coding."""
        if self.prior is None:
            return NumericsProfile.INTEGER_TABLES
        return NumericsProfile.INTEGER_NETWORK

    @property
    def segment(self) -> int:
        """Columns of a segment: a window without margins."""
        margin = max(1, round(MARGIN * self.network.rate / self.network.hop))
        return max(1, self.network.window - 2 * margin)

    def check_steps(self, steps: int | None) -> None:
        """Raises ``ParameterError`` for steps of a refiner that the model has not."""
        if steps and not getattr(self.network, "refines", True):
            raise ParameterError(
                f"the model {self.info.name} has no refiner: leave --steps out, or choose a model"
                " that has one"
            )

    def effort(self, asked: int | None) -> int:
        """Effort of the search for tokens; raises ``ParameterError`` where there is none."""
        searches: bool = getattr(self.network, "searches", False)
        if asked and not searches:
            raise ParameterError(
                f"the model {self.info.name} has no search for better tokens: leave the effort out,"
                " or choose a model that has one"
            )
        if asked is None:
            return DEFAULT_EFFORT if searches else 0
        return asked

    def kbps(self, streams: int) -> float:
        """Rate of one channel without entropy coding: log2 of the alphabets."""
        places = self.network.rate / self.network.hop * self.network.positions
        return places * sum(log2(v) for v in self.network.vocabularies[:streams]) / 1000


def load(name_or_id: str, codec: str, device: str = devices.PROCESSOR) -> LoadedModel:
    """The model of that name, id or path. Raises ``ModelError`` if it is none of ``codec``'s, and
    ``ParameterError`` for a device that is not here."""
    info = models.find(name_or_id)
    if info.codec != codec:
        raise ModelError(f"model {info.name} is made for the codec {info.codec}, not for {codec}")
    where = devices.device(device)
    return _load(info.path.as_posix(), info.id, info.path.stat().st_mtime_ns, where)


@lru_cache(maxsize=4)
def _load(path: str, identity: str, changed: int, device: torch.device) -> LoadedModel:
    info = models.read_info(Path(path))
    architecture = info.config.get("architecture")
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"model {info.name} has the architecture {architecture!r}: known are"
            f" {', '.join(ARCHITECTURES)}"
        )
    module, function = ARCHITECTURES[architecture].split(":")
    network: AudioModel = getattr(import_module(module), function)(info).to(device)
    if architecture == "full":  # gigabytes, without a prior: not to be read twice
        return LoadedModel(info, network, None)
    tensors = models.read_tensors(info)
    return LoadedModel(info, network, TokenPrior.from_tensors(tensors, PRIOR))
