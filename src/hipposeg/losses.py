"""The one training loss: soft Dice plus (weighted) cross-entropy, the same code in 2D and 3D."""

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


def dice_ce_loss(logits: Tensor, target: Tensor, foreground_weight: float = 1.0) -> Tensor:
    """Soft Dice plus cross-entropy, in equal parts.

    Args:
        logits: (B, K, *S), any float dtype; computed in float32.
        target: (B, *S) integer class indices.
        foreground_weight: of each foreground class in the cross-entropy; the background weighs 1.
    """
    logits = logits.float()
    target = target.long()
    weight = torch.full((logits.shape[1],), foreground_weight, device=logits.device)
    weight[0] = 1
    return soft_dice_loss(logits, target) + cross_entropy(logits, target, weight=weight)
