"""The one training loss: soft Dice plus (weighted) cross-entropy, the same code in 2D and 3D."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def _truth(logits: Tensor, target: Tensor) -> Tensor:
    """(B, *S) integer class indices -> (B, K, *S) zeros and ones, in the logits' dtype."""
    return one_hot(target.long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype)


def soft_dice_loss(logits: Tensor, target: Tensor, smooth: float = 1e-5) -> Tensor:
    """One minus the mean soft Dice of the foreground classes, pooled over the batch.

    A batch of slices often lacks a class; pooling keeps the loss defined there (Isensee et al. 2021 use the same in 2D,
    doi:10.1038/s41592-020-01008-z). The background is left out: it is large, and easy. This is a loss; scores come from
    `hipposeg.metrics`, per case and never pooled.

    Args:
        logits: (B, K, *S) float32.
        target: (B, *S) integer class indices.
        smooth: keeps the ratio defined where a class is absent from batch and prediction.
    """
    probability, truth = logits.softmax(1), _truth(logits, target)
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * truth).sum(axes)
    total = probability.sum(axes) + truth.sum(axes)
    dice = (2 * overlap + smooth) / (total + smooth)
    return 1 - dice[1:].mean()


def cross_entropy(logits: Tensor, target: Tensor, foreground_weight: float = 1.0) -> Tensor:
    """Mean cross-entropy over voxels, each weighted by its true class: background 1, foreground `foreground_weight`.

    Equal to torch's own, whose two-dimensional kernel is not deterministic on a GPU. Arguments as for `soft_dice_loss`.
    """
    truth = _truth(logits, target)
    weight = torch.full((logits.shape[1],), foreground_weight, device=logits.device)
    weight[0] = 1
    weighted = truth * weight.view(1, -1, *[1] * (logits.ndim - 2))  # (B, K, *S), zero except at the true class
    return -(weighted * logits.log_softmax(1)).sum() / weighted.sum()


def dice_ce_loss(logits: Tensor, target: Tensor, foreground_weight: float = 1.0) -> Tensor:
    """Soft Dice plus cross-entropy, in equal parts, computed in float32; arguments as for `cross_entropy`."""
    logits = logits.float()
    return soft_dice_loss(logits, target) + cross_entropy(logits, target, foreground_weight)
