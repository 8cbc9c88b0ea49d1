"""The codec ``compressai``: pictures <-> ``.lac`` files with models of CompressAI's zoo.

Models are imported ones, or CompressAI's published weights by name: ``mbt2018-mean:4``, or
``mbt2018-mean-vbr`` for all rates.
"""

from __future__ import annotations

from laconic.codec.image.architectures import load_model
from laconic.codec.image.files import PictureCodec
from laconic.codec.image.header import ZooHeader
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.zoo.published import installed, is_published


class CompressAICodec(PictureCodec):
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "compressai"
    codec_id = 5
    header = ZooHeader
    default_quality = None

    def load(self, name_or_id: str | None) -> ImageModel:
        if name_or_id is not None and is_published(name_or_id):
            name_or_id = installed(name_or_id)
        return load_model(self.name, name_or_id)
