"""Figures and measures of notebook 04, on arrays made by hand: what they draw, and that they draw it the same twice."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from same_bytes import saved_twice

from hipposeg import files
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.experiments import RunSpec
from hipposeg.experiments.run import finished
from hipposeg.experiments.spec import current_numerics
from hipposeg.experiments.weights import initial
from hipposeg.inference import Prep
from hipposeg.results import compare
from hipposeg.results.scoring import CASES
from hipposeg.training.machine import Machine
from hipposeg.viz import intervals, surface
from hipposeg.viz.style import use_style
from hipposeg.workspace import Workspace
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


def test_names_of_arms_that_cost_and_score_alike_do_not_cover_each_other():
    names = [f"an-model-with-a-long-name-{n}" for n in range(7)]
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


def test_weights_are_loaded_only_if_they_are_those_that_were_scored(tmp_path):
    ws, run = Workspace(tmp_path, "phantom", "smoke"), RunSpec("unet2d", schedule="smoke")
    machine = Machine("cpu", "fp32", 1)
    assert probe.trained_network(ws, run, SPEC, machine) is None and not finished(ws, [run])
    content = safetensors.torch.save(initial(run, SPEC).state_dict())
    files.write_bytes(ws.work / "runs" / run.name / "weights.safetensors", content)
    config = ws.artifacts / "runs" / run.name / "config.json"
    facts = {"weights_sha256": files.sha256_bytes(content), "numerics": current_numerics()[run.model]}
    files.write_json(config, facts)
    files.write_csv(config.parent / CASES, ("case", "label", "dice"), [{"case": 1, "label": "mean", "dice": 0.5}])
    assert not probe.trained_network(ws, run, SPEC, machine).training
    assert [one.mean() for one in finished(ws, [run])] == [0.5]
    files.write_json(config, {"weights_sha256": "other", "numerics": "older"})
    assert probe.trained_network(ws, run, SPEC, machine) is None and not finished(ws, [run])


def result(model, dice, seed=0, fold=0, folder=None, **config):
    """A run of four cases of two people."""
    cases = [{"case": n, "subject": (n + 1) // 2, "label": label, "dice": dice + 0.01 * n,
              "iou": dice / 2, "nsd1": 0.9, "hd95": 1.5}
             for n in (1, 2, 3, 4) for label in ("anterior", "mean")]  # fmt: skip
    base = {"folds": "grouped", "fold": fold, "schedule": "standard", "data_sha256": "d", "device": "cpu",
            "precision": "bf16", "torch": "2", "dims": 3, "params": 10, "gflops": 1.5, "steps": 100}  # fmt: skip
    table, run = pd.DataFrame(cases), RunSpec(model, fold=fold, seed=seed)

    def mean(label="mean", metric="dice"):
        return float(table.loc[table.label == label, metric].mean())

    return SimpleNamespace(run=run, config=base | config, cases=table, folder=folder, mean=mean)


def test_verdict_needs_three_seeds_and_one_setting():
    runs = [result("a", 0.80, seed) for seed in range(3)] + [result("b", 0.85, seed) for seed in range(3)]
    runs += [result("c", 0.9), result("d", 0.9, device="cuda")]
    found = compare.differences(compare.scores(runs), "a")
    assert list(found.index) == ["b", "c", "d"] and list(found.columns) == list(compare.DIFFERENCES)
    assert found.loc["b", "difference"] == pytest.approx(0.05) and found.loc["b", "verdict"] == "ahead"
    assert found.loc["c", "verdict"] == "none: 1 seed"
    assert found.loc["d", "verdict"] == "not compared: another setting" and np.isnan(found.loc["d", "difference"])
    assert compare.differences(compare.scores([]), "a").empty
    assert compare.differences(compare.scores(runs), "nobody").empty


def test_table_of_arms_averages_seeds_and_reads_minutes(tmp_path):
    files.write_json(tmp_path / "provenance.json", {"train_s": 120.0})
    runs = [result("a", 0.8, 0, folder=tmp_path), result("a", 0.9, 1, folder=tmp_path), result("b", 0.7, fold=1)]
    table = compare.models(runs, ["anterior"])
    assert list(table.index) == ["a"]
    assert table.loc["a", ["value", "anterior", "minutes", "seeds", "params"]].tolist() == pytest.approx(
        [0.875, 0.875, 2, 2, 10]
    )
    assert table.loc["a", ["iou", "nsd1", "hd95"]].tolist() == pytest.approx([0.425, 0.9, 1.5])
    text = compare.readable(table.assign(hd95=np.nan))
    assert text.loc["a", ["parameters", "minutes", "Dice, anterior", "NSD 1 mm", "HD95 (mm)"]].tolist() == [
        "10", "2.0", "0.875", "0.900", "",
    ]  # fmt: skip
    assert text.loc["a", "mean Dice (95 % interval)"].startswith("0.8750 (")
    both = compare.beside(
        [*runs[:2], *(result("c", 0.75, seed, folder=tmp_path) for seed in (0, 1))], "a", ["anterior"], "grouped"
    )
    assert both.index.tolist() == ["a", "c"] and both.loc["c", "minus a"].startswith("-0.1000 (")
    assert both.loc["a", "mean Dice"].startswith("0.8750 (") and pd.isna(both.loc["a", "minus a"])
    assert compare.beside(runs, "a", ["anterior"], "nnunet").empty
    assert compare.models(runs, ["anterior"], "nnunet").empty
    assert np.isnan(compare.minutes(result("d", 0.9, folder=tmp_path, device="cuda"))), "a GPU's"
    measured = compare.models(runs, ["anterior"], idle={table.index[0]: 3.5})["minutes"]
    assert measured.iloc[0] == 3.5 and measured.iloc[1:].isna().all(), "times of two kinds are not mixed"
    with pytest.raises(ValueError, match="every case once"):
        compare.stacked(pd.concat([compare.scores(runs[:1]), compare.scores(runs[:1]).assign(seed=1)[:2]]))


def test_machines_count_the_networks_that_they_trained(tmp_path):
    for name in ("a GPU", "a CPU"):
        files.write_json(tmp_path / name / "provenance.json", {"machine": name, "train_s": 1.0})
    trained = [result("unet2d", 0.9, seed, folder=tmp_path / "a GPU") for seed in (0, 1)]
    others = [result(model, 0.9, folder=tmp_path / "a CPU") for model in ("unet3d", "unet2d-fusion", "atlas-no-image")]
    assert compare.machines([*trained, *others]) == "a CPU: 1; a GPU: 2", "an average and the floor train nothing"


def test_side_tables_are_joined_to_their_runs(tmp_path):
    rows = pd.DataFrame([{"case": n, "subject": n, "label": "mean", "query": q, "dice": 0.5 + n / 10}
                         for n in (1, 2) for q in ("head", "trilinear")])  # fmt: skip
    files.write_text(tmp_path / "offgrid.csv", rows.to_csv(index=False))
    found = compare.side_table(
        [result("a", 0.8, folder=tmp_path), result("b", 0.8, folder=tmp_path / "none")], "offgrid.csv"
    )
    assert set(found.model) == {"a"} and len(found) == 4
    assert list(compare.means(found, "query").index) == ["head", "trilinear"]
    assert compare.differences(found, "trilinear", by="query").loc["head", "difference"] == 0
    assert compare.side_table([], "offgrid.csv").empty


def test_words_name_the_chapter_and_every_arm_of_it():
    from hipposeg.experiments.registry import MODELS
    from hipposeg_lab.page.words import CHAPTERS, model_text

    assert "04_unet3d" in [chapter.name for chapter in CHAPTERS]
    assert all(model_text(name) and "with " + name.split("+")[-1] not in model_text(name) for name in MODELS)
