"""The codec of tables and arrays: exact round trips, random access, sizes, and bad input."""

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import awkward, clustered, digits, table

from laconic import codec
from laconic.codec.lossless.circuits import em
from laconic.codec.lossless.circuits.tree import HCLT
from laconic.codec.lossless.records import training
from laconic.codec.lossless.records.schema import Method, RecordsHeader
from laconic.codec.lossless.records.training import fit
from laconic.formats import Container, ContainerReader
from laconic.formats.errors import FormatError, LaconicError, LimitError, Limits, ParameterError
from laconic.formats.records import read_idx, write_idx
from laconic.formats.table import Table, split


@pytest.fixture(scope="module")
def text() -> bytes:
    return table(300)


@pytest.fixture(scope="module")
def coded(text: bytes) -> bytes:
    return codec.encode(Table(text), block=75)


def method_of(data: bytes) -> Method:
    return RecordsHeader.unpack(ContainerReader(data).header.codec_header).method


def round_trip(source: Any, **options: Any) -> Any:
    return codec.decode(codec.encode(source, codec="records", **options))


def test_a_table_comes_back_byte_for_byte(text: bytes, coded: bytes) -> None:
    decoded = codec.decode(coded)

    assert decoded.text == text
    assert method_of(coded) == Method.OWN
    assert decoded["age"].dtype == np.int64
    assert decoded["city"][0] in ("Rome", "Oslo", "Paris, FR", "Lima")


def test_a_table_is_smaller_than_with_general_methods() -> None:
    text = table(3000)
    best = min(len(bz2.compress(text, 9)), len(lzma.compress(text, preset=9)))

    assert len(codec.encode(Table(text))) < 0.8 * best


def test_blocks_of_rows_are_decoded_on_their_own(text: bytes, coded: bytes) -> None:
    lines = text.split(b"\n")
    with codec.open(coded) as file:
        assert len(file) == 4
        for first, end in [(0, 1), (74, 76), (160, 165), (299, 300), (10, 10), (0, 300)]:
            found = file.rows(first, end).text
            assert found == b"\n".join([lines[0], *lines[1 + first : 1 + end], b""])


def test_rows_need_only_their_blocks(coded: bytes, text: bytes) -> None:
    container = Container.from_bytes(coded)
    reader = ContainerReader(coded)
    touched: list[int] = []
    original = reader.__class__.__getitem__

    class Watched(ContainerReader):
        def __getitem__(self, number: int) -> Any:
            touched.append(number)
            return original(self, number)

    from laconic.codec.base import DecodeSettings

    codec.registry.get("records").decode(Watched(coded), DecodeSettings(rows=(155, 160)))

    assert sorted(set(touched)) == [0, 2]
    assert len(container.segments) == 4


@pytest.mark.parametrize(
    "text",
    [
        b"a,b\n1,2\n",
        b"a,b\r\n1,2\r\n3,4",
        b"a;b\n1;x\n2;y\n" * 30,
        b"x\n" * 50,
        b"\n",
        b",,\n,,\n",
        b'a,b\n"1","x"\n"2","y, ""z"""\n' * 20,
        b'a,b\n"multi\nline",2\n' + b"c,3\n" * 20,
        b"a,b\n" + b"007,1e3\n-0,+1\n1.50,.5\n" * 20,
        b"a,b\n1,2,3\n" + b"1,2\n" * 40 + b"\n\n",
        b"\xff\xfe,\x80\n" * 20,
        b'a,"b\n' + b"1,2\n" * 20,
        b"id,v\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(300)),
        b"v,w\n" + b"".join(b"%d,%d.%02d\n" % (-n, n % 7, n % 100) for n in range(300)),
        b"n\n" + b"".join(b"%d\n" % (2**59 + n) for n in range(50)),
        b"n\n" + b"".join(b"%d\n" % (2**62 + n) for n in range(50)),
        "tab\tünïcode\nä\tö\n".encode() * 30,
        b"a,b\n" + b"\r\n".join([b"1,2"] * 9),
    ],
)
def test_odd_tables_come_back_byte_for_byte(text: bytes) -> None:
    assert split(text).join() == text
    assert round_trip(Table(text)).text == text


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.integers(-(2**63), 2**63).map(str),
                st.sampled_from(["", "x", '"q"', '"a,b"', "1.5", "-0.25", "é", "null", '"', "\r"]),
            ),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_text_that_is_taken_apart_comes_back(
    rows: list[list[str]], newline: str, ends: bool
) -> None:
    text = (newline.join(map(",".join, rows)) + (newline if ends else "")).encode()
    if not text:
        return
    try:
        parts = split(text)
    except FormatError:
        return
    assert parts.join() == text


def test_a_folder_of_columns_becomes_a_table() -> None:
    made = Table.from_columns({"n": np.arange(40), "t": ["a", None] * 20})

    assert round_trip(made)["n"].tolist() == list(range(40))
    with pytest.raises(ParameterError, match="equal length"):
        Table.from_columns({"a": [1], "b": [1, 2]})


@pytest.mark.parametrize("states", [1, 2, 8])
@pytest.mark.parametrize("block", [None, 64])
def test_arrays_come_back(states: int, block: int | None) -> None:
    array = digits(300)

    data = codec.encode(array, codec="records", states=states, block=block)

    decoded = codec.decode(data)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, array)
    np.testing.assert_array_equal(codec.decode(data, rows=(60, 70)), array[60:70])
    assert codec.verify(data).symbols > 0


def test_dependent_arrays_are_smaller_than_with_general_methods() -> None:
    array = clustered()

    best = min(len(bz2.compress(array.tobytes(), 9)), len(lzma.compress(array.tobytes())))
    assert len(codec.encode(array, codec="records", states=8)) < 0.8 * best


def random_arrays(count: int, seed: int) -> None:
    for n in range(count):
        array = awkward(np.random.default_rng([seed, n]))
        decoded = round_trip(array, states=1 + n % 3, verify=False)
        assert decoded.dtype == array.dtype
        assert decoded.shape == array.shape
        np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize(("rows", "columns"), [(8, 400), (20, 3000), (31, 700), (40, 500)])
def test_what_few_records_cannot_teach_is_not_searched_for(
    rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    monkeypatch.setattr(em, "expected_counts", lambda *all: passes.append(1))
    noise = np.random.default_rng(rows).integers(0, 9, (rows, columns)).astype(np.uint8)

    fitted = fit(noise, (9,) * columns)

    assert not passes
    assert fitted.compact.totals.shape == (columns, 1)
    assert (round_trip(noise) == noise).all()


@pytest.mark.parametrize(("rows", "repeats"), [(40, 6), (100, 3)])
def test_few_records_of_dependent_columns_are_still_learned_from(rows: int, repeats: int) -> None:
    r = np.random.default_rng(rows)
    array = r.integers(0, 5, (rows, 30)).repeat(repeats, axis=1).astype(np.uint8)
    alone = codec.encode(np.ascontiguousarray(array[:, ::repeats]), codec="records")

    data = codec.encode(array, codec="records")

    assert (codec.decode(data) == array).all()
    assert len(data) < 0.75 * repeats * len(alone)


def test_wide_tables_are_passed_over_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    counted = em.expected_counts

    def counting(circuit: HCLT, *rest: Any) -> em.Counts:
        found.append(circuit.variables)
        return counted(circuit, *rest)

    monkeypatch.setattr(em, "expected_counts", counting)
    r = np.random.default_rng(0)
    monkeypatch.setattr(training, "VISITS", 1 << 12)
    for columns in (10, 200):
        fit(r.integers(0, 2, (400, columns)), (2,) * columns, states=2)
    assert found.count(10) > 90
    assert found.count(200) < 30


def test_random_and_adversarial_arrays_come_back() -> None:
    random_arrays(500, 1)


@pytest.mark.fuzz
def test_ten_thousand_random_and_adversarial_arrays_come_back() -> None:
    random_arrays(10_000, 2)


def test_wide_numbers_use_bins_and_steps() -> None:
    rng = np.random.default_rng(0)
    smooth = np.round(rng.normal(0, 1e9, 2000)).astype(np.int64)
    rising = np.cumsum(rng.integers(0, 1000, 2000)) + 2**40
    array = np.stack([smooth, rising], axis=1)

    data = codec.encode(array, codec="records")

    np.testing.assert_array_equal(codec.decode(data), array)
    assert len(data) < 2000 * (32.2 + 11) / 8  # entropies of 32.0 and 10 bits


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, 2), np.complex64), "complex64"),
        (np.array(3), "no dimension"),
        (np.zeros((2,) * 9, np.uint8), "dimensions"),
        (np.full((9, 1), 2**62, np.int64) + np.arange(9)[:, None], "2\\^60"),
        (np.array(["a"]), "whole numbers"),
    ],
)
def test_arrays_that_cannot_be_coded_are_refused(array: np.ndarray, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        codec.encode(array, codec="records")


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (1,), (1, 1, 1)])
def test_empty_and_tiny_arrays_come_back(shape: tuple[int, ...]) -> None:
    decoded = round_trip(np.zeros(shape, np.uint16))

    assert decoded.shape == shape
    assert decoded.dtype == np.uint16


def test_settings_of_other_codecs_are_refused(text: bytes) -> None:
    with pytest.raises(ParameterError, match="quality"):
        codec.encode(Table(text), quality=5)
    with pytest.raises(ParameterError, match="rows"):
        codec.decode(codec.encode(Table(text), states=1), region=(0, 0, 1, 1))
    with pytest.raises(FormatError, match="empty"):
        codec.encode(Table(b""))


def test_rows_outside_the_table_are_refused(coded: bytes) -> None:
    with pytest.raises(ParameterError, match="rows"):
        codec.decode(coded, rows=(700, 701))
    with pytest.raises(ParameterError, match="rows"):
        codec.decode(coded, rows=(5, 4))


def test_more_cells_than_the_limit_are_refused_from_the_header(coded: bytes) -> None:
    with pytest.raises(LimitError, match="cells"):
        codec.decode(coded, limits=Limits(cells=1000))
    with pytest.raises(LimitError, match="cells"):
        codec.encode(np.zeros((100, 20), np.uint8), codec="records", limits=Limits(cells=1000))


def test_every_prefix_is_refused(coded: bytes) -> None:
    for length in range(0, len(coded), 97):
        with pytest.raises(FormatError):
            codec.decode(coded[:length])


def with_segments(data: bytes, change: Any) -> bytes:
    """The file with changed payloads and right checksums of bytes."""
    container = Container.from_bytes(data)
    segments = [
        type(s)(bytes(change(n, bytearray(s.payload))), s.check)
        for n, s in enumerate(container.segments)
    ]
    return Container(container.header, segments).to_bytes()


@pytest.mark.parametrize("source", ["table", "array"])
def test_mutated_payloads_never_decode_silently(source: str, coded: bytes) -> None:
    data = coded if source == "table" else codec.encode(digits(80), codec="records", states=3)
    expected = codec.decode(data)
    rng = np.random.default_rng(3)

    def flip(number: int, payload: bytearray) -> bytearray:
        if number == target:
            payload[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
        return payload

    for trial in range(40):
        target = trial % len(Container.from_bytes(data).segments)
        try:
            decoded = codec.decode(with_segments(data, flip))
        except LaconicError:
            continue
        same = decoded == expected if source == "table" else np.array_equal(decoded, expected)
        assert same


def test_mutated_headers_are_refused_or_harmless(coded: bytes) -> None:
    rng = np.random.default_rng(4)
    container = Container.from_bytes(coded)
    for _ in range(60):
        media = bytearray(container.header.media_header)
        private = bytearray(container.header.codec_header)
        chosen = media if rng.random() < 0.5 else private
        chosen[rng.integers(len(chosen))] = rng.integers(256)
        header = type(container.header)(
            **{
                **container.header.__dict__,
                "media_header": bytes(media),
                "codec_header": bytes(private),
            }
        )
        wrong = Container(header, container.segments).to_bytes()
        try:
            decoded = codec.decode(wrong, limits=Limits(cells=10**6))
        except LaconicError:
            continue
        assert decoded.text == codec.decode(coded).text


def test_idx_files_are_read_and_written(tmp_path: Path) -> None:
    array = digits(40)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(write_idx(array)))

    decoded = codec.decode(codec.encode(path, codec="records"))

    np.testing.assert_array_equal(decoded, array)
    np.testing.assert_array_equal(read_idx(write_idx(array.astype(np.int32))), array)
    with pytest.raises(FormatError, match="bytes"):
        read_idx(write_idx(array)[:-1])


def test_parquet_values_come_back() -> None:
    arrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    import io

    from pyarrow import parquet

    original = arrow.table({"n": list(range(50)), "t": ["a", None, "", "b,c", '"q"'] * 10})
    stream = io.BytesIO()
    parquet.write_table(original, stream)

    decoded = codec.decode(codec.encode(stream.getvalue(), codec="records"))

    from laconic.formats.parquet import write_frame

    assert parquet.read_table(io.BytesIO(write_frame(decoded, "parquet"))).equals(original)


def test_the_example_of_the_table_runs() -> None:
    import doctest

    from laconic.formats import table as module

    assert doctest.testmod(module).failed == 0
