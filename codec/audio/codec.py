"""The audio codecs: recordings <-> ``.lac`` files of tokens.

A subclass names a codec and its default model; what a model has to offer is in ``windows.py``.
Nothing here imports torch before a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from laconic.codec import models
from laconic.codec.audio.header import CODEC_ID, AudioCodecHeader, AudioDecodeOptions, AudioOptions
from laconic.codec.base import KBPS, QUALITY, TARGET, Codec, Encoded, Recipes, VerifyReport
from laconic.codec.devices import PROCESSOR
from laconic.codec.media.audio import lasting
from laconic.codec.models import ModelInfo
from laconic.formats.audio import Audio
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import Chunk, Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import FormatError, ParameterError

if TYPE_CHECKING:
    from laconic.codec.audio.decoding import AudioDecoder, Segments
    from laconic.codec.audio.encoding import AudioEncoder
    from laconic.codec.audio.loading import LoadedModel

STAGES = ("mae", "vocoder", "tokens", "decoder", "sound", "refiner")


@dataclass(frozen=True)
class Written:
    """What was encoded into a stream."""

    bytes: int
    seconds: float


class SemantiCodec(Codec):
    """Implements :class:`laconic.codec.base.Codec` for recordings."""

    name = "semanticodec"
    codec_id = CODEC_ID
    media = Media.AUDIO
    rates = (QUALITY, KBPS, TARGET)
    options = AudioOptions
    decode_options = AudioDecodeOptions
    points = (0, 8, 17, 33, 50, 67, 100)
    recipes: ClassVar[Recipes] = {
        **{
            f"audio-{stage}": ("minutes", "batch", "threads", "init", "size", "device")
            for stage in STAGES
        },
        "audio-prior": ("minutes", "init"),
    }
    default_model: ClassVar[str] = "semanticodec-small-8"

    def load(self, model: str | None, device: str = PROCESSOR) -> LoadedModel:
        """A model by name, id or path; the default one."""
        from laconic.codec.audio.loading import load

        return load(model or self.default_model, self.name, device)

    def prepare(self, model: LoadedModel, source: AudioSource) -> tuple[LoadedModel, list[Chunk]]:
        """The model fitted to a recording, and the critical chunks that say how.

        A codec with prompts reads what it needs through ``source.peek``.
        """
        return model, []

    def restore(self, model: LoadedModel, chunks: list[Chunk]) -> LoadedModel:
        """Inverse of :meth:`prepare` for a decoder."""
        return model

    def encode(self, media: AudioSource, settings: AudioOptions) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        return self.encoder(media, settings).encode(media)

    def encode_to(self, source: AudioSource, fp: BinaryIO, settings: AudioOptions) -> Written:
        """Write a file segment by segment while the audio comes in."""
        encoder = self.encoder(source, settings)
        size = encoder.encode_to(source, fp)
        return Written(size, encoder.samples / source.rate)

    def encode_stream(self, media: AudioSource, fp: BinaryIO, settings: AudioOptions) -> Encoded:
        """As the audio comes in, unless a target size needs the whole of it."""
        if settings.target_bytes is not None:
            return self.encode_file(media, fp, settings)
        written = self.encode_to(media, fp, settings)
        kbps = 8 * written.bytes / written.seconds / 1000
        return Encoded(written.bytes, {"kbps": kbps, "audio_seconds": written.seconds})

    def decode(self, reader: ContainerReader, settings: AudioDecodeOptions) -> Audio:
        """The audio, or the part of it that ``settings.seconds`` names."""
        return self.decoder(reader, settings).whole()

    def open(self, file: Any, settings: AudioDecodeOptions) -> Any:
        """The audio block by block; a part of it at once."""
        decoder = self.decoder(file, settings)
        return decoder if settings.seconds is None else decoder.whole()

    def decoder(self, file: Segments, settings: AudioDecodeOptions) -> AudioDecoder:
        """For decoding in blocks: a ``ContainerReader``, or a ``ContainerStream``."""
        from laconic.codec.audio.decoding import AudioDecoder

        loaded = self.load(file.header.model.hex(), settings.device or PROCESSOR)
        model = self.restore(loaded, file.chunks)
        return AudioDecoder(file, model, settings)

    def amend(self, facts: dict[str, Any], reader: ContainerReader) -> dict[str, Any]:
        """The length of a recording that was written before its end was known: its last segment
        says; 0 where the end is lost."""
        from laconic.codec.audio.segments import length_in

        if facts["samples"] or not len(reader):
            return facts
        try:
            samples = length_in(reader[len(reader) - 1].payload) or 0
        except FormatError:
            samples = 0
        return {**facts, **lasting(samples, facts["rate"], reader)}

    def verify(self, reader: ContainerReader, settings: AudioDecodeOptions) -> VerifyReport:
        """Decode all tokens and compare their checks."""
        decoder = self.decoder(reader, settings)
        for done, _ in enumerate(decoder.tokens()):
            if settings.progress:
                settings.progress(done + 1, len(reader))
        return VerifyReport(len(reader), decoder.symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Streams, steps, seed, columns of a segment."""
        return AudioCodecHeader.unpack(codec_header).to_dict()

    def encoder(self, source: AudioSource, settings: AudioOptions) -> AudioEncoder:
        """For encoding one recording step by step."""
        from laconic.codec.audio.encoding import AudioEncoder

        loaded = self.load(settings.model, settings.device or PROCESSOR)
        model, chunks = self.prepare(loaded, source)
        return AudioEncoder(self.codec_id, model, settings, tuple(chunks))

    def import_checkpoint(
        self,
        files: Sequence[Path],
        *,
        arch: str | None,
        name: str | None,
        multiplier: float | None,
        overwrite: bool,
    ) -> ModelInfo | None:
        """The published model comes in three files."""
        if len(files) == 1 and arch != self.name:
            return None
        from laconic.codec.audio.loading import import_files

        if multiplier is not None:
            raise ParameterError("a model of recordings has no --lambda: leave it out")
        return import_files(list(files), arch=arch, name=name, overwrite=overwrite)

    def export(self, checkpoint: Path, recipe: str, out: Path, **how: Any) -> ModelInfo | None:
        from laconic.codec.audio.semanticodec_small.model import PARTS, export_checkpoint

        return export_checkpoint(checkpoint, out, **how) if recipe in PARTS else None

    def train(self, recipe: str, data: Sequence[Path], out: Path, **options: Any) -> str:
        """A stage of the small model, or the prior of an exported model's tokens."""

        how = {k: options.pop(k) for k in ("resume", "threads", "init") if k in options}
        if recipe == "audio-prior":
            from laconic.codec.train.token_prior import PriorRecipe, add_prior

            info = add_prior(
                how.get("init") or self.default_model, list(data), out, PriorRecipe(),
                minutes=options.get("minutes"),
            )  # fmt: skip
            return f"{info.path}: {info.id}, {info.bytes:,} bytes"
        from laconic.codec.train import audio

        if "size" in options:
            options["model"] = options.pop("size")
        options.pop("report", None)
        return models.exportable(audio.run(recipe, options, list(data), out, **how))
