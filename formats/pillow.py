"""Pillow plugin: importing this module teaches Pillow to open and save ``.lac`` images.

>>> import laconic.formats.pillow
>>> from PIL import Image
>>> Image.registered_extensions()[".lac"]
'LACONIC'

``Image.open("x.lac")`` and ``image.save("x.lac", quality=50)`` then work as for any other format;
``save`` takes the keywords of :func:`laconic.codec.encode`, and ``exif``, ``icc_profile``, ``xmp``,
``dpi`` and ``comment``, without which the image's own are kept. torch is imported when an image is
encoded or loaded. ``draft``, and with it ``thumbnail``, gives a half, quarter or eighth of the
size: of lossless files with a preview from that alone, a fraction of the work, while others are
decoded whole.
"""

from __future__ import annotations

from contextlib import suppress
from typing import IO, Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile

from laconic.formats.container import SIGNATURE, Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import LaconicError, ParameterError
from laconic.formats.image import Image
from laconic.formats.image_metadata import IPTC_RESOURCE
from laconic.formats.image_reader import ImageHeader, said_by
from laconic.formats.samples import from_pillow

FORMAT = "LACONIC"
ENCODE_OPTIONS = (
    "codec", "quality", "bpp", "target_bytes", "lossless", "effort", "model", "strip", "verify",
    "tile", "allow_conversion",
)  # fmt: skip


class LacImageFile(ImageFile.ImageFile):
    """A ``.lac`` image; the header is read at once, the samples on first use."""

    format = FORMAT
    format_description = "Laconic image"

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        try:
            reader = ContainerReader(self._data)
            if reader.header.media == Media.IMAGE:
                header = ImageHeader.unpack(reader.header.media_header)
        except LaconicError as error:
            raise OSError(str(error)) from error
        if reader.header.media != Media.IMAGE:
            raise SyntaxError(f"a .lac file of {reader.header.media.name.lower()}, no image")
        self._size = (header.width, header.height)
        base = "L" if header.channels == 1 else "RGB"
        self._mode = base + "A" if header.alpha else base
        if header.bit_depth == 16 and self._mode == "L":
            self._mode = "I;16"
        about = said_by(reader.chunks)
        blobs = {"icc_profile": about.icc, "exif": about.exif, "xmp": about.xmp}
        self.info.update({name: blob for name, blob in blobs.items() if blob})
        self.text = about.texts
        if "Comment" in about.texts:
            self.info["comment"] = about.texts["Comment"].encode()
        if about.density:
            self.info["dpi"] = about.density
        if about.iptc:
            self.info["photoshop"] = {IPTC_RESOURCE: about.iptc}
        self.tile = []
        self._shrink = 1

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Load an image no smaller than ``size`` instead; see :class:`PIL.Image.Image`."""
        if not self._data or size is None or self._shrink > 1 or self._mode == "I;16":
            return None
        width, height = self._size
        most = min(width // max(1, size[0]), height // max(1, size[1]))
        self._shrink = next(k for k in (8, 4, 2, 1) if k <= max(1, most))
        self._size = -(-width // self._shrink), -(-height // self._shrink)
        return self._mode, (0, 0, width / self._shrink, height / self._shrink)

    def _decoded(self) -> Image:
        from laconic import codec

        image: Image
        if self._shrink > 1:
            with suppress(ParameterError):  # no preview inside
                image = codec.preview(self._data)
                return image
        image = codec.decode(self._data)
        return image

    def load(self) -> Any:
        """Decode the samples; 16-bit colour is rounded to 8 bits, which is what Pillow holds."""
        if self._data:
            from laconic.formats.image_writer import _to_8

            try:
                image = self._decoded()
            except LaconicError as error:
                raise OSError(str(error)) from error
            pixels, alpha = image.pixels, image.alpha
            if image.bit_depth == 16 and self._mode != "I;16":
                pixels = _to_8(pixels)
                alpha = None if alpha is None else _to_8(alpha)
            if alpha is not None:
                pixels = np.concatenate((pixels, alpha[..., None]), -1)
            if pixels.shape[2] == 1:
                pixels = pixels[..., 0]
            pil = Pillow.fromarray(np.ascontiguousarray(pixels))
            self.im = (pil.reduce(self._shrink) if self._shrink > 1 else pil).im
            self._data = b""
        return super().load()


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


def _save(pil: Pillow.Image, fp: IO[bytes], filename: str | bytes) -> None:
    from laconic import codec

    given = pil.encoderinfo
    options = {k: given[k] for k in ENCODE_OPTIONS if k in given}
    try:
        image = from_pillow(
            pil, exif=given.get("exif"), icc=given.get("icc_profile"), xmp=given.get("xmp"),
            density=given.get("dpi"), comment=given.get("comment"),
        )  # fmt: skip
        data = codec.encode(image, **options)
    except LaconicError as error:
        raise OSError(f"the image cannot be saved as .lac: {error}") from error
    fp.write(data)


def _save_all(pil: Pillow.Image, fp: IO[bytes], filename: str | bytes) -> None:
    frames = len(pil.encoderinfo.get("append_images") or ()) + getattr(pil, "n_frames", 1)
    if frames > 1:
        raise OSError(
            f"the image cannot be saved as .lac: {frames} frames or pages were given, and a file"
            " has one: save each by itself, or encode animations as video (laconic encode)"
        )
    _save(pil, fp, filename)


Pillow.register_open(FORMAT, LacImageFile, _accept)
Pillow.register_save(FORMAT, _save)
Pillow.register_save_all(FORMAT, _save_all)
Pillow.register_extension(FORMAT, ".lac")
Pillow.register_mime(FORMAT, "image/x-laconic")
