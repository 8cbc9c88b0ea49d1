"""Optimiser: Muon for the inner weight matrices, Adam for everything else.

Muon replaces each matrix's momentum by its nearest orthogonal matrix, found with Newton-Schulz
iterations (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; second-order optimisers
on learned image codecs: Zhang et al., arXiv 2601.20814). On short budgets it needs far fewer steps
than Adam. PyTorch's own Muon iterates one matrix at a time and always in bfloat16, which is slow
where the processor lacks it; this one handles matrices of one shape together, in bfloat16 where the
processor multiplies it and in float32 elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def has_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices, approximately: ``[K, rows, columns]`` -> same shape."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if has_bfloat16(x.device):
        x = _newton_schulz(x.bfloat16(), steps).float()
    elif x.shape[2] >= 2 * x.shape[1]:
        x = _through_gram(x, steps)
    else:
        x = _newton_schulz(x, steps)
    return x.transpose(1, 2) if tall else x


def _newton_schulz(x: Tensor, steps: int) -> Tensor:
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def _through_gram(x: Tensor, steps: int) -> Tensor:
    """The same polynomials of oblong matrices by their small Gram matrix alone, which half the
    products do; they square the condition, for which bfloat16 is too coarse."""
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.transpose(1, 2)
    identity = torch.eye(len(gram[0]), dtype=x.dtype, device=x.device)
    total = None
    for step in range(steps):
        factor = a * identity + b * gram + c * gram @ gram
        total = factor if total is None else factor @ total
        if step < steps - 1:
            gram = factor @ gram @ factor
    return x if total is None else total @ x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised per matrix; ``lr`` is the spectral norm of an update of a square
    matrix."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape].append(p)
            for shape, params in by_shape.items():
                updates = []
                for p in params:
                    assert p.grad is not None
                    state = self.state[p]
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    buffer = state["momentum"]
                    buffer.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(torch.lerp(p.grad, buffer, group["momentum"]))  # Nesterov
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for p, update in zip(params, orthogonalise(torch.stack(updates)), strict=True):
                    p.sub_(update, alpha=scale)


def build_optimisers(
    model: torch.nn.Module, *, muon_lr: float, adam_lr: float, linear_lr: float
) -> list[torch.optim.Optimizer]:
    """Muon for matrices inside blocks and contexts, Adam for vectors and tables (``adam_lr``) and
    for the linear path (stem, down, up, tail), which starts near its optimum (``linear_lr``)."""
    matrices, linear, rest = [], [], []
    for name, p in model.named_parameters():
        if name in {f"g_a.{n}.weight" for n in ("stem", "down")} | {
            f"g_s.{n}.weight" for n in ("up", "tail")
        }:
            linear.append(p)
        elif p.ndim == 2 and not name.endswith("table"):
            matrices.append(p)
        else:
            rest.append(p)
    adam = torch.optim.Adam(
        [{"params": rest, "lr": adam_lr}, {"params": linear, "lr": linear_lr}], betas=(0.9, 0.98)
    )
    return [Muon(matrices, lr=muon_lr), adam]
