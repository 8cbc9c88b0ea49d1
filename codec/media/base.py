"""What a medium is, and what a source is: paths, bytes, files and objects before they are read.

A :class:`Medium` knows everything about images, audio, videos or tables that does not depend on a
codec: how inputs are recognised, read and written, what a header says, what tables and
evaluations show. Nothing here imports torch.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, Limits, ParameterError
from laconic.formats.samples import as_samples

if TYPE_CHECKING:
    from laconic.codec.evaluate.subject import Item

HEAD = 64  # bytes by which a source is recognised
Column = tuple[str, str, str]  # key, heading, format
Target = str | PathLike[str] | BinaryIO


class Source:
    """What is to be encoded, looked at once: a path, bytes, a binary stream or an object.

    Attributes:
        value: what was given; a path as ``Path``.
        head: its first bytes, empty for folders and objects; they stay in a stream.
        suffixes: extensions of a path in lower case, such as (".csv", ".gz").
        size: bytes of a file or folder, None for streams and objects.
    """

    def __init__(self, value: Any) -> None:
        value = as_samples(value)
        self.value, self.head = value, b""
        self.suffixes: tuple[str, ...] = ()
        self.size: int | None = None
        if isinstance(value, bytes | bytearray | memoryview):
            self.value = data = bytes(value)
            self.head, self.size = data[:HEAD], len(data)
        elif isinstance(value, str | PathLike):
            self.value = path = plain_path(value)
            self.suffixes = tuple(s.lower() for s in path.suffixes)
            if path.is_dir():
                self.size = sum(p.stat().st_size for p in path.iterdir() if p.is_file())
            elif path.exists():
                self.size = path.stat().st_size
                with path.open("rb") as file:
                    self.head = file.read(HEAD)
        elif hasattr(value, "read"):
            self.head = head_of(value, HEAD)

    @property
    def suffix(self) -> str:
        """The last extension, "" for none."""
        return self.suffixes[-1] if self.suffixes else ""

    @property
    def is_object(self) -> bool:
        """Whether it is neither path, bytes nor stream."""
        return not isinstance(self.value, Path | bytes) and not hasattr(self.value, "read")

    @property
    def is_coded(self) -> bool:
        """Whether it is a ``.lac`` file already."""
        return self.head.startswith(b"\x8fLAC")

    def file(self) -> Path | bytes:
        """A path, or the bytes of everything else; a stream is read to its end."""
        if isinstance(self.value, Path | bytes):
            return self.value
        self.value = bytes(self.value.read())
        self.size = len(self.value)
        return self.value


def plain_path(value: str | PathLike[str]) -> Path:
    """A path; raises ``ParameterError`` for one that no file can have."""
    if "\0" in fspath(value):
        raise ParameterError("the path holds a zero byte: no file can have that name")
    return Path(fspath(value))


def head_of(stream: Any, count: int) -> bytes:
    """The next bytes of a binary stream, which stay in it; b"" where that cannot be done."""
    if hasattr(stream, "peek"):
        head: bytes = stream.peek(count)[:count]
        return head
    if not (hasattr(stream, "seekable") and stream.seekable()):
        return b""
    at = stream.tell()
    head = stream.read(count)
    stream.seek(at)
    return head


@contextmanager
def opened(source: Any, limits: Limits, *, partial: bool = False) -> Iterator[ContainerReader]:
    """A ``.lac`` file that can be searched: a path, bytes, or a stream."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield ContainerReader(bytes(source), limits, partial=partial)
    elif isinstance(source, str | PathLike):
        with open(plain_path(source), "rb") as file:
            yield ContainerReader(file, limits, partial=partial)
    elif source.seekable():
        yield ContainerReader(source, limits, partial=partial)
    else:
        yield ContainerReader(io.BytesIO(source.read()), limits, partial=partial)


@dataclass(frozen=True)
class Saved:
    """What was written when something was decoded.

    Attributes:
        facts: for the table of ``laconic decode``.
        notes: sentences about what the format does not hold.
        lost: sentences about what a damaged file has lost.
    """

    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Medium(ABC):
    """Images, recordings, videos or tables.

    Attributes:
        kind: number of the medium in files.
        noun, plural: what people call one, and several.
        suffixes: extensions by which its files are found in folders.
        streams: whether files are decoded as they come in from a pipe.
        is_lazy: whether what is decoded is evaluated as it is asked for.
        part: the field of ``DecodeSettings`` that asks for a part of one.
        formats: names that ``decode --format`` takes.
        encode_columns, decode_columns: of the tables of the command line.
        rate: key of the rate in evaluations, ``rate_title`` its axis, ``second_rate`` another that
            tables show.
        rates: those of ``base.RATES`` that mean something for it.
        visible: whether a report can show or play it.
        metrics: names of the measures that an evaluation takes by default.
        baselines: module of the codecs of others that it is compared to.
    """

    kind: ClassVar[Media]
    noun: ClassVar[str]
    plural: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    part: ClassVar[str]
    streams: ClassVar[bool] = False
    is_lazy: ClassVar[bool] = False
    formats: ClassVar[Sequence[str]]
    encode_columns: ClassVar[Sequence[Column]]
    decode_columns: ClassVar[Sequence[Column]]
    rate: ClassVar[str] = "bpp"
    rate_title: ClassVar[str] = "bits per pixel (file bytes)"
    rates: ClassVar[Sequence[str]]
    second_rate: ClassVar[str] = "bits_per_sample"
    visible: ClassVar[bool] = True
    metrics: ClassVar[Sequence[str]]
    baselines: ClassVar[str]

    @property
    def one(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def name(self) -> str:
        """As in options and results."""
        return self.kind.name.lower()

    @abstractmethod
    def is_one(self, value: Any) -> bool:
        """Whether an object is one of this medium."""

    @abstractmethod
    def looks_like(self, head: bytes) -> bool:
        """Whether a file that begins so is one, where that can be said."""

    def claims(self, source: Source) -> bool:
        """Whether a source is one by its extension."""
        return source.suffix in self.suffixes

    def folder(self, path: Path) -> bool:
        """Whether a path is a folder whose files together are one input."""
        return False

    @abstractmethod
    def read(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> Any:
        """What the codecs of this medium take. Raises ``ParameterError`` for objects of others."""

    def check(self, read: Any, settings: EncodeSettings, *, lossless: bool) -> None:  # noqa: B027
        """Raise ``ParameterError`` where encoding what was read would lose more than was agreed."""

    def sealed(self, data: bytes, limits: Limits) -> bytes:
        """A coded file as readers with the default limits accept it (``formats.claims``)."""
        return data

    @abstractmethod
    def facts(self, reader: ContainerReader, limits: Limits) -> dict[str, Any]:
        """What the header says; raises ``FormatError``, ``LimitError``."""

    def encode_facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The facts that the table of ``laconic encode`` shows."""
        return facts

    @abstractmethod
    def title(self, facts: dict[str, Any]) -> str:
        """Size in words: "130 x 96"."""

    def kind_of(self, header: bytes) -> str:
        """Kind of a coded file, for people; ``header`` is its media header."""
        return self.name

    @abstractmethod
    def suffix(self, header: bytes, format: str | None) -> str:
        """Extension of what decoding writes by default; "" for a folder."""

    @abstractmethod
    def check_format(self, target: str, format: str | None) -> None:
        """Raise ``ParameterError`` for a file that cannot be written; "" is a pipe."""

    @abstractmethod
    def save(
        self,
        decoded: Any,
        target: Target,
        format: str | None,
        *,
        header: bytes,
        settings: DecodeSettings,
        overwrite: bool = False,
    ) -> Saved:
        """Write what a codec's ``open`` gave to a path (atomically) or a stream."""

    @abstractmethod
    def sample(self) -> Any:
        """A very small one, to load models with."""

    @abstractmethod
    def load(self, item: Item) -> Any:
        """The original that an evaluation compares with."""

    @abstractmethod
    def compare(
        self, item: Item, decode: Callable[[], Any], size: int, metrics: Sequence[Any]
    ) -> dict[str, Any]:
        """Decode, which is timed, and compare with the item.

        Args:
            decode: gives what the item's file decodes to.
            size: bytes of that file.
            metrics: ``evaluate.metrics.Metric`` of this medium.

        Returns:
            {"decode_s", rates, metrics (None where not defined)}.

        Raises ``FormatError`` for another size than the original's.
        """

    def shown(self, decoded: Any, row: Mapping[str, Any]) -> Any:
        """What a report shows of a decoded item: pixels ``[H, W, C]``, or an ``Audio``."""
        return decoded

    def shown_original(self, item: Item) -> Any:
        """What a report shows of the original."""
        return self.shown(item.original, {})

    def for_evaluation(self, decoded: Any) -> Any:
        """What :meth:`compare` takes, from what ``decode`` of a codec gives."""
        return decoded
