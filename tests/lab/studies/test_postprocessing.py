"""Post-processing steps against a walk from voxel to voxel, MONAI, and masks made by hand."""

import itertools

import numpy as np
import pytest
import torch
from monai.transforms import FillHoles
from stored_runs import SCORED, cohort, run_of, shifted, truth

from hipposeg import metrics
from hipposeg_lab.studies import postprocessing as post


def messy(seed):
    """The truth with stray voxels of both classes and holes."""
    rng = np.random.default_rng(seed)
    label = truth(5)
    stray = rng.random(label.shape) < 0.01
    label[stray] = rng.integers(0, 3, stray.sum())
    label[6, 8, 5] = 0  # a hole within one part
    return label


def components(mask):
    """Connected pieces of a boolean mask, found by walking from voxel to touching voxel: a list of sets of indices."""
    left, found = {tuple(int(i) for i in where) for where in np.argwhere(mask)}, []
    while left:
        piece, edge = set(), [min(left)]
        while edge:
            here = edge.pop()
            if here in left:
                left.remove(here)
                piece.add(here)
                edge += [tuple(np.add(here, step).tolist()) for step in itertools.product((-1, 0, 1), repeat=3)]
        found.append(piece)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_only_the_largest_pieces_are_kept(seed):
    label = messy(seed)
    assert len(components(label > 0)) > 2, "there is something to remove"
    wanted = np.zeros_like(label)
    for value in (1, 2):
        wanted[tuple(np.transpose(list(max(components(label == value), key=len))))] = value
    assert np.array_equal(post.largest_part(label), wanted)
    kept = np.zeros(label.shape, bool)
    kept[tuple(np.transpose(list(max(components(label > 0), key=len))))] = True
    assert np.array_equal(post.largest_whole(label), label * kept)


def test_a_hole_in_one_part_is_filled_with_it():
    label = truth(5)
    label[6, 8, 5] = 0
    assert np.array_equal(post.fill_holes(label), truth(5))
    theirs = FillHoles(applied_labels=[1, 2], connectivity=1)(torch.from_numpy(label)[None])
    assert np.array_equal(post.fill_holes(label), np.asarray(theirs)[0])
    assert post.fill_holes(truth(5)) is not None and np.array_equal(post.fill_holes(truth(5)), truth(5))


@pytest.mark.parametrize("step", post.STEPS)
def test_steps_keep_what_is_whole_and_are_done_once(step):
    change = post.STEPS[step]
    nothing = np.zeros((4, 4, 4), np.uint8)
    assert np.array_equal(change(truth(5)), truth(5)) and np.array_equal(change(nothing), nothing)
    for seed in range(3):
        once = change(messy(seed))
        assert np.array_equal(change(once), once) and once.dtype == np.uint8


def test_study_measures_the_cost_of_a_stray_piece():
    masks = {case: mask.copy() for case, mask in shifted(0).items()}
    for mask in masks.values():
        mask[0, 0, 0] = 1
    run = run_of("unet2d", masks)
    table = post.study([run], cohort()).set_index(["step", "label"])
    assert (table.loc["largest-part", "dice"] == 1.0).all() and (table.loc["fill-holes", "difference"] == 0).all()
    lost = np.mean([1 - metrics.dice(masks[case] == 1, truth(case) == 1) for case in SCORED])
    row = table.loc[("largest-whole", "anterior")]
    assert row["difference"] == pytest.approx(lost) and 0 < row["low"] <= row["high"] and row["subjects"] == 3
