"""Scores against values worked out by hand, and the policy for empty masks."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hipposeg import metrics
from hipposeg.data.spec import MSD_HIPPOCAMPUS, Label

ONE_CLASS = replace(MSD_HIPPOCAMPUS, labels=(Label(1, "whole", "#E69F00"),))


def cube(start, size, shape=(24, 26, 28), value=1):
    """A label map with one box: its first voxel at `start`, `size` voxels along each axis."""
    array = np.zeros(shape, np.uint8)
    array[tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))] = value
    return array


def by_label(prediction, truth, spacing=(1, 1, 1), spec=MSD_HIPPOCAMPUS):
    """Rows of score_case by their label."""
    return {row["label"]: row for row in metrics.score_case(prediction, truth, spacing, spec)}


def test_dice_and_iou_by_hand():
    truth = np.array([0, 1, 1, 1, 2, 2, 0, 0], np.uint8).reshape(2, 2, 2)
    prediction = np.array([1, 1, 1, 2, 2, 0, 0, 0], np.uint8).reshape(2, 2, 2)
    rows = by_label(prediction, truth)
    # anterior: 2 shared of 3 and 3; posterior: 1 shared of 2 and 2; union: 4 shared of 5 and 5.
    assert rows["anterior"]["dice"] == pytest.approx(2 * 2 / 6)
    assert rows["anterior"]["iou"] == pytest.approx(2 / 4)
    assert rows["posterior"]["dice"] == pytest.approx(2 * 1 / 4)
    assert rows["posterior"]["iou"] == pytest.approx(1 / 3)
    assert rows["union"]["dice"] == pytest.approx(2 * 4 / 10)
    assert rows["union"]["iou"] == pytest.approx(4 / 6)
    # The mean averages the two classes: no background, no union in it.
    assert rows["mean"]["dice"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert list(rows) == ["anterior", "posterior", "union", "mean"] == list(metrics.labels_of(MSD_HIPPOCAMPUS))


def test_dice_of_each_class_is_that_of_its_row():
    truth = np.array([0, 1, 1, 1, 2, 2, 0, 0], np.uint8).reshape(2, 2, 2)
    prediction = np.array([1, 1, 1, 2, 2, 0, 0, 0], np.uint8).reshape(2, 2, 2)
    found = metrics.class_dice(prediction, truth, MSD_HIPPOCAMPUS)
    assert found == {"anterior": pytest.approx(2 / 3), "posterior": pytest.approx(1 / 2)}


def test_cube_against_itself_shifted_by_three():
    """Two 8 voxel cubes, one shifted by 3 along the first axis: all distances can be counted."""
    truth, prediction = cube((1, 1, 1), (8, 8, 8), (13, 10, 10)), cube((4, 1, 1), (8, 8, 8), (13, 10, 10))
    row = by_label(prediction, truth, spec=ONE_CLASS)["whole"]
    assert row["dice"] == pytest.approx(5 / 8)
    # The face that sticks out is 3 voxels away from the other cube: 64 of 296 surface voxels, more than 5 %.
    assert row["hd95"] == 3
    # Volumes agree although the position does not.
    assert (row["volume_bias"], row["volume_abs_error"], row["volume_true"]) == (0, 0, 512)
    assert row["msd"] == pytest.approx(_brute_force_msd(prediction > 0, truth > 0, (1, 1, 1)))
    assert row == by_label(np.pad(prediction, 3), np.pad(truth, 3), spec=ONE_CLASS)["whole"]


def test_hd95_is_the_95th_percentile_of_the_directed_distances():
    """A thread of 21 voxels against its first 19: distances 0 (19 times), 1 and 2; the 20th of 21 is the 95th."""
    whole, part = cube((2, 2, 2), (21, 1, 1)), cube((2, 2, 2), (19, 1, 1))
    assert np.percentile([0] * 19 + [1, 2], [90, 95, 96]).tolist() == pytest.approx([0, 1, 1.2])
    for prediction, truth in ((whole, part), (part, whole)):  # the larger of the two directions
        assert by_label(prediction, truth, (3, 1, 1), ONE_CLASS)["whole"]["hd95"] == pytest.approx(3)


def test_masks_are_scored_in_a_box_one_voxel_wider_than_both():
    prediction, truth = cube((4, 0, 6), (3, 5, 7)), cube((5, 2, 21), (9, 4, 7))
    assert metrics._box(prediction, truth) == (slice(3, 15), slice(0, 7), slice(5, 29))
    whole = metrics.surface_scores(prediction > 0, truth > 0, (1, 1, 2))
    row = by_label(prediction, truth, (1, 1, 2), ONE_CLASS)["whole"]
    assert {key: row[key] for key in whole} == whole


def test_nsd_of_shifted_plates_is_the_share_of_surface_within_tolerance():
    """Two plates of 12 x 60 x 60 mm, one shifted by 3 mm across: the share of wrong surface is a matter of geometry."""
    truth, prediction = cube((1, 1, 1), (12, 60, 60), (17, 62, 62)), cube((4, 1, 1), (12, 60, 60), (17, 62, 62))
    row = by_label(prediction, truth, spec=ONE_CLASS)["whole"]
    surface = 2 * 60 * 60 + 4 * 60 * 12
    for tolerance, key in ((1, "nsd1"), (2, "nsd2")):
        # Of each plate: the face that sticks out is 3 mm off. The opposite face lies inside the other plate, and only
        # its rim is within the tolerance of that one's sides. Of the sides, a strip of 3 mm sticks out, less the
        # tolerance.
        wrong = 60 * 60 + (60 - 2 * tolerance) ** 2 + (3 - tolerance) * 4 * 60
        assert row[key] == pytest.approx(1 - wrong / surface, abs=0.02)


def test_spacing_is_used_by_distances_areas_and_volumes():
    """The same voxels on a 1 x 1 x 3 mm grid, shifted by one voxel along the thick axis: 3 mm, not 1."""
    truth, prediction = cube((6, 6, 6), (10, 10, 10)), cube((6, 6, 7), (10, 10, 10))
    thick = by_label(prediction, truth, (1, 1, 3), ONE_CLASS)["whole"]
    thin = by_label(prediction, truth, (1, 1, 1), ONE_CLASS)["whole"]
    assert (thin["hd95"], thick["hd95"]) == (1, 3)
    assert thin["nsd1"] == thin["nsd2"] == 1
    assert thick["nsd2"] < 0.9
    assert thick["volume_true"] == 3000
    assert thick["msd"] == pytest.approx(_brute_force_msd(prediction > 0, truth > 0, (1, 1, 3)))
    # Scaling every axis by 2 doubles each distance.
    double = by_label(prediction, truth, (2, 2, 2), ONE_CLASS)["whole"]
    assert (double["hd95"], double["msd"]) == pytest.approx((2 * thin["hd95"], 2 * thin["msd"]))


def test_signed_and_absolute_volume_error():
    truth = cube((4, 4, 4), (4, 4, 4)) + cube((12, 4, 4), (4, 4, 4), value=2)
    prediction = cube((4, 4, 4), (5, 4, 4)) + cube((12, 4, 4), (2, 4, 4), value=2)
    rows = by_label(prediction, truth, (1, 1, 2))
    assert [rows[label]["volume_bias"] for label in rows] == [32, -64, -32, -16]
    assert [rows[label]["volume_abs_error"] for label in rows] == [32, 64, 32, 48]


def test_both_empty_is_nan():
    truth = cube((4, 4, 4), (4, 4, 4))
    rows = by_label(truth, truth)
    assert all(math.isnan(rows["posterior"][key]) for key in metrics.METRICS)
    assert rows["mean"]["dice"] == 1  # the class that exists; neither 0 nor a free 1 for the other is averaged in
    nothing = by_label(np.zeros_like(truth), np.zeros_like(truth))
    assert all(math.isnan(row[key]) for row in nothing.values() for key in metrics.METRICS)
    assert nothing["union"]["volume_true"] == 0


def test_one_empty_scores_zero_overlap_and_no_distance():
    truth = cube((4, 4, 4), (4, 4, 4)) + cube((12, 4, 4), (4, 4, 4), value=2)
    only_anterior = np.where(truth == 1, truth, 0).astype(np.uint8)
    for prediction, reference in ((only_anterior, truth), (truth, only_anterior)):
        rows = by_label(prediction, reference)
        assert [rows["posterior"][key] for key in ("dice", "iou", "nsd1", "nsd2")] == [0, 0, 0, 0]
        assert all(math.isnan(rows["posterior"][key]) for key in metrics.DISTANCES)
        assert rows["mean"]["dice"] == 0.5
        assert rows["posterior"]["volume_abs_error"] == 64


def test_bad_input_is_refused():
    truth = cube((4, 4, 4), (4, 4, 4))
    with pytest.raises(ValueError, match="native grid"):
        metrics.score_case(truth[1:], truth, (1, 1, 1), MSD_HIPPOCAMPUS)
    with pytest.raises(ValueError, match="prediction holds values"):
        metrics.score_case(truth * 3, truth, (1, 1, 1), MSD_HIPPOCAMPUS)
    for spacing in ((1, 1), (1, 1, 0), (1, 1, float("nan"))):
        with pytest.raises(ValueError, match="spacing"):
            metrics.score_case(truth, truth, spacing, MSD_HIPPOCAMPUS)


def _brute_force_msd(prediction, truth, spacing):
    """Mean over both surfaces' voxels of the distance to the nearest voxel of the other surface, all pairs compared."""
    points = []
    for mask in (prediction, truth):
        padded = np.pad(mask, 1)
        core = padded.copy()
        for axis in range(3):
            core &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
        points.append(np.argwhere(padded & ~core) * np.asarray(spacing, float))
    distances = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    return np.concatenate([distances.min(1), distances.min(0)]).mean()
