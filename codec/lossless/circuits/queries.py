"""Questions to a circuit: likelihoods, marginals, conditionals in any order, samples, completions.

All of them accept missing values (-1, NaN or a masked array): those variables are summed out
exactly. Names and meanings follow PyJuice where it has them; everything runs on a CPU.

They are made of two passes, likelihoods up and posteriors down. Records are processed in blocks:
within one every tree edge is one matrix product up and two down, ``[B, M] x [M, M]``, in float32
with each message scaled to a largest entry of 1 and the logarithms of the scales added up. A block
of one variable then stays in the processor's cache. The records of a state lie side by side: loops
over them are long even where states are few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.codec.lossless.circuits.tree import HCLT, MISSING, Floats
from laconic.entropy.jit import jit
from laconic.formats.errors import ParameterError

TINY = np.float32(1e-30)
SMALL = 1e-250  # a product of scales that is below has its logarithm taken


def blocks(count: int, states: int, variables: int) -> Iterator[slice]:
    """Slices of records of which one variable's states fit in the cache."""
    length = int(np.clip(2**15 // states, 64, max(64, 2**24 // (states * variables))))
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))


class Scratch:
    """Memory that one block after another uses: new pages cost more than the passes themselves."""

    def __init__(self) -> None:
        self._held = np.empty(0, np.float32)

    def array(self, *shape: int) -> Floats:
        """An array of that shape, which the next call takes back."""
        size = math.prod(shape)
        if self._held.size < size:
            self._held = np.empty(size, np.float32)
        return self._held[:size].reshape(shape)


@dataclass
class Upward:
    """Likelihoods of one block: ``states[i]`` ~ p(evidence below i | z_i) and ``messages[i]`` ~
    p(evidence below i | parent's state), both scaled to a maximum of 1 per record; ``root`` is the
    prior times the root's likelihood, ``[B, M]``."""

    states: Floats  # [D, B, M], of strides that put the records of a state side by side
    messages: Floats
    root: Floats
    log_likelihood: NDArray[np.float64]  # [B], nats
    symbols: NDArray[np.int64]  # [D, B], of the evidence


def upward(circuit: HCLT, block: NDArray[np.integer], scratch: Scratch | None = None) -> Upward:
    """Likelihood of the evidence in ``block`` ``[B, D]``; negative symbols are missing. With
    ``scratch`` the result is valid until its next use."""
    children = circuit.children
    count = block.shape[0]
    symbols = np.ascontiguousarray(block.T, np.int64)
    shape = 2, circuit.variables, circuit.states, count
    states, messages = (scratch or Scratch()).array(*shape)
    log, scales = np.zeros(count), np.ones(count)
    for node in reversed(circuit.order):
        leaf = circuit.leaf(node)
        _below(states[node], leaf, symbols[node], messages, children[node], scales, log)
        if circuit.parents[node] >= 0:
            np.matmul(circuit.transitions[node], states[node], out=messages[node])
    root = np.ascontiguousarray(states[circuit.order[0]].T) * circuit.prior
    log += np.log(scales)
    log += np.log(np.maximum(root.sum(axis=1, dtype=np.float64), 1e-300))
    return Upward(states.transpose(0, 2, 1), messages.transpose(0, 2, 1), root, log, symbols)


@jit
def _below(
    value: NDArray[Any],
    leaf: NDArray[Any],
    symbols: NDArray[Any],
    messages: NDArray[Any],
    children: NDArray[Any],
    scales: NDArray[Any],
    log: NDArray[Any],
) -> None:
    """``value`` ``[M, B]`` becomes the likelihood of what is known at and below a variable; what it
    was divided by is multiplied to ``scales``, or its logarithm added to ``log``."""
    most = np.empty(symbols.size, np.float32)
    wrapped = np.empty(symbols.size, np.int64)
    for n in range(symbols.size):
        wrapped[n] = symbols[n] if symbols[n] < leaf.shape[0] else symbols[n] % leaf.shape[0]
    for k in range(value.shape[0]):
        for n in range(symbols.size):
            value[k, n] = leaf[wrapped[n], k] if wrapped[n] >= 0 else 1
    for c in range(children.size):
        received = messages[children[c]]
        for k in range(value.shape[0]):
            for n in range(symbols.size):
                value[k, n] *= received[k, n]
        if c % 3 == 2:
            _divide(value, most, scales)
    _divide(value, most, scales)
    for n in range(symbols.size):
        if scales[n] < SMALL:
            log[n] += np.log(scales[n])
            scales[n] = 1


@jit
def _divide(value: NDArray[Any], most: NDArray[Any], scales: NDArray[Any]) -> None:
    """Divide each record's values by the largest of them."""
    for n in range(most.size):
        most[n] = TINY
    for k in range(value.shape[0]):
        for n in range(most.size):
            most[n] = max(most[n], value[k, n])
    for k in range(value.shape[0]):
        np.divide(value[k], most, value[k])  # unlike / it never asks whether a divisor is 0
    for n in range(most.size):
        scales[n] *= most[n]


@jit
def _quotients(posterior: NDArray[Any], messages: NDArray[Any], found: NDArray[Any]) -> None:
    """posterior / max(messages, TINY)."""
    for k in range(found.shape[0]):
        for n in range(found.shape[1]):
            found[k, n] = max(TINY, messages[k, n])
        np.divide(posterior[k], found[k], found[k])


def downward_posteriors(circuit: HCLT, up: Upward) -> Iterator[tuple[int, Floats, Floats | None]]:
    """``(variable, p(z_i | evidence), ratio)`` from the root down, each ``[B, M]`` with the records
    of a state side by side.

    ``ratio`` is the parent's posterior over the message received, so that the posterior of an edge
    is ratio[a] * T[a, z] * states[i][z]; None at the root.
    """
    posteriors: dict[int, Floats] = {}
    top = circuit.order[0]
    left = [len(c) for c in circuit.children]
    for node in circuit.order:
        ratio: NDArray[Any] | None = None
        if node == top:
            even = up.root / np.maximum(up.root.sum(axis=1, keepdims=True), TINY)
            posterior = np.ascontiguousarray(even.T).T
        else:
            parent = int(circuit.parents[node])
            quotients = np.empty(up.root.shape[::-1], np.float32)
            _quotients(posteriors[parent].T, up.messages[node].T, quotients)
            ratio = quotients.T
            posterior = (circuit.transitions[node].T @ quotients).T
            posterior *= up.states[node]
            left[parent] -= 1
            if left[parent] == 0:
                del posteriors[parent]
        if left[node]:
            posteriors[node] = posterior
        yield node, posterior, ratio


def log_likelihood(circuit: HCLT, data: ArrayLike) -> NDArray[np.float64]:
    """Natural logarithm of p(x) of every record ``[N, D]``; missing variables are summed out.

    Returns:
        ``[N]``; divide by ``-D log(2)`` for bits per dimension.

    Raises:
        ParameterError: a value outside the circuit's domain, or another number of variables.
    """
    records = circuit.check(np.ma.asarray(data) if np.ma.isMaskedArray(data) else np.asarray(data))
    result = np.empty(len(records))
    scratch = Scratch()
    for part in blocks(len(records), circuit.states, circuit.variables):
        result[part] = upward(circuit, np.asfortranarray(records[part]), scratch).log_likelihood
    return result


def bits_per_dimension(circuit: HCLT, data: ArrayLike) -> float:
    """Mean of -log2 p(x) / D, the figure of the literature on image models."""
    return float(-log_likelihood(circuit, data).mean() / circuit.variables / np.log(2))


def marginal(circuit: HCLT, data: ArrayLike, missing: ArrayLike) -> NDArray[np.float64]:
    """Log-probability of the known part of every record.

    Args:
        data: records ``[N, D]``.
        missing: True where a variable is summed out, ``[D]`` or ``[N, D]``.
    """
    return log_likelihood(circuit, _hide(data, missing))


def conditional(
    circuit: HCLT,
    data: ArrayLike,
    missing: ArrayLike | None = None,
    variables: Sequence[int] | None = None,
) -> list[NDArray[np.float64]]:
    """Distribution of single variables given everything that is known of a record.

    Args:
        data: records ``[N, D]``; -1 where missing.
        missing: further variables to treat as missing, ``[D]`` or ``[N, D]``.
        variables: those asked for; all by default. One that is known gets its distribution given
            the others.

    Returns:
        for each variable p(X_i = x | the others that are known), ``[N, sizes[i]]``, rows sum to 1.
    """
    records = circuit.check(np.asarray(data) if missing is None else _hide(data, missing))
    wanted = list(range(circuit.variables)) if variables is None else list(variables)
    if any(not 0 <= v < circuit.variables for v in wanted):
        raise ParameterError(f"a variable is out of range: expected 0..{circuit.variables - 1}")
    result = {v: np.empty((len(records), circuit.sizes[v])) for v in wanted}
    for part in blocks(len(records), circuit.states, circuit.variables):
        block = np.asfortranarray(records[part])
        up = upward(circuit, block)
        for node, posterior, _ in downward_posteriors(circuit, up):
            if node not in result:
                continue
            weight = posterior.astype(np.float64)
            known = block[:, node] >= 0
            emitted = circuit.leaf(node).take(block[known, node], axis=0)
            weight[known] /= np.maximum(emitted, 1e-30)  # without what it says of itself
            found = weight @ circuit.leaf(node).T.astype(np.float64)
            result[node][part] = found / found.sum(axis=1, keepdims=True)
    return [result[v] for v in wanted]


def joint_conditional(circuit: HCLT, query: ArrayLike, evidence: ArrayLike) -> NDArray[np.float64]:
    """Log-probability of the known values of ``query`` given those of ``evidence``, any sets.

    Both ``[N, D]`` with -1 where a variable takes no part; a variable known in both must agree.
    """
    asked, given = circuit.check(np.asarray(query)), circuit.check(np.asarray(evidence))
    if asked.shape != given.shape or ((asked >= 0) & (given >= 0) & (asked != given)).any():
        raise ParameterError("query and evidence contradict each other")
    both = np.where(asked >= 0, asked, given)
    return log_likelihood(circuit, both) - log_likelihood(circuit, given)


def sample(
    circuit: HCLT, count: int = 1, *, given: ArrayLike | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """Records drawn from the circuit.

    Args:
        count: number of records; with ``given`` so many for each of its rows.
        given: records ``[N, D]`` with -1 where a value is to be drawn from its conditional.
        seed: of the random numbers.

    Returns:
        ``[count, D]``, or ``[N * count, D]`` with ``given``.
    """
    if count < 1:
        raise ParameterError(f"{count} samples were asked for: expected at least 1")
    rng = np.random.default_rng(seed)
    if given is None:
        known = np.full((count, circuit.variables), MISSING, np.int64)
    else:
        known = np.repeat(circuit.check(np.asarray(given)), count, axis=0)
    result = known.copy()
    for part in blocks(len(known), circuit.states, circuit.variables):
        block = known[part]
        up = upward(circuit, np.asfortranarray(block))
        states: dict[int, NDArray[np.int64]] = {}
        for node in circuit.order:
            parent = int(circuit.parents[node])
            if parent < 0:
                weights = up.root
            else:  # p(z | parent's state, evidence below)
                weights = circuit.transitions[node][states[parent]] * up.states[node]
            states[node] = _draw(weights, rng)
            values = _draw(circuit.leaf(node).T[states[node]], rng)
            result[part, node] = np.where(block[:, node] >= 0, block[:, node], values)
    return result


def complete(circuit: HCLT, data: ArrayLike) -> NDArray[np.int64]:
    """Records with every missing value replaced by its most probable one, each on its own."""
    records = circuit.check(np.asarray(data))
    result = records.copy()
    for variable, found in enumerate(conditional(circuit, records)):
        gaps = records[:, variable] < 0
        result[gaps, variable] = found[gaps].argmax(axis=1)
    return result


def latent(circuit: HCLT, data: ArrayLike, variable: int) -> NDArray[np.float64]:
    """Posterior of the latent state of one variable, ``[N, M]``: a soft clustering of records."""
    records = circuit.check(np.asarray(data))
    result = np.empty((len(records), circuit.states))
    for part in blocks(len(records), circuit.states, circuit.variables):
        up = upward(circuit, np.asfortranarray(records[part]))
        for node, posterior, _ in downward_posteriors(circuit, up):
            if node == variable:
                result[part] = posterior
    return result


def _hide(data: ArrayLike, missing: ArrayLike) -> NDArray[Any]:
    values = np.asarray(data)
    mask = np.asarray(missing, bool)
    try:
        return np.where(mask, MISSING, values.astype(np.int64))
    except ValueError as error:
        raise ParameterError(
            f"the mask has shape {list(mask.shape)}: expected that of a record or of the data"
        ) from error


def _draw(weights: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int64]:
    """One index per row, with probability in proportion to the weights ``[N, K]``."""
    cumulative = np.cumsum(weights, axis=1, dtype=np.float64)
    target = rng.random(len(weights)) * cumulative[:, -1]
    drawn: NDArray[np.int64] = (cumulative <= target[:, None]).sum(axis=1)
    return np.minimum(drawn, weights.shape[1] - 1)
