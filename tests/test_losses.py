"""The loss against hand-computed values and MONAI's."""

import pytest
import torch

from hipposeg.losses import cross_entropy, dice_ce_loss, soft_dice_loss

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(4, 3, 8, 6, generator=GENERATOR)
TARGET = torch.randint(0, 3, (4, 8, 6), generator=GENERATOR)


def test_equals_monai():
    from monai.losses import DiceCELoss

    theirs = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )  # fmt: skip
    assert dice_ce_loss(LOGITS, TARGET).item() == pytest.approx(theirs(LOGITS, TARGET[:, None]).item(), abs=1e-5)


def test_cross_entropy_equals_torch():
    theirs = torch.nn.functional.cross_entropy(LOGITS, TARGET, weight=torch.tensor([1.0, 3.0, 3.0]))
    assert cross_entropy(LOGITS, TARGET, 3.0).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_perfect_and_absent():
    sure = 200.0 * torch.nn.functional.one_hot(TARGET, 3).movedim(-1, 1).float()
    assert soft_dice_loss(sure, TARGET).item() == pytest.approx(0, abs=1e-4)
    # Predicting nothing but background costs the whole Dice loss: an absent class earns no credit here.
    nothing = torch.zeros(4, 3, 8, 6)
    nothing[:, 0] = 200.0
    assert soft_dice_loss(nothing, TARGET).item() == pytest.approx(1, abs=1e-4)


def test_half_overlap_by_hand():
    # One voxel of class 1 in truth; certain prediction of class 1 on it and on one more: Dice 2/3, class 2 absent: 1.
    target = torch.tensor([[[1, 0, 0, 0]]])
    logits = torch.full((1, 3, 1, 4), -200.0)
    logits[0, 1, 0, :2] = 200.0
    logits[0, 0, 0, 2:] = 200.0
    assert soft_dice_loss(logits, target).item() == pytest.approx(1 - (2 / 3 + 1) / 2, abs=1e-4)


def test_same_in_three_dimensions():
    flat = dice_ce_loss(LOGITS, TARGET)
    assert dice_ce_loss(LOGITS[..., None], TARGET[..., None]).item() == pytest.approx(flat.item(), abs=1e-6)
