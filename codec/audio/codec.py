"""The audio codecs: sounds <-> ``.lac`` files of tokens.

A subclass names a codec and its default model; what a model has to offer is in ``interface.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from laconic.codec.audio.decoding import AudioDecoder, Segments
from laconic.codec.audio.encoding import AudioEncoder
from laconic.codec.audio.header import CODEC_ID, AudioCodecHeader
from laconic.codec.audio.loading import LoadedModel, load
from laconic.codec.base import DecodeSettings, EncodeSettings, VerifyReport
from laconic.formats.audio import Audio
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import Chunk, Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError


@dataclass(frozen=True)
class Written:
    """What was encoded into a stream."""

    bytes: int
    seconds: float


class SemantiCodec:
    """Implements :class:`laconic.codec.base.Codec` for sounds: a path, bytes, a binary stream or
    an :class:`Audio` in, an :class:`Audio` out."""

    name = "semanticodec"
    codec_id = CODEC_ID
    media = Media.AUDIO
    default_quality = None
    default_model = "semanticodec-small-2"

    def load(self, model: str | None) -> LoadedModel:
        """A model by name, id or path; the default one."""
        return load(model or self.default_model, self.name)

    def prepare(self, model: LoadedModel, source: AudioSource) -> tuple[LoadedModel, list[Chunk]]:
        """The model fitted to a sound, and the critical chunks that say how.

        A codec with prompts reads what it needs through ``source.peek``.
        """
        return model, []

    def restore(self, model: LoadedModel, chunks: list[Chunk]) -> LoadedModel:
        """Inverse of :meth:`prepare` for a decoder."""
        return model

    def encode(self, source: Any, settings: EncodeSettings) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        with self._encoder(source, settings) as (encoder, sound):
            return encoder.encode(sound)

    def encode_to(self, source: Any, fp: BinaryIO, settings: EncodeSettings) -> Written:
        """Write a file segment by segment while the sound comes in."""
        with self._encoder(source, settings) as (encoder, sound):
            size = encoder.encode_to(sound, fp)
            return Written(size, encoder.samples / sound.rate)

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Audio:
        """The sound, or the part of it that ``settings.seconds`` names."""
        return self.decoder(reader, settings).whole()

    def decoder(self, file: Segments, settings: DecodeSettings) -> AudioDecoder:
        """For decoding in blocks: a ``ContainerReader``, or a ``ContainerStream``."""
        model = self.restore(self.load(file.header.model.hex()), file.chunks)
        return AudioDecoder(file, model, settings)

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode all tokens and compare their checks."""
        decoder = self.decoder(reader, settings)
        for done, _ in enumerate(decoder.tokens()):
            if settings.progress:
                settings.progress(done + 1, len(reader))
        return VerifyReport(len(reader), decoder.symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Streams, steps, seed, columns of a segment."""
        return AudioCodecHeader.unpack(codec_header).to_dict()

    @contextmanager
    def _encoder(
        self, source: Any, settings: EncodeSettings
    ) -> Iterator[tuple[AudioEncoder, AudioSource]]:
        for option in ("bpp", "tile", "states", "block"):
            if getattr(settings, option) is not None:
                raise ParameterError(f"{option} has no meaning for sounds")
        if settings.effort:
            raise ParameterError("sounds are encoded at one effort: leave --effort out")
        with AudioSource(source) as sound:
            model, chunks = self.prepare(self.load(settings.model), sound)
            yield AudioEncoder(self.codec_id, model, settings, tuple(chunks)), sound
