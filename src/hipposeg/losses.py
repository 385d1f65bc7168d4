"""The one training loss: soft Dice plus (weighted) cross-entropy, the same code in 2D and 3D."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot


def soft_dice_loss(logits: Tensor, target: Tensor, smooth: float = 1e-5) -> Tensor:
    """One minus the mean soft Dice of the foreground classes, pooled over the batch.

    A batch of slices often lacks a class; pooling keeps the loss defined there (Isensee et al. 2021 use the same in 2D,
    doi:10.1038/s41592-020-01008-z). The background is left out: it is large, and easy. This is a loss; scores come from
    `hipposeg.metrics`, per case and never pooled.

    Args:
        logits: (B, K, *S) float32.
        target: (B, *S) int64 class indices.
        smooth: keeps the ratio defined where a class is absent from batch and prediction.
    """
    probability = logits.softmax(1)
    truth = one_hot(target, logits.shape[1]).movedim(-1, 1).to(probability.dtype)  # (B, K, *S)
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * truth).sum(axes)
    total = probability.sum(axes) + truth.sum(axes)
    dice = (2 * overlap + smooth) / (total + smooth)
    return 1 - dice[1:].mean()


def dice_ce_loss(logits: Tensor, target: Tensor, class_weights: Sequence[float] | None = None) -> Tensor:
    """Soft Dice plus cross-entropy, in equal parts; `class_weights` weigh the cross-entropy's classes.

    Args:
        logits: (B, K, *S), any float dtype; computed in float32.
        target: (B, *S) integer class indices.
        class_weights: K weights, background first, or None for equal ones.
    """
    logits = logits.float()
    target = target.long()
    weight = None if class_weights is None else torch.tensor(class_weights, device=logits.device)
    return soft_dice_loss(logits, target) + cross_entropy(logits, target, weight=weight)
