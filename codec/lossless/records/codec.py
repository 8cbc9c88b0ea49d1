"""The records codec: tables and arrays <-> ``.lac`` files with a hidden Chow-Liu tree.

The first segment begins with the model, if it travels in the file: a varint length, the columns
(``schema.py``) squeezed, and the circuit (``compact.py``). Then, as in every segment, come the
block's side data (bases of differences, texts) and its coded symbols (``blocks.py``). Files that a
general-purpose method makes smaller are stored that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from laconic.codec.base import Codec, DecodeSettings, EncodeSettings, Recipes, VerifyReport
from laconic.codec.lossless.records.schema import CODEC_ID, RecordsHeader
from laconic.codec.options import option
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.records import Records


@dataclass(frozen=True)
class RecordsOptions(EncodeSettings):
    """Options of the encoder."""

    effort: int = option(0, "More records looked at, more often, for fewer bits.", low=0, high=9)
    states: int | None = option(
        None, "Latent states of the circuit that is learned.", low=1, high=1024, shown="chosen"
    )
    block: int | None = option(
        None, "Rows that decode on their own.", unit="rows", low=1, shown="chosen"
    )


class RecordsCodec(Codec):
    """Implements :class:`laconic.codec.base.Codec` for :class:`Records`."""

    name = "records"
    codec_id = CODEC_ID
    media = Media.DATA
    lossless = True
    carries_model = True
    options = RecordsOptions
    recipes: ClassVar[Recipes] = {
        "records": ("name", "states", "epochs"),
        "records-small": ("name", "threads"),
    }

    def encode(self, media: Records, settings: RecordsOptions) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        from laconic.codec.lossless.records.encoding import EncodeJob

        return EncodeJob(media, settings).run()

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Any:
        """An array ``[N, ...]`` or a :class:`Table`, or some of its rows."""
        from laconic.codec.lossless.records.decoding import DecodeJob

        return DecodeJob(reader, settings).run()

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode everything and compare the checks."""
        from laconic.codec.lossless.records.decoding import DecodeJob

        job = DecodeJob(reader, settings)
        job.run()
        return VerifyReport(len(reader), job.symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Method, rows of a block, lanes, checksum."""
        return RecordsHeader.unpack(codec_header).to_dict()

    def train(self, recipe: str, data: Sequence[Path], out: Path, **options: Any) -> str:
        """A circuit, or a network of the preset ``small``, from one array."""
        from laconic.formats.errors import ParameterError
        from laconic.formats.records import read_records

        if len(data) != 1:
            raise ParameterError("records are trained on one array: give --data once")
        records = read_records(data[0])
        resume = options.get("resume", False)
        report = options.get("report", print)
        if recipe == "records":
            from laconic.codec.lossless.records.training import Recipe, run

            chosen = Recipe()
            if "states" in options:
                chosen = replace(chosen, states=options["states"])
            if "epochs" in options:
                schedule = replace(chosen.schedule, epochs=options["epochs"])
                chosen = replace(chosen, schedule=schedule)
            name = options.get("name", "mnist-hclt")
            info = run(chosen, records, out, name=name, resume=resume, report=report)
        else:
            import torch

            from laconic.codec.lossless.records.small_training import SmallRecipe, run_small

            if "threads" in options:
                torch.set_num_threads(options["threads"])
            name = options.get("name", "mnist-small")
            info = run_small(SmallRecipe(), records, out, name=name, resume=resume, report=report)
        return f"{info.path}: {info.id}, {info.bytes:,} bytes"
