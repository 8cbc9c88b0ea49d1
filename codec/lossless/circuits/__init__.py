"""Probabilistic circuits on a CPU: build, learn, ask, sample, store. Needs NumPy only.

    >>> import numpy as np
    >>> from laconic.codec.lossless import circuits
    >>> data = np.random.default_rng(0).integers(0, 2, (500, 1)) ^ np.zeros((1, 6), int)
    >>> circuit = circuits.learn(circuits.hclt(data, states=4), data)
    >>> bool(circuits.bits_per_dimension(circuit, data) < 0.3)  # 1 bit for all six variables
    True
    >>> circuits.complete(circuit, [[1, -1, -1, -1, -1, -1]]).tolist()
    [[1, 1, 1, 1, 1, 1]]

* structure: `hclt`, `chow_liu_tree`, `mutual_information`, `HCLT`;
* learning: `learn`, `Learner`, `Schedule`, `Smoothing`, `expected_counts`;
* questions: `log_likelihood`, `bits_per_dimension`, `marginal`, `conditional`, `joint_conditional`,
  `sample`, `complete`, `latent`;
* storing: `save`, `load`; for coding `compact`, `unpack`, `from_circuit`, `IntegerCircuit`.
"""

from laconic.codec.lossless.circuits.compact import (
    CompactCircuit,
    Rounding,
    compact,
    load,
    save,
    unpack,
)
from laconic.codec.lossless.circuits.em import (
    Counts,
    Learner,
    Schedule,
    Smoothing,
    expected_counts,
    learn,
)
from laconic.codec.lossless.circuits.integer import IntegerCircuit, from_circuit
from laconic.codec.lossless.circuits.queries import (
    bits_per_dimension,
    complete,
    conditional,
    joint_conditional,
    latent,
    log_likelihood,
    marginal,
    sample,
)
from laconic.codec.lossless.circuits.tree import (
    HCLT,
    MISSING,
    chow_liu_tree,
    hclt,
    mutual_information,
)

__all__ = [
    "HCLT",
    "MISSING",
    "CompactCircuit",
    "Counts",
    "IntegerCircuit",
    "Learner",
    "Rounding",
    "Schedule",
    "Smoothing",
    "bits_per_dimension",
    "chow_liu_tree",
    "compact",
    "complete",
    "conditional",
    "expected_counts",
    "from_circuit",
    "hclt",
    "joint_conditional",
    "latent",
    "learn",
    "load",
    "log_likelihood",
    "marginal",
    "mutual_information",
    "sample",
    "save",
    "unpack",
]
