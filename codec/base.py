"""What a codec is: the class that every codec derives from, and the settings it is given.

A codec is one folder, one class and one registration: a row in ``registry.py``, or an entry point
in the group ``laconic.codecs`` of any package. Everything else follows from what the class says:
which inputs it is chosen for, its flags and keywords, its rows in tables and evaluations. The page
``docs/extend.md`` adds one; ``laconic.codec.testing`` checks any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from laconic.codec.options import option
from laconic.formats.container import Container, Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from laconic.codec.models import ModelInfo
    from laconic.formats.container_reader import ContainerStream

Progress = Callable[[int, int], None]  # (done, total) in units of the codec's choice
Status = Callable[[str], None]  # a few words on how the work stands, or a note
DEFAULT_QUALITY = 50.0
QUALITY, BPP, KBPS, TARGET = "quality", "bpp", "kbps", "target_bytes"
Recipes = Mapping[str, Sequence[str]]
RATES = (QUALITY, BPP, KBPS, TARGET)


@dataclass(frozen=True)
class EncodeSettings:
    """What every encoder is given. A codec's options are a dataclass that adds fields to it.

    At most one of ``quality``, ``bpp``, ``kbps``, ``target_bytes`` is given.
    """

    quality: float | None = option(
        None, "0 (smallest) to 100 (best).", low=0, high=100,
        shown="50, for recordings about 1.5 kbit/s",
    )  # fmt: skip
    bpp: float | None = option(None, "Largest number of bits per pixel of the file.", low=0)
    kbps: float | None = option(None, "Largest number of kbit/s of the file.", low=0)
    target_bytes: int | None = option(None, "Largest size of the file.", low=1, unit="bytes")
    model: str | None = option(None, "Model: name, id or file.", shown="the codec's own")
    verify: bool = option(True, "Decode once and compare before anything is written.")
    progress: Progress | None = None
    status: Status | None = None
    note: Status | None = None  # told what is lost, left out or resumed
    limits: Limits = field(default_factory=lambda: DEFAULT_LIMITS)

    def say(self, sentence: str) -> None:
        """Tell a note to whoever listens."""
        if self.note is not None:
            self.note(sentence)


@dataclass(frozen=True)
class DecodeSettings:
    """What every decoder is given; of the four parts the one that its medium has.

    Attributes:
        region: (x, y, width, height) of an image, in pixels.
        rows: (first, end) of a table or array.
        frames: (first, end) of a video.
        seconds: (start, end) of a recording.
        partial: decode what is intact of a damaged file.
    """

    region: tuple[int, int, int, int] | None = None
    rows: tuple[int, int] | None = None
    frames: tuple[int, int] | None = None
    seconds: tuple[float, float] | None = None
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


@dataclass(frozen=True)
class Encoded:
    """What was written into a file.

    Attributes:
        bytes: their number.
        facts: for the table of ``laconic encode``, beside what the header says.
        finish: to be called when the file is where it belongs.
    """

    bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[], None] = lambda: None


class Codec(ABC):
    """A codec. Instances are cheap; models are loaded on first use and kept.

    Those of images take and give an ``Image``; those of recordings take a
    ``formats.audio_stream.AudioSource`` and give an ``Audio``; those of videos take a
    ``formats.video_reader.Film`` and give a sequence of frames (``codec.media.video``); those of
    tables and arrays take ``formats.records.Records`` and give an array or a ``Table``.

    The module of the class imports no torch at its top: ``laconic encode --help`` imports it.

    Attributes:
        name: what users call it.
        codec_id: its number in files; from 13 to 15 for codecs of one's own.
        media: what it codes.
        lossless: whether it reconstructs exactly; such a codec needs no rate.
        carries_model: whether a file that names no model holds one.
        rates: those of :data:`RATES` that it can be asked for.
        options: of its encoder.
        decode_options: of its decoder.
        networks: what ``model`` may say besides the names of models in the store.
        points: qualities at which evaluations measure it by default; None is its only rate.
        measured: options of its encoder that evaluations set.
        recipes: what ``laconic train`` can train for it, with the options each has beside
            ``resume``.
    """

    name: ClassVar[str]
    codec_id: ClassVar[int]
    media: ClassVar[Media]
    lossless: ClassVar[bool] = False
    rates: ClassVar[Sequence[str]] = ()
    options: ClassVar[type[EncodeSettings]] = EncodeSettings
    decode_options: ClassVar[type[DecodeSettings]] = DecodeSettings
    networks: ClassVar[Sequence[str]] = ()
    carries_model: ClassVar[bool] = False
    points: ClassVar[Sequence[float | None]] = (None,)
    measured: ClassVar[Mapping[str, Any]] = {}
    recipes: ClassVar[Recipes] = {}

    @abstractmethod
    def encode(self, media: Any, settings: Any) -> bytes:
        """A complete ``.lac`` file; ``settings`` is one of :attr:`options`."""

    @abstractmethod
    def decode(self, reader: ContainerReader, settings: Any) -> Any:
        """What the file holds, or the part of it that ``settings`` (one of
        :attr:`decode_options`) names."""

    @abstractmethod
    def verify(self, reader: ContainerReader, settings: Any) -> VerifyReport:
        """Decode all symbols and compare their checks, without synthesis."""

    @abstractmethod
    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Facts of the codec's private header for people. Raises ``FormatError``."""

    def amend(self, facts: dict[str, Any], reader: ContainerReader) -> dict[str, Any]:
        """The medium's facts of a file, with those that only its segments tell."""
        return facts

    def encode_file(self, media: Any, fp: BinaryIO, settings: Any) -> Encoded:
        """Write a complete file."""
        data = self.encode(media, settings)
        fp.write(data)
        return Encoded(len(data))

    @property
    def streams(self) -> bool:
        """Whether :meth:`encode_stream` writes while the media comes in."""
        return type(self).encode_stream is not Codec.encode_stream

    def encode_stream(self, media: Any, fp: BinaryIO, settings: Any) -> Encoded:
        """Write a file into a pipe; codecs that can do so while the media comes in."""
        return self.encode_file(media, fp, settings)

    def open(self, file: ContainerReader | ContainerStream, settings: Any) -> Any:
        """What is decoded as it is asked for; a codec that cannot decodes it at once."""
        if not isinstance(file, ContainerReader):
            whole = Container(file.header, [*file], file.chunks).to_bytes()
            file = ContainerReader(whole, settings.limits)
        return self.decode(file, settings)

    def variant(self, text: str) -> dict[str, Any]:
        """Options that ``NAME@TEXT`` of an evaluation stands for: a model, unless the codec says
        otherwise."""
        return {"model": text}

    def import_checkpoint(
        self,
        files: Sequence[Path],
        *,
        arch: str | None,
        name: str | None,
        multiplier: float | None,
        overwrite: bool,
    ) -> ModelInfo | None:
        """Put published weights into the model store; None if they are none of this codec's."""
        return None

    def export(self, checkpoint: Path, recipe: str, out: Path, **how: Any) -> ModelInfo | None:
        """Turn a checkpoint of training ``recipe`` into a model file (keywords ``name``,
        ``overwrite``); None if it is none of this codec's."""
        return None

    def train(self, recipe: str, data: Sequence[Path], out: Path, **options: Any) -> str:
        """Train one of :attr:`recipes`; returns a sentence that says what was written."""
        raise NotImplementedError(f"the codec {self.name} trains nothing")
