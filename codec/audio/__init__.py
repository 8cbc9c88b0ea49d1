"""Audio codecs: audio as tokens.

>>> from laconic import codec
>>> tokens = codec.audio.tokens("speech.wav")               # doctest: +SKIP
>>> prosody = codec.audio.prosody("speech.wav")             # doctest: +SKIP
>>> audio = codec.audio.from_tokens(tokens, prosody=prosody)  # doctest: +SKIP

Importing this package does not import torch; its functions do.
"""

from laconic.codec.audio.tokens import (
    Alphabet,
    Prosody,
    alphabet,
    blocks,
    encode_to,
    from_tokens,
    pack,
    prosody,
    tokens,
)

__all__ = [
    "Alphabet",
    "Prosody",
    "alphabet",
    "blocks",
    "encode_to",
    "from_tokens",
    "pack",
    "prosody",
    "tokens",
]
