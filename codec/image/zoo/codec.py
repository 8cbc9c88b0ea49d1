"""The codec ``compressai``: pictures <-> ``.lac`` files with models of CompressAI's zoo."""

from __future__ import annotations

from laconic.codec.image.architectures import load_model
from laconic.codec.image.files import PictureCodec
from laconic.codec.image.header import TileHeader
from laconic.codec.image.interface import ImageModel


class CompressAICodec(PictureCodec):
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "compressai"
    codec_id = 5
    header = TileHeader
    default_quality = None

    def load(self, name_or_id: str | None) -> ImageModel:
        return load_model(self.name, name_or_id)
