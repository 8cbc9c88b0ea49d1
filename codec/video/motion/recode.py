"""The ideal size of a decoded chunk: its numbers coded once more, bits counted."""

from __future__ import annotations

from laconic.codec.video.motion.blocks import block_grid
from laconic.codec.video.motion.decoder import MotionDecoder
from laconic.codec.video.motion.mixing import Writer
from laconic.codec.video.motion.order import still_used
from laconic.codec.video.motion.smoothing import code_shares
from laconic.codec.video.motion.syntax import FrameSyntax


def ideal_bits(decoder: MotionDecoder) -> float:
    """Bits of all decisions at the probabilities of their models."""
    writer, syntax = Writer(), FrameSyntax(*block_grid(decoder.rows, decoder.columns))
    code_shares(writer, decoder.shares)
    order = decoder.order
    for place, packed, used in zip(order, decoder.packed, still_used(order), strict=True):
        syntax.code(writer, place, packed.unpack())
        syntax.keep(used)
    return writer.bits
