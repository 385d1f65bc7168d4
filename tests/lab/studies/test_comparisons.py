"""Planned comparisons in groups, seeds of a run, five folds, and claims of others beside our scores."""

import numpy as np
import pandas as pd
import pytest
from stored_runs import invented, three

from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP, MODELS, RunSpec
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import comparisons, published
from hipposeg_lab.studies.published import CLAIMS


def test_seeds_of_a_run_share_fold_schedule_and_device():
    others = [invented("unet2d", 0.1, 3), invented("unet2d", 0.1, fold=1, schedule="standard")]
    others += [invented("unet2d", 0.1, 3, "standard", device="cuda"), invented("unet3d", 0.1, 0, "standard")]
    frame = pd.concat([three("unet2d", 0.8, "standard"), *others], ignore_index=True)
    found = comparisons.seeds(frame, RunSpec("unet2d"))["run"].unique().tolist()
    assert found == [f"unet2d.grouped0.s{seed}.standard" for seed in range(3)]
    assert comparisons.seeds(frame, RunSpec("unet2d", fold=2)).empty


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
    said = {"unet2d+ce": "better", "unet3d+flip": "worse", "attention3d": "equivalent"}
    assert table["conclusion"].to_dict() == said | {"unet3d-residual": "none: 1 seed"}
    assert table.loc["attention3d", "family"] == comparisons.ATTENTION
    ws = Workspace(tmp_path, "msd")
    comparisons.write(ws, found)
    again = pd.read_csv(ws.artifacts / "comparisons.csv")
    assert tuple(again.columns) == comparisons.COLUMNS and again["conclusion"].tolist() == found["conclusion"].tolist()
    none = comparisons.table(rows.iloc[:0])
    assert none.empty and tuple(none.columns) == comparisons.COLUMNS


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
    table = published.table(ours, shown)
    assert tuple(table.columns) == published.COLUMNS and len(table) == len(CLAIMS)
    row = table[(table["project"] == "C") & (table["method"] == "2D U-Net")].iloc[0]
    assert (row["claimed"], row["value_low"], row["value_high"]) == (0.9225, 0.82, 0.84)
    assert (row["model"], row["ours"], row["scored_their_way"]) == ("unet2d", 0.88, 0.95)
    none = table[table["project"] == "E"].iloc[0]
    assert none["model"] == "" and np.isnan(none["ours"]) and np.isnan(none["scored_their_way"])


def test_models_of_attention_differ_from_their_reference_in_the_network_alone():
    without = {f"attention{kind}": f"unet{kind[:2]}" for kind in ("2d", "2d-constant", "3d", "3d-constant")}
    without |= dict.fromkeys(("scse2d", "cbam2d"), "unet2d-mobilenetv3")
    own = [model for model in MODELS.values() if model.notebook == "05"]
    assert {model.name for model in own} == set(without)
    for model in own:
        plain = MODELS[without[model.name]]
        assert (model.prep, model.dims, model.network != plain.network) == (plain.prep, plain.dims, True)
        assert all(plain.schedules[name] == training for name, training in model.schedules.items())
    assert {name for pair in comparisons.PAIRS for name in pair} == {run.model for run in plan.declared("05")}
