"""Muon for weight matrices, AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a weight matrix by the
nearest matrix with orthonormal rows, so that every direction of the update has the same size. A convolution's kernel is
such a matrix: output channels by everything they sum over. torch's own Muon takes two-dimensional weights alone.
"""

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration, from the reference above: fast rather than exact near 1.
A, B, C = 3.4445, -4.7750, 2.0315

# A layer with fewer inputs or outputs reads an image or gives classes.
NARROWEST = 8


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
    """Nesterov momentum, orthogonalised, for weights seen as (first side, all other sides).

    Args:
        params: weights with two or more dimensions.
        lr: step size, relative to the weights' own scale.
        momentum: of the running mean of gradients.
        weight_decay: per unit of learning rate.
    """

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
