"""What a codec is: the protocol every codec implements and the settings it receives.

Adding a codec is one folder, one entry point in the group ``laconic.codecs`` (or one row in
``registry.py`` for those that ship), one folder of golden streams and one row in the README's
table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from laconic.formats.container_reader import ContainerReader
from laconic.formats.limits import DEFAULT_LIMITS, Limits

Progress = Callable[[int, int], None]  # (done, total) in units of the codec's choice
Status = Callable[[str], None]  # a few words on how the work stands
DEFAULT_QUALITY = 50.0


@dataclass(frozen=True)
class EncodeSettings:
    """Settings of an encoder. At most one of ``quality``, ``bpp``, ``target_bytes`` is given."""

    quality: float | None = None  # 0..100
    bpp: float | None = None  # bits per pixel of the whole file, an upper bound
    target_bytes: int | None = None  # size of the whole file, an upper bound
    effort: int = 0
    model: str | None = None  # name, id or path
    strip: bool = False  # leave out EXIF and XMP
    verify: bool = True  # decode once and compare the symbols
    tile: int | None = None  # side of the tiles in pixels
    states: int | None = None  # latent states of a circuit; None chooses
    block: int | None = None  # rows of records in a segment
    progress: Progress | None = None
    status: Status | None = None
    limits: Limits = field(default_factory=lambda: DEFAULT_LIMITS)


@dataclass(frozen=True)
class DecodeSettings:
    """Settings of a decoder. ``region`` is (x, y, width, height) in pixels, ``rows`` (first, end)
    of a table or array."""

    region: tuple[int, int, int, int] | None = None
    rows: tuple[int, int] | None = None
    partial: bool = False
    progress: Progress | None = None
    limits: Limits = field(default_factory=lambda: DEFAULT_LIMITS)


@dataclass(frozen=True)
class VerifyReport:
    """What a verification decoded; it raises the documented error when something is wrong."""

    segments: int
    symbols: int
    numerics: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return dict(self.__dict__)


class Codec(Protocol):
    """A codec. Those of pictures take and give an ``Image``, those of tables and arrays take
    ``formats.records.Records`` and give an array or a ``Table``. Instances are cheap; models are
    loaded on first use and kept.

    One that reconstructs exactly also has an attribute ``lossless`` that is true; it is given
    neither a quality nor a target size. One whose models have a single rate has an attribute
    ``default_quality`` that is None, and is given no quality either unless its user asks for one.
    One of another medium than pictures has an attribute ``media``.
    """

    name: str
    codec_id: int

    def encode(self, image: Any, settings: EncodeSettings) -> bytes:
        """A complete ``.lac`` file."""
        ...

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Any:
        """The picture or a region of it; the table or array, or some of its rows."""
        ...

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode all symbols and compare their checks, without synthesis."""
        ...

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Facts of the codec's private header for people (quality, tile size)."""
        ...
