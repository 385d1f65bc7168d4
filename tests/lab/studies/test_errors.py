"""Where errors lie, and a sentence on them: by brute force, by hand, and against the decomposition by kind."""

import numpy as np
import pandas as pd
import pytest
from stored_runs import SCORED, SPEC, cohort, run_of, shifted, truth

from hipposeg_lab.studies import errors

SPACING = (1.0, 1.0, 2.0)


def test_confusion_counts_rows_as_truth():
    true, prediction = np.array([0, 0, 1, 1, 2, 2], np.uint8), np.array([0, 1, 1, 2, 2, 0], np.uint8)
    assert errors.confusion(prediction, true, 3).tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 1]]


def test_errors_are_split_by_kind_and_by_distance_from_the_true_border():
    true = np.zeros((24, 26, 28), np.uint8)
    true[4:8, 4:10, 4:10], true[8:12, 4:10, 4:10] = 1, 2
    prediction = true.copy()
    prediction[7, 4:10, 4:10] = 2  # anterior taken for posterior, touching the border
    prediction[4:6, 4, 4] = 0  # missed, at the surface
    prediction[12:15, 5, 5] = 2  # background taken for hippocampus: 1, 2 and 3 voxels out
    masks, depth = errors.error_masks(prediction, true), errors.border_distance(true, SPACING)
    assert {kind: mask.sum() for kind, mask in masks.items()} == {"swap": 36, "false_positive": 3, "missed": 2}
    assert sorted(depth[masks["false_positive"]]) == [1, 2, 3]
    assert set(depth[masks["swap"]]) == set(depth[masks["missed"]]) == {1}
    assert (sum(masks.values()) == (prediction != true)).all()
    assert np.isinf(errors.border_distance(np.zeros((3, 3, 3)), (1, 1, 1))).all()


def test_positions_run_from_the_anterior_end():
    label = np.zeros((3, 8, 3), np.uint8)
    label[1, 2:6, 1] = 1  # four slices
    found = errors.positions(label, 1, True)
    assert found.tolist() == pytest.approx([1.375, 1.125, 0.875, 0.625, 0.375, 0.125, -0.125, -0.375])
    assert errors.positions(label, 1, False).tolist() == pytest.approx((1 - found).tolist())


def test_distances_are_those_to_where_the_prediction_would_be_right():
    true = truth(5)
    prediction = np.roll(true, 2, 1)
    prediction[0, 0, 0], prediction[6, 15, 6] = 2, 0
    table = errors.wrong_voxels(prediction, true, SPACING, SPEC)
    kinds = errors.error_masks(prediction, true)
    assert table["kind"].value_counts().to_dict() == {kind: mask.sum() for kind, mask in kinds.items()}
    everywhere = np.argwhere(np.ones(true.shape, bool)) * SPACING
    for kind, mask in kinds.items():
        wanted = []
        for where in np.argwhere(mask):
            right = true > 0 if kind == "false_positive" else true == prediction[tuple(where)]
            wanted.append(np.linalg.norm(everywhere[right.ravel()] - where * SPACING, axis=1).min())
        assert table.loc[table["kind"] == kind, "distance"].tolist() == pytest.approx(wanted)


@pytest.fixture(scope="module")
def run():
    return run_of("unet2d", shifted(2))


def test_study_adds_up_to_the_decomposition_by_kind(run):
    made = cohort()
    wrong = errors.of_run(run, made)
    table = errors.study([run], {run.name: wrong}, made)
    assert tuple(table.columns) == errors.COLUMNS
    totals = {kind: np.mean([errors.error_masks(shifted(2)[c], truth(c))[kind].sum() for c in SCORED])
              for kind in errors.KINDS}  # fmt: skip
    for by in ("position", "distance"):
        assert table[table["by"] == by].groupby("kind")["mm3"].sum().to_dict() == pytest.approx(totals)
    # Moved two voxels towards the anterior end: too much beyond it, nothing too much beyond the other.
    places = table[table["by"] == "position"].set_index(["bin", "kind"])["mm3"]
    assert places["before", "false_positive"] > 0 == places["behind", "false_positive"]
    tissue = table[table["by"] == "position"].drop_duplicates("bin")["true_mm3"]
    assert tissue.sum() == pytest.approx(np.mean([(truth(case) > 0).sum() for case in SCORED]))
    assert tissue.iloc[0] == tissue.iloc[-1] == 0
    far = table[table["by"] == "distance"].groupby("bin", sort=False)["mm3"].sum()
    assert far["up to 1 mm"] > 0 and far["up to 2 mm"] > 0 == far["farther"]


def test_mistakes_are_counted_by_class_and_kind(run):
    found = errors.mistakes([run], cohort())[run.name]
    true, predicted = (np.concatenate([part[case].ravel() for case in SCORED]) for part in (shifted(0), run.masks))
    assert found.volumes.to_numpy().sum() == len(found.depths) == np.sum(true != predicted)
    assert list(found.volumes.index) == list(SCORED) and found.depths.min() == 1.0


def rows(kind, count, distance, position):
    return pd.DataFrame({"kind": kind, "distance": float(distance), "position": position}, index=range(count))


def test_sentence_has_kind_distance_position_and_volume():
    table = pd.concat([rows("swap", 61, 2, 0.5), rows("missed", 30, 1, 0.95), rows("false_positive", 9, 5, 0.1)])
    assert errors.what_went_wrong(table, 3000, 3240) == (
        "One part taken for the other: 61 % of the error, most of it within 2 mm of the border between the parts, in "
        "the middle third; hippocampus missed: 30 % of the error, most of it within 1 mm of the true outline, in the "
        "posterior third; volume too large by 8 %."
    )
    assert errors.what_went_wrong(table[:0], 3000, 3000) == "No voxel is wrong."
    with pytest.raises(ValueError, match="true volume"):
        errors.what_went_wrong(table, 0, 10)
