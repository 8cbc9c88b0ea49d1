"""A circuit as entropy model of a learned codec's latents, against the codec's own Gaussian tables.

    python benchmarks/latent_circuits.py --data DIR --out benchmarks/results/latent_circuits

Writes OUT.json and OUT.md. DIR holds images; every ninth is held out and measured, the others
(at most --pictures of them) are learned from. The symbols q = round(y - mean) of the default image
model and the scale index s that its context networks choose for each are taken as they are coded.
The circuit is a hidden Chow-Liu tree over blocks of symbols whose leaves are *conditional*,

    p(q | s) = sum over z of p(z_root) prod_i p(z_i | z_parent(i)) p(q_i | z_i, s_i),

a valid code whatever the order in which the s_i become known, as each leaf sums to 1 for every s.
Two kinds of leaves: *shifted* ones are the codec's own tables, z steps of scale to either side of s
(the circuit learns only how errors of the predicted scale go together), *free* ones start there and
are learned as well, shared by all variables. Bits are ideal code lengths of both models.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import keep, table
from numpy.typing import NDArray

from laconic.codec.image.codec import LoadedModel, load_model
from laconic.codec.image.coding import Writer
from laconic.codec.image.header import Grid
from laconic.codec.image.slices import checkerboard
from laconic.codec.lossless import circuits
from laconic.codec.lossless.circuits.queries import blocks, upward
from laconic.codec.models import DEFAULT_MODEL
from laconic.codec.train.photo import load_photos
from laconic.entropy import CdfTables

Ints = NDArray[np.int64]
LIMIT = 15  # symbols beyond are one symbol here, for both models
VALUES = 2 * LIMIT + 2
SHIFTS = (-10, -7, -4, -2, 0, 2, 5, 9)  # of the states, in steps of the scale table
RECORDS = 200_000  # to learn from
PASSES = 8


class Recorder(Writer):
    """Writes a stream and keeps what it wrote."""

    def __init__(self, coder: Any) -> None:
        super().__init__(coder)
        self.steps: list[tuple[Ints, Ints]] = []

    def symbols_of(
        self,
        residual: torch.Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> torch.Tensor:
        """As a writer; shapes of both arrays are that of the step."""
        rounded = super().symbols_of(residual, shape, indexes, tables)
        symbols = rounded.numpy().astype(np.int64)
        self.steps.append((symbols[0], indexes.astype(np.int64).reshape(symbols.shape)[0]))
        return rounded


@torch.no_grad()
def latents(model: LoadedModel, picture: NDArray[np.uint8], quality: float) -> tuple[Ints, Ints]:
    """Symbols and scale indexes of y, [H/16, W/16, M] each."""
    padded = Grid(picture.shape[1], picture.shape[0], 1024).padded
    rows = np.minimum(np.arange(padded.height), picture.shape[0] - 1)
    columns = np.minimum(np.arange(padded.width), picture.shape[1] - 1)
    x = torch.from_numpy(picture[rows[:, None], columns[None]].astype(np.float32) / 255)[None]
    y = model.analyse(x, quality)
    z = model.hyper(y, quality)
    recorder = Recorder(model.coder)
    height, width = y.shape[1:3]
    model.coder.walk(recorder, y.double(), z.double(), (height, width), quality)
    board = checkerboard(height, width, model.config.window, torch.device("cpu"))
    result = np.empty((2, height * width, model.channels), np.int64)
    first = 0
    for n, channels in enumerate(model.config.slices):
        for half, step in ((board.anchors, 1 + 2 * n), (board.others, 2 + 2 * n)):
            for k in (0, 1):
                result[k, half.numpy(), first : first + channels] = recorder.steps[step][k]
        first += channels
    symbols, scales = result.reshape(2, height, width, -1)
    return symbols, scales


def squares(a: Ints) -> Ints:
    """Blocks of 4x4 positions of one channel, [N, 16]."""
    height, width, channels = a.shape
    cut = a.reshape(height // 4, 4, width // 4, 4, channels).transpose(0, 2, 4, 1, 3)
    return cut.reshape(-1, 16)


def columns(a: Ints) -> Ints:
    """Blocks of 8 neighbouring channels at 1x2 positions, [N, 16]."""
    height, width, channels = a.shape
    cut = a.reshape(height, width // 2, 2, channels // 8, 8).transpose(0, 1, 3, 2, 4)
    return cut.reshape(-1, 16)


LAYOUTS = {"4x4 positions of a channel": squares, "8 channels at 1x2 positions": columns}


def leaf_table(tables: CdfTables) -> NDArray[np.float64]:
    """Probabilities [scales, VALUES] of the codec's tables; the last is everything beyond LIMIT."""
    result = np.zeros((len(tables), VALUES))
    for t in range(len(tables)):
        freqs = tables.frequencies(t) / (1 << tables.precision)
        values = np.arange(freqs.size - 1) + int(tables.lows[t])
        inside = np.abs(values) <= LIMIT
        result[t, values[inside] + LIMIT] = freqs[:-1][inside]
    result[:, -1] = 1 - result.sum(axis=1)
    floor = np.maximum(result, 2.0**-24)
    normalised: NDArray[np.float64] = floor / floor.sum(axis=1, keepdims=True)
    return normalised


def combined(symbols: Ints, scales: Ints) -> Ints:
    """One number for each pair of scale and symbol."""
    value = np.where(np.abs(symbols) <= LIMIT, symbols + LIMIT, VALUES - 1)
    return scales * VALUES + value


def shifted_leaves(table: NDArray[np.float64]) -> NDArray[np.float32]:
    """p(q | z, s) as [scales * VALUES, M]."""
    scales = np.arange(len(table))
    states = [table[np.clip(scales + shift, 0, len(table) - 1)].reshape(-1) for shift in SHIFTS]
    return np.stack(states, axis=1).astype(np.float32)


def start(data: Ints, symbols: Ints, scales: Ints, leaves: NDArray[np.float32]) -> circuits.HCLT:
    """A circuit whose tree follows how surprising symbols are where their neighbours are."""
    surprise = np.digitize(symbols**2 / 1.13 ** (scales - 36.0), [0.3, 1.5, 4])
    parents = circuits.chow_liu_tree(circuits.mutual_information(surprise, [4] * 16))
    near = np.abs(np.subtract.outer(np.arange(len(SHIFTS)), np.arange(len(SHIFTS))))
    transition = np.exp(-near.astype(np.float32)) + np.float32(0.02)
    transition /= transition.sum(axis=1, keepdims=True)
    variables = data.shape[1]
    return circuits.HCLT(
        parents,
        (len(leaves),) * variables,
        np.full(len(SHIFTS), 1 / len(SHIFTS), np.float32),
        np.repeat(transition[None], variables, axis=0),
        np.tile(leaves, (variables, 1)),
    )


def improve(circuit: circuits.HCLT, data: Ints, *, free: bool) -> circuits.HCLT:
    """One pass of EM; leaves are learned if `free`, with the old ones as prior."""
    counts = circuits.expected_counts(circuit, data)
    prior = counts.prior + 0.1
    transitions = counts.transitions + np.float32(0.1)
    transitions /= transitions.sum(axis=2, keepdims=True)
    leaves = circuit.leaves
    if free:
        shape = (circuit.variables, -1, VALUES, circuit.states)
        shared = counts.leaves.reshape(shape).sum(axis=0) + 20 * leaves.reshape(shape)[0]
        shared /= shared.sum(axis=1, keepdims=True)
        leaves = np.tile(shared.reshape(-1, circuit.states), (circuit.variables, 1))
    return replace(
        circuit, prior=(prior / prior.sum()).astype(np.float32), transitions=transitions,
        leaves=leaves,
    )  # fmt: skip


def bits(circuit: circuits.HCLT, data: Ints) -> float:
    """Ideal code length of records [N, D]."""
    total = 0.0
    for part in blocks(len(data), circuit.states, circuit.variables):
        total -= float(upward(circuit, np.asfortranarray(data[part])).log_likelihood.sum())
    return total / float(np.log(2))


def bits_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = []
    for r in rows:
        cells = [
            f"{r[kind]:.4f} ({100 * (r[kind] / r['gaussian'] - 1):+.2f} %)"
            for kind in ("shifted", "free")
        ]
        lines.append(
            f"{r['quality']:g} | {r['layout']} | {r['gaussian']:.4f} | {' | '.join(cells)}"
        )
    return table(
        "quality | block | Gaussian tables, bpp of y | circuit, shifted leaves | circuit, free"
        " leaves",
        lines,
        texts=2,
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--qualities", default="25,65")
    arguments = parser.parse_args()
    model = load_model(DEFAULT_MODEL)
    own = leaf_table(model.coder.tables)
    own_bits, leaves = -np.log2(own).reshape(-1), shifted_leaves(own)
    pictures, held_out = load_photos([arguments.data])
    pictures = pictures[:: max(1, len(pictures) // arguments.pictures)][: arguments.pictures]
    pixels = sum(p.shape[0] * p.shape[1] for p in held_out)
    rows = []
    for quality in map(float, arguments.qualities.split(",")):
        known = [latents(model, p, quality) for p in pictures]
        unseen = [latents(model, p, quality) for p in held_out]
        for layout, cut in LAYOUTS.items():
            symbols, scales = (np.concatenate([cut(pair[k]) for pair in known]) for k in (0, 1))
            data = combined(symbols, scales)
            informative = np.flatnonzero(own_bits[data].sum(axis=1) > 1)
            some = np.random.default_rng(0).permutation(informative)[:RECORDS]
            data, symbols, scales = data[some], symbols[some], scales[some]
            test = np.concatenate([combined(cut(pair[0]), cut(pair[1])) for pair in unseen])
            row = {"quality": quality, "layout": layout, "records": len(data)}
            row["gaussian"] = float(own_bits[test].sum()) / pixels
            circuit = start(data, symbols, scales, leaves)
            for kind, free in (("shifted", False), ("free", True)):
                for _ in range(PASSES):
                    circuit = improve(circuit, data, free=free)
                row[kind] = bits(circuit, test) / pixels
                print(quality, layout, kind, row["gaussian"], row[kind], flush=True)
            rows.append(row)
    about = {"model": model.info.id, "pictures": len(pictures), "held_out": len(held_out)}
    keep(arguments.out, {"about": about, "rows": rows}, bits_table(rows))


if __name__ == "__main__":
    main()
