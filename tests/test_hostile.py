"""Files made to do harm: documented errors only, in bounded time and memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import prompt_models
import pytest
import tiny_audio
from mutants import MEMORY, Attack, Peak, install, made, seeds, trusting
from PIL import Image as Pillow
from safetensors.numpy import load_file, save_file

from laconic import codec
from laconic.codec import models
from laconic.codec.lossless.photo.fallback import decode_file
from laconic.codec.lossless.records.schema import Method, RecordsHeader
from laconic.formats.audio_stream import StreamResampler
from laconic.formats.claims import check_claims, padded
from laconic.formats.container import Chunk, Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import (
    FormatError,
    LaconicError,
    LimitError,
    Limits,
    ModelError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import write_varint
from laconic.formats.image import Image, read_image
from laconic.formats.image_reader import ImageHeader
from laconic.formats.records import TEXT, DataHeader, DataKind, read_idx, read_npy, read_records

FILES = seeds()
NAMES = [name for name, _ in FILES]


@pytest.fixture(scope="module")
def store(rule_store: Path) -> Any:
    """A store with the tiny models that the golden files name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LACONIC_MODELS", str(rule_store))
        tiny_audio.install(rule_store, patch)
        tiny_audio.install(rule_store, patch, prior=False)
        prompt_models.install(rule_store)
        yield rule_store


def attacked(store: Path, seed: int, count: int, milliseconds: float) -> Attack:
    """A series of mutants of all files, none of which did anything that is not documented."""
    with pytest.MonkeyPatch.context() as patch, trusting():
        install(store, patch)
        attack = Attack(FILES + made(), seed, milliseconds)
        attack.run(count)
    assert not attack.wrong
    return attack


def test_seven_thousand_mutants_with_right_checksums_give_documented_errors(store: Path) -> None:
    counts = attacked(store, 1, 7_000, milliseconds=0.5).counts
    assert counts["mutants"] == 7_000
    for kind in {name.partition("/")[0] for name, _ in FILES}:
        assert sum(counts[key] for key in counts if key.startswith(f"{kind} decod")) > 1, kind


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(3, 13))
def test_a_million_mutants_with_right_checksums_give_documented_errors(
    seed: int, store: Path
) -> None:
    attacked(store, seed, 100_000, milliseconds=2)


def stored(payload: bytes, rows: int = 1, columns: int = 1, dtype: int = TEXT) -> bytes:
    kind = DataKind.TABLE if dtype == TEXT else DataKind.ARRAY
    data = DataHeader(kind, rows, (columns,), dtype).pack()
    header = Header(Media.DATA, 3, 1, b"", 1, data, RecordsHeader(Method.STORED, 1, 1, 0).pack())
    return Container(header, [Segment(payload, 0)]).to_bytes()


def refused(data: bytes, kind: type[Exception] = LimitError, match: str = ".") -> None:
    """Decoding fails at once, without memory."""
    peak = Peak()
    peak.reset()
    with pytest.raises(kind, match=match):
        codec.decode(data)
    assert peak.above() < 64 << 20


@pytest.mark.parametrize("claimed", [1 << 30, 1 << 28, 1 << 26])
def test_stored_records_that_unpack_to_gigabytes_are_refused(claimed: int) -> None:
    bomb = bz2.compress(bytes(1 << 20), 9)
    refused(stored(b"\2" + write_varint(claimed) + bomb), match="claim to unpack")


def test_a_stored_array_has_the_size_that_its_header_promises() -> None:
    bomb = b"\2" + write_varint(1 << 20) + bz2.compress(bytes(1 << 20), 9)
    refused(stored(bomb, rows=10, columns=2, dtype=0), FormatError, "expected 20")


def own(model: bytes, rows: int, columns: int) -> bytes:
    data = DataHeader(DataKind.ARRAY, rows, (columns,), 0).pack()
    header = Header(Media.DATA, 3, 1, b"", 1, data, RecordsHeader(Method.OWN, rows, 1, 0).pack())
    return Container(header, [Segment(write_varint(len(model)) + model, 0)]).to_bytes()


def test_schemas_that_unpack_to_gigabytes_are_refused() -> None:
    schema = b"\2" + write_varint(1 << 28) + bz2.compress(bytes(1 << 20), 9)
    refused(own(write_varint(len(schema)) + schema, 100, 10), match="the list of columns")


@pytest.mark.parametrize("states", [64, 1024])
def test_circuits_whose_tables_are_too_large_for_their_bytes_are_refused(states: int) -> None:
    columns = 4000
    field = bytes([0, 1]) + bytes(8) + write_varint(2)  # PLAIN, two symbols
    schema = b"\0" + write_varint(len(field) + 2) + write_varint(columns) + field
    tree = b"\0" + b"\2" * (columns - 1) + b"\2" * columns
    numbers = [columns, states, 8, 8, 32, 64, 100, 2 * len(tree)]
    circuit = b"".join(map(write_varint, numbers)) + tree
    refused(own(write_varint(len(schema)) + schema + circuit, 100, columns))


def picture(width: int, height: int, codec_id: int, private: bytes, model: str = "") -> bytes:
    head = ImageHeader(width, height).pack()
    header = Header(Media.IMAGE, codec_id, 1, bytes.fromhex(model), 3, head, private)
    return Container(header, [Segment(b"\1\2\3", 0)]).to_bytes()


@pytest.mark.parametrize("side", [4096, 8192, 16320])
def test_pictures_of_one_huge_tile_are_refused_with_a_sentence_that_fits(side: int) -> None:
    model = models.find("mlic-small").id
    data = picture(side, side, 1, bytes([1, 244, side // 64]), model)
    refused(data, match="tiles of|claim to unpack")


def test_small_files_that_claim_huge_media_are_refused() -> None:
    refused(picture(16384, 16384, 2, bytes([1, 8, 0])), match="an image of 16384 x 16384")
    refused(stored(b"\0\0", rows=1 << 28), match="records of")
    film = next(c for n, c in FILES if n.startswith("hnerv-1/motion"))
    media = write_varint(16384) * 2 + film.header.media_header[2:]
    header = Header(Media.VIDEO, 6, 1, b"", film.header.numerics, media, film.header.codec_header)
    with pytest.raises(LaconicError):
        codec.decode(Container(header, film.segments).to_bytes())


@pytest.mark.parametrize(("kind", "form"), [(0, "WEBP"), (1, "PNG")])
def test_a_picture_file_larger_than_its_header_says_is_refused_before_it_is_unpacked(
    kind: int, form: str
) -> None:
    inside = io.BytesIO()
    Pillow.new("RGB", (2000, 1000)).save(inside, form, **({"lossless": True} if kind == 0 else {}))

    with pytest.raises(FormatError) as refusal:
        decode_file(bytes([kind]) + inside.getvalue(), (8, 9, 3), 8, False, Limits())

    assert isinstance(refusal.value.__cause__, LimitError)


def test_blank_pictures_and_constant_tables_are_decoded_with_the_usual_limits() -> None:
    blank = picture(5000, 7000, 2, bytes([1, 8, 0]))
    with pytest.raises(LimitError, match="claim to unpack"):
        check_claims(ContainerReader(blank))
    data = padded(blank)
    check_claims(ContainerReader(data))
    assert len(data) < 6000
    assert list(ContainerReader(data)) == list(ContainerReader(blank))
    zeros = np.zeros((20_000, 150), np.uint8)
    assert (codec.decode(codec.encode(zeros, codec="records")) == zeros).all()


@pytest.mark.parametrize(("name", "source"), FILES, ids=NAMES)
def test_a_header_of_another_medium_is_damage_for_every_call(
    name: str, source: Container, store: Path
) -> None:
    for media in Media:
        if media == source.header.media:
            continue
        header = Header(**{**source.header.__dict__, "media": media})
        data = Container(header, source.segments, source.chunks).to_bytes()
        for call in (codec.decode, codec.verify, codec.probe, codec.open):
            with pytest.raises(FormatError, match=r"the file is damaged|checksum|damaged"):
                call(data)


def rewritten(folder: Path, name: str, **about: Any) -> Path:
    """A copy of the shipped model with other metadata."""
    info = models.find("mlic-small")
    facts = {**info.to_dict(), "name": name, **about}
    facts = {
        k: facts[k] for k in ("name", "id", "codec", "config", "numerics", "parameters", "training")
    }
    path = folder / f"{name}.safetensors"
    save_file(load_file(info.path), path, {"laconic": about.get("raw") or json.dumps(facts)})
    return path


def test_one_bad_file_in_the_store_is_skipped_and_named_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    raw = json.dumps(
        {"name": "x", "id": "0" * 12, "codec": "mlic", "config": {}, "numerics": 2, "training": {}}
    )
    rewritten(tmp_path, "infinite", raw=raw[:-1] + ', "parameters": 1e999}')
    rewritten(
        tmp_path, "deep", raw=raw[:-1] + ', "parameters": 1, "x":' + "[" * 9000 + "]" * 9000 + "}"
    )
    rewritten(tmp_path, "list", raw="[]")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 9)

    assert "mlic-small" in [m.name for m in models.list_models()]
    assert len(models.unreadable()) == 4
    for name in ("infinite", "deep", "list", "cut"):
        with pytest.raises(ModelError, match=name):
            models.find(name)
        with pytest.raises(ModelError, match=name):
            models.find(str(tmp_path / f"{name}.safetensors"))
    with pytest.raises(ModelError, match=r"unreadable are .*deep.safetensors"):
        models.find("nothing")


@pytest.mark.parametrize(
    "change",
    [
        {"heads": 0}, {"heads": 3}, {"luma": "x"}, {"luma": 1e8}, {"luma": 8000}, {"luma": None},
        {"window": 1e9}, {"window": 10**9}, {"scale_count": 10**9}, {"scale_low": -1},
        {"slices": [0]}, {"slices": "16"}, {"slices": [64] * 4000}, {"encoder_blocks": 10**6},
        {"hidden": [[[]]]}, {"attention": 7},
    ],
    ids=str,
)  # fmt: skip
def test_models_of_hostile_configurations_are_refused_before_they_are_built(
    change: dict[str, Any], tmp_path: Path
) -> None:
    from laconic.codec.image.codec import read_mlic

    info = models.find("mlic-small")
    path = models.write_model(
        tmp_path / "m.safetensors",
        name="m",
        codec="mlic",
        config={**info.config, **change},
        numerics=info.numerics,
        tensors=models.read_tensors(info),
        training={},
    ).path
    peak = Peak()
    peak.reset()
    with pytest.raises(ModelError):
        read_mlic(models.read_info(path))
    assert peak.above() < MEMORY


@pytest.mark.parametrize("kind", ["nan", "integers", "missing", "tables"])
def test_models_of_hostile_weights_are_refused(kind: str, tmp_path: Path) -> None:
    from laconic.codec.image.codec import read_mlic

    info = models.find("mlic-small")
    tensors = dict(models.read_tensors(info))
    first = next(k for k in tensors if not k.startswith("tables"))
    if kind == "nan":
        tensors[first] = np.full_like(tensors[first], np.nan)
    elif kind == "integers":
        tensors[first] = np.ones(tensors[first].shape, np.int64)
    elif kind == "missing":
        del tensors[first]
    else:
        tensors["tables.freqs"] = -tensors["tables.freqs"]
    made = models.write_model(
        tmp_path / "m.safetensors", name="m", codec="mlic", config=info.config,
        numerics=info.numerics, tensors=tensors, training={},
    )  # fmt: skip
    with pytest.raises(ModelError):
        read_mlic(made)


@pytest.mark.parametrize(
    "head", ["(" * 5000, "{'descr': '|u1', 'shape': (" + "(" * 5000, "[" * 900]
)
def test_headers_of_npy_files_are_parsed_in_bounded_depth(head: str) -> None:
    body = head.encode().ljust(9990) + b"\n"
    with pytest.raises(FormatError, match="npy"):
        read_npy(b"\x93NUMPY\1\0" + len(body).to_bytes(2, "little") + body)


@pytest.mark.parametrize("dimensions", [10, 33, 255])
def test_idx_files_of_many_dimensions_are_refused(dimensions: int) -> None:
    data = bytes([0, 0, 8, dimensions]) + b"\0\0\0\1" * dimensions + b"\7"
    with pytest.raises(UnsupportedError, match="dimensions"):
        read_idx(data)


def test_compressed_tables_that_unpack_to_too_much_are_refused_early() -> None:
    bomb = gzip.compress(b"1,2\n" * (1 << 21), 9)
    peak = Peak()
    peak.reset()
    with pytest.raises(LimitError):
        read_records(bomb, Limits(free=1 << 20, expansion=16))
    assert peak.above() < 64 << 20
    with pytest.raises(LimitError, match="cells"):
        read_records(b"1,2\n" * 1000, Limits(cells=100))


@pytest.mark.parametrize("line", [b"1,2\n", b"\n", b"1\t\t\t\t2\r\n", b"," * 999 + b"\n"])
def test_compressed_tables_of_more_cells_than_memory_should_hold_are_refused_early(
    line: bytes,
) -> None:
    bomb = gzip.compress(line * (3_000_000 // max(1, line.count(b",") + line.count(b"\t"))), 9)
    peak = Peak()
    peak.reset()
    with pytest.raises(LimitError, match="unpack it first"):
        read_records(bomb)
    assert peak.above() < 64 << 20
    honest = b"a,b\n" + b"".join(b"%d,%d\n" % (n * n, n % 7) for n in range(20_000))
    assert read_records(gzip.compress(honest)).original() == honest


@pytest.mark.parametrize("call", [codec.encode, codec.decode, codec.probe, codec.verify])
def test_a_zero_byte_in_a_path_is_a_wrong_argument(call: Any) -> None:
    with pytest.raises(ParameterError, match="zero byte"):
        call("a\0b.png")
    with pytest.raises(ParameterError, match="zero byte"):
        call(Path("a\0b.csv"))


@pytest.mark.parametrize(
    "junk", [b"", b"junk", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_junk_in_the_metadata_of_a_good_picture_is_left_out_with_a_note(junk: bytes) -> None:
    from laconic.formats.image_writer import png16

    pixels = np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * 1000
    data = png16(Image(pixels=pixels, bit_depth=16))
    if junk:
        crc = zlib.crc32(b"eXIf" + junk)
        chunk = struct.pack(">I4s", len(junk), b"eXIf") + junk + struct.pack(">I", crc)
        data = data[:33] + chunk + data[33:]
    found = read_image(data)
    assert (found.pixels == pixels).all()
    assert found.exif is None
    assert bool(found.notices) == bool(junk)


def test_a_chunk_of_junk_does_not_keep_a_picture_from_being_written() -> None:
    source = next(c for n, c in FILES if n == "photo-1/photo-dot")
    chunks = [Chunk(kind, b"\xff" * 20) for kind in (b"eXIf", b"xMPd")]
    decoded = codec.decode(Container(source.header, source.segments, chunks).to_bytes())
    from laconic.formats.image_writer import FORMATS, to_bytes

    for kind in sorted(set(FORMATS.values())):
        data, _ = to_bytes(decoded, kind)
        assert data


def test_segments_behind_the_end_of_a_sound_are_damage(store: Path) -> None:
    source = next(c for n, c in FILES if n == "semanticodec-1/streamed")
    data = Container(source.header, [*source.segments, *source.segments]).to_bytes()
    with pytest.raises(FormatError, match="behind the audio's end"):
        codec.decode(data)


@pytest.mark.parametrize("rates", [(16000, 48000), (16000, 8000), (16000, 16000)])
def test_no_samples_are_resampled_to_no_samples(rates: tuple[int, int]) -> None:
    resampler = StreamResampler(2, *rates)
    assert resampler.push(np.zeros((2, 0), np.float32)).shape == (2, 0)
    resampler.push(np.ones((2, 4000), np.float32))
    resampler.push(np.zeros((2, 0), np.float32))
