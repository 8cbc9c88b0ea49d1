"""Decoding a chunk: every frame's decisions and levels, then its samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.hybrid.frames import (
    Buffers,
    Layout,
    coding_order,
    fresh_tables,
    parameters,
)
from laconic.codec.video.hybrid.inter import SCREEN
from laconic.codec.video.hybrid.mix import code_number, overrun, reader
from laconic.codec.video.hybrid.rebuild import rebuild_frame
from laconic.codec.video.hybrid.syntax import code_tree
from laconic.formats.errors import FormatError


def decode(
    data: bytes, layout: Layout, count: int, base: int, gap: int, screens: bool = False
) -> Iterator[tuple[int, list[NDArray[np.uint16]]]]:
    """Frames in coding order: index, planes as shown."""
    places = coding_order(count, gap)
    buffers = Buffers(layout, places)
    coder = reader(data, *fresh_tables(screens))
    rows, columns = layout.padded
    for at, place in enumerate(places):
        par = parameters(layout, place, buffers.slot_of, base)
        if screens:
            par[SCREEN] = code_number(coder, 0, 1)
        buffers.begin()
        field = buffers.field(place)
        order = 0
        for y in range(0, rows, 64):
            for x in range(0, columns, 64):
                order = code_tree(
                    coder, buffers.info, field, par, buffers.levels, x, y, order, buffers.scratch,
                    buffers.size,
                )  # fmt: skip
                if overrun(coder) > 8:
                    raise FormatError("a film chunk ends too early: the file is damaged")
        rebuild_frame(
            buffers.info, par, buffers.store, buffers.levels, buffers.planes, buffers.work
        )
        buffers.filtered(coder, par, None, 0.0)
        buffers.end(at, par)
        planes = zip(buffers.planes, layout.sizes(), strict=False)
        yield place.index, [p[:r, :c].astype(np.uint16) for p, (r, c) in planes]
