"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., arXiv 2409.11321).

For the comparison with Muon in ``image_trials.py``. Kernels are taken as matrices of nine times the
columns; a side longer than ``LONGEST`` keeps its own basis, as the authors do with large sides.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LONGEST = 700
EVERY = 10  # steps between two renewals of the bases
BETAS = (0.95, 0.95)
EPSILON = 1e-8


class Soap(torch.optim.Optimizer):
    """Groups as those of Muon: ``lr``, and ``share`` of it for kernels."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        self.count = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; the first only measures the preconditioners."""
        self.count += 1
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group["lr"] * group["share"])

    def _update(self, p: Tensor, rate: float) -> None:
        g = p.grad.flatten(1)  # type: ignore[union-attr]  # [rows, columns]
        state = self.state[p]
        sides = [side for side in (0, 1) if g.shape[side] <= LONGEST]
        if not state:
            state["m"], state["v"] = torch.zeros_like(g), torch.zeros_like(g)
            for side in sides:
                state[f"l{side}"] = _outer(g, side)
                state[f"q{side}"] = torch.linalg.eigh(state[f"l{side}"])[1].flip(1)
            return
        state["m"].lerp_(g, 1 - BETAS[0])
        turned, mean = g, state["m"]
        for side in sides:
            turned, mean = (_turn(t, state[f"q{side}"], side) for t in (turned, mean))
        state["v"].lerp_(turned.square(), 1 - BETAS[1])
        age = self.count - 1
        fix = (1 - BETAS[1] ** age) ** 0.5 / (1 - BETAS[0] ** age)
        update = mean / (state["v"].sqrt() + EPSILON) * fix
        for side in sides:
            update = _turn(update, state[f"q{side}"].T, side)
        p.sub_(update.reshape(p.shape), alpha=rate)
        for side in sides:
            state[f"l{side}"].lerp_(_outer(g, side), 1 - BETAS[1])
            if self.count % EVERY == 0:
                self._renew(state, side)

    def _renew(self, state: dict[str, Tensor], side: int) -> None:
        """One power iteration and QR; the second moments follow the order of the eigenvalues."""
        before, cover = state[f"q{side}"], state[f"l{side}"]
        order = (before * (cover @ before)).sum(0).argsort(descending=True)
        state["v"] = state["v"].index_select(side, order)
        state[f"q{side}"] = torch.linalg.qr(cover @ before[:, order])[0]


def _outer(g: Tensor, side: int) -> Tensor:
    return g @ g.T if side == 0 else g.T @ g


def _turn(g: Tensor, basis: Tensor, side: int) -> Tensor:
    return basis.T @ g if side == 0 else g @ basis
