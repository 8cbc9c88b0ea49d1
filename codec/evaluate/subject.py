"""What is evaluated: the inputs, and codecs of Laconic and other people's behind one protocol.

Inputs are media files of one kind below folders, told apart by extension, so that a folder of ten
thousand files is listed without opening them; they are read when their turn comes and forgotten
afterwards. A codec is specified as ``NAME[@VARIANT][:Q,Q,...]``: the variant is a model for codecs
of the registry, a preset for video encoders, a subsampling for JPEG; qualities are on the codec's
own scale.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from laconic.codec import api, registry
from laconic.codec.base import QUALITY
from laconic.codec.media import MEDIA, of
from laconic.codec.options import declared
from laconic.formats.audio import Audio
from laconic.formats.container import Media
from laconic.formats.errors import DEFAULT_LIMITS, Limits, ParameterError
from laconic.formats.image import Image
from laconic.formats.video_planes import PlanarFrame

NOUNS = ", ".join(m.noun for m in MEDIA[:-1]) + f" or {MEDIA[-1].noun}"


@dataclass(frozen=True)
class Item:
    """A media file. ``name`` is unique in a run and is what results call it."""

    path: Path
    name: str
    media: Media
    limits: Limits = DEFAULT_LIMITS

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file in hexadecimal digits."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    @cached_property
    def original(self) -> Any:
        """What the codecs of its medium are compared with: an ``Image``, an ``Audio``,
        ``Records``; of a video its facts, since its frames are read one by one."""
        return of(self.media).load(self)


def find_items(
    inputs: Sequence[str | Path], media: Media | None = None, limits: Limits = DEFAULT_LIMITS
) -> list[Item]:
    """Files named or found below folders, sorted within each.

    Args:
        media: the kind to take from folders; None takes the only kind there is.

    Raises:
        ParameterError: nothing was found, kinds are mixed, or a file is of no known kind.
        FileNotFoundError: an input does not exist.
    """
    found: list[Item] = []
    for entry in map(Path, inputs):
        if entry.is_dir():
            for path in sorted(p for p in entry.rglob("*") if p.is_file()):
                kind = _kind_of(path)
                if kind is not None and (media is None or kind == media):
                    name = path.relative_to(entry).as_posix()
                    found.append(Item(path, name, kind, limits))
        else:
            if not entry.exists():
                raise FileNotFoundError(2, "No such file", str(entry))
            kind = _kind_of(entry)
            if kind is None:
                raise ParameterError(f"{entry} has an extension of no {NOUNS} that is known here")
            if media is None or kind == media:
                found.append(Item(entry, entry.name, kind, limits))
    if not found:
        wanted = NOUNS if media is None else of(media).noun
        raise ParameterError(f"no {wanted} was found in {', '.join(map(str, inputs))}")
    kinds = Counter(item.media for item in found)
    if len(kinds) > 1:
        counts = ", ".join(f"{n} {of(kind).name}" for kind, n in kinds.items())
        raise ParameterError(
            f"the inputs mix kinds of media ({counts} files): choose one with --media"
        )
    return _with_unique_names(found)


def _kind_of(path: Path) -> Media | None:
    suffix = path.suffix.lower()
    return next((medium.kind for medium in MEDIA if suffix in medium.suffixes), None)


def _with_unique_names(items: Iterable[Item]) -> list[Item]:
    """Names made unique by the whole path where two are equal; a file given twice counts once."""
    by_path = {item.path.resolve(): item for item in items}
    counts = Counter(item.name for item in by_path.values())
    return [
        item
        if counts[item.name] == 1
        else Item(item.path, item.path.as_posix().lstrip("/"), item.media, item.limits)
        for item in by_path.values()
    ]


Decoded: TypeAlias = Image | Audio | Iterator[PlanarFrame | NDArray[np.uint8]] | bytes
"""An image, a recording, frames one after the other (planes, or ``[H, W, 3]``), or the bytes of
records."""


class Subject(Protocol):
    """Something that turns items of one kind into bytes and back."""

    label: str
    media: Media
    suffix: str
    qualities: Sequence[float | None]  # the default points; (None,) for lossless codecs
    scale: str  # what the qualities mean
    range: tuple[float, float] | None  # lowest and highest, None without a choice

    def describe(self) -> dict[str, Any]:
        """Settings and versions that decide the bytes, JSON-able."""
        ...

    def prepare(self) -> None:
        """Load what the first call would load, so that it is not timed."""
        ...

    def encode(self, item: Item, quality: float | None) -> bytes:
        """The bytes of a file."""
        ...

    def decode(self, data: bytes, item: Item) -> Decoded:
        """What a user of the file gets, in the size, depth and rate of ``item``."""
        ...


@dataclass(frozen=True)
class Spec:
    """A subject and the points to measure it at (None for its defaults)."""

    name: str
    variant: str | None = None
    qualities: tuple[float, ...] | None = None
    device: str | None = field(default=None, repr=False)  # where networks run

    @property
    def label(self) -> str:
        """What results call it."""
        return self.name if self.variant is None else f"{self.name}@{self.variant}"


def parse_spec(text: str) -> Spec:
    """Parse ``NAME[@VARIANT][:Q,Q,...]``; raises ``ParameterError``.

    >>> parse_spec("x265@slow:22,27")
    Spec(name='x265', variant='slow', qualities=(22.0, 27.0))
    """
    match = re.fullmatch(r"([^@:\s]+)(?:@([^:\s]+))?(?::([-+.\d,\s]+))?", text.strip())
    if not match:
        raise ParameterError(f"{text!r} is not a codec: write NAME[@VARIANT][:Q,Q,...]")
    qualities = None
    if match[3]:
        try:
            qualities = tuple(float(q) for q in match[3].split(","))
        except ValueError as error:
            raise ParameterError(f"the qualities in {text!r} are not numbers") from error
        if len(set(qualities)) < len(qualities):
            raise ParameterError(f"{text!r} names a quality twice")
    return Spec(match[1], match[2], qualities)


class RegisteredCodec:
    """A codec of the registry, built in or registered by anybody's package."""

    suffix = ".lac"

    def __init__(self, name: str, variant: str | None, device: str | None = None) -> None:
        self.codec = codec = registry.get(name)
        self.media, self.qualities = codec.media, codec.points
        self.medium = of(codec.media)
        self.scale = "quality 0..100"
        choice = QUALITY in codec.rates and not codec.lossless
        self.range = (0.0, 100.0) if choice else None
        if codec.points == (None,):
            self.scale = "lossless" if codec.lossless else "the model's only rate"
        self.options = {**codec.measured, **(codec.variant(variant) if variant else {})}
        self.device: dict[str, Any] = {}
        if device is not None and has_device(name):
            self.device["device"] = device
        self.options |= self.device
        self.label = name if variant is None else f"{name}@{variant}"

    def prepare(self) -> None:
        api.decode(self._tiny, **self.device)

    def describe(self) -> dict[str, Any]:
        info = api.probe(self._tiny)
        facts = {"codec": info.codec, "codec_version": info.codec_version, "scale": self.scale}
        if info.model_id:
            facts |= {"model": info.model, "model_id": info.model_id}
        return {**facts, **{k: v for k, v in self.options.items() if k != "model"}}

    @cached_property
    def _tiny(self) -> bytes:
        """A small file, whose header says which model the codec takes."""
        return api.encode(self.medium.sample(), codec=self.codec.name, **self.options)

    def encode(self, item: Item, quality: float | None) -> bytes:
        source = item.path if self.medium.is_lazy else item.original
        return api.encode(source, codec=self.codec.name, quality=quality, verify=False,
                          limits=item.limits, **self.options)  # fmt: skip

    def decode(self, data: bytes, item: Item) -> Decoded:
        decoded: Decoded = self.medium.for_evaluation(
            api.decode(data, limits=item.limits, **self.device)
        )
        return decoded


def has_device(name: str) -> bool:
    """Whether a codec has networks that run on a device."""
    return name in registry.names() and "device" in declared(registry.get(name).options)


def check_qualities(subject: Subject, spec: Spec) -> None:
    """Raise ``ParameterError`` for a point that the subject cannot be measured at."""
    for quality in spec.qualities or ():
        if subject.range is None:
            raise ParameterError(f"{subject.label} has one rate ({subject.scale}): name no quality")
        low, high = subject.range
        if not low <= quality <= high:
            raise ParameterError(
                f"the quality of {subject.label} is {quality:g}: expected {low:g} to {high:g}"
                f" ({subject.scale})"
            )


def baseline_names() -> dict[str, Media]:
    """Names of the built-in baselines and the media they code."""
    from laconic.codec.evaluate.baselines import FAMILIES

    return {name: family.media for family in FAMILIES for name in family.names()}


def find_subject(spec: Spec) -> Subject:
    """The subject of a specification.

    Raises ``ParameterError`` for an unknown name or variant, ``UnsupportedError`` where a library
    is missing.
    """
    from laconic.codec.evaluate.baselines import FAMILIES

    for family in FAMILIES:
        if spec.name in family.names():
            return family.make(spec.name, spec.variant)
    if spec.name not in registry.names():
        raise ParameterError(
            f"there is no codec {spec.name!r}: choose among {', '.join(registry.names())} and the"
            f" baselines {', '.join(baseline_names())}"
        )
    return RegisteredCodec(spec.name, spec.variant, spec.device)
