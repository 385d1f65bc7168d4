"""Which runs are studied, verdicts by family, five folds, and the table of claims."""

import shutil
from functools import cache

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
import pytest
from same_bytes import saved_twice
from stored_runs import SCORED, TRAIN, cohort, run_of, shifted, truth
from test_seeds import made, three

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.files import write_csv, write_json
from hipposeg.metrics import error_masks
from hipposeg.results.scoring import CASES
from hipposeg.results.table import FLOOR, RunError
from hipposeg.workspace import Workspace
from hipposeg_lab.figures import asymmetry, failures, mistakes
from hipposeg_lab.figures import inflation as scoring
from hipposeg_lab.page import claims
from hipposeg_lab.page.published import CLAIMS
from hipposeg_lab.page.words import MODELS as DESCRIBED
from hipposeg_lab.page.words import model_text
from hipposeg_lab.studies import errors, inflation, siblings, stored, verdicts

FOLDS = {"grouped": [{"train": list(TRAIN), "scored": list(SCORED)}]}
NUMERICS = {"unet2d": "one", "unet3d": "one", FLAGSHIP: "one", FLOOR: "one"}


def put(ws, model, **config):
    """Write a run with its masks as `train_or_load` leaves it."""
    base = {"data_sha256": "d", "numerics": "one", "family": "unet", "notebook": "03", "dims": 2}
    run = run_of(model, shifted(1), **base | {"params": 1, "gflops": 1.0, "steps": 1} | config)
    write_json(ws.artifacts / "runs" / run.name / "config.json", {"run": run.name, **run.config})
    write_csv(ws.artifacts / "runs" / run.name / CASES, list(run.cases), run.cases.to_dict("records"))
    for case, mask in shifted(1).items():
        path = ws.artifacts / "predictions" / run.name / SPEC.file_name(case)
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), path)
    return run.name


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path, "phantom", "standard")


def present(ws):
    return stored.present(ws, cohort(), FOLDS, NUMERICS)


def test_own_runs_come_first_and_committed_ones_fill_up(ws):
    full = ws.full
    put(ws, "unet2d", steps=1)
    put(full, "unet2d", steps=2)
    put(full, "unet3d")
    put(full, "unet3d", seed=1, data_sha256="other data")
    put(full, "unet3d", seed=2, numerics="before")
    found = present(ws)
    assert [run.name for run in found] == ["unet2d.grouped0.s0.standard", "unet3d.grouped0.s0.standard"]
    assert found[0].config["steps"] == 1
    put(full, "unet2d", steps=2, threads=1)
    assert [run.config["steps"] for run in present(ws) if run.model == "unet2d"] == [1, 2], (
        "rounded otherwise: another run"
    )
    assert np.array_equal(stored.masks(found[1], SPEC)[5], np.roll(truth(5), 1, 1))
    shutil.rmtree(found[1].predictions)
    with pytest.raises(RunError, match="no prediction"):
        stored.masks(found[1], SPEC)


def test_a_committed_run_on_other_cases_is_refused(ws):
    put(ws.full, "unet2d")
    with pytest.raises(RunError, match="scored 4 cases that are not those"):
        stored.present(ws, cohort(), {"grouped": [{"train": [], "scored": [1, 2]}]}, NUMERICS)


def test_chosen_are_one_run_an_arm_and_the_best():
    runs = [run_of(model, shifted(1), **config) for model, config in (
        ("unet2d", {"schedule": "S"}), ("unet2d", {"seed": 1}), ("unet2d", {"seed": 0}), ("unet3d", {"folds": "nnunet"}),
        (FLOOR, {}), ("other", {}),
    )]  # fmt: skip
    names = [run.name for run in stored.chosen(runs, runs[-1])]
    assert names == [f"{FLOOR}.grouped0.s0.standard", "unet2d.grouped0.s0.standard", "other.grouped0.s0.standard"]
    twice = stored.chosen(runs, runs[1])
    assert stored.names(twice)[runs[1].name] == runs[1].name and stored.names(twice)[twice[0].name] == FLOOR


def test_arm_means_stay_within_one_setting():
    runs = [run_of("unet2d", shifted(by), seed=seed, **config) for seed, (by, config) in enumerate(
        [(0, {}), (1, {}), (3, {"torch": "3"}), (3, {"schedule": "S"}), (3, {"folds": "nnunet"})])]  # fmt: skip
    table = stored.model_means(runs)
    both = np.mean([runs[0].values().mean(), runs[1].values().mean()])
    assert table.loc["unet2d", "value"] == pytest.approx(both) and table.loc["unet2d", "seeds"] == 2


def test_twins_are_the_largest_group_with_masks(ws):
    own, committed = ws, ws.full
    put(own, "unet2d", threads=2)
    for seed in (1, 0, 2):
        put(committed, "unet2d", threads=1, seed=seed)
    runs = present(ws)
    assert [(run.config["threads"], run.config["seed"]) for run in stored.twins(runs, "unet2d", masks=True)] == [
        (1, 0), (1, 1), (1, 2)
    ]  # fmt: skip
    for seed in (1, 2):
        shutil.rmtree(committed.artifacts / "predictions" / f"unet2d.grouped0.s{seed}.standard")
    (alone,) = stored.twins(present(ws), "unet2d", masks=True)
    assert alone.config["threads"] == 2, "of two groups of one, the own"
    assert stored.twins(runs, "unet3d") == []


def test_out_of_fold_needs_every_fold():
    assert stored.out_of_fold(
        [run_of(FLAGSHIP, shifted(1), fold=fold, threads=1 + fold // 4) for fold in range(5)], 5
    ).empty
    runs = [run_of(FLAGSHIP, shifted(1), fold=fold) for fold in range(5)]
    assert len(stored.out_of_fold(runs, 5)) == 5 * len(runs[0].cases)
    assert stored.out_of_fold(runs[:4], 5).empty


def test_verdicts_stay_within_their_families():
    results = [*three("unet3d", 0.88, "standard"), *three("unet3d+flip", 0.87, "standard"),
               made("unet3d-residual", 0.9, 0, "standard"), *three("unet2d", 0.8), *three("unet2d+ce", 0.83),
               *three("attention3d", 0.88, "standard")]  # fmt: skip
    table = verdicts.table(results).set_index("model")
    assert table["reference"].to_dict() == {"unet2d+ce": "unet2d", "unet3d+flip": "unet3d", "unet3d-residual": "unet3d",
                                            "attention3d": "unet3d"}  # fmt: skip
    said = {"unet2d+ce": "ahead", "unet3d+flip": "behind", "attention3d": "equivalent"}
    assert table["verdict"].to_dict() == said | {"unet3d-residual": "none: 1 seed"}
    assert table.loc["attention3d", "family"] == verdicts.ATTENTION
    heads = list(verdicts.headed(table.reset_index()).index)
    assert heads[0] == ("2D loss, short, against unet2d", "unet2d+ce")
    assert heads[-1] == (verdicts.ATTENTION, "attention3d minus unet3d")
    assert verdicts.table([]).empty and tuple(verdicts.table([]).columns) == verdicts.COLUMNS


def test_every_family_names_arms_that_there_are():
    for family in verdicts.FAMILIES:
        assert family.reference not in family.models and len(set(family.models)) == len(family.models) > 0
        assert all(model_text(model) for model in (family.reference, *family.models))


def test_five_folds_stand_with_and_without_the_first():
    results = [made(FLAGSHIP, 0.8 + 0.01 * fold, 0, "standard", fold) for fold in range(5)]
    table = verdicts.five_folds(results, ["mean"]).set_index("part")
    assert list(table.index) == ["0", "1", "2", "3", "4", "1 to 4", "all"]
    assert table.loc["1 to 4", "dice"] == pytest.approx(table["dice"][["1", "2", "3", "4"]].mean())
    assert table.loc["all", "volumes"] == 5 * table.loc["0", "volumes"]
    assert "all" not in verdicts.five_folds(results[:3], ["mean"])["part"].tolist()


def test_claims_take_the_nearest_arm_and_its_twin():
    ours = pd.DataFrame({"value": [0.88], "low": [0.87], "high": [0.89], "seeds": [3]}, index=["unet2d"])
    shown = pd.DataFrame([{"run": "unet2d.grouped0.s0.standard", "practice": "pooled-slices", "shown": 0.95}])
    table = claims.table(ours, shown)
    assert tuple(table.columns) == claims.COLUMNS and len(table) == len(CLAIMS)
    row = table[(table["project"] == "C") & (table["method"] == "2D U-Net")].iloc[0]
    assert (row["claimed"], row["value_low"], row["value_high"]) == (0.9225, 0.82, 0.84)
    assert (row["model"], row["ours"], row["scored_their_way"]) == ("unet2d", 0.88, 0.95)
    none = table[table["project"] == "E"].iloc[0]
    assert none["model"] == "" and np.isnan(none["ours"]) and np.isnan(none["scored_their_way"])
    text = claims.readable(table)
    assert text.loc["C: 2D U-Net", "ours, of that kind"] == "0.880 (0.870 to 0.890), unet2d"
    assert text.loc["B: 3D U-Net with a coordinate head", "without that, on their own split"] == "0.872"


def test_claims_name_arms_that_are_described_and_sources_that_can_be_opened():
    for claim in CLAIMS:
        assert claim.url.startswith("https://github.com/") and claim.source and claim.really
        assert all(model in DESCRIBED for model in (*claim.models, claim.twin)), claim
        assert len(claim.value) <= 2 and list(claim.value) == sorted(claim.value)
    assert {claim.project for claim in CLAIMS} == set("ABCDE")


@cache
def studied():
    """Runs, and two studies of them, made once."""
    data, runs = cohort(), [run_of(FLOOR, shifted(3)), run_of("unet2d", shifted(1), history=(0.5, 0.8, 0.7))]
    masks = {runs[0].name: shifted(3), runs[1].name: shifted(1)}
    places = errors.study(runs, {name: errors.of_run(found, data) for name, found in masks.items()}, data)
    return runs, inflation.study([[run] for run in runs], lambda run: masks[run.name], data, TRAIN), places


def figures():
    """Every figure of the studies, on the small runs."""
    runs, table, places = studied()
    names = stored.names(runs)
    titles = {slug: title for slug, (title, _) in inflation.PRACTICES.items()}
    yield scoring.inflation(table, titles, names, runs[1].name)
    yield mistakes.by_position(places, names, errors.POSITIONS, ("anterior end", "posterior end"))
    yield mistakes.by_distance(places, names, errors.DISTANCES)
    image = np.random.default_rng(0).normal(100, 20, truth(5).shape)
    kinds = error_masks(shifted(1)[5], truth(5))
    shown = [failures.Failure(f"Case {number}", "Words. " * 40, image, truth(5), kinds) for number in (5, 6)]
    yield failures.gallery(shown, SPEC)
    numbers = np.arange(1, 13)
    cases = pd.DataFrame({"case": numbers, "subject": (numbers + 1) // 2, "label": "union", "dice": 0.8})
    cases = cases.assign(volume_true=3000 + numbers, volume_predicted=3100 + 2 * numbers, volume_bias=100 + numbers)
    row = pd.DataFrame({"r_difference": [0.5], "r_error": [0.1]}, index=["union"])
    yield asymmetry.two_volumes({"union": siblings.pairs(cases, "union")}, row, SPEC)


def test_figures_are_drawn_twice_to_the_same_bytes(tmp_path, house_style):
    first, second = saved_twice(figures, tmp_path)
    assert first == second and len(first) == 5


def test_inflation_figure_draws_from_honest_to_shown(house_style):
    table = pd.DataFrame({"run": ["a", "b"], "practice": "union", "honest": [0.7, 0.8], "shown": [0.9, 0.85],
                          "difference": [0.2, 0.05]})  # fmt: skip
    fig = scoring.inflation(table, {"honest": "honest", "union": "one", "nsd2": "absent"}, {"a": "A", "b": "B"}, "b")
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one"]
    lines = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert lines == [(0.7, 0.9), (0.8, 0.85)]
    assert [text.get_text() for text in ax.texts] == ["+0.050"]
    plt.close(fig)


def test_error_map_gives_each_kind_its_value():
    kinds = error_masks(shifted(1)[5], truth(5))
    found = failures.error_map(kinds)
    counts = [int((found == label.value).sum()) for label in failures.ERRORS]
    assert counts == [int(mask.sum()) for mask in kinds.values()] and sum(counts) > 0
