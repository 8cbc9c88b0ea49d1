"""A reader of ``.lac`` files written from formats/SPEC.md alone; shares no code with the
project."""

import struct
import zlib


class Bad(Exception):
    """The file does not follow the specification."""


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise Bad("truncated")
        self.at += n
        return self.data[self.at - n : self.at]

    def varint(self):
        value = 0
        for i in range(5):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if byte == 0 and i:
                    raise Bad("not the shortest form")
                return value
        raise Bad("too long a number")

    def chunks(self):
        found = []
        for _ in range(self.varint()):
            kind = self.take(4)
            if not kind.isalpha():
                raise Bad("chunk type")
            found.append((kind, self.take(self.varint())))
        return found


def read(data):
    """``(header fields, [(check, payload)], [(type, data)])`` of a file."""
    c = Cursor(data)
    if c.take(6) != b"\x8fLAC\r\n":
        raise Bad("signature")
    kind, flags, codec = c.take(3)
    number, version = codec >> 4, codec & 15
    if number == 0:
        if version:
            raise Bad("codec")
        number, version = c.varint(), c.varint()
        if 1 <= number <= 15 and version <= 15:
            raise Bad("codec is not in its shortest form")
    if kind >> 4 != 1 or not 1 <= kind & 15 <= 4 or flags & 3 == 3:
        raise Bad("version, kind or layout")
    header = {
        "media": kind & 15,
        "numerics": flags >> 4,
        "codec": number,
        "codec_version": version,
        "model": c.take(6) if flags & 4 else b"",
    }
    lengths = c.take(1)[0]
    media, private = lengths >> 4, lengths & 15
    media += c.varint() if media == 15 else 0
    private += c.varint() if private == 15 else 0
    header["media_header"], header["codec_header"] = c.take(media), c.take(private)
    announced = c.varint() if flags & 3 == 1 else None
    chunks = c.chunks() if flags & 8 else []
    if flags & 3 == 0:
        rest = len(data) - c.at - 4
        width = 4 if rest - 4 > 65536 else 2
        check = int.from_bytes(c.take(width), "big")
        payload = c.take(rest - width)
        if struct.unpack(">I", c.take(4))[0] != zlib.crc32(data[:-4]):
            raise Bad("checksum")
        return header, [(check, payload)], chunks
    base = zlib.crc32(data[: c.at])
    if struct.unpack(">I", c.take(4))[0] != base:
        raise Bad("header checksum")
    segments, offsets = [], []
    while True:
        offsets.append(c.at)
        length = c.varint() - 1
        if length < 0:
            break
        body = c.take((4 if length > 65536 else 2) + length)
        seed = zlib.crc32(struct.pack(">II", base, len(segments)))
        if struct.unpack(">I", c.take(4))[0] != zlib.crc32(body, seed):
            raise Bad("segment checksum")
        width = len(body) - length
        segments.append((int.from_bytes(body[:width], "big"), body[width:]))
    start = offsets.pop()
    if c.varint() != len(segments) or announced not in (None, len(segments)):
        raise Bad("count")
    tail_chunks = c.chunks()
    if any(kind[:1].isupper() for kind, _ in tail_chunks):
        raise Bad("critical chunk in the tail")
    place = 0
    for number in range(16, len(segments), 16):
        place += c.varint()
        if place != offsets[number]:
            raise Bad("index")
    tail = data[start : c.at]
    end = c.take(8)
    state = zlib.crc32(end[:4], zlib.crc32(tail, zlib.crc32(struct.pack(">I", base))))
    if struct.unpack(">II", end) != (len(tail), state) or c.at != len(data):
        raise Bad("tail")
    return header, segments, chunks + tail_chunks
