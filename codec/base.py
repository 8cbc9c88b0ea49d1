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
class FilmSettings:
    """What only encoders of films are told.

    Attributes:
        preset: "fast", "medium" or "slow".
        chunk: frames that are fitted together; None chooses by scenes and memory.
        jobs: chunks fitted at a time; 1 lets each start from the one before.
        audio: carry the audio tracks.
        work: path of the work file that makes encoding resumable, or None.
        fresh: replace a work file that belongs to something else.
        note: told sentences about what is lost or resumed.
    """

    preset: str = "medium"
    chunk: int | None = None
    jobs: int = 1
    audio: bool = True
    work: str | None = None
    fresh: bool = False
    note: Status | None = None


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
    preview: bool = False  # begin a lossless file with a lossy picture
    states: int | None = None  # latent states of a circuit; None chooses
    block: int | None = None  # rows of records in a segment
    film: FilmSettings = field(default_factory=FilmSettings)
    kbps: float | None = None  # kbit/s of the whole file, an upper bound
    steps: int | None = None  # of an audio refiner; decoders follow it
    seed: int | None = None  # of the noise that a decoder draws
    stereo: str | None = None  # "joint" or "dual"
    progress: Progress | None = None
    status: Status | None = None
    limits: Limits = field(default_factory=lambda: DEFAULT_LIMITS)


@dataclass(frozen=True)
class DecodeSettings:
    """Settings of a decoder. ``region`` is (x, y, width, height) in pixels, ``rows`` (first, end)
    of a table or array, ``frames`` (first, end) of a film."""

    region: tuple[int, int, int, int] | None = None
    rows: tuple[int, int] | None = None
    frames: tuple[int, int] | None = None
    partial: bool = False
    seconds: tuple[float, float] | None = None  # of a sound
    steps: int | None = None  # of an audio refiner, instead of the file's
    seed: int | None = None  # of the noise, instead of the file's
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
    ``formats.records.Records`` and give an array or a ``Table``, those of films take a
    ``formats.video_reader.Film`` and give a ``video.stream.movie.Video``. Instances are cheap;
    models are loaded on first use and kept.

    One that reconstructs exactly also has an attribute ``lossless`` that is true; it is given
    neither a quality nor a target size. Its files may begin with a lossy picture, which ``preview``
    then decodes alone. One whose models have a single rate has an attribute
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
