"""The screen coder's model of pixels, and the loop that codes a tile with it.

Screens repeat: most pixels equal one of a few candidates, the colours that followed the same
neighbours before (neighbourhoods of twelve, six, two and one pixels) or the neighbours themselves.
One decision for each candidate, most likely first; only a colour that none of them predicts is
spelt out, bit by bit, with contexts that make it cheap when it was seen before or lies near its
prediction. Pixels of blocks that are left to the learned model are skipped and count as copies of
their left neighbour.

A stream is exact; what is lossy is the choice of colours before (``colours.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laconic.codec.image.screen.colours import BITS, CODE, HALF, HIGH, LOW, PLACE, SIZE, TOP
from laconic.entropy.jit import jit

BLOCK = 8  # side of the blocks that are coded or skipped
PAD = 3  # pixels around a tile that contexts see
HIT, LATE, SPELT, NONE = 0, 1, 2, 3  # how a pixel was coded
CANDIDATES = 10
FLAG_INPUTS, SPELL_INPUTS = 11, 9
FLAG_SETS, SPELL_SETS, MORE_SETS = 64, 24, 1024
MEMORIES = 4  # neighbourhoods that remember colours
RATE = 14  # of the mixers
_M = 0xFFFFFFFF


@jit
def code_bit(decoding: int, bit: int, one: int, data: Any, coder: Any) -> int:
    """Codes a bit whose chance of being 1 is ``one`` / 65536, 1..65535; returns it."""
    low, high = coder[LOW], coder[HIGH]
    span = high - low
    middle = low + (span >> 16) * one + ((span & 0xFFFF) * one >> 16)
    if decoding:
        bit = 1 if coder[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & 0xFF000000 == 0:
        place = coder[PLACE]
        if decoding:
            byte = data[place] if place < coder[SIZE] else 0
            coder[CODE] = (coder[CODE] << 8 & 0xFFFFFFFF) | byte
        elif place < coder[SIZE]:
            data[place] = high >> 24
        coder[PLACE] = place + 1
        low = low << 8 & 0xFFFFFFFF
        high = (high << 8 & 0xFFFFFFFF) | 0xFF
    coder[LOW], coder[HIGH] = low, high
    return bit


@jit
def join(h: int, value: int) -> int:
    """A hash of 32 bits with one more value."""
    h = ((h ^ (int(value) & _M)) * 0x2C1B3C6D) & _M
    return h ^ h >> 15


@jit
def look(row: int, h: int, i: int, cells: Any, found: Any, stretch: Any) -> None:
    """Input ``i`` of a decision: odds of context ``h``; its place goes to ``found`` [3, n]."""
    slot, check = h & (cells.shape[1] - 1), h >> 22
    cell = int(cells[row, slot])
    p = HALF + (cell >> 16) if cell >> 6 & 1023 == check and cell & 63 else HALF
    found[0, i], found[1, i], found[2, i] = slot, check, stretch[p >> 4]


@jit
def mixed(n: int, found: Any, weights: Any, chosen: int) -> int:
    """Weighted odds."""
    total = 0
    for i in range(n):
        total += found[2, i] * weights[chosen, i]
    total >>= 16
    return min(TOP, max(-TOP, total))


@jit
def adjust(n: int, bit: int, p: int, found: Any, weights: Any, chosen: int) -> None:
    """Move the weights against the error."""
    error = ((bit << 16) - p) * RATE
    for i in range(n):
        weights[chosen, i] += (found[2, i] * error + (1 << 17)) >> 18


@jit
def remember(row: int, n: int, bit: int, cells: Any, found: Any, rates: Any) -> None:
    """Update the contexts of a decision."""
    for i in range(n):
        slot, check = found[0, i], found[1, i]
        cell = int(cells[row + i, slot])
        p, count = HALF + (cell >> 16), cell & 63
        if cell >> 6 & 1023 != check or count == 0:
            p, count = HALF, 0
        p += ((bit << 16) - p) * rates[count] >> 16
        p = min(65519, max(16, p))
        cells[row + i, slot] = p - HALF << 16 | check << 6 | min(63, count + 1)


@jit
def code(
    decoding: int, bit: int, row: int, n: int, one: int, two: int,
    cells: Any, found: Any, weights: Any, more: Any,
    squash: Any, cost: Any, rates: Any, data: Any, coder: Any,
) -> int:  # fmt: skip
    """One decision from its inputs, with two mixers; returns the bit."""
    a, b = mixed(n, found, weights, one), mixed(n, found, more, two)
    p = min(65535, max(1, squash[(a + b >> 1) + TOP]))
    bit = code_bit(decoding, bit, p, data, coder)
    if not decoding:
        coder[BITS] += cost[p >> 4] if bit else cost[4095 - (p >> 4)]
    adjust(n, bit, squash[a + TOP], found, weights, one)
    adjust(n, bit, squash[b + TOP], found, more, two)
    remember(row, n, bit, cells, found, rates)
    return bit


@jit
def slope(w: int, n: int, nw: int) -> int:
    """The plane through three neighbours, each channel clipped."""
    colour = 0
    for shift in (16, 8, 0):
        v = (w >> shift & 255) + (n >> shift & 255) - (nw >> shift & 255)
        colour |= min(255, max(0, v)) << shift
    return colour


@jit
def step_class(a: int, b: int) -> int:
    """Difference of two colours' sums in five classes."""
    d = (a >> 16) + (a >> 8 & 255) + (a & 255) - (b >> 16) - (b >> 8 & 255) - (b & 255)
    if d == 0:
        return 0 if a == b else 1
    if d > 0:
        return 2 if d < 96 else 3
    return 4 if d > -96 else 5


@jit
def flag_inputs(
    k: int, cand: Any, source: Any, near: Any, ctx: Any,
    cells: Any, found: Any, stretch: Any,
) -> None:  # fmt: skip
    """Inputs of the decision whether the pixel is candidate ``k``."""
    c, first = cand[k], min(k, 3)
    w, n = near[0], near[1]
    same = (c == w) | (c == n) << 1 | (c == near[2]) << 2 | (c == near[3]) << 3
    look(0, join(join(ctx[5], source[k]), k), 0, cells, found, stretch)
    look(1, join(join(ctx[6], same), k), 1, cells, found, stretch)
    look(2, join(join(ctx[1], c), first), 2, cells, found, stretch)
    look(3, join(join(ctx[2], c), first), 3, cells, found, stretch)
    look(4, join(join(ctx[3], c), first), 4, cells, found, stretch)
    look(5, join(join(ctx[4], c), first), 5, cells, found, stretch)
    look(6, join(join(ctx[0], c), k), 6, cells, found, stretch)
    look(
        7,
        join(join(ctx[7], step_class(c, w) * 8 + step_class(c, n)), k),
        7,
        cells,
        found,
        stretch,
    )
    look(8, join(join(ctx[8], source[k] & 15), k), 8, cells, found, stretch)
    look(9, join(join(ctx[9], c), first), 9, cells, found, stretch)
    found[0, 10], found[1, 10], found[2, 10] = k, 1023, 256


@jit
def spell(
    decoding: int, value: int, near: Any, gray: int,
    cells: Any, found: Any, weights: Any, more: Any,
    squash: Any, stretch: Any, cost: Any, rates: Any, data: Any, coder: Any,
) -> int:  # fmt: skip
    """A colour bit by bit: green, then red and blue given it."""
    w, n, nw, ne = near[0], near[1], near[2], near[3]
    plane = slope(w, n, nw)
    done, shift_a, shift_b = 0, 0, 0
    colour = 0
    busy = abs((w >> 8 & 255) - (nw >> 8 & 255)) + abs((n >> 8 & 255) - (nw >> 8 & 255))
    busy += abs((n >> 8 & 255) - (ne >> 8 & 255))
    scale = 0
    while busy > scale * scale and scale < 15:
        scale += 1
    for channel in range(3):
        if channel and gray:
            break
        shift = 8 if channel == 0 else (16 if channel == 1 else 0)
        a, b = w >> shift & 255, n >> shift & 255
        guess = min(255, max(0, (plane >> shift & 255) + shift_a))
        mean = min(255, max(0, (a + b >> 1) + shift_b))
        h0 = join(channel + 1, done)
        h1, h2 = join(h0, w), join(h0, n)
        h3 = join(h1, n)
        h4 = join(channel * 256 + guess + 7, scale if channel == 0 else shift_a + 300)
        h5 = join(channel * 256 + a + 1031, shift_b + 300)
        h6 = join(join(h0, plane), 5)
        h7 = join(join(channel + 91, mean), shift_a + 300)
        node = 1
        low, high = 0, 256
        for place in range(7, -1, -1):
            bit = value >> shift + place & 1
            look(16, join(h0, node), 0, cells, found, stretch)
            look(17, join(h1, node), 1, cells, found, stretch)
            look(18, join(h2, node), 2, cells, found, stretch)
            look(19, join(h3, node), 3, cells, found, stretch)
            look(20, join(h4, node), 4, cells, found, stretch)
            look(21, join(h5, node), 5, cells, found, stretch)
            look(22, join(h6, node), 6, cells, found, stretch)
            look(23, join(h7, node), 7, cells, found, stretch)
            # How far the guess lies from the middle of what is left, in steps of this bit.
            middle = low + high >> 1
            off = min(31, max(-31, (guess - middle) * 8 // (high - low))) + 32
            look(24, join(join(off * 8 + place, channel), scale), 8, cells, found, stretch)
            chosen = channel * 8 + place
            bit = code(
                decoding, bit, 16, SPELL_INPUTS, chosen, channel * 256 + scale * 16 + place,
                cells, found, weights, more, squash, cost, rates, data, coder,
            )  # fmt: skip
            node = node * 2 + bit
            if bit:
                low = middle
            else:
                high = middle
        level = node - 256
        colour |= level << shift
        done = done << 8 | level
        shift_a = level - (plane >> shift & 255) if channel == 0 else shift_a
        shift_b = level - (a + b >> 1) if channel == 0 else shift_b
    if gray:
        colour |= colour << 8 | colour >> 8
    return colour


@jit
def propose(near: Any, ctx: Any, memory: Any, cand: Any, source: Any) -> int:
    """Candidates in ``cand`` and in ``source`` which places name each; returns how many."""
    count = 0
    size = memory.shape[1] - 1
    for place in range(14):
        if place < 2:
            c = memory[0, ctx[4] & size, place]
        elif place < 4:
            c = memory[1, ctx[3] & size, place - 2]
        elif place == 4:
            c = near[0]
        elif place == 5:
            c = near[1]
        elif place < 8:
            c = memory[2, ctx[1] & size, place - 6]
        elif place == 8:
            c = near[3]
        elif place == 9:
            c = slope(near[0], near[1], near[2])
        elif place < 13:
            c = memory[3, ctx[0] & size, place - 10]
        else:
            c = near[2]
        if c < 0:
            continue
        for k in range(count):
            if cand[k] == c:
                source[k] |= 1 << place
                break
        else:
            if count < CANDIDATES:
                cand[count], source[count] = c, 1 << place
                count += 1
    return count


@jit
def keep_colour(c: int, near: Any, ctx: Any, memory: Any) -> None:
    """The memories put ``c`` first."""
    size = memory.shape[1] - 1
    for m in range(MEMORIES):
        if m == 3 and c == near[0]:
            continue
        slot = (ctx[4] if m == 0 else ctx[3] if m == 1 else ctx[1] if m == 2 else ctx[0]) & size
        if memory[m, slot, 0] == c:
            continue
        if memory[m, slot, 1] != c:
            memory[m, slot, 2] = memory[m, slot, 1]
        memory[m, slot, 1] = memory[m, slot, 0]
        memory[m, slot, 0] = c


@jit
def gather(y: int, x: int, image: Any, how: Any, near: Any, ctx: Any) -> None:
    """Neighbours of a pixel and hashes of them; coordinates are those of the padded tile."""
    w, n, nw, ne = image[y, x - 1], image[y - 1, x], image[y - 1, x - 1], image[y - 1, x + 1]
    ww, nn = image[y, x - 2], image[y - 2, x]
    near[0], near[1], near[2], near[3], near[4], near[5] = w, n, nw, ne, ww, nn
    h = join(17, w)
    ctx[0] = h
    h = join(h, n)
    ctx[1] = h
    h = join(join(h, nw), ne)
    ctx[2] = h
    h = join(join(h, ww), nn)
    ctx[3] = h
    h = join(join(h, image[y - 1, x + 2]), image[y - 1, x - 2])
    h = join(join(h, image[y - 2, x + 1]), image[y - 2, x - 1])
    h = join(join(h, image[y, x - 3]), image[y - 2, x + 2])
    ctx[4] = h
    alike = (w == n) | (w == nw) << 1 | (n == nw) << 2 | (n == ne) << 3 | (w == ww) << 4
    alike |= (n == nn) << 5 | (ne == image[y - 1, x + 2]) << 6 | (nw == image[y - 1, x - 2]) << 7
    past = how[y, x - 1] | how[y - 1, x] << 2 | how[y - 1, x + 1] << 4 | how[y - 1, x - 1] << 6
    past |= how[y, x - 2] << 8 | how[y - 2, x] << 10
    ctx[5] = 71
    ctx[6] = join(73, alike)
    ctx[7] = join(
        join(79, step_class(w, n) * 8 + step_class(n, nw)),
        step_class(n, ne) * 8 + step_class(w, ww),
    )
    ctx[8] = join(83, past)
    ctx[9] = join(join(89, n), ne)
    ctx[10] = past


@jit
def flag_set(k: int, source: Any) -> int:
    """Set of weights: which decision, and which memories know a candidate."""
    known = (source[0] & 1) | (source[0] >> 1 & 2) | (source[0] >> 4 & 4)
    return min(k, 7) * 8 + known


@jit
def code_mask(decoding: int, mask: Any, squash: Any, rates: Any, data: Any, coder: Any) -> None:
    """Which blocks are coded: one bit for all, else one each, given those around it."""
    rows, columns = mask.shape
    every = 1
    for row in range(rows):
        for column in range(columns):
            if mask[row, column] == 0:
                every = 0
    every = code_bit(decoding, every, HALF, data, coder)
    chance, seen = np.full(16, HALF), np.zeros(16, np.int64)
    for row in range(rows):
        for column in range(columns):
            if every:
                mask[row, column] = 1
                continue
            left = int(mask[row, column - 1]) if column else 1
            above = int(mask[row - 1, column]) if row else left
            corner = int(mask[row - 1, column - 1]) if row and column else above
            right = int(mask[row - 1, column + 1]) if row and column + 1 < columns else above
            place = left | above << 1 | corner << 2 | right << 3
            bit = code_bit(decoding, int(mask[row, column]), chance[place], data, coder)
            mask[row, column] = bit
            chance[place] += ((bit << 16) - chance[place]) * rates[seen[place]] >> 16
            chance[place] = min(65519, max(16, chance[place]))
            seen[place] = min(60, seen[place] + 1)


@jit
def walk(
    decoding: int, gray: int, true: Any, image: Any, mask: Any, how: Any, memory: Any,
    cells: Any, weights: Any, letters: Any, more: Any,
    squash: Any, stretch: Any, cost: Any, rates: Any, spent: Any, data: Any, coder: Any,
) -> None:  # fmt: skip
    """Codes which blocks are in ``mask`` and all their pixels.

    ``true`` [H, W] and ``image`` [H + 2, W + 6], whose first two rows and sides are contexts, hold
    colours as 0xRRGGBB; ``spent`` [blocks] receives 1/256 bits.
    """
    code_mask(decoding, mask, squash, rates, data, coder)
    height, width = image.shape[0] - 2, image.shape[1] - 2 * PAD
    found = np.zeros((3, FLAG_INPUTS), np.int64)
    near, ctx = np.zeros(6, np.int64), np.zeros(11, np.int64)
    cand, source = np.zeros(CANDIDATES, np.int64), np.zeros(CANDIDATES, np.int64)
    for row in range(height):
        y, by = row + 2, row // BLOCK
        for x in range(PAD):
            image[y, x] = image[y - 1, PAD]
            how[y, x] = NONE
        for column in range(width):
            x, bx = column + PAD, column // BLOCK
            if mask[by, bx] == 0:
                image[y, x] = image[y, x - 1]
                how[y, x] = NONE
                continue
            start = coder[BITS]
            gather(y, x, image, how, near, ctx)
            count = propose(near, ctx, memory, cand, source)
            ctx[5] = join(join(71, source[0]), count)
            colour = 0 if decoding else int(true[row, column])
            k = 0
            while k < count:
                flag_inputs(k, cand, source, near, ctx, cells, found, stretch)
                hit = code(
                    decoding, 1 if cand[k] == colour else 0, 0, FLAG_INPUTS, flag_set(k, source),
                    768 + (ctx[10] & 63) * 4 + min(k, 3),
                    cells, found, weights, more, squash, cost, rates, data, coder,
                )  # fmt: skip
                if hit:
                    break
                k += 1
            if k < count:
                colour = cand[k]
                how[y, x] = HIT if k == 0 else LATE
            else:
                colour = spell(
                    decoding, colour, near, gray, cells, found, letters, more,
                    squash, stretch, cost, rates, data, coder,
                )  # fmt: skip
                how[y, x] = SPELT
            image[y, x] = colour
            keep_colour(colour, near, ctx, memory)
            spent[by, bx] += coder[BITS] - start
        for x in range(width + PAD, width + 2 * PAD):
            image[y, x] = image[y, width + PAD - 1]
            how[y, x] = NONE
