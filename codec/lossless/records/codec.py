"""The records codec: tables and arrays <-> ``.lac`` files with a hidden Chow-Liu tree.

The first segment begins with the model, if it travels in the file: a varint length, the columns
(``schema.py``) squeezed, and the circuit (``compact.py``). Then, as in every segment, come the
block's side data (bases of differences, texts) and its coded symbols (``blocks.py``). Files that a
general-purpose method makes smaller are stored that way.
"""

from __future__ import annotations

from typing import Any

from laconic.codec.base import DecodeSettings, EncodeSettings, VerifyReport
from laconic.codec.lossless.records.decoding import DecodeJob
from laconic.codec.lossless.records.encoding import EncodeJob
from laconic.codec.lossless.records.header import CODEC_ID, RecordsHeader
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.records import Records


class RecordsCodec:
    """Implements :class:`laconic.codec.base.Codec` for :class:`Records`."""

    name = "records"
    codec_id = CODEC_ID
    media = Media.DATA
    lossless = True

    def encode(self, records: Records, settings: EncodeSettings) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        for option in ("quality", "bpp", "target_bytes", "tile"):
            if getattr(settings, option) is not None:
                raise ParameterError(f"records are coded exactly: {option} has no meaning here")
        return EncodeJob(records, settings).run()

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Any:
        """An array ``[N, ...]`` or a :class:`Table`, or some of its rows."""
        return DecodeJob(reader, settings).run()

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode everything and compare the checks."""
        job = DecodeJob(reader, settings)
        job.run()
        return VerifyReport(len(reader), job.symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Method, rows of a block, lanes, checksum."""
        return RecordsHeader.unpack(codec_header).to_dict()
