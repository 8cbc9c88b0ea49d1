"""The image codecs of the registry: images <-> ``.lac`` files with models of three origins.

``mlic`` has the variable-rate model that ships, ``mlic++`` imported models of the MLIC family,
``compressai`` models of CompressAI's zoo: imported ones, or published weights by name
(``mbt2018-mean:4``, or ``mbt2018-mean-vbr`` for all rates). Nothing here imports torch before a
model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from laconic.codec import models
from laconic.codec.base import Recipes
from laconic.codec.devices import PROCESSOR
from laconic.codec.image.files import ImageCodec
from laconic.codec.image.header import CODEC_ID, MlicHeader, TileHeader, ZooHeader
from laconic.codec.image.options import MlicOptions
from laconic.codec.models import ModelInfo

if TYPE_CHECKING:
    from laconic.codec.image.codec import LoadedModel
    from laconic.codec.image.interface import ImageModel


class MlicCodec(ImageCodec):
    """The codec for photographs and anything else lossy."""

    name = "mlic"
    codec_id = CODEC_ID
    options = MlicOptions
    header = MlicHeader
    layered = True
    points = (5, 20, 35, 50, 65, 80, 95)
    recipes: ClassVar[Recipes] = dict.fromkeys(
        ("mlic-small", "mlic-base", "mlic-visual"),
        ("minutes", "batch", "threads", "init", "device"),
    )

    def load(self, name_or_id: str | None, device: str = PROCESSOR) -> LoadedModel:
        from laconic.codec.image.codec import load_model

        return load_model(name_or_id or models.DEFAULT_MODEL, device)

    def export(self, checkpoint: Path, recipe: str, out: Path, **how: Any) -> ModelInfo | None:
        from laconic.codec.image.config import CONFIGS
        from laconic.codec.image.export import export_checkpoint

        return export_checkpoint(checkpoint, out, **how) if recipe in CONFIGS else None

    def train(self, recipe: str, data: Sequence[Path], out: Path, **options: Any) -> str:
        from dataclasses import replace

        from laconic.codec.train import image

        options.pop("report", None)
        how = {k: options.pop(k) for k in ("resume", "threads", "init") if k in options}
        chosen = replace(image.RECIPES[recipe], **options)
        return models.exportable(image.run(chosen, list(data), out, **how))


class MlicPlusPlusCodec(ImageCodec):
    """Models of one rate under their published names: MLIC++, MLICv2."""

    name = "mlic++"
    codec_id = 4
    header = TileHeader

    def load(self, name_or_id: str | None, device: str = PROCESSOR) -> ImageModel:
        from laconic.codec.image.architectures import load_model

        return load_model(self.name, name_or_id, device)

    def import_checkpoint(
        self,
        files: Sequence[Path],
        *,
        arch: str | None,
        name: str | None,
        multiplier: float | None,
        overwrite: bool,
    ) -> ModelInfo | None:
        """Any single file of an image model, CompressAI's too: its tensors say what it is."""
        if len(files) != 1:
            return None
        from laconic.codec.image.checkpoints import import_checkpoint

        return import_checkpoint(
            files[0], arch=arch, name=name, multiplier=multiplier, overwrite=overwrite
        )


class CompressAICodec(ImageCodec):
    """Models of CompressAI's zoo."""

    name = "compressai"
    codec_id = 5
    header = ZooHeader

    def load(self, name_or_id: str | None, device: str = PROCESSOR) -> ImageModel:
        from laconic.codec.image.architectures import load_model
        from laconic.codec.image.compressai.published import installed, is_published

        if name_or_id is not None and is_published(name_or_id):
            name_or_id = installed(name_or_id)
        return load_model(self.name, name_or_id, device)
