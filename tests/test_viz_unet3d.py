"""Figures and measures of notebook 04, on arrays made by hand: what they draw, and that they draw it the same twice."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from same_bytes import saved_twice

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.inference import Prep
from hipposeg.results import compare, tables
from hipposeg.training.machine import Machine
from hipposeg.viz import intervals, surface
from hipposeg.viz.style import use_style
from hipposeg_lab.figures import offgrid, outcomes, receptive, shares
from hipposeg_lab.studies import probe

ISOTROPIC = (1.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def closed():
    """The house style, and no figure left open."""
    use_style()
    yield
    plt.close("all")


def label_map(shape=(12, 20, 14)):
    label = np.zeros(shape, np.uint8)
    label[4:8, 11:16, 4:9] = 1
    label[4:8, 4:11, 5:8] = 2
    return label


def rows(series=("head", "trilinear"), panels=("a", "b")):
    made = [(r, s, p, 0.8 + 0.01 * i) for i, r in enumerate(("conv", "mlp")) for s in series for p in panels]
    return pd.DataFrame(
        [{"row": r, "series": s, "panel": p, "value": v, "low": v - 0.01, "high": v + 0.01} for r, s, p, v in made]
    )


def test_shares_mix_colours_and_fade_with_the_background():
    half = np.zeros((3, 2, 1))
    half[:, 0, 0], half[:, 1, 0] = (0, 0.5, 0.5), (0.5, 0.5, 0)
    rgba = shares.mixed(half, SPEC)
    assert rgba.shape == (1, 2, 4)
    anterior, posterior = (np.array(to_rgb(item.colour)) for item in SPEC.labels)
    assert np.allclose(rgba[0, 0], [*(anterior + posterior) / 2, shares.OPACITY])
    assert np.allclose(rgba[0, 1], [*anterior, shares.OPACITY / 2])
    assert shares.mixed(np.eye(3)[:, :, None], SPEC)[0, 0, 3] == 0


def test_coarse_shares_cover_the_same_area():
    fig, ax = plt.subplots()
    shares.overlay(ax, np.zeros((8, 6)), np.ones((3, 4, 3)) / 3, SPEC)
    assert [tuple(image.get_extent()) for image in ax.images] == [(0, 8, 0, 6)] * 2


def test_around_keeps_the_voxel_in_the_middle():
    field = np.zeros((6, 7, 8))
    field[1, 5, 7] = 1
    cut = receptive.around(field, (1, 5, 7), (3, 2, 4))
    assert cut.shape == (7, 5, 9) and cut[3, 2, 4] == 1 and cut.sum() == 1


def test_outcomes_count_every_voxel_once():
    truth = label_map()
    prediction = np.roll(truth, 1, 1)
    found = outcomes.outcomes(prediction, truth)
    assert (found > 0).sum() == ((prediction > 0) | (truth > 0)).sum()
    assert (found == outcomes.TOO_MUCH.value).sum() == (found == outcomes.MISSED.value).sum() > 0
    # A part taken for the other is no error of the outer border.
    assert set(np.unique(outcomes.outcomes(np.where(truth == 1, 2, truth), truth))) == {0, outcomes.FOUND.value}
    with pytest.raises(ValueError, match="one grid"):
        outcomes.outcomes(prediction[1:], truth)
    names = [item.name for item in outcomes.outcome_spec(SPEC).labels]
    assert len(set(names)) == 3 and SPEC.labels == replace(SPEC).labels


def test_wrong_voxels_are_drawn_as_cubes_where_they_are():
    pytest.importorskip("pyvista")
    found = np.zeros((10, 10, 10), np.uint8)
    found[3:7, 3:7, 3:7] = outcomes.FOUND.value
    found[8, 2, 5] = outcomes.TOO_MUCH.value
    made = outcomes.blocks(found, outcomes.outcome_spec(SPEC), (1.0, 1.0, 2.0))
    assert set(made) == {outcomes.FOUND.name, outcomes.TOO_MUCH.name}
    assert made[outcomes.TOO_MUCH.name].bounds == pytest.approx((8, 9, 2, 3, 10, 12))
    assert np.reshape(made[outcomes.FOUND.name].bounds, (3, 2)).mean(1) == pytest.approx([5, 5, 10], abs=0.1)


def test_outcome_picture_shows_its_colours():
    if reason := surface.problem():
        pytest.skip(reason)
    truth = label_map()
    found = outcomes.outcomes(np.roll(truth, 1, 1), truth)
    options = {"size": (240, 140), "mesher": outcomes.blocks}
    pixels = surface.picture(found, outcomes.outcome_spec(SPEC), ISOTROPIC, **options).astype(int)
    assert ((pixels[..., 1] - pixels[..., 0]) > 60).any(), "nothing too much (green) to be seen"
    assert ((pixels[..., 0] - pixels[..., 1]) > 50).any(), "nothing missed (pink) to be seen"


def test_contours_of_two_grids_lie_on_each_other():
    fine = label_map((12, 20, 16))
    fine[...] = 0
    fine[4:8, 6:16, 4:8] = 1
    coarse = fine[::2, ::2, ::2]
    fig = offgrid.contours(
        np.zeros(fine.shape), {"2 mm": (coarse, (2, 2, 2)), "1 mm": (fine, ISOTROPIC)}, SPEC, ISOTROPIC
    )
    ends = [np.concatenate(ax.collections[0].get_segments()) for ax in fig.axes]
    assert np.allclose(ends[0].min(0), ends[1].min(0)) and np.allclose(ends[0].max(0), ends[1].max(0))
    # In mm from the centre: voxels 6 to 15 of 20 along axis 1 span -4 to 6, voxels 4 to 7 of 16 along axis 2 -4 to 0.
    assert ends[0].min(0).tolist() == [-4, -4] and ends[0].max(0).tolist() == [6, 0]


def test_dots_stand_at_their_row_unless_it_has_several():
    table = pd.DataFrame({"row": ["a", "b"], "series": ["x", "y"], "value": 0.5, "low": 0.4, "high": 0.6})
    alone = intervals.ranges(table, "Dice").axes[0]
    assert [line.get_ydata().tolist() for line in alone.lines] == [[0], [1]]
    both = intervals.ranges(pd.concat([table, table[:1].assign(series="y")]), "Dice").axes[0]
    assert [line.get_ydata().tolist() for line in both.lines] == [[-0.15], [1.15, 0.15]]


def figures():
    label = label_map()
    image = np.random.default_rng(0).normal(size=label.shape)
    one = np.stack([label == k for k in range(3)]).astype(float)
    yield shares.strips({"a": [("x", image[6], one[:, 6]), ("", image[6], None)], "b": [("", image[5], None)]}, SPEC)
    field = np.exp(-np.square(np.indices((11, 13, 9)) - np.array([5, 6, 4])[:, None, None, None]).sum(0) / 9)
    yield receptive.fields({"2D": field, "3D": field}, SPEC, ISOTROPIC, {"2D": (3, 9, 9)})
    yield intervals.ranges(rows(), "Dice", line=("twin", 0.8))
    yield intervals.ranges(rows(("only",), ("",)).drop(columns=["series", "panel"]), "Dice")
    folds = pd.DataFrame(
        [{"folds": k, "fold": f, "dice": 0.8 + f / 100} for k in ("grouped", "nnunet") for f in (0, 1, 1)]
    )
    yield intervals.by_fold(folds, {"nnunet": {"another": 0.85}})
    table = rows(("only",), ("",)).assign(minutes=[4.0, 9.0], dims=[2, 3]).set_index("row")
    yield intervals.dice_by_minutes(table)
    yield intervals.dice_by_minutes(table.assign(minutes=np.nan))
    yield offgrid.contours(image, {"1 mm": (label, ISOTROPIC)}, SPEC, ISOTROPIC)


def test_every_figure_saves_to_the_same_bytes_twice(tmp_path):
    first, second = saved_twice(figures, tmp_path)
    assert first == second and len(first) == 8


def test_names_of_models_that_cost_and_score_alike_do_not_cover_each_other():
    names = [f"a-model-with-a-long-name-{n}" for n in range(7)]
    table = pd.DataFrame({"minutes": np.linspace(7, 7.4, 7), "value": 0.89, "low": 0.88, "high": 0.9, "dims": 3}, names)
    fig = intervals.dice_by_minutes(table)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in fig.axes[0].texts if text.get_text() in names]
    assert len(boxes) == 7 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_slice_jump_of_a_box_and_of_a_staircase():
    box = np.zeros((8, 8, 8), np.uint8)
    box[2:6, 2:6, 2:6] = 1
    # Five pairs of slices hold it; two of them change by its whole face of 16 mm2.
    assert probe.slice_jump(box, ISOTROPIC, 0) == pytest.approx(32 / 5)
    assert probe.slice_jump(box, (1.0, 2.0, 3.0), 0) == pytest.approx(6 * 32 / 5)
    ragged = box.copy()
    ragged[3], ragged[5] = np.roll(box[3], 1, 0), np.roll(box[5], 1, 0)
    assert probe.slice_jump(ragged, ISOTROPIC, 0) > probe.slice_jump(box, ISOTROPIC, 0)
    assert np.isnan(probe.slice_jump(np.zeros((4, 4, 4)), ISOTROPIC, 0))


def cohort_of(labels):
    cases = {n: SimpleNamespace(label=label, spacing=ISOTROPIC, subject=(n + 1) // 2) for n, label in labels.items()}
    return SimpleNamespace(cases=cases, spec=SPEC)


def test_jumps_have_a_row_for_each_source_case_and_axis():
    labels = {1: label_map(), 2: label_map()}
    table = probe.jumps({"truth": labels, "other": {1: np.roll(labels[1], 1, 0)}}, cohort_of(labels))
    assert len(table) == 9 and set(table.columns) == {"source", "case", "subject", "axis", "jump"}
    assert table[table.case == 1].pivot(index="axis", columns="source", values="jump").eval("truth == other").all()


class Threshold(torch.nn.Module):
    """Calls bright voxels in the low half of axis 0 anterior: right only for volumes as they are stored."""

    divisor = 1

    def forward(self, x):
        low = torch.arange(x.shape[2]) < x.shape[2] // 2
        score = (x > 0) * low.view(1, 1, -1, 1, 1)
        return torch.cat([torch.full_like(x, 0.5), score.float(), torch.zeros_like(x)], 1)


def test_mirrored_volumes_are_scored_on_their_own_side():
    label = np.zeros((8, 8, 8), np.uint8)
    label[1:3, 2:6, 2:6] = 1
    images = {1: (label[None] * 10.0).astype(np.float32)}
    machine = Machine("cpu", "fp32", 1)
    table, masks = probe.mirrored(Threshold(), Prep((8, 8, 8)), images, cohort_of({1: label}), machine)
    found = table.set_index("query").dice
    # Posterior is in neither mask of this case, so the mean is that of the anterior part.
    assert found[probe.STORED] == 1 and found[probe.MIRRORED] == 0
    assert np.array_equal(masks[1][probe.STORED], label) and not masks[1][probe.MIRRORED].any()


@pytest.mark.parametrize("axis", [None, 0])
def test_effective_field_lies_around_the_middle_voxel(axis):
    conv = torch.nn.Conv3d if axis is None else torch.nn.Conv2d
    prep = Prep((8, 8, 6), axis=axis, neighbours=0 if axis is None else 1)
    network = conv(prep.channels(1), 3, 3, padding=1)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 6)).astype(np.float32)
    field, voxel = probe.effective_field(network, prep, [image, image], Machine("cpu", "fp32", 1))
    assert voxel == (4, 4, 3) and field.shape == (8, 8, 6)
    assert [(int(at.min()), int(at.max())) for at in np.nonzero(field)] == [(3, 5), (3, 5), (2, 4)]


def scores_of(model, dice, seed=0, fold=0, **columns):
    """Rows as `results.load` gives them: one run on four cases of two subjects."""
    setting = {"folds": "grouped", "schedule": "standard", "data_sha256": "d", "device": "cpu", "precision": "bf16",
               "processor": "a CPU", "dims": 3, "params": 10, "gflops": 1.5, "steps": 100, "train_s": 120}  # fmt: skip
    rows = [{"case": n, "subject": (n + 1) // 2, "label": label, "dice": dice + 0.01 * n, "iou": dice / 2, "nsd1": 0.9,
             "hd95": 1.5} for n in (1, 2, 3, 4) for label in ("anterior", "mean")]  # fmt: skip
    run = {"run": f"{model}.{fold}.{seed}", "model": model, "fold": fold, "seed": seed}
    return pd.DataFrame(rows).assign(**run, **(setting | columns))


def test_a_conclusion_needs_three_seeds_and_one_setting():
    runs = [scores_of("a", 0.80, seed) for seed in range(3)] + [scores_of("b", 0.85, seed) for seed in range(3)]
    frame = pd.concat([*runs, scores_of("c", 0.9), scores_of("d", 0.9, device="cuda")]).query("label == 'mean'")
    found = compare.differences(frame, "a")
    assert list(found.index) == ["b", "c", "d"] and list(found.columns) == list(compare.DIFFERENCES)
    assert found.loc["b", "difference"] == pytest.approx(0.05) and found.loc["b", "verdict"] == "ahead"
    assert found.loc["c", "verdict"] == "none: 1 seed"
    assert found.loc["d", "verdict"] == "not compared: another setting" and np.isnan(found.loc["d", "difference"])
    assert compare.differences(frame[:0], "a").empty and compare.differences(frame, "nobody").empty
    twice = pd.concat([frame[frame["run"] == "a.0.0"], frame[frame["run"] == "a.0.1"][:2]])
    with pytest.raises(ValueError, match="every case once"):
        compare.stacked(twice)


def test_table_of_models_averages_seeds_and_minutes():
    frame = pd.concat([scores_of("a", 0.8), scores_of("a", 0.9, 1), scores_of("b", 0.7, fold=1)])
    table = tables.costs(frame, ["anterior"])
    assert list(table.index) == ["a"]
    columns = ["value", "anterior", "minutes", "seeds", "params", "iou", "nsd1", "hd95"]
    assert table.loc["a", columns].tolist() == pytest.approx([0.875, 0.875, 2, 2, 10, 0.425, 0.9, 1.5])
    text = tables.readable_costs(table.assign(hd95=np.nan)).loc["a"]
    columns = ["parameters", "minutes", "Dice, anterior", "NSD 1 mm", "HD95 (mm)"]
    assert text[columns].tolist() == ["10", "2.0", "0.875", "0.900", ""]
    assert text["mean Dice (95 % interval)"].startswith("0.8750 (")
    both = pd.concat([frame, scores_of("c", 0.75), scores_of("c", 0.75, 1)])
    both = tables.beside(both, "a", ["anterior"], "grouped")
    assert both.index.tolist() == ["a", "c"] and both.loc["c", "minus a"].startswith("-0.1000 (")
    assert both.loc["a", "mean Dice"].startswith("0.8750 (") and pd.isna(both.loc["a", "minus a"])
    assert tables.beside(frame, "a", ["anterior"], "nnunet").empty and tables.costs(frame, ["x"], "nnunet").empty
    assert tables.minutes(scores_of("d", 0.9, device="cuda")).isna().all(), "a GPU's"
    assert tables.costs(frame, ["anterior"], idle={"a": 3.5}).loc["a", "minutes"] == 3.5
    assert np.isnan(tables.costs(frame, ["anterior"], idle={"b": 3.5}).loc["a", "minutes"]), "no mix of two kinds"


def test_machines_count_the_networks_that_they_trained():
    others = [scores_of("unet3d", 0.9), scores_of("atlas-no-image", 0.9, steps=0)]
    trained = [scores_of("unet2d", 0.9, seed, processor="a GPU") for seed in (0, 1)]
    assert tables.machines(pd.concat([*trained, *others])) == "a CPU: 1; a GPU: 2"
