"""The training losses, the same code in 2D and 3D: sums of soft Dice, cross-entropies and focal loss, at every output.

Targets are shares: (B, K, *S) float32, each voxel's part of each class, one-hot where nothing was interpolated.
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


def soft_dice_loss(logits: Tensor, target: Tensor, smooth: float = 1e-5) -> Tensor:
    """One minus the mean soft Dice of the foreground classes, pooled over the batch.

    A batch of slices often lacks a class; pooling keeps the loss defined there (Isensee et al. 2021 use the same in 2D,
    doi:10.1038/s41592-020-01008-z). The background is left out: it is large, and easy. This is a loss; scores come from
    `hipposeg.metrics`, per case and never pooled.

    Args:
        logits: (B, K, *S) float32.
        target: (B, K, *S) float32 shares.
        smooth: keeps the ratio defined where a class is absent from batch and prediction.
    """
    probability = logits.softmax(1)
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * target).sum(axes)
    total = probability.sum(axes) + target.sum(axes)
    dice = (2 * overlap + smooth) / (total + smooth)
    return 1 - dice[1:].mean()


def cross_entropy(logits: Tensor, target: Tensor, foreground_weight: float = 1.0) -> Tensor:
    """Mean cross-entropy over voxels, each weighted by its true classes: background 1, foreground `foreground_weight`.

    For whole voxels equal to torch's own of class numbers, whose two-dimensional kernel is not deterministic on a GPU.
    For shares torch divides by the number of voxels, this by their weights. Arguments as for `soft_dice_loss`.
    """
    weight = torch.full((logits.shape[1],), foreground_weight, device=logits.device)
    weight[0] = 1
    weighted = target * weight.view(1, -1, *[1] * (logits.ndim - 2))
    return -(weighted * logits.log_softmax(1)).sum() / weighted.sum()


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over foreground classes and voxels of the cross-entropy of each class against all others together.

    What a network with one sigmoid a class is trained with; here of the softmax's probabilities, so that every loss
    trains the same network. Arguments as for `soft_dice_loss`.
    """
    whole = logits.logsumexp(1)
    losses = []
    for k in range(1, logits.shape[1]):
        others = torch.cat([logits[:, :k], logits[:, k + 1 :]], 1).logsumexp(1)
        losses.append(-(target[:, k] * (logits[:, k] - whole) + (1 - target[:, k]) * (others - whole)).mean())
    return torch.stack(losses).mean()


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean over voxels of the focal loss (Lin et al. 2017, arXiv:1708.02002; MONAI's, softmax over the classes).

    MONAI averages over voxels and classes; times K it is the sum over classes, as the paper writes it.
    """
    from monai.losses import FocalLoss

    return FocalLoss(include_background=True, gamma=gamma, use_softmax=True)(logits, target) * logits.shape[1]


def combined(logits: Tensor, target: Tensor, name: str, foreground_weight: float) -> Tensor:
    """The sum that `name` stands for in LOSSES, for one output: (B, K, *S) float32 logits and shares."""
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
    """The loss of a network's output, or of its outputs at several resolutions (deep supervision).

    Coarse outputs are judged against the target's shares averaged over their larger voxels, and count half as much as
    the next finer one; the weights add up to 1, as in nnU-Net (Isensee et al. 2021; Lee et al. 2015, arXiv:1409.5185).

    Args:
        outputs: logits (B, K, *S), or a sequence of them, finest first, each half as large as the one before.
        target: (B, K, *S) float32 shares.
        name: one of LOSSES. foreground_weight: of the term "ce".
    """
    if name not in LOSSES:
        raise ValueError(f"no loss is called {name!r}; there are {', '.join(LOSSES)}")
    levels = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    pool = functional.avg_pool2d if target.ndim == 4 else functional.avg_pool3d
    weights = [0.5**level for level in range(len(levels))]
    total = 0.0
    for logits, weight in zip(levels, weights, strict=True):
        shares = target if logits.shape == target.shape else pool(target, target.shape[-1] // logits.shape[-1])
        total = total + weight / sum(weights) * combined(logits.float(), shares, name, foreground_weight)
    return total
