"""Adan: momentum that also knows how the gradient changes.

The optimiser of HNeRV-Boost; large steps at batches of one frame. Xie et al., "Adan: Adaptive
Nesterov Momentum Algorithm for Faster Optimizing Deep Models", TPAMI 2024 (arXiv 2208.06677).
All parameters are updated together, which small networks need: their tensors are tiny and many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Adan(torch.optim.Optimizer):
    """Adan without weight decay.

    Args:
        params: tensors or groups of them with their own ``lr``.
        betas: decay of the mean gradient, of its change and of its square, as PyTorch counts them.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            b1, b2, b3 = group["betas"]
            pairs = [(p, p.grad) for p in group["params"] if p.grad is not None]
            if not pairs:
                continue
            params: list[Tensor] = [p for p, _ in pairs]
            grads: list[Tensor] = [grad for _, grad in pairs]
            for p, grad in pairs:
                if not self.state[p]:
                    self.state[p] = {
                        "step": 0,
                        "mean": torch.zeros_like(p),
                        "change": torch.zeros_like(p),
                        "square": torch.zeros_like(p),
                        "before": grad.clone(),
                    }
            states = [self.state[p] for p in params]
            for s in states:
                s["step"] += 1
            count = states[0]["step"]
            means, changes, squares, before = (
                [s[key] for s in states] for key in ("mean", "change", "square", "before")
            )
            difference = torch._foreach_sub(grads, before)
            torch._foreach_lerp_(means, grads, 1 - b1)
            torch._foreach_lerp_(changes, difference, 1 - b2)
            ahead = torch._foreach_add(grads, difference, alpha=b2)
            torch._foreach_mul_(squares, b3)
            torch._foreach_addcmul_(squares, ahead, ahead, 1 - b3)
            torch._foreach_copy_(before, grads)
            bottom = torch._foreach_sqrt(torch._foreach_div(squares, 1 - b3**count))
            torch._foreach_add_(bottom, group["eps"])
            top = torch._foreach_div(means, 1 - b1**count)
            torch._foreach_add_(top, changes, alpha=b2 / (1 - b2**count))
            torch._foreach_addcdiv_(params, top, bottom, -group["lr"])


class FrameDescent:
    """Descent for a tensor whose first axis is time, one frame at a time.

    A step sees the gradient of one frame's latents only; this optimiser reads and writes only that
    frame, so that its cost does not grow with the length of the chunk. The gradient is divided by
    its size in the channel and not, as in Adam, in the element: latents that matter little stay
    where they are, most of them at zero.

    Args:
        tensor: ``[N, C, h, w]``, changed in place.
        momentum, memory: decay of a frame's mean gradient and of a channel's mean square.
    """

    def __init__(self, tensor: Tensor, momentum: float = 0.8, memory: float = 0.95) -> None:
        self.tensor, self.momentum, self.memory = tensor, momentum, memory
        self.mean = torch.zeros_like(tensor)
        self.square = torch.zeros(tensor.shape[1], 1, 1, device=tensor.device)
        self.counts = torch.zeros(tensor.shape[0] + 1)  # updates of each frame, and of all

    @torch.no_grad()
    def step(self, frame: int, grad: Tensor, lr: float) -> None:
        """Update one frame from its gradient ``[C, h, w]``; no element moves more than 4 lr."""
        self.counts[frame] += 1
        self.counts[-1] += 1
        own, all_frames = float(self.counts[frame]), float(self.counts[-1])
        self.square.lerp_(grad.square().mean((1, 2), keepdim=True), 1 - self.memory)
        size = (self.square / (1 - self.memory**all_frames)).sqrt_().add_(1e-12)
        mean = self.mean[frame].lerp_(grad, 1 - self.momentum)
        move = mean / size / (1 - self.momentum**own)
        self.tensor[frame].sub_(move.clamp_(-4, 4), alpha=lr)

    def state(self) -> dict[str, Tensor]:
        """Tensors to save; assign to them to restore."""
        return {"mean": self.mean, "square": self.square, "counts": self.counts}
