"""Self-placed crops and shrunken hippocampi: the warp, the loop on a crop, comparisons and summaries by hand."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.metrics import dice
from hipposeg.predict import card
from hipposeg.predict.crop import ABOVE, BELOW, Box
from hipposeg.results import load
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import making, placed, warp


def ball(radius, side=36):
    """A ball in the middle, and the distance of each voxel below its surface."""
    depth = radius - np.sqrt(((np.indices((side,) * 3) - (side - 1) / 2) ** 2).sum(axis=0))
    return (depth > 0).astype(np.uint8), depth


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4])
def test_a_ball_shrinks_by_the_fraction_and_the_crops_ends_stay(fraction):
    label, depth = ball(11)
    along = warp.maps(label, fraction, (0.3, -0.2, 0.4))
    for one in along:
        np.testing.assert_allclose(one([-0.5, 35.5]), [-0.5, 35.5])
        assert (one(np.linspace(-0.5, 35.5, 1000), 1) > 0).all()
    jacobian = warp.jacobian(along, label.shape)
    assert jacobian.min() > 0
    np.testing.assert_allclose(jacobian[12:24, 12:24, 12:24], 1 / (1 - fraction))
    # Its integral is the crop's whole volume, by the rule for changed variables.
    assert jacobian.sum() == pytest.approx(36**3, rel=0.01)
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 3))
    found = [warp.shrunk(depth, label, fraction, offset) for offset in offsets]
    expected = (1 - fraction) * 4 / 3 * np.pi * 11**3
    assert np.mean([moved.sum() for _, moved in found]) == pytest.approx(expected, rel=0.01)
    for image, moved in found:  # the warped depth is positive where the warped label is
        assert dice(image > 0, moved > 0) > 0.96
    assert warp.shrunk(depth, label, 0)[1] is label


def test_both_parts_shrink_and_a_label_at_the_side_of_the_crop_is_refused():
    label, depth = ball(11)
    label[:, 18:] *= 2
    moved = warp.shrunk(depth, label, 0.3, (0.2, 0.1, -0.3))[1]
    for value in (1, 2):
        assert (moved == value).sum() == pytest.approx(0.7 * (label == value).sum(), rel=0.04)
    with pytest.raises(ValueError, match="too close to a side of the crop to shrink by 40%"):
        warp.shrunk(depth[7:], label[7:], 0.4)


def one_of(first):
    """What `placed` needs of an ensemble."""
    return SimpleNamespace(first=first, card=card.read())


def threshold(image):
    return np.stack([1 - image, image, 0 * image])


def test_the_loop_leaves_a_fixed_point_alone_and_finds_it_from_shifted_starts():
    image = np.pad(np.ones((20, 35, 18), dtype=np.float32), list(zip(BELOW, ABOVE, strict=True)))
    whole = Box((0, 0, 0), image.shape, False)
    assert placed.placed(image, (0, 0, 0), one_of(threshold)) == (whole, 1, placed.FIXED)
    for shift in ((3, -3, 2), (-3, 3, -1)):
        assert placed.placed(image, shift, one_of(threshold)) == (whole, 2, placed.FIXED)

    def restless(crop):  # sees one voxel more in a crop of 33 voxels than in one of 34
        found = threshold(crop)
        if crop.shape[0] == 33:
            found[1, 26, 20, 15] = 2
        return found

    box, _, end = placed.placed(image, (0, 0, 0), one_of(restless))
    assert (box.size[0], end) == (34, placed.CYCLE)
    assert placed.placed(image, (0, 0, 0), one_of(lambda crop: threshold(0 * crop)))[2] == placed.NOWHERE


def test_masks_of_other_crops_are_compared_where_they_lie():
    label = np.zeros((6, 6, 6), dtype=np.uint8)
    label[1:3, 2, 2], label[4:, 2, 2] = 1, 2
    mask = np.zeros((6, 6, 6), dtype=np.uint8)  # from -1 to 4 along the first axis
    mask[0, 3, 3], mask[2:5, 3, 3], mask[5, 3, 3] = 1, 1, 2
    found = placed.compared(mask, (-1, -1, -1), label, MSD_HIPPOCAMPUS)
    assert found["anterior"] == {"true": 2, "predicted": 4, "dice": 2 * 2 / 6, "lost": 0}
    assert found["posterior"] == {"true": 2, "predicted": 1, "dice": 2 / 3, "lost": 1}
    assert found["union"] == {"true": 4, "predicted": 5, "dice": 2 * 3 / 9, "lost": 1}


def table(errors):
    """Ten subjects, two a fold, true volumes 1000 to 1900; crop -> relative error."""
    rows = [
        {"fold": n // 2, "case": n, "subject": n, "label": "union", "crop": crop, "true": 1000 + 100 * n,
         "predicted": (1000 + 100 * n) * (1 + error), "spread": np.nan, "dice": 0.9 - error}
        for crop, error in errors.items() for n in range(10)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_coverage_and_loss_by_hand():
    found = table({placed.PUBLISHED: 0.1, placed.PLACED: 0.25})
    rows = placed.coverages(found)
    # Calibration on 8 subjects would take the ninth smallest score, as ceil(9 * 0.9) = 9.
    assert np.isinf(rows["width"]).all()
    more = pd.concat([found, found.assign(case=found["case"] + 10, subject=found["subject"] + 10)])
    rows = placed.coverages(more).set_index(["calibrated", "crop"])
    assert rows["coverage"].tolist() == [1, 0, 1]
    # |true - predicted| / predicted is 0.1 / 1.1 in published crops; the interval is that times the volume, both ways.
    width = 2 * 0.1 / 1.1 * more.loc[more["crop"] == placed.PLACED, "predicted"].mean()
    assert rows.loc[(placed.PUBLISHED, placed.PLACED), "width"] == pytest.approx(width)
    (lost,) = placed.losses(more).to_dict("records")
    assert lost["difference"] == pytest.approx(-0.15) and lost["high"] == pytest.approx(-0.15) and lost["volumes"] == 20


def test_slopes_and_biases_by_hand():
    levels = [table({placed.PLACED: 0}).assign(shrunk=level) for level in (0.0, 0.5)]
    rows = pd.concat([one.assign(true=one["true"] * (1 - one["shrunk"])) for one in levels])
    own = rows["subject"] * 10
    found = placed.slopes(rows.assign(predicted=0.9 * rows["true"] + own)).set_index("among")
    assert found.loc["within", ["slope", "low", "high"]].tolist() == pytest.approx([0.9] * 3)
    assert found.loc["all", "slope"] > 0.9, "subjects with larger volumes are overestimated"
    bias = placed.biases(rows.assign(predicted=(1 + rows["shrunk"] / 10) * rows["true"]))
    assert bias["bias"].tolist() == pytest.approx([0, 0.05]) and bias["true"].tolist() == [1450, 725]


def test_a_study_predicts_each_case_by_the_network_that_never_saw_it(served, tmp_path):
    context = replace(served.context, ws=Workspace(tmp_path / "out", "phantom", "smoke"))
    shutil.copytree(served.context.ws.root, context.ws.root)
    few = [{**fold, "scored": fold["scored"][:2]} for fold in context.folds["grouped"]]
    context = replace(context, folds={**context.folds, "grouped": few})
    for study, made in ((placed.CROPS, placed._all_crops), (placed.SIZES, placed._all_sizes)):
        unit = placed._unit(study.name, 2, made, "blobs")
        study = replace(study, units=(unit,))
        for state in ("made", "kept"):
            assert making.make(study, context) == {unit.name: state}
    crops, sizes = making.read(context.ws, "placed"), making.read(context.ws, "shrunk")
    assert set(crops["case"]) == set(few[2]["scored"]) and (crops["fold"] == 2).all()
    masks = load.get(context.ws, "blobs.grouped2.s0.standard").masks
    same = crops[(crops["crop"] == placed.PUBLISHED) & (crops["label"] == "union")].set_index("case")["predicted"]
    assert all(same[case] == (masks[case] > 0).sum() for case in same.index)
    plain = sizes[(sizes["shrunk"] == 0) & (sizes["label"] == "union")]
    both = plain.merge(crops, on=["case", "label", "crop"])
    assert (both["predicted_x"] == both["predicted_y"]).all() and len(both) == len(plain)
    assert crops.loc[crops["crop"] != placed.PLACED, "steps"].isna().all()
    assert len(placed.of_model(crops, "blobs")) == len(crops) and not len(placed.of_model(crops, "blob"))


def test_a_card_has_intervals_of_self_placed_crops(served, tmp_path):
    """True volumes are 20 % larger in published crops, 50 % in self-placed ones."""
    context = replace(served.context, ws=Workspace(tmp_path / "out", "phantom", "smoke"))
    shutil.copytree(served.context.ws.root, context.ws.root)
    assert "placed.csv is missing" in placed.write_card(context, "blobs")
    rows = [
        {"run": f"blobs.grouped{fold}.s0.standard", "fold": fold, "case": number, "label": label, "crop": crop,
         "subject": context.cohort.cases[number].subject, "true": 1000 * (1 + error), "predicted": 1000, "spread": 20}
        for fold, part in enumerate(context.folds["grouped"]) for number in part["scored"]
        for label in ("anterior", "posterior", "union")
        for crop, error in ((placed.PUBLISHED, 0.2), (placed.PLACED, 0.5))
    ]  # fmt: skip
    making.write(context.ws, "placed", pd.DataFrame(rows))
    assert placed.write_card(context, "blobs") == "made"
    made, before = card.read(context.ws.work / card.NAME), card.read(served.folder / card.NAME)
    scale = {card.VOLUME: 1000, card.SPREAD: 20, card.CONSTANT: 1}[made.scale]
    assert made.quantiles == pytest.approx(dict.fromkeys(("anterior", "posterior", "union"), 500 / scale))
    assert (made.runs, made.boxes) == (before.runs, before.boxes)
    assert made.limits["order"][0] == pytest.approx(before.limits["order"][0], abs=1e-5), "of masks in published crops"
