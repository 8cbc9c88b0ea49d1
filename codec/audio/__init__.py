"""Audio codecs: audio as tokens.

>>> from laconic import codec
>>> tokens = codec.audio.tokens("speech.wav")               # doctest: +SKIP
>>> audio = codec.audio.from_tokens(tokens)                 # doctest: +SKIP

Importing this package does not import torch; its functions do.
"""

from laconic.codec.audio.tokens import (
    Alphabet,
    alphabet,
    blocks,
    encode_to,
    from_tokens,
    pack,
    tokens,
)

__all__ = ["Alphabet", "alphabet", "blocks", "encode_to", "from_tokens", "pack", "tokens"]
