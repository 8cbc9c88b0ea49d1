"""What the header of a file says, for people and programs, without decoding and without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laconic.codec import media, models, registry
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import Limits, ModelError


@dataclass(frozen=True)
class Info:
    """What the header of a file says.

    Attributes:
        kind: "image", "audio", "video", or for tables where they came from ("table", "array", ...).
        media: name of the medium.
        codec, codec_version: what made it.
        model_id, model: of its model; the name is None where it is not installed, and "in the
            file" for none.
        numerics: profile of exactness, see SPEC.md.
        segments, file_bytes, chunks: of the container; a chunk is (type, bytes).
        facts: of the medium, such as "width", "samples", "frames", "rows".
        settings: of the codec's own header, such as "quality" and "tile".
    """

    kind: str
    media: str
    codec: str
    codec_version: int
    model_id: str
    model: str | None
    numerics: int
    segments: int
    file_bytes: int
    chunks: list[tuple[str, int]]
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def quality(self) -> float | None:
        """Quality of a lossy image, 0..100."""
        return self.settings.get("quality")

    @property
    def width(self) -> int:
        """Pixels in a row, of images and videos."""
        return int(self.facts["width"])

    @property
    def height(self) -> int:
        """Rows of pixels, of images and videos."""
        return int(self.facts["height"])

    @property
    def channels(self) -> int:
        """Of colour or audio."""
        return int(self.facts["channels"])

    @property
    def bit_depth(self) -> int:
        """Bits of a sample of images and videos."""
        return int(self.facts["bit_depth"])

    @property
    def alpha(self) -> bool:
        """Whether an image has an alpha plane."""
        return bool(self.facts.get("alpha"))

    @property
    def bpp(self) -> float:
        """Bits per pixel of images and videos, headers included."""
        return float(self.facts["bpp"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; the medium's facts stand beside the others."""
        own = {k: v for k, v in self.__dict__.items() if k != "facts"}
        return {**own, **self.facts, "chunks": [list(c) for c in self.chunks]}


def info_of(reader: ContainerReader, limits: Limits) -> Info:
    """Facts of an open file. Raises ``FormatError``, ``LimitError``, ``UnsupportedError``."""
    header = reader.header
    medium = media.of(header.media)
    codec = registry.get(registry.name_for(header))
    facts = codec.amend(medium.facts(reader, limits), reader)
    return Info(
        kind=medium.kind_of(header.media_header),
        media=medium.name,
        codec=codec.name,
        codec_version=header.codec_version,
        model_id=header.model.hex(),
        model=_model_name(header.model, codec.carries_model),
        numerics=header.numerics,
        segments=len(reader),
        file_bytes=reader.file_bytes,
        chunks=[(c.type.decode("ascii"), len(c.data)) for c in reader.chunks],
        facts=facts,
        settings=codec.describe(header.codec_header),
    )


def _model_name(model: bytes, carried: bool) -> str | None:
    """Name of a model, None for one that is not installed; where there is nothing to install, "in
    the file" or "not needed"."""
    if not model:
        return "in the file" if carried else "not needed"
    try:
        return models.find(model.hex()).name
    except ModelError:
        return None
