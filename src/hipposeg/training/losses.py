"""Training losses for 2D and 3D: sums of soft Dice, cross-entropies and focal loss, with deep supervision.

Targets are soft labels (B, K, *S) float32, one-hot where nothing was interpolated.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

# Name -> what is added up, each with its factor.
LOSSES: dict[str, tuple[tuple[float, str], ...]] = {
    "dice+ce": ((1.0, "dice"), (1.0, "ce")),
    "dice+focal": ((0.5, "dice"), (0.5, "focal")),
    "dice": ((1.0, "dice"),),
    "ce": ((1.0, "ce"),),
    "0.7dice+0.3ce": ((0.7, "dice"), (0.3, "ce")),
    "dice+bce": ((1.0, "dice"), (1.0, "bce")),
}


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the mean soft Dice of the foreground classes, pooled over the batch, because slices often lack a class.

    As in nnU-Net's 2D networks (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z). Scores come from
    `hipposeg.metrics`, per case and never pooled.
    """
    smooth = 1e-5  # keeps the ratio defined for a class that is absent from batch and prediction
    probability = logits.softmax(1)
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * target).sum(axes)
    total = probability.sum(axes) + target.sum(axes)
    dice = (2 * overlap + smooth) / (total + smooth)
    return 1 - dice[1:].mean()


def cross_entropy(logits: Tensor, target: Tensor, foreground_weight: float = 1.0) -> Tensor:
    """Mean cross-entropy over voxels with class weights: background 1, foreground `foreground_weight`.

    For one-hot labels it equals torch's, whose 2D kernel is not deterministic on a GPU. For soft labels torch divides
    by the number of voxels, this by the sum of their weights.
    """
    weight = torch.full((logits.shape[1],), foreground_weight, device=logits.device)
    weight[0] = 1
    weighted = target * weight.view(1, -1, *[1] * (logits.ndim - 2))
    return -(weighted * logits.log_softmax(1)).sum() / weighted.sum()


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each foreground class against all others, of the softmax, averaged over classes and voxels."""
    whole = logits.logsumexp(1)
    losses = []
    for k in range(1, logits.shape[1]):
        others = torch.cat([logits[:, :k], logits[:, k + 1 :]], 1).logsumexp(1)
        losses.append(-(target[:, k] * (logits[:, k] - whole) + (1 - target[:, k]) * (others - whole)).mean())
    return torch.stack(losses).mean()


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean focal loss over voxels (Lin et al. 2017, arXiv:1708.02002; MONAI's, softmax over the classes).

    MONAI averages over voxels and classes; times K it is the sum over classes, as in the paper.
    """
    from monai.losses import FocalLoss

    return FocalLoss(include_background=True, gamma=2.0, use_softmax=True)(logits, target) * logits.shape[1]


def combined(logits: Tensor, target: Tensor, name: str, foreground_weight: float) -> Tensor:
    """The sum that `name` stands for in LOSSES, for one output: logits and soft labels (B, K, *S) float32."""
    terms = {
        "dice": soft_dice_loss,
        "ce": partial(cross_entropy, foreground_weight=foreground_weight),
        "bce": binary_cross_entropy,
        "focal": focal_loss,
    }
    return sum(factor * terms[term](logits, target) for factor, term in LOSSES[name])


def segmentation_loss(
    outputs: Tensor | Sequence[Tensor], target: Tensor, name: str = "dice+ce", foreground_weight: float = 1.0
) -> Tensor:
    """Loss of a network's output, or of its outputs at several resolutions (deep supervision).

    Coarse outputs are compared with soft labels averaged over their larger voxels. Each has half the weight of the next
    finer one, and the weights add up to 1, as in nnU-Net (Isensee et al. 2021; Lee et al. 2015, arXiv:1409.5185).

    outputs: logits (B, K, *S), or a sequence of them, finest first, each half as large as the one before. target:
    (B, K, *S) float32 soft labels. name: one of LOSSES.
    """
    levels = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    pool = functional.avg_pool2d if target.ndim == 4 else functional.avg_pool3d
    weights = [0.5**level for level in range(len(levels))]
    total = 0.0
    for logits, weight in zip(levels, weights, strict=True):
        soft = target if logits.shape == target.shape else pool(target, target.shape[-1] // logits.shape[-1])
        total = total + weight / sum(weights) * combined(logits.float(), soft, name, foreground_weight)
    return total
