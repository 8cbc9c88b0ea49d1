"""Questions to a circuit: likelihoods, marginals, conditionals in any order, samples, completions.

All of them accept missing values (-1, NaN or a masked array): those variables are summed out
exactly. Names and meanings follow PyJuice where it has them; everything runs on a CPU.

They are made of two passes, likelihoods up and posteriors down. Records are processed in blocks:
within one every tree edge is one matrix product up and two down, ``[B, M] x [M, M]``, in float32
with each message scaled to a largest entry of 1 and the logarithms of the scales added up. A block
of one variable then stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.codec.lossless.circuits.tree import HCLT, MISSING, Floats, children_of
from laconic.entropy.jit import jit
from laconic.formats.errors import ParameterError

TINY = np.float32(1e-30)


def blocks(count: int, states: int, variables: int) -> Iterator[slice]:
    """Slices of records of which one variable's states fit in the cache."""
    length = int(np.clip(2**15 // states, 64, max(64, 2**24 // (states * variables))))
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))


@dataclass
class Upward:
    """Likelihoods of one block: ``states[i]`` ~ p(evidence below i | z_i) and ``messages[i]`` ~
    p(evidence below i | parent's state), both ``[B, M]`` scaled to a maximum of 1 per record;
    ``root`` is the prior times the root's likelihood."""

    states: list[Floats]
    messages: list[Floats]
    root: Floats
    log_likelihood: NDArray[np.float64]  # [B], nats


def upward(circuit: HCLT, block: NDArray[np.integer]) -> Upward:
    """Likelihood of the evidence in ``block`` ``[B, D]``; negative symbols are missing."""
    children = children_of(circuit.parents)
    count = block.shape[0]
    none = np.empty((0, 0), np.float32)
    states, messages = [none] * circuit.variables, [none] * circuit.variables
    log = np.zeros(count)
    any_missing = bool((block < 0).any())
    for node in reversed(circuit.order):
        symbols = block[:, node]
        value = circuit.leaf(node).take(symbols, axis=0, mode="wrap")
        if any_missing:
            value[symbols < 0] = 1
        for n, child in enumerate(children[node]):
            value *= messages[child]
            if n % 3 == 2:
                _rescale(value, log)
        _rescale(value, log)
        states[node] = value
        if circuit.parents[node] >= 0:
            messages[node] = value @ circuit.transitions[node].T
    top = circuit.order[0]
    root = states[top] * circuit.prior
    log += np.log(np.maximum(root.sum(axis=1, dtype=np.float64), 1e-300))
    return Upward(states, messages, root, log)


def _rescale(value: Floats, log: NDArray[np.float64]) -> None:
    scales = np.empty(len(value), np.float32)
    _divide(value, scales)
    log += np.log(scales, dtype=np.float64)


@jit
def _divide(value: NDArray[Any], scales: NDArray[Any]) -> None:
    """Divide each row by its largest entry; the divisors are kept in ``scales``."""
    for n in range(value.shape[0]):
        most = TINY
        for k in range(value.shape[1]):
            most = max(most, value[n, k])
        scales[n] = most
        for k in range(value.shape[1]):
            value[n, k] /= most


def downward_posteriors(circuit: HCLT, up: Upward) -> Iterator[tuple[int, Floats, Floats | None]]:
    """``(variable, p(z_i | evidence), ratio)`` from the root down, each ``[B, M]``.

    ``ratio`` is the parent's posterior over the message received, so that the posterior of an edge
    is ratio[a] * T[a, z] * states[i][z]; None at the root.
    """
    posteriors: dict[int, Floats] = {}
    top = circuit.order[0]
    left = [len(c) for c in children_of(circuit.parents)]
    for node in circuit.order:
        ratio: NDArray[Any] | None = None
        if node == top:
            posterior = up.root / np.maximum(up.root.sum(axis=1, keepdims=True), TINY)
        else:
            parent = int(circuit.parents[node])
            ratio = posteriors[parent] / np.maximum(up.messages[node], TINY)
            posterior = ratio @ circuit.transitions[node]
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
    for part in blocks(len(records), circuit.states, circuit.variables):
        result[part] = upward(circuit, np.asfortranarray(records[part])).log_likelihood
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
