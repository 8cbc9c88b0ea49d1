"""Intelligibility on held-out speech while a stage trains; needs the extra ``eval``."""

from __future__ import annotations

import warnings

from torch import Tensor

from laconic.codec.audio.small.config import RATE


def stoi_mean(reference: Tensor, decoded: Tensor) -> dict[str, float]:
    """``{"stoi": mean}`` over ``[N, samples]``, or nothing where pystoi is not installed.

    Sounds with less than 0.4 s above silence have no STOI and are left out.
    """
    try:
        from pystoi import stoi
    except ImportError:
        return {}
    values = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for x, y in zip(reference.cpu().numpy(), decoded.float().cpu().numpy(), strict=True):
            try:
                values.append(float(stoi(x, y, RATE)))
            except RuntimeWarning:
                continue
    return {"stoi": round(sum(values) / len(values), 4)} if values else {}
