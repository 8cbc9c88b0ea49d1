"""Coding a frame after its references, with the decoded picture at the end: the encoder's loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion.blocks import (
    BANDS,
    BLOCK,
    low_cells,
    quarter_cells,
    split_blocks,
    whole_cells,
)
from laconic.codec.video.motion.choose import Chooser, residual_price
from laconic.codec.video.motion.field import SPEED, FrameCode, speeds
from laconic.codec.video.motion.mixing import Writer
from laconic.codec.video.motion.order import Place
from laconic.codec.video.motion.picture import Scale, decoded, predict, residual
from laconic.codec.video.motion.quantise import BITS_OF_ONE, BITS_OF_SIGN, drop_blocks, first_choice
from laconic.codec.video.motion.smoothing import smoothed
from laconic.codec.video.motion.syntax import FrameSyntax
from laconic.codec.video.motion.warp import Reference

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRICE = 0.13  # of a bit, in squared steps


@dataclass
class Coded:
    """A frame that was chosen, coded and decoded.

    Attributes:
        code: its numbers. plain, planes: decoded ``[3, 16 h, 16 w]``, before and after the filter.
        fields: vectors ``[2 h w]`` that were found for each reference, to begin from another time.
        sums: of codes' sizes and what they stand for, ``[2, 2]``, see `_sums`.
    """

    code: FrameCode
    plain: Tensor
    planes: Tensor
    fields: list[Tensor]
    sums: NDArray[np.float64]


def encode_frame(
    syntax: FrameSyntax, writer: Writer, place: Place, target: Tensor,
    refs: list[Reference], scale: Scale, shares: Ints, fields: list[Tensor] | None = None,
    effort: int = 2,
) -> Coded:  # fmt: skip
    """Choose, code and decode one frame.

    Args:
        target: planes ``[3, 16 h, 16 w]``.
        refs: of ``place.refs``. shares: of the filter.
        fields: vectors of an earlier time.
        effort: 0 takes vectors from what is known, 1 looks around ``fields``, 2 everywhere.
    """
    h, w = syntax.h, syntax.w
    step = scale.of(place.layer)
    price = PRICE * step * step
    found: list[Tensor] = []
    if refs:
        starts = [[_predicted(syntax, place, k)] for k in range(2)]
        if fields is not None:
            starts = [[f, *s] for f, s in zip(fields, starts, strict=True)]
        chooser = Chooser(target, refs, step, price, starts, effort)
        code = chooser.code(syntax, writer, place)
        syntax.code_means(writer, code, code)
        found = chooser.fields
    else:
        given = replace(FrameCode.blank(h, w), means=_means(target, step))
        code = syntax.code_motion(writer, place, given)
    prediction = predict(code, refs, step)
    rest = target - prediction
    squares = torch.stack([split_blocks(p).reshape(-1, BLOCK, BLOCK) for p in rest])
    quarters = residual_price(squares, step, price)[1].view(h, w)
    wide = quarters.repeat_interleave(2, 0).repeat_interleave(2, 1)[..., None]
    luma = torch.where(wide, quarter_cells(rest[0]), whole_cells(rest[0])).double().numpy() / step
    chroma = low_cells(rest[1:]).double().numpy() / step
    code.quarters = quarters.numpy().astype(np.int64)
    _choose_codes(code, (luma, chroma), None)
    if effort:
        _choose_codes(code, (luma, chroma), _bits_on_trial(syntax, writer, place, code))
    code = syntax.code_residual(writer, place, code, code)
    sums = _sums(code.luma, luma) + _sums(code.chroma, chroma)
    plain = prediction + residual(code, scale, place.layer)
    return Coded(code, plain, smoothed(plain, code, place.layer, step, shares), found, sums)


def _choose_codes(
    code: FrameCode, values: tuple[Floats, Floats], ones: dict[str, Floats] | None
) -> None:
    """Codes of coefficients in steps, by the bits of ones."""
    luma, chroma = (v.reshape(-1, BANDS) for v in values)
    of_luma, of_chroma = (None, None) if ones is None else (ones["luma"], ones["chroma"])
    code.luma = first_choice(luma, PRICE, of_luma).reshape(values[0].shape)
    code.chroma = first_choice(chroma, PRICE, of_chroma).reshape(values[1].shape)
    drop_blocks(code.luma, code.chroma, values, PRICE)


def _bits_on_trial(
    syntax: FrameSyntax, writer: Writer, place: Place, code: FrameCode
) -> dict[str, Floats]:
    """Bits of ones instead of zeros when the frame is coded like this; nothing is kept of it."""
    noted = {
        "luma": np.tile(BITS_OF_ONE - BITS_OF_SIGN, (code.luma.size // BANDS, 1)),
        "chroma": np.tile(BITS_OF_ONE - BITS_OF_SIGN, (code.chroma.size // BANDS, 1)),
    }
    mark, kept = writer.mark(), [model.copies() for model in syntax.residual.all()]
    trial = replace(code)
    syntax.code_residual(writer, replace(place, last=True), code, trial, noted)
    writer.rewind(mark)
    for model, arrays in zip(syntax.residual.all(), kept, strict=True):
        model.restore(arrays)
    return noted


def repeat_frame(
    syntax: FrameSyntax, writer: Writer, place: Place, code: FrameCode,
    refs: list[Reference], scale: Scale, shares: Ints,
) -> Tensor:  # fmt: skip
    """Code numbers that were chosen before; returns the decoded planes."""
    code = syntax.code(writer, place, code)
    return decoded(code, refs, scale, place.layer, shares)


def _sums(codes: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For codes of one and larger ones: how many, and how far values lie below them, ``[2, 2]``."""
    size, below = np.abs(codes), np.abs(codes) - np.sign(codes) * values
    chosen = [size == 1, size > 1]
    return np.array([[c.sum(), below[c].sum()] for c in chosen], np.float64)


def _means(target: Tensor, step: float) -> NDArray[np.int64]:
    means = torch.nn.functional.avg_pool2d(target[None], BLOCK)[0]
    found: NDArray[np.int64] = torch.round(means * (BLOCK / step)).long().numpy()
    return found


def _predicted(syntax: FrameSyntax, place: Place, k: int) -> Tensor:
    """Vectors ``[2, h w]`` from what references saw."""
    speed, _ = speeds(syntax.traces, place, syntax.h, syntax.w)
    distance = place.refs[k] - place.index
    return torch.from_numpy((speed * distance // SPEED).reshape(2, -1))
