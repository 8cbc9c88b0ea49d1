"""Binary decisions by logistic mixing of adaptive contexts, coded in one compiled step.

Every decision has six contexts. Each context has a probability that follows what it has seen (fast
at first, slower with every visit); their logits are mixed with weights that a small set of circum-
stances selects and that follow the gradient of the code length (Mahoney, "Adaptive Weighing of
Context Models for Lossless Data Compression", 2005). Everything is integers, so every machine finds
the same probabilities. `code_bit` is coder and decoder in one, and so is the syntax above it.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.compiled import inner, outer

INPUTS = 6
FINE = 22  # bits of a context's probability
REACH = 2047  # logits, in 1/256
LIMIT = 254  # visits after which a context no longer slows down
RATE_BITS = 16
WEIGHT_ONE = 1 << 16
LEARN_SHIFT = 18
LEARN = 3

WRITE, READ = 0, 1
# Places in Coder.state.
LOW, HIGH, CODE, POSITION, MODE, SIZE, OVERRUN = range(7)


def _squash_table() -> NDArray[np.int32]:
    """Probability, 16 bits, of a logit of (i - 2048) / 256."""
    table = np.zeros(2 * REACH + 2, np.int32)
    with localcontext() as context:
        context.prec = 30
        for i in range(table.size):
            odds = (Decimal(-(i - REACH - 1)) / 256).exp()
            table[i] = min(max(int(65536 / (1 + odds) + Decimal("0.5")), 24), 65536 - 24)
    return table


def _stretch_table() -> NDArray[np.int32]:
    """Logit, in 1/256, of a probability of (i + 1/2) / 4096."""
    table = np.zeros(4096, np.int32)
    with localcontext() as context:
        context.prec = 30
        for i in range(4096):
            p = (Decimal(i) + Decimal("0.5")) / 4096
            table[i] = min(max(int((256 * (p / (1 - p)).ln()).to_integral_value()), -REACH), REACH)
    return table


def _price_table() -> NDArray[np.int32]:
    """Bits, in 1/256, of a decision of probability (i + 1/2) / 4096."""
    p = (np.arange(4096) + 0.5) / 4096
    return np.round(-256 * np.log2(p)).astype(np.int32)


SQUASH = _squash_table()
STRETCH = _stretch_table()
PRICE = _price_table()  # of the encoder's choices alone
RATES = np.array([int((1 << RATE_BITS) / (n + 1.6)) for n in range(LIMIT + 2)], np.int32)
TRUST = np.array([256 * (n + 1) // (n + 3) for n in range(LIMIT + 2)], np.int32)


class Coder(NamedTuple):
    """A coder's arrays.

    Attributes:
        state: int64, registers and the mode.
        data: uint8, what is written or read.
        chance: int32 ``[2 n]``, probability of a one (22 bits) and visits of each context.
        weight: int32 ``[8 m]``, of the inputs, for each set.
    """

    state: NDArray[np.int64]
    data: NDArray[np.uint8]
    chance: NDArray[np.int32]
    weight: NDArray[np.int32]


@inner
def narrow(coder: Any, low: int, high: int) -> None:
    """Go on with an interval, without the bytes that its ends have in common."""
    state = coder.state
    while (low ^ high) & 0xFF000000 == 0:
        position = int(state[POSITION])
        if state[MODE] == READ:
            byte = 0
            if position < state[SIZE]:
                byte = np.int64(coder.data[position])  # type: ignore[assignment]
            else:
                state[OVERRUN] += 1
            state[CODE] = (int(state[CODE]) << 8 & 0xFFFFFFFF) | byte
        elif position < state[SIZE]:
            coder.data[position] = high >> 24
        state[POSITION] = position + 1
        low = low << 8 & 0xFFFFFFFF
        high = (high << 8 & 0xFFFFFFFF) | 255
    state[LOW], state[HIGH] = low, high


@inner
def logit(p: int, visits: int) -> int:
    """A context's logit, in 1/256, trusted the more the more it has seen."""
    return int(STRETCH[p >> 10]) * int(TRUST[visits]) >> 8


@inner
def follow(chance: Any, context: int, p: int, visits: int, target: int) -> None:
    """Move a context, which stood at ``p`` after so many visits, towards what was seen."""
    chance[2 * context] = p + ((target - p) * int(RATES[visits]) >> RATE_BITS)
    if visits < LIMIT:
        chance[2 * context + 1] = visits + 1


@inner
def code_bit(
    coder: Any, bit: int, set_: int, c0: int, c1: int, c2: int, c3: int, c4: int, c5: int
) -> int:
    """Code a decision: ``bit`` when writing, else what is read. Returns it, and learns from it."""
    state, chance, weight = coder.state, coder.chance, coder.weight
    n0, n1, n2 = int(chance[2 * c0 + 1]), int(chance[2 * c1 + 1]), int(chance[2 * c2 + 1])
    n3, n4, n5 = int(chance[2 * c3 + 1]), int(chance[2 * c4 + 1]), int(chance[2 * c5 + 1])
    p0, p1, p2 = int(chance[2 * c0]), int(chance[2 * c1]), int(chance[2 * c2])
    p3, p4, p5 = int(chance[2 * c3]), int(chance[2 * c4]), int(chance[2 * c5])
    s0, s1, s2 = logit(p0, n0), logit(p1, n1), logit(p2, n2)
    s3, s4, s5 = logit(p3, n3), logit(p4, n4), logit(p5, n5)
    w = 8 * set_
    w0, w1, w2 = int(weight[w]), int(weight[w + 1]), int(weight[w + 2])
    w3, w4, w5 = int(weight[w + 3]), int(weight[w + 4]), int(weight[w + 5])
    mixed = (w0 * s0 + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5) >> 16
    p = int(SQUASH[min(max(mixed, -REACH), REACH) + REACH + 1])
    # Binary arithmetic coding in 32 bits, without carries.
    low, high = int(state[LOW]), int(state[HIGH])
    span = high - low
    middle = low + (span >> 16) * p + ((span & 0xFFFF) * p >> 16)
    if state[MODE] == READ:
        bit = 1 if state[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    narrow(coder, low, high)
    # Learning.
    error = ((bit << 16) - p) * LEARN
    half = 1 << (LEARN_SHIFT - 1)
    weight[w] = w0 + ((s0 * error + half) >> LEARN_SHIFT)
    weight[w + 1] = w1 + ((s1 * error + half) >> LEARN_SHIFT)
    weight[w + 2] = w2 + ((s2 * error + half) >> LEARN_SHIFT)
    weight[w + 3] = w3 + ((s3 * error + half) >> LEARN_SHIFT)
    weight[w + 4] = w4 + ((s4 * error + half) >> LEARN_SHIFT)
    weight[w + 5] = w5 + ((s5 * error + half) >> LEARN_SHIFT)
    target = (1 << FINE) - 1 if bit else 0
    follow(chance, c0, p0, n0, target)
    follow(chance, c1, p1, n1, target)
    follow(chance, c2, p2, n2, target)
    follow(chance, c3, p3, n3, target)
    follow(chance, c4, p4, n4, target)
    follow(chance, c5, p5, n5, target)
    return bit


@inner
def code_plain(coder: Any, value: int, count: int) -> int:
    """Code ``count`` equiprobable bits, the highest first."""
    state = coder.state
    found = 0
    for place in range(count - 1, -1, -1):
        low, high = int(state[LOW]), int(state[HIGH])
        middle = low + (high - low >> 1)
        bit = value >> place & 1
        if state[MODE] == READ:
            bit = 1 if state[CODE] <= middle else 0
        if bit:
            high = middle
        else:
            low = middle + 1
        narrow(coder, low, high)
        found = 2 * found + bit
    return found


@outer
def code_number(coder: Any, value: int, count: int) -> int:
    """As `code_plain`, for Python."""
    return code_plain(coder, value, count)


@inner
def of_screens(coder: Any) -> Any:
    """The coder with the contexts of the tools for screens: the second half of its tables."""
    chance, weight = coder.chance, coder.weight
    return Coder(coder.state, coder.data, chance[chance.size >> 1 :], weight[weight.size >> 1 :])


@inner
def price_bit(chance: Any, bit: int, context: int) -> int:
    """Bits, in 1/256, that a decision costs by its first context alone."""
    p = int(chance[2 * context]) >> 10
    return int(PRICE[p]) if bit else int(PRICE[4095 - p])


def writer(chance: NDArray[np.int32], weight: NDArray[np.int32], room: int) -> Coder:
    """A coder that writes at most ``room`` bytes; the tables are its own from now on."""
    state = np.zeros(8, np.int64)
    state[HIGH], state[MODE], state[SIZE] = 0xFFFFFFFF, WRITE, room
    return Coder(state, np.zeros(room, np.uint8), chance, weight)


def written(coder: Coder) -> bytes:
    """What a writer wrote, without trailing zeros (a reader goes on with zeros)."""
    state = coder.state
    low, high, at = int(state[LOW]), int(state[HIGH]), int(state[POSITION])
    if at > int(state[SIZE]):
        raise OverflowError("the coder's buffer is too small")
    data = coder.data[:at].tobytes()
    for count in range(5):  # the shortest number between low and high
        if count == 4:
            return (data + low.to_bytes(4, "big")).rstrip(b"\0")
        step = 1 << (32 - 8 * count)
        value = -(-low // step) * step
        if value <= high:
            return (data + value.to_bytes(5, "big")[1:] if value >> 32 == 0 else data).rstrip(b"\0")
    return data


def reader(data: bytes, chance: NDArray[np.int32], weight: NDArray[np.int32]) -> Coder:
    """A coder that reads."""
    state = np.zeros(8, np.int64)
    state[HIGH], state[MODE], state[SIZE] = 0xFFFFFFFF, READ, len(data)
    state[CODE], state[POSITION] = int.from_bytes(data[:4].ljust(4, b"\0"), "big"), 4
    return Coder(state, np.frombuffer(data + b"\0", np.uint8).copy(), chance, weight)


def overrun(coder: Coder) -> int:
    """Bytes that were read behind the end; more than three are impossible in a whole stream."""
    return int(coder.state[OVERRUN])
