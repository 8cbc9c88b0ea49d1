"""Model files of image networks: written, read, and their weights unpacked.

Network <-> model file: half-precision weights and integer tables; export of checkpoints.

Picture codecs: pictures <-> ``.lac`` files with any image model.

Segments are tiles in row-major order. A segment's payload is, with alpha, a varint length and the
tile's alpha plane (``tiles.py``), in layered files what is coded as a screen
(``screen/layers.py``), then the coded latent (``coding.py``). What a model has to offer
is in ``interface.py``; a codec (``codecs.py``) names its
number, its header and its models. The work on one file is in ``encoding.py`` and ``decoding.py``,
which import torch; this module does not.

Child process that turns a PyTorch checkpoint into safetensors: ``python -m
laconic.codec.image.export CHECKPOINT OUT BYTES``.

It limits its own memory before it reads anything, unpickles tensors and inert settings only, and
says in one line on stderr why it could not.
"""

from __future__ import annotations

import argparse
import resource
import sys
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from laconic.codec.base import (
    BPP,
    DEFAULT_QUALITY,
    QUALITY,
    TARGET,
    Codec,
    DecodeSettings,
    VerifyReport,
)
from laconic.codec.building import build
from laconic.codec.image.config import CONFIGS, MlicConfig
from laconic.codec.image.encoding import no_larger
from laconic.codec.image.header import (
    CODEC_VERSION,
    LAYERED_VERSION,
    MlicHeader,
    TileHeader,
    ZooHeader,
)
from laconic.codec.image.model import Mlic
from laconic.codec.image.options import PictureOptions
from laconic.codec.image.order import KEY
from laconic.codec.image.tiles import DEFAULT_TILE
from laconic.codec.models import ModelInfo, read_tensors, write_model
from laconic.codec.train.running import history
from laconic.entropy import CdfTables, NumericsProfile, gaussian_scales, gaussian_tables
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import FormatError, ModelError, ParameterError
from laconic.formats.image import Image

if TYPE_CHECKING:
    from laconic.codec.image.decoding import DecodeJob
    from laconic.codec.image.encoding import EncodeJob
    from laconic.codec.image.interface import ImageModel


TABLE_PREFIX = "tables."


def model_tensors(model: Mlic) -> dict[str, np.ndarray[Any, Any]]:
    """Weights as float16 and the Gaussian tables of the configuration as integers."""
    config = model.config
    tensors = {k: v.detach().cpu().half().numpy() for k, v in model.state_dict().items()}
    scales = gaussian_scales(config.scale_count, config.scale_low, config.scale_high)
    arrays = gaussian_tables(scales).to_arrays()
    return {**tensors, **{TABLE_PREFIX + k: v for k, v in arrays.items()}}


def write_mlic(
    path: Path, model: Mlic, *, name: str, training: dict[str, Any], overwrite: bool = False
) -> ModelInfo:
    """Write ``model`` as a file that :func:`laconic.codec.models.find` can find."""
    return write_model(
        path,
        name=name,
        codec="mlic",
        config=model.config.to_dict(),
        numerics=int(NumericsProfile.FLOAT64_GUARD),
        tensors=model_tensors(model),
        training=training,
        overwrite=overwrite,
    )


def read_mlic(info: ModelInfo) -> tuple[Mlic, CdfTables]:
    """The network in float32 and the coding tables of a model file; raises ``ModelError``."""
    if info.codec != "mlic" or info.numerics != NumericsProfile.FLOAT64_GUARD:
        raise ModelError(f"model {info.name} is made for the codec {info.codec!r}, not for 'mlic'")
    stored = read_tensors(info)
    config = MlicConfig.from_dict({k: v for k, v in info.config.items() if k != KEY})
    network = build(lambda: Mlic(config), stored, info)
    weights, tables = {}, {}
    for name, array in stored.items():
        if name.startswith(TABLE_PREFIX):
            tables[name.removeprefix(TABLE_PREFIX)] = array
        else:
            weights[name] = torch.from_numpy(array).float()
    try:
        network.load_state_dict(weights)
        return network, CdfTables.from_arrays(tables)
    except (RuntimeError, FormatError) as error:
        raise ModelError(f"model {info.name} does not fit its configuration: {error}") from error


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of a run of ``laconic train``."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        config: MlicConfig = CONFIGS[state["recipe"]["config"]]
        model = Mlic(config)
        model.load_state_dict(state["average"])
    except (OSError, RuntimeError, KeyError, EOFError, TypeError) as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of an image training: {error}"
        ) from error
    training = history(state, checkpoint)
    return write_mlic(out, model, name=name, training=training, overwrite=overwrite)


class PictureCodec(Codec):
    """Implements :class:`laconic.codec.base.Codec` for image models of one kind."""

    media = Media.IMAGE
    rates = (QUALITY, BPP, TARGET)
    options = PictureOptions
    header: ClassVar[type[MlicHeader] | type[TileHeader] | type[ZooHeader]]
    layered: ClassVar[bool] = False  # whether parts of pictures may be coded as screens

    @abstractmethod
    def load(self, name_or_id: str | None) -> ImageModel:
        """The model of that name, id or path; None is the default. Raises ``ModelError``."""

    def encode(self, media: Image, settings: PictureOptions) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        return self._encoded(media, settings, self.layered)

    def encode_plain(self, image: Image, settings: PictureOptions) -> bytes:
        """A file of latents alone, whose samples follow from them (version 1)."""
        return self._encoded(image, settings, False)

    def _encoded(self, image: Image, settings: PictureOptions, layered: bool) -> bytes:
        from laconic.codec.image.encoding import EncodeJob

        tile = DEFAULT_TILE if settings.tile is None else settings.tile
        settings.limits.check_pixels(image.width, image.height)
        job = EncodeJob(self.codec_id, self.load(settings.model), image, settings, tile, layered)
        target = settings.target_bytes
        if settings.bpp is not None:
            target = int(settings.bpp * image.width * image.height / 8)
        if not job.model.variable:
            return self._at_its_rate(job, settings, target)
        if target is None:
            quality = DEFAULT_QUALITY if settings.quality is None else settings.quality
            data = job.run(round(quality, 1))
        else:
            data = job.run_within(target)
        if job.screen is None:
            return data
        return no_larger(image, settings, data, target, job.screen.tried)

    def _at_its_rate(self, job: EncodeJob, settings: PictureOptions, target: int | None) -> bytes:
        """A file of a model that was trained for one rate."""
        name = job.model.info.name
        if settings.quality is not None:
            raise ParameterError(
                f"the model {name} codes at one rate: leave the quality out, or choose a model"
                " trained for another rate"
            )
        data = job.run(None)
        if target is not None and len(data) > target:
            raise ParameterError(
                f"the picture cannot be made as small as {target} bytes: the model {name} codes at"
                f" one rate and needs {len(data)}; choose a model trained for a lower rate"
            )
        return data

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Image:
        """The picture or a region of it; see :func:`laconic.codec.decode`."""
        return self.job(reader, settings).run()

    def job(self, reader: ContainerReader, settings: DecodeSettings) -> DecodeJob:
        """The decoding of one file, step by step."""
        from laconic.codec.image.decoding import DecodeJob

        newest = LAYERED_VERSION if self.layered else CODEC_VERSION
        return DecodeJob(self.header, self.load, reader, settings, newest)

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode the symbols of all tiles and compare their checks."""
        job = self.job(reader, settings)
        symbols = 0
        for number in range(len(job.grid)):
            symbols += job.tile(number).symbols
            if settings.progress:
                settings.progress(number + 1, len(job.grid))
        return VerifyReport(len(job.grid), symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Quality, where there is a choice, and tile side."""
        return self.header.unpack(codec_header).to_dict()


def main(source: Path, out: Path, limit: int) -> str | None:
    """Write the tensors of ``source``; returns what is wrong with it, or None."""
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import torch
    from safetensors.torch import save_file

    # What training scripts keep beside the weights: plain attributes, which are not looked at.
    torch.serialization.add_safe_globals([argparse.Namespace])
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
        tensors = _tensors(loaded)
        # Float16 and bfloat16 become float32 here, as numpy has no bfloat16.
        plain = {
            k: (v.detach().float() if v.is_floating_point() else v.detach()).clone().contiguous()
            for k, v in tensors.items()
        }
        save_file(plain, str(out))
    except MemoryError:
        return f"it needs more than {limit >> 20} MiB of memory"
    except Exception as error:  # whatever a hostile file provokes
        return _short(error)
    return None


def _tensors(loaded: Any) -> dict[str, Any]:
    import torch

    for key in ("state_dict", "model", "ema", "net"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise TypeError(f"it holds a {type(loaded).__name__} and not a state dict")
    strange = [k for k, v in loaded.items() if not isinstance(v, torch.Tensor)]
    if strange or not loaded:
        what = f"the entry {strange[0]!r} is no tensor" if strange else "it is empty"
        raise TypeError(f"its state dict cannot be used: {what}")
    return {str(k): v for k, v in loaded.items()}


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "Weights only load failed" in text or "Unsupported global" in text:
        return "it contains more than tensors (code or objects), which is never loaded"
    return f"{text[:160] or 'nothing more is known'} ({type(error).__name__})"


if __name__ == "__main__":
    complaint = main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    if complaint is not None:
        print(complaint, file=sys.stderr)
        sys.exit(1)
