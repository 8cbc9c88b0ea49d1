"""Learned codecs: media <-> symbols. The Python API of Laconic.

>>> from laconic import codec
>>> data = codec.encode("photo.png", quality=50)      # doctest: +SKIP
>>> image = codec.decode(data)                        # doctest: +SKIP

Importing this package does not import torch; encoding and decoding do.
"""

from laconic.codec import audio, models, registry
from laconic.codec.api import Info, Reader, decode, encode, open, preview, probe, verify
from laconic.codec.base import VerifyReport
from laconic.codec.pretrained import Pretrained, from_pretrained

__all__ = [
    "Info",
    "Pretrained",
    "Reader",
    "VerifyReport",
    "audio",
    "decode",
    "encode",
    "from_pretrained",
    "models",
    "open",
    "preview",
    "probe",
    "registry",
    "verify",
]
