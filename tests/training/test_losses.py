"""The losses against hand-computed values, torch's and MONAI's."""

import pytest
import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.nn.functional import one_hot

from hipposeg.training.losses import (
    LOSSES,
    binary_cross_entropy,
    cross_entropy,
    focal_loss,
    segmentation_loss,
    soft_dice_loss,
)

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(4, 3, 8, 12, generator=GENERATOR)
LABELS = torch.randint(0, 3, (4, 8, 12), generator=GENERATOR)
HARD = one_hot(LABELS, 3).movedim(-1, 1).float()
SOFT = torch.rand(4, 3, 8, 12, generator=GENERATOR)
SOFT = SOFT / SOFT.sum(1, keepdim=True)
WEIGHTS = torch.tensor([1.0, 3.0, 3.0])


def test_equals_monai():
    from monai.losses import DiceCELoss

    theirs = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )  # fmt: skip
    assert segmentation_loss(LOGITS, HARD).item() == pytest.approx(theirs(LOGITS, LABELS[:, None]).item(), abs=1e-5)


def test_cross_entropy_equals_torch():
    theirs = torch_cross_entropy(LOGITS, LABELS, weight=WEIGHTS)
    assert cross_entropy(LOGITS, HARD, 3.0).item() == pytest.approx(theirs.item(), abs=1e-6)
    assert cross_entropy(LOGITS, SOFT).item() == pytest.approx(torch_cross_entropy(LOGITS, SOFT).item(), abs=1e-6)
    # torch divides the weighted sum over soft labels by the number of voxels, ours by the sum of their weights.
    theirs = (
        torch_cross_entropy(LOGITS, SOFT, weight=WEIGHTS, reduction="sum") / (SOFT * WEIGHTS.view(1, 3, 1, 1)).sum()
    )
    assert cross_entropy(LOGITS, SOFT, 3.0).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_perfect_and_absent():
    assert soft_dice_loss(200 * HARD, HARD).item() == pytest.approx(0, abs=1e-4)
    # Predicting nothing but background costs the whole Dice loss: an absent class earns no credit here.
    nothing = torch.zeros(4, 3, 8, 12)
    nothing[:, 0] = 200.0
    assert soft_dice_loss(nothing, HARD).item() == pytest.approx(1, abs=1e-4)


def test_half_overlap_by_hand():
    # One voxel of class 1 in truth; certain prediction of class 1 on it and on one more: Dice 2/3, class 2 absent: 1.
    target = one_hot(torch.tensor([[[1, 0, 0, 0]]]), 3).movedim(-1, 1).float()
    logits = torch.full((1, 3, 1, 4), -200.0)
    logits[0, 1, 0, :2] = 200.0
    logits[0, 0, 0, 2:] = 200.0
    assert soft_dice_loss(logits, target).item() == pytest.approx(1 - (2 / 3 + 1) / 2, abs=1e-4)
    # Half of that voxel in truth, the other half background: Dice 2 * 0.5 / (2 + 0.5).
    target[0, :, 0, 0] = torch.tensor([0.5, 0.5, 0])
    assert soft_dice_loss(logits, target).item() == pytest.approx(1 - (0.4 + 1) / 2, abs=1e-4)


@pytest.mark.parametrize("target", [HARD, SOFT])
def test_focal_by_hand(target):
    probability = LOGITS.double().softmax(1)
    focal = -(target * (1 - probability) ** 2 * probability.log()).sum(1).mean()
    expected = 0.5 * soft_dice_loss(LOGITS, target) + 0.5 * focal
    assert focal_loss(LOGITS, target).item() == pytest.approx(focal.item(), abs=1e-5)
    assert segmentation_loss(LOGITS, target, "dice+focal").item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("target", [HARD, SOFT])
def test_binary_cross_entropy_equals_torchs_of_the_softmax(target):
    from torch.nn.functional import binary_cross_entropy as torchs

    theirs = torchs(LOGITS.double().softmax(1)[:, 1:], target[:, 1:].double())
    assert binary_cross_entropy(LOGITS, target).item() == pytest.approx(theirs.item(), abs=1e-6)
    assert torch.isfinite(binary_cross_entropy(200 * LOGITS, target)), "certain and wrong is dear, not infinite"


def test_losses_are_the_sums_that_their_names_say():
    dice, ce = soft_dice_loss(LOGITS, SOFT).item(), cross_entropy(LOGITS, SOFT, 3.0).item()
    expected = {
        "dice": dice,
        "ce": ce,
        "dice+ce": dice + ce,
        "0.7dice+0.3ce": 0.7 * dice + 0.3 * ce,
        "dice+bce": dice + binary_cross_entropy(LOGITS, SOFT).item(),
    }
    for name, value in expected.items():
        assert segmentation_loss(LOGITS, SOFT, name, 3.0).item() == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dims", [2, 3])
def test_deep_supervision_by_hand(name, dims):
    target = SOFT if dims == 2 else SOFT[..., None].repeat(1, 1, 1, 1, 4)
    sides = target.shape[2:]
    outputs = [
        torch.randn(4, 3, *(side // scale for side in sides), generator=GENERATOR).requires_grad_()
        for scale in (1, 2, 4)
    ]
    loss = segmentation_loss(outputs, target, name, 2.0)
    expected = 0.0
    for logits, scale, weight in zip(outputs, (1, 2, 4), (4 / 7, 2 / 7, 1 / 7), strict=True):
        blocks = target.reshape(4, 3, *(n for side in sides for n in (side // scale, scale)))
        soft = blocks.mean(tuple(range(3, 3 + 2 * dims, 2)))
        expected += weight * segmentation_loss(logits, soft, name, 2.0).item()
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    loss.backward()
    assert all(logits.grad.abs().sum() > 0 for logits in outputs)
    assert segmentation_loss([outputs[0]], target, name).item() == segmentation_loss(outputs[0], target, name).item()
