"""The codec ``mlic++``: pictures <-> ``.lac`` files with imported models of the MLIC family."""

from __future__ import annotations

from laconic.codec.image.architectures import load_model
from laconic.codec.image.files import PictureCodec
from laconic.codec.image.header import TileHeader
from laconic.codec.image.interface import ImageModel


class MlicPlusPlusCodec(PictureCodec):
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "mlic++"
    codec_id = 4
    header = TileHeader
    default_quality = None

    def load(self, name_or_id: str | None) -> ImageModel:
        return load_model(self.name, name_or_id)
