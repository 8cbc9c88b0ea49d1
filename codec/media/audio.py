"""Recordings: read block by block as ``formats.audio_stream.AudioSource``, decoded as ``Audio``.

A codec whose ``open`` gives an object with ``audio`` (rate, channels, layout), ``tags``,
``notices`` and ``blocks()`` is written block by block, hours of audio in bounded memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from laconic.codec.base import KBPS, QUALITY, TARGET, DecodeSettings
from laconic.codec.media.base import Medium, Saved, Source, Target
from laconic.formats.audio import SUFFIXES, Audio, AudioHeader, looks_like_audio, read_audio
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import TAGS, Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, Limits, ParameterError
from laconic.formats.frame import read_tags

if TYPE_CHECKING:
    from laconic.codec.evaluate.subject import Item


def lasting(samples: int, rate: int, reader: ContainerReader) -> dict[str, Any]:
    """What a file's facts say of its length; 0 samples where it is not known."""
    seconds = samples / rate
    kbps = 8 * reader.file_bytes / seconds / 1000 if seconds else None
    return {"samples": samples, "seconds": seconds, "kbps": kbps}


class AudioMedium(Medium):
    """Speech, music, anything heard."""

    kind = Media.AUDIO
    noun, plural = "recording", "recordings"
    suffixes = frozenset(SUFFIXES)
    part = "seconds"
    streams = True
    formats = ("wav", "wav24", "wav32f", "flac", "flac24", "opus", "mp3", "m4a", "s16le", "f32le")
    encode_columns = (("kbps", "kbit/s", ".3f"), ("audio_seconds", "length, s", ".2f"))
    decode_columns = (
        ("channels", "channels", ""),
        ("rate", "Hz", ""),
        ("audio_seconds", "length, s", ".2f"),
    )
    rate, rate_title = "kbps", "kbit/s (file bytes)"
    rates = (QUALITY, KBPS, TARGET)
    metrics = ("mel", "stft", "si-sdr")
    baselines = "laconic.codec.evaluate.baselines.audio"

    def is_one(self, value: Any) -> bool:
        return isinstance(value, Audio | AudioSource)

    def looks_like(self, head: bytes) -> bool:
        return looks_like_audio(head[:12])

    def read(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> AudioSource:
        value = source.value
        if isinstance(value, AudioSource):
            return value
        if source.is_object and not isinstance(value, Audio):
            raise ParameterError(
                f"{type(value).__name__} is no audio: leave the codec out, or choose one for it"
            )
        return AudioSource(value)

    def facts(self, reader: ContainerReader, limits: Limits) -> dict[str, Any]:
        header = AudioHeader.unpack(reader.header.media_header)
        tags = next((read_tags(c.data) for c in reader.chunks if c.type == TAGS), {})
        return {
            "channels": header.channels,
            "rate": header.rate,
            "layout": header.layout,
            **lasting(header.samples, header.rate, reader),
            "tags": tags,
        }

    def encode_facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        return {**facts, "audio_seconds": facts["seconds"]}

    def title(self, facts: dict[str, Any]) -> str:
        return f"{facts['seconds']:.2f} s at {facts['rate']} Hz"

    def suffix(self, header: bytes, format: str | None) -> str:
        from laconic.formats.audio_writer import FORMATS

        known = FORMATS.get((format or "wav").lower())
        return known.suffix if known else f".{(format or 'wav').lower()}"

    def check_format(self, target: str, format: str | None) -> None:
        from laconic.formats.audio_writer import format_of

        format_of(target, format or (None if target else "wav"))

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
        from laconic.formats.atomic import atomic_write
        from laconic.formats.audio_writer import AudioWriter, format_of

        named = not hasattr(target, "write")
        chosen = format_of(str(target) if named else "", format or (None if named else "wav"))
        about = AudioHeader.unpack(header)
        whole = isinstance(decoded, Audio)
        writer: AudioWriter | None = None
        total = 0
        with atomic_write(target, overwrite) if named else nullcontext(target) as fp:  # type: ignore[arg-type]
            for block in [decoded.samples] if whole else decoded.blocks():
                if writer is None:
                    writer = AudioWriter(
                        fp,  # type: ignore[arg-type]
                        chosen, about.rate, about.channels, about.layout, decoded.tags,
                    )  # fmt: skip
                writer.write(block)
                total += block.shape[1]
            if writer is not None:
                writer.finish()
        facts = {
            "channels": about.channels,
            "rate": about.rate,
            "samples": total,
            "audio_seconds": total / about.rate,
        }
        return Saved(facts, [], decoded.notices)

    def sample(self) -> Audio:
        noise = np.random.default_rng(0).standard_normal((1, 16000)) * 0.1
        return Audio(noise.astype(np.float32), 16000)

    def load(self, item: Item) -> Audio:
        return read_audio(item.path, item.limits)

    def compare(
        self, item: Item, decode: Callable[[], Any], size: int, metrics: Sequence[Any]
    ) -> dict[str, Any]:
        start = time.perf_counter()
        decoded: Audio = decode()
        row: dict[str, Any] = {"decode_s": time.perf_counter() - start}
        original: Audio = item.original
        row["kbps"] = 8 * size / original.seconds / 1000
        row["bits_per_sample"] = 8 * size / original.samples.size
        for metric in metrics:
            row[metric.name] = metric.of(original, decoded)
        return row
