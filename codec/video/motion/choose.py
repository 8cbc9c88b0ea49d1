"""How the blocks of a frame are predicted: for the encoder.

Every way to predict a block is priced by what its residual would cost, roughly: coefficients that
are worth their bits are coded, the others are left. While motion is coded pass by pass, a block
takes the vectors that its neighbours suggest wherever that is cheaper than its own.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion.blocks import BLOCK, CELL, dct
from laconic.codec.video.motion.field import (
    BOTH,
    FIRST,
    NONE,
    SECOND,
    FrameCode,
    MotionPass,
    lattices,
)
from laconic.codec.video.motion.mixing import Coder
from laconic.codec.video.motion.order import Place
from laconic.codec.video.motion.search import Search, local_median, vector_bits
from laconic.codec.video.motion.syntax import FrameSyntax
from laconic.codec.video.motion.warp import Reference

Ints = NDArray[np.int64]
MODE_BITS = (1.0, 2.0, 2.0, 6.0)
MEAN_BITS = 24.0
SPLIT_BITS = 4.0


def _bits_by_band(size: int) -> Tensor:
    """Bits of a coefficient of one by frequency, for squares of ``size``."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return 3.5 + 4.0 * ((y + x) * (16 // size) / 16.0).clamp(max=1.0)


def residual_price(blocks: Tensor, step: float, price: float) -> tuple[Tensor, Tensor]:
    """Squared error and bits together, in squared error, of residuals ``[3, n, 16, 16]``.

    Returns:
        the price ``[n]``, and whether transforms by quarters are cheaper ``[n]``.
    """
    large, small = dct(BLOCK), dct(CELL)
    whole = large @ blocks[0] @ large.T
    n = blocks.shape[1]
    cells = blocks[0].view(n, 2, CELL, 2, CELL).permute(0, 1, 3, 2, 4)
    quarters = small @ cells @ small.T
    one = _soft(whole, step, price).sum((1, 2))
    four = _soft(quarters, step, price).sum((1, 2, 3, 4)) + price
    low = large[:CELL]
    other = low @ blocks[1:] @ low.T
    energy = (blocks[1:] ** 2).sum((0, 2, 3)) - (other**2).sum((0, 2, 3))
    rest = _soft(other, step, price).sum((0, 2, 3)) + energy
    return torch.minimum(one, four) + rest, four < one


def _soft(x: Tensor, step: float, price: float) -> Tensor:
    """What a coefficient costs: its square, or its rounding error and bits."""
    size = x.abs() / step
    code = (size + 0.3).floor().clamp(min=1)
    bits = _bits_by_band(x.shape[-1]) + 2.4 * torch.log2(code)
    return torch.minimum(size * size, (size - code) ** 2 + price / step**2 * bits) * step**2


class Chooser:
    """Chooses motion of one frame and codes it.

    Args:
        target: planes ``[3, 16 h, 16 w]``.
        refs: two references (the same twice, if there is one only).
        step: of the layer. price: of a bit, in squared error.
        starts: vectors ``[2, h w]`` for each reference to begin the search from.
        effort: of the search, see `loop.encode_frame`.
    """

    def __init__(
        self, target: Tensor, refs: list[Reference], step: float, price: float,
        starts: list[list[Tensor]], effort: int,
    ) -> None:  # fmt: skip
        self.refs, self.step, self.price = refs, step, price
        self.target = target
        rows, columns = target.shape[1:]
        self.h, self.w = rows // BLOCK, columns // BLOCK
        self.search = Search(target[0], price**0.5)
        x = target.view(3, self.h, BLOCK, self.w, BLOCK).permute(0, 1, 3, 2, 4)
        self.blocks = x.reshape(3, -1, BLOCK, BLOCK)
        self.two = refs[0] is not refs[1]
        used = refs if self.two else refs[:1]
        self.effort = effort
        self.fields = [
            self.search.blocks_of(r, s, effort) for r, s in zip(used, starts, strict=False)
        ]
        if not self.two:
            self.fields.append(self.fields[0].clone())
        self._choose()

    def _fetched(self, k: int, chosen: Tensor, vectors: Tensor) -> Tensor:
        return self.refs[k].fetch(self.search.corners[:, chosen], vectors, BLOCK, 3)

    def _residual_price(self, chosen: Tensor, prediction: Tensor) -> Tensor:
        return residual_price(self.blocks[:, chosen] - prediction, self.step, self.price)[0]

    def _choose(self) -> None:
        """Modes, vectors of cells, and the price of each block without its vectors' bits."""
        every = torch.arange(self.h * self.w)
        predictions = [self._fetched(k, every, self.fields[k]) for k in range(1 + self.two)]
        means = self.blocks.mean((2, 3), keepdim=True).expand_as(self.blocks)
        codes = torch.round(means * (BLOCK / self.step))
        bits = [vector_bits(f - local_median(f, self.h, self.w)) for f in self.fields]
        huge = torch.full((self.h * self.w,), torch.inf)
        prices = [huge] * 4
        prices[FIRST] = self._residual_price(every, predictions[0]) + self.price * bits[0]
        if self.two:
            prices[SECOND] = self._residual_price(every, predictions[1]) + self.price * bits[1]
            mean = (predictions[0] + predictions[1]) / 2
            prices[BOTH] = self._residual_price(every, mean) + self.price * (bits[0] + bits[1])
        flat = self._residual_price(every, codes * (self.step / BLOCK))
        prices[NONE] = flat + self.price * MEAN_BITS
        stack = torch.stack(prices) + self.price * torch.tensor(MODE_BITS)[:, None]
        cost, modes = stack.min(0)
        vectors = torch.stack(self.fields)
        self.modes, self.vectors = modes, vectors
        self.cost = cost - self.price * (
            (modes != SECOND) * (modes != NONE) * bits[0]
            + ((modes == SECOND) | (modes == BOTH)) * bits[1]
        )
        self._split(cost)
        self.means = codes[:, :, 0, 0].long()

    def _split(self, cost: Tensor) -> None:
        """Vectors of cells where they pay."""
        if not self.effort:
            self.split = torch.zeros_like(cost, dtype=torch.bool)
            self.split_cost = cost
            self.cells = self.vectors.view(2, 2, self.h, self.w)
            self.cells = self.cells.repeat_interleave(2, 2).repeat_interleave(2, 3)
            return
        cells = [
            self.search.cells_of(r, f)
            for r, f in zip(self.refs[: 1 + self.two], self.fields, strict=False)
        ]
        if not self.two:
            cells.append(cells[0])
        h, w = self.h, self.w
        prediction = torch.zeros(3, h * w, BLOCK, BLOCK)
        bits = torch.full((h * w,), SPLIT_BITS)
        count = torch.zeros(h * w)
        for k in range(1 + self.two):
            used = (self.modes == BOTH) | (self.modes == FIRST + k)
            moved = self.refs[k].moved(cells[k].numpy())
            squares = moved.view(3, h, BLOCK, w, BLOCK).permute(0, 1, 3, 2, 4)
            prediction += squares.reshape(3, -1, BLOCK, BLOCK) * used[:, None, None]
            own = cells[k].view(2, h, 2, w, 2).permute(0, 1, 3, 2, 4).reshape(2, h * w, 4)
            difference = own[..., 1:] - own[..., :1]
            steps = vector_bits(difference.reshape(2, -1)).view(h * w, 3).sum(1) + 1.0
            bits += used * steps
            bits += used * vector_bits(own[..., 0] - local_median(self.fields[k], h, w))
            count += used
        every = torch.arange(h * w)
        price = self._residual_price(every, prediction / count.clamp(min=1)[:, None, None])
        mode_bits = torch.tensor(MODE_BITS)[self.modes]
        total = price + self.price * (bits + mode_bits)
        self.split = (self.modes != NONE) & (total < cost)
        self.split_cost = total
        self.cells = torch.stack(cells)

    def code(self, syntax: FrameSyntax, coder: Coder, place: Place) -> FrameCode:
        """Code the motion of the frame, changed where its neighbours' motion is cheaper."""
        h, w = self.h, self.w
        given = FrameCode.blank(h, w)
        given.modes = self.modes.view(h, w).numpy().copy()
        split = self.split.view(h, w).numpy().repeat(2, 0).repeat(2, 1)
        whole = self.vectors.view(2, 2, h, w).numpy().repeat(2, 2).repeat(2, 3)
        given.vectors = np.where(split, self.cells.numpy(), whole)
        motion = syntax.motion_pass(coder, place, given)
        for number in range(len(lattices(h, w))):
            self._follow(motion, number, given)
            motion.run(number)
        out = FrameCode(
            given.modes, given.vectors, given.means, given.quarters, given.luma, given.chroma
        )
        motion.finish(out)
        out.means = np.where(out.modes == NONE, self.means.view(3, h, w).numpy(), 0)
        return out

    def _follow(self, motion: MotionPass, number: int, given: FrameCode) -> None:
        """Give the blocks of a pass the guessed vectors where that is cheaper."""
        blocks = lattices(self.h, self.w)[number][0]
        chosen = torch.from_numpy(blocks)
        guesses = [torch.from_numpy(motion.guesses(number, 0))]
        guesses.append(torch.from_numpy(motion.guesses(number, 1, guesses[0].numpy())))
        if not self.two:
            guesses[1] = torch.from_numpy(motion.guesses(number, 1))
        found = [self._fetched(k, chosen, guesses[k]) for k in range(1 + self.two)]
        options = [(FIRST, found[0])]
        if self.two:
            mean = (found[0] + found[1]) / 2
            options += [(SECOND, found[1]), (BOTH, mean)]
        modes = self.modes[chosen]
        first = ((modes == FIRST) | (modes == BOTH)).float()
        second = ((modes == SECOND) | (modes == BOTH)).float()
        own = self.vectors[:, :, chosen]
        bits = first * vector_bits(own[0] - guesses[0]) + second * vector_bits(own[1] - guesses[1])
        cost = self.cost[chosen] + self.price * bits
        cost = torch.where(self.split[chosen], torch.minimum(cost, self.split_cost[chosen]), cost)
        best, mode = cost, torch.full_like(modes, -1)
        for option, prediction in options:
            price = self._residual_price(chosen, prediction)
            price = price + self.price * (MODE_BITS[option] + 0.3)
            wins = price < best
            best = torch.where(wins, price, best)
            mode = torch.where(wins, option, mode)
        follows = (mode >= 0).numpy()
        y, x = blocks[follows] // self.w, blocks[follows] % self.w
        given.modes[y, x] = mode.numpy()[follows]
        for k in range(2):
            for cell in range(4):
                given.vectors[k][:, 2 * y + cell // 2, 2 * x + cell % 2] = guesses[k].numpy()[
                    :, follows
                ]
