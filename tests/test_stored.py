"""Which seeds are studied, comparisons by family, five folds, the table of claims, and figures of studies."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from same_bytes import saved_twice
from stored_runs import TRAIN, cohort, invented, run_of, shifted, three, truth

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.experiments.spec import RunSpec
from hipposeg.metrics import error_masks
from hipposeg.results import tables
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace
from hipposeg_lab.figures import asymmetry, failures, mistakes
from hipposeg_lab.figures import inflation as scoring
from hipposeg_lab.studies import claims, comparisons, errors, inflation, siblings, stored
from hipposeg_lab.studies.published import CLAIMS


def test_seeds_share_device_and_precision():
    run = RunSpec("unet2d")
    others = [invented("unet2d", 0.1, 3), invented("unet2d", 0.1, fold=1, schedule="standard")]
    others += [invented("unet2d", 0.1, 3, "standard", precision="fp32"), invented("unet3d", 0.1, 0, "standard")]
    frame = pd.concat([three("unet2d", 0.8, "standard"), *others], ignore_index=True)
    assert stored.seeds(frame, run)["run"].unique().tolist() == [
        f"unet2d.grouped0.s{seed}.standard" for seed in range(3)
    ]
    here = invented("unet2d", 0.7, 0, "standard", precision="fp32", run="unet2d.grouped0.s0.standard.fp32")
    replaced = pd.concat([here, frame[frame["run"] != run.name]])
    assert set(stored.seeds(replaced, run)["precision"]) == {"fp32"}, "precisions are never mixed"
    assert stored.seeds(frame, RunSpec("unet2d", fold=2)).empty


def test_out_of_fold_needs_every_fold():
    folds = [invented(FLAGSHIP, 0.8, schedule="standard", fold=fold) for fold in range(5)]
    others = [invented(FLAGSHIP, 0.1, 1, "standard"), invented(FLAGSHIP, 0.1), invented("unet2d", 0.1, 0, "standard")]
    found = tables.out_of_fold(pd.concat([*folds, *others]), FLAGSHIP)
    assert len(found) == 5 * len(folds[0]) and found["dice"].min() > 0.7
    assert tables.out_of_fold(pd.concat([*folds[:4], *others]), FLAGSHIP).empty


def test_conclusions_stay_within_their_families(tmp_path):
    rows = pd.concat([three("unet3d", 0.88, "standard"), three("unet3d+flip", 0.87, "standard"),
                      invented("unet3d-residual", 0.9, 0, "standard"), three("unet2d", 0.8), three("unet2d+ce", 0.83),
                      three("attention3d", 0.88, "standard"), three("never-planned", 0.9, "standard")])  # fmt: skip
    fast = RunSpec("unet3d", hardware="fp32").name
    rows = pd.concat([rows, invented("unet3d", 0.9, 0, "standard", run=fast, planned=fast, precision="fp32")])
    rows = comparisons.planned(rows.reset_index(drop=True))
    assert fast not in set(rows["run"]) and "never-planned" not in set(rows["model"])
    found = comparisons.table(rows)
    table = found.set_index("model")
    assert table["reference"].to_dict() == {"unet2d+ce": "unet2d", "unet3d+flip": "unet3d", "unet3d-residual": "unet3d",
                                            "attention3d": "unet3d"}  # fmt: skip
    said = {"unet2d+ce": "ahead", "unet3d+flip": "behind", "attention3d": "equivalent"}
    assert table["verdict"].to_dict() == said | {"unet3d-residual": "none: 1 seed"}
    assert table.loc["attention3d", "family"] == comparisons.ATTENTION
    heads = list(comparisons.headed(found).index)
    assert heads[0] == ("2D loss, short, against unet2d", "unet2d+ce")
    assert heads[-1] == (comparisons.ATTENTION, "attention3d minus unet3d")
    ws = Workspace(tmp_path, "msd")
    comparisons.write(ws, found)
    again = pd.read_csv(ws.artifacts / "comparisons.csv")
    assert tuple(again.columns) == comparisons.COLUMNS and again["verdict"].tolist() == found["verdict"].tolist()
    none = comparisons.table(rows.iloc[:0])
    assert none.empty and tuple(none.columns) == comparisons.COLUMNS


def test_every_family_names_known_models():
    for family in comparisons.FAMILIES:
        assert family.reference not in family.models and len(set(family.models)) == len(family.models) > 0
        assert {family.reference, *family.models} <= set(MODELS)


def test_five_folds_stand_with_and_without_the_first():
    folds = [invented(FLAGSHIP, 0.8 + 0.01 * fold, 0, "standard", fold) for fold in range(5)]
    table = comparisons.five_folds(pd.concat(folds), ["mean"]).set_index("part")
    assert list(table.index) == ["0", "1", "2", "3", "4", "1 to 4", "all"]
    assert table.loc["1 to 4", "dice"] == pytest.approx(table["dice"][["1", "2", "3", "4"]].mean())
    assert table.loc["all", "volumes"] == 5 * table.loc["0", "volumes"]
    assert "all" not in comparisons.five_folds(pd.concat(folds[:3]), ["mean"])["part"].tolist()


def test_claims_take_the_nearest_model_and_its_twin():
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


def test_claims_name_known_models_and_sources():
    for claim in CLAIMS:
        assert claim.url.startswith("https://github.com/") and claim.source and claim.really
        assert all(model in MODELS for model in (*claim.models, claim.twin)), claim
        assert len(claim.value) <= 2 and list(claim.value) == sorted(claim.value)
    assert {claim.project for claim in CLAIMS} == set("ABCDE")


@cache
def studied():
    """Runs, and two studies of them, made once."""
    data, runs = cohort(), [run_of(ATLAS, shifted(3)), run_of("unet2d", shifted(1), history=(0.5, 0.8, 0.7))]
    places = errors.study(runs, {run.name: errors.of_run(run, data) for run in runs}, data)
    return runs, inflation.study([[run] for run in runs], data, TRAIN), places


def figures():
    """Every figure of the studies, on the small runs."""
    runs, table, places = studied()
    names = {run.name: run.model for run in runs}
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
