"""Variable-length unsigned integers: 7 bits a byte, least significant first, minimal, at most 5
bytes."""

from __future__ import annotations

from laconic.formats.errors import FormatError, ParameterError

MAX_BYTES = 5


def write_varint(value: int) -> bytes:
    """Bytes of ``value`` in 0..2^35 - 1.

    >>> write_varint(768).hex()
    '8006'
    """
    if not 0 <= value < 1 << 7 * MAX_BYTES:
        raise ParameterError(f"{value} does not fit a varint of {MAX_BYTES} bytes")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """``(value, next offset)``; raises ``FormatError`` when truncated, too long or not minimal.

    >>> read_varint(bytes.fromhex('8006'), 0)
    (768, 2)
    """
    value = 0
    for i in range(MAX_BYTES):
        if offset + i >= len(data):
            raise FormatError("the file ends inside a number: it is truncated")
        byte = data[offset + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if byte == 0 and i:
                raise FormatError(
                    "a number is not written in its shortest form: the file is damaged"
                )
            return value, offset + i + 1
    raise FormatError("a number is longer than 5 bytes: the file is damaged")
