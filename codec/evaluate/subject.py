"""What is measured: codecs of Laconic and other people's behind one protocol.

A specification is ``NAME[@VARIANT][:Q,Q,...]``. The variant is a model for codecs of the registry,
a preset for video encoders, a subsampling for JPEG. Qualities are on the codec's own scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from laconic.codec import api, registry
from laconic.codec.base import QUALITY
from laconic.codec.evaluate.items import Item
from laconic.codec.media import of
from laconic.formats.audio import Audio
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image

Decoded: TypeAlias = Image | Audio | Iterator[NDArray[np.uint8]] | bytes
"""A picture, a sound, frames ``[H, W, 3]`` one after the other, or the bytes of records."""


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

    def __init__(self, name: str, variant: str | None) -> None:
        self.codec = codec = registry.get(name)
        self.media, self.qualities = codec.media, codec.points
        self.medium = of(codec.media)
        self.scale = "quality 0..100"
        choice = QUALITY in codec.rates and not codec.lossless
        self.range = (0.0, 100.0) if choice else None
        if codec.points == (None,):
            self.scale = "lossless" if codec.lossless else "the model's only rate"
        self.options = {**codec.measured, **(codec.variant(variant) if variant else {})}
        self.label = name if variant is None else f"{name}@{variant}"

    def prepare(self) -> None:
        api.decode(self._tiny)

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
        decoded: Decoded = self.medium.for_evaluation(api.decode(data, limits=item.limits))
        return decoded


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
    return RegisteredCodec(spec.name, spec.variant)
