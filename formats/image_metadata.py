"""What image files say beside their samples, taken from Pillow and given back to it.

Kept are the colour profile, descriptive EXIF with maker notes, XMP, IPTC, texts (of PNG, comments
of JPEG and GIF) and dots per inch. EXIF tags that describe how the source stored its samples are
left out: in a file of another layout they are wrong, and TIFF cannot be written with them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, PngImagePlugin
from PIL import Image as Pillow

from laconic.formats.frame import pack_tags, read_tags

MAKER_NOTE = 37500
ORIENTATION = int(ExifTags.Base.Orientation)
PROFILE, XMP, IPTC, PHOTOSHOP = 34675, 700, 33723, 34377
# Layout of samples in the file, and what is kept in places of its own.
STRUCTURAL = frozenset({
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288,
    289, 290, 291, 292, 293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333,
    334, 336, 337, 338, 339, 340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529,
    530, 531, 532, 559, PROFILE, XMP, IPTC, PHOTOSHOP,
})  # fmt: skip
IPTC_RESOURCE = 0x0404  # of Photoshop's resources in a JPEG
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError,
    RuntimeError, ArithmeticError, struct.error,
)  # fmt: skip


@dataclass
class Metadata:
    """See the module; ``density`` is dots per inch across and down."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)
    density: tuple[float, float] | None = None
    notices: list[str] = field(default_factory=list)


def orientation_of(opened: Pillow.Image) -> int:
    """1 to 8; 1 where the EXIF data cannot be read."""
    try:
        return int(opened.getexif().get(ORIENTATION, 1) or 1)
    except _BROKEN:
        return 1


def metadata_of(opened: Pillow.Image, *, exif: bool = True) -> Metadata:
    """Everything that an open image says; what cannot be read leaves a notice. With ``exif`` the
    image's own tags are changed: it must have been turned before."""
    about, info = Metadata(), opened.info
    about.icc = _bytes(info.get("icc_profile"))
    about.xmp = _bytes(info.get("xmp") or info.get("XML:com.adobe.xmp"))
    about.iptc = _iptc(opened)
    about.density = density_of(info.get("dpi"))
    for name, value in _texts(opened).items():
        if name.lower() not in ("xml:com.adobe.xmp", "raw profile type iptc"):
            about.texts[name] = value
    if read_tags(pack_tags(about.texts)) != about.texts:
        about.texts = read_tags(pack_tags(about.texts))
        about.notices.append("texts beyond 64 KiB were left out")
    if not exif:
        return about
    try:
        tags = opened.getexif()
    except _BROKEN as error:
        about.notices.append(f"the EXIF data is damaged and was left out: {error}")
        return about
    raw = _bytes(info.get("exif"))
    if raw and not tags:
        about.notices.append("the EXIF data is damaged and was left out")
    elif tags:
        about.exif, notice = _descriptive(tags, raw, turned=True)
        about.notices += [notice] if notice else []
    return about


def stored_tags(exif: Pillow.Exif | bytes | None) -> tuple[bytes | None, str]:
    """The descriptive tags of EXIF in memory, with the orientation and maker notes, and a notice
    where they cannot be kept. ``exif`` itself stays as it is."""
    if not exif:
        return None, ""
    try:
        raw = exif if isinstance(exif, bytes) else _whole(exif)
        tags = Pillow.Exif()
        tags.load(raw)
    except _BROKEN as error:
        return None, f"the EXIF data is damaged and was left out: {error}"
    return _descriptive(tags, raw)


def _whole(exif: Pillow.Exif) -> bytes:
    """EXIF as bytes; Pillow takes maker notes out of it and would not write them."""
    inner = exif.get_ifd(ExifTags.IFD.Exif) if int(ExifTags.IFD.Exif) in exif else {}
    note = getattr(exif, "_hidden_data", {}).get(MAKER_NOTE)
    if not note or MAKER_NOTE in inner:
        return exif.tobytes()
    inner[MAKER_NOTE] = note
    try:
        return exif.tobytes()
    finally:
        del inner[MAKER_NOTE]


def descriptive(data: bytes | None) -> bytes | None:
    """EXIF bytes without structural tags; None if nothing is left or it cannot be read."""
    if not data:
        return None
    exif = Pillow.Exif()
    try:
        exif.load(data)
    except _BROKEN:
        return None
    return _descriptive(exif, data)[0] if exif else None


def _descriptive(
    exif: Pillow.Exif, raw: bytes | None, *, turned: bool = False
) -> tuple[bytes | None, str]:
    """The bytes as they were if nothing has to go, else written again; the orientation of a
    image that has been ``turned`` becomes upright."""
    try:
        present = set(exif)
        upright = exif.get(ORIENTATION, 1) == 1 or not turned
        if raw and not present & STRUCTURAL and upright:
            return raw, ""
        for tag in present & STRUCTURAL:
            del exif[tag]
        if not upright:
            exif[ORIENTATION] = 1
        if int(ExifTags.IFD.Exif) in exif:
            inner = exif.get_ifd(ExifTags.IFD.Exif)
            note = getattr(exif, "_hidden_data", {}).get(MAKER_NOTE)  # Pillow takes it out
            if note:
                inner[MAKER_NOTE] = note
        return (exif.tobytes() if len(exif) else None), ""
    except _BROKEN as error:
        return None, f"the EXIF data cannot be written again and was left out: {error}"


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) and value else None


def _texts(opened: Pillow.Image) -> dict[str, str]:
    found: dict[str, Any] = {}
    if opened.format == "LACONIC":
        found = dict(getattr(opened, "text", {}))
    elif isinstance(opened, PngImagePlugin.PngImageFile):
        found = {k: v for k, v in opened.info.items() if isinstance(k, str) and type(v) in _TEXT}
    comment = opened.info.get("comment")
    if isinstance(comment, bytes):
        comment = comment.rstrip(b"\0").decode("utf-8", "replace")
    if isinstance(comment, str) and comment:
        found["Comment"] = comment
    return {str(k): str(v) for k, v in found.items()}


_TEXT = (str, PngImagePlugin.iTXt)


def density_of(value: Any) -> tuple[float, float] | None:
    """Dots per inch across and down, where a value is that."""
    try:
        across, down = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 < across < 1e6 and 1 < down < 1e6 else None


def _iptc(opened: Pillow.Image) -> bytes | None:
    stored = opened.info.get("photoshop")
    if isinstance(stored, dict):
        return _bytes(stored.get(IPTC_RESOURCE))
    tags = getattr(opened, "tag_v2", None)
    if tags is None:
        return None
    try:
        value = tags.get(IPTC)
    except _BROKEN:
        return None
    if isinstance(value, tuple):  # some writers call the bytes long integers
        value = b"".join(int(v).to_bytes(4, "little") for v in value)
    return _bytes(value)


def save_options(about: Metadata, kind: str) -> tuple[dict[str, Any], list[str]]:
    """Keywords for ``Image.save`` that keep what a format can hold, and what it cannot."""
    options: dict[str, Any] = {}
    lost: list[str] = []

    def put(name: str, value: Any, kinds: str, **keywords: Any) -> None:
        if value and kind in kinds.split():
            options.update(keywords)
        elif value:
            lost.append(name)

    exif = descriptive(about.exif)
    if about.exif and exif is None:
        lost.append("EXIF (damaged)")
    put("the colour profile", about.icc, "PNG JPEG WEBP AVIF TIFF", icc_profile=about.icc)
    put("EXIF", exif, "PNG JPEG WEBP AVIF TIFF", exif=exif)
    put("dots per inch", about.density, "PNG JPEG TIFF BMP", dpi=about.density)
    put("XMP", about.xmp, "PNG JPEG WEBP AVIF TIFF", xmp=about.xmp)
    put("IPTC", about.iptc, "JPEG TIFF", extra=_app13(about.iptc or b""))
    comment = about.texts.get("Comment", "")
    put("texts", about.texts, "PNG" if set(about.texts) != {"Comment"} else "PNG JPEG GIF",
        comment=comment.encode())  # fmt: skip
    if kind == "PNG":
        options.pop("xmp", None)
        options.pop("comment", None)
        options["pnginfo"] = _png_texts(about)
    if kind == "TIFF":
        options.pop("extra", None)
        tags = {XMP: about.xmp, IPTC: about.iptc}
        _as_tags(options, {k: v for k, v in tags.items() if v})
    return options, lost


def _as_tags(options: dict[str, Any], tags: dict[int, bytes]) -> None:
    """Pillow writes these only as tags of its own directory, beside those of EXIF."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory.tagtype[tag] = 1 if tag == XMP else 7
        directory[tag] = value
    exif = options.pop("exif", None)
    options.pop("xmp", None)
    if exif:
        whole = Pillow.Exif()
        whole.load(exif)
        for tag, value in whole.items():
            directory[tag] = value
        for pointer in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            inner = whole.get_ifd(pointer)
            note = getattr(whole, "_hidden_data", {}).get(MAKER_NOTE)
            if note and pointer == ExifTags.IFD.Exif:
                inner = {**inner, MAKER_NOTE: note}
            if inner:
                directory[int(pointer)] = dict(inner)
    options["tiffinfo"] = directory


def _png_texts(about: Metadata) -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    for name, value in about.texts.items():
        key = name.encode("latin-1", "replace").decode("latin-1")[:79].strip() or "Comment"
        texts.add_itxt(key, value.replace("\0", " "))
    if about.xmp:
        texts.add_itxt("XML:com.adobe.xmp", about.xmp.decode("utf-8", "replace"))
    return texts


def _app13(iptc: bytes) -> bytes:
    """A JPEG segment with Photoshop's resource of IPTC."""
    body = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc
    body += b"\0" * (len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body if len(body) < 65534 else b""
