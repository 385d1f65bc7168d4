"""Muon for weight matrices, AdamW for the rest; learning rates over a training, as fractions of their peak.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a weight matrix by the
nearest matrix with orthonormal rows, so that every direction of the update has the same size. A convolution's kernel is
such a matrix: output channels by everything they sum over. torch's own Muon takes two-dimensional weights alone.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration, from the reference above: fast rather than exact near 1.
A, B, C = 3.4445, -4.7750, 2.0315

# A layer with fewer inputs or outputs reads an image or gives classes.
NARROWEST = 8

SCHEDULES = ("one-cycle", "cosine", "restarts", "plateau")


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """A matrix (m, n) with the singular vectors of the given one and singular values near 1 (0.7 to 1.2).

    The iteration X <- (A I + B XX' + C (XX')^2) X runs on XX', which has the smaller side.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T, steps).T
    matrix = matrix / (matrix.norm() + 1e-7)
    gram = matrix @ matrix.T  # (m, m)
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product = identity
    for _ in range(steps):
        factor = A * identity + B * gram + C * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    return product @ matrix


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for weights seen as matrices (first side, all other sides)."""

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update all weights once."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                state["mean"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(state["mean"], group["momentum"]).reshape(len(weight), -1)
                update = orthogonalised(update.float()) * max(1, update.shape[0] / update.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(update.reshape(weight.shape), alpha=group["lr"])


def is_matrix(weight: Tensor) -> bool:
    """Whether Muon updates a weight: no bias, scale or depthwise kernel, no input or output layer."""
    return weight.ndim >= 2 and min(weight.shape[:2]) >= NARROWEST


def optimisers(model: nn.Module, lr: float, weight_decay: float, muon: float) -> list[torch.optim.Optimizer]:
    """AdamW alone if `muon` is 0; else Muon with that rate for weight matrices and AdamW for the rest.

    A single number, such as the logarithm of a scale of cosines, has no weight decay.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in weights if muon and is_matrix(weight)]
    others = [weight for weight in weights if not (muon and is_matrix(weight))]
    numbers = [weight for weight in others if weight.ndim == 0]
    groups = [{"params": [weight for weight in others if weight.ndim]}]
    if numbers:
        groups.append({"params": numbers, "weight_decay": 0.0})
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)]
    if matrices:
        made.append(Muon(matrices, lr=muon, weight_decay=weight_decay))
    return made


def rate(name: str, step: int, steps: int, warmup: float, losses: Sequence[float]) -> float:
    """Fraction of the peak rate at `step` of `steps`, after finished epochs with these training losses.

    one-cycle: cosine up from 1/25 over the warm-up, down to 0 after it (Smith and Topin 2018, doi:10.1117/12.2520589).
    cosine: down to 0 from the start. restarts: three such cosines in a row (Loshchilov and Hutter 2017,
    arXiv:1608.03983). plateau: a tenth after each epoch without a new lowest loss. Raises ValueError for other names.
    """
    if name == "one-cycle":
        rise = max(1, round(warmup * steps))
        if step < rise:
            return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * step / rise)) / 2
        return _cosine((step - rise) / max(1, steps - rise))
    if name == "cosine":
        return _cosine(step / steps)
    if name == "restarts":
        return _cosine(step * 3 / steps % 1)
    if name == "plateau":
        lowest = accumulate(losses, min)
        return 0.1 ** sum(loss >= low for low, loss in zip(lowest, losses[1:], strict=False))
    raise ValueError(f"no schedule is called {name!r}; there are {', '.join(SCHEDULES)}")


def _cosine(part: float) -> float:
    return (1 + math.cos(math.pi * part)) / 2
