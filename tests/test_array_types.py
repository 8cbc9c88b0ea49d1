"""Arrays of every type of number come back to the bit, in their byte order."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from laconic import codec
from laconic.formats.errors import ParameterError
from laconic.formats.records import default_format, read_records, write_records

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-8, -65504, 0.1]
RNG = np.random.default_rng(0)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def back(source: bytes) -> Any:
    records = read_records(source)
    decoded = codec.decode(codec.encode(records, codec="records"))
    kind = records.header.kind
    return np.load(io.BytesIO(write_records(kind, decoded, default_format(kind))))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "u2", "i4", "u8", "i8"])
@pytest.mark.parametrize("shape", [(5,), (70, 3), (64, 2, 2), (0, 4), (9, 0)])
def test_npy_of_every_type_and_byte_order_is_restored(
    order: str, kind: str, shape: tuple[int, ...]
) -> None:
    if kind[0] == "f":
        array = RNG.normal(size=shape).astype(order + kind)
        array.reshape(-1)[: len(SPECIAL)] = np.array(SPECIAL)[: array.size]
    else:
        array = RNG.integers(0, 100, shape).astype(order + kind)
    found = back(npy(array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_bits_of_nan_are_kept() -> None:
    bits = np.array([0x7FC00001, 0xFFC12345, 0x7F800001] * 40, "<u4")
    found = back(npy(bits.view("<f4")))
    assert found.view("<u4").tolist() == bits.tolist()


def test_rows_of_floats_are_decoded_alone() -> None:
    array = RNG.normal(size=(500, 2))
    data = codec.encode(array, codec="records", block=100)
    with codec.open(data) as file:
        assert (file.rows(150, 320) == array[150:320]).all()


def test_structured_arrays_are_refused_by_the_names_of_their_fields() -> None:
    array = np.zeros(3, [("mass", "<f4"), ("count", "<i2")])
    with pytest.raises(ParameterError, match=r"mass, count"):
        read_records(npy(array))


@pytest.mark.parametrize("kind", ["<f8", "<f4", "<f2", "|b1"])
def test_arrays_as_csv_keep_every_digit(kind: str) -> None:
    array = np.array([[0.1, 2.5], [1e-7, -3]]).astype(kind)
    text = write_records(read_records(npy(array)).header.kind, array, "csv").decode()
    rows = [[float(cell) for cell in line.split(",")] for line in text.splitlines()]
    assert (np.array(rows).astype(kind) == array).all()
