"""The table of runs: what is read, what is refused, what is written, and what notebook 07 makes of it."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
import pytest

from hipposeg import metrics, stats
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.files import read_json, write_csv, write_json
from hipposeg.results import scoring, table, tables
from hipposeg.viz import evaluation
from hipposeg.workspace import Workspace
from hipposeg_lab.figures import mistakes

CASES = (1, 2, 5, 7, 8, 11, 12, 13)
FOLDS = {"grouped": [{"train": [21, 22], "scored": list(CASES)}]}
NUMERICS = {"atlas-no-image": "atlas1", "unet2d": "unet1-engine1", "unet2d-mobilenetv3": "encoder1-engine1"}


def truth(case):
    """A small two-part label map, a little different in each case."""
    label = np.zeros((10, 16, 12), np.uint8)
    label[3:7, 2:8, 3 : 7 + case % 3] = 2
    label[3:7, 8 : 12 + case % 2, 3:8] = 1
    return label


def scores(case, dice):
    """One case's rows of cases.csv with a given Dice; volumes and distances are made up from it."""
    for label, shift in (("anterior", 0.01), ("posterior", -0.01), ("union", 0.03), ("mean", 0.0)):
        values = {"dice": dice + shift, "iou": 0.7, "nsd1": 0.9, "nsd2": 0.95, "hd95": 2.0, "msd": 0.5}
        volumes = {"volume_bias": -10.0 * case, "volume_abs_error": 10.0 * case,
                   "volume_true": 1000.0 + 50 * case, "volume_predicted": 1000.0 + 40 * case}  # fmt: skip
        yield {"case": case, "subject": (case + 1) // 2, "label": label, **values, **volumes}


def put(ws, model, dice, seed=0, edit=None, **config):
    """Write one run with its predictions as `train_or_load` does. edit: changes the rows before they are written."""
    run = f"{model}.grouped0.s{seed}.standard"
    rows = [row for index, case in enumerate(CASES) for row in scores(case, dice + 0.004 * (index - 3.5))]
    rows = edit(rows) if edit else rows
    base = {
        "run": run, "model": model, "notebook": "03", "dims": 2, "folds": "grouped", "fold": 0, "seed": seed,
        "schedule": "standard", "device": "cpu", "precision": "float32", "torch": "2.15.0", "threads": 2,
        "params": 1000, "gflops": 1.5, "steps": 100, "family": "unet", "numerics": NUMERICS[model], "data_sha256": "d",
    }  # fmt: skip
    write_json(ws.artifacts / "runs" / run / "config.json", base | config)
    write_csv(ws.artifacts / "runs" / run / scoring.CASES, list(rows[0]) if rows else ["case"], rows)
    for case in CASES:
        path = ws.artifacts / "predictions" / run / SPEC.file_name(case)
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.roll(truth(case), 1, 1), np.eye(4)), path)
    return run


@pytest.fixture
def ws(tmp_path):
    """A workspace of the real data's kind with the floor and two networks."""
    made = Workspace(tmp_path, "msd", "standard")
    put(made, "unet2d", 0.88)
    put(made, "atlas-no-image", 0.7, notebook="01", dims=3, device="tpu", torch="1.0")
    put(made, "unet2d-mobilenetv3", 0.86)
    return made


def collect(ws, folds=FOLDS):
    return table.collect(ws, SPEC, folds, NUMERICS)


def test_columns_are_those_of_the_contract(ws):
    collect(ws)
    found = list(pd.read_csv(ws.artifacts / "results.csv").columns)
    contract = ["run", "model", "notebook", "dims", "folds", "fold", "seed", "schedule", "device", "torch", "params",
                "gflops", "steps", "n", "n_nan"]  # fmt: skip
    for metric in ("dice", "iou", "nsd1", "nsd2", "hd95", "msd", "volume_bias", "volume_abs_error"):
        contract += [metric, f"{metric}_low", f"{metric}_high"]
    assert [column for column in found if column in contract] == contract
    assert set(found) - set(contract) == {"label", "family", "precision", "numerics", "older"}
    cases = list(pd.read_csv(ws.artifacts / "cases.csv").columns)
    assert cases[:4] == ["run", "case", "subject", "label"]


def test_floor_is_the_first_row_and_every_run_has_four_labels(ws):
    results = collect(ws).results
    assert list(results["model"][:4]) == ["atlas-no-image"] * 4
    assert list(results["label"]) == ["anterior", "posterior", "mean", "union"] * 3
    assert list(results["model"].unique()) == ["atlas-no-image", "unet2d", "unet2d-mobilenetv3"]


def test_values_and_intervals_come_from_the_cases(ws):
    found = collect(ws)
    row = found.results.set_index(["model", "label"]).loc[("unet2d", "anterior")]
    dice = found.cases.query("run == 'unet2d.grouped0.s0.standard' and label == 'anterior'")
    expected = stats.interval(dice["dice"].to_numpy(), dice["subject"].to_numpy())
    assert (row["dice"], row["dice_low"], row["dice_high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert row["dice"] == pytest.approx(0.89)
    assert (row["n"], row["n_nan"], row["params"]) == (8, 0, 1000)


def test_the_same_runs_give_the_same_bytes(ws):
    files = [ws.artifacts / name for name in ("results.csv", "cases.csv")]
    collect(ws)
    first = [path.read_bytes() for path in files]
    collect(ws)
    assert [path.read_bytes() for path in files] == first


def test_missing_distances_are_counted_and_skipped(ws):
    def lose(rows):
        for row in rows:
            if row["case"] in (2, 5) and row["label"] == "posterior":
                row |= {"hd95": float("nan"), "msd": float("nan"), "dice": 0.0}
        return rows

    put(ws, "unet2d", 0.88, edit=lose)
    rows = collect(ws).results.set_index(["model", "label"]).loc["unet2d"]
    assert rows["n_nan"].to_dict() == {"anterior": 0, "posterior": 2, "mean": 2, "union": 0}
    assert rows.loc["posterior", "hd95"] == 2.0
    assert rows.loc["posterior", "n"] == 8


def test_leak_alarm_on_real_data_only(ws, tmp_path):
    put(ws, "unet2d", 0.93)
    with pytest.raises(table.RunError, match="LEAK ALARM.*unet2d"):
        collect(ws)
    assert not (ws.artifacts / "results.csv").exists()
    put(ws, "unet2d", 0.93, folds="leak-sibling")
    collect(ws, {})
    phantom = Workspace(tmp_path, "phantom", "standard")
    put(phantom, "unet2d", 0.97)
    assert len(collect(phantom).runs) == 1


def test_older_runs_are_marked_and_enter_no_comparison(ws):
    put(ws, "unet2d-mobilenetv3", 0.86, numerics="encoder0-engine1")
    found = collect(ws)
    assert found.results.groupby("model")["older"].first().to_dict() == {
        "atlas-no-image": False, "unet2d": False, "unet2d-mobilenetv3": True,
    }  # fmt: skip
    assert [run.model for run in found.on("grouped", 0)] == ["atlas-no-image", "unet2d"]
    with pytest.raises(table.RunError, match="older"):
        table.compare(found.runs[1], found.runs[2])


def test_compare_never_mixes_settings_but_the_floor_goes_with_all(ws):
    put(ws, "unet2d-mobilenetv3", 0.86, device="cuda")
    floor, plain, other = collect(ws).runs
    with pytest.raises(table.RunError, match="device"):
        table.compare(plain, other)
    found = table.compare(plain, floor)
    assert found.difference == pytest.approx(0.18)
    assert found.n_people == 5
    assert found.n_seeds == 1


def test_runs_that_cannot_be_trusted_are_refused(ws):
    put(ws, "unet2d", 0.88, edit=lambda rows: rows[4:])
    with pytest.raises(table.RunError, match="not those of grouped fold 0"):
        collect(ws)
    put(ws, "unet2d", 0.88, edit=lambda rows: rows[1:])
    with pytest.raises(table.RunError, match="case 1 has labels"):
        collect(ws)
    run = put(ws, "unet2d", 0.88)
    (ws.artifacts / "predictions" / run / SPEC.file_name(5)).unlink()
    with pytest.raises(table.RunError, match="7 predictions for 8"):
        collect(ws)
    config = ws.artifacts / "runs" / run / "config.json"
    write_json(config, {key: value for key, value in read_json(config).items() if key != "params"})
    with pytest.raises(table.RunError, match="lacks params"):
        collect(ws)
    for name, content in ((scoring.CASES, b"\x1f\x8b\x08"), ("config.json", b"")):
        run = put(ws, "unet2d", 0.88)
        (ws.artifacts / "runs" / run / name).write_bytes(content)
        with pytest.raises(table.RunError, match=f"{run}: config.json or {scoring.CASES} cannot be read"):
            collect(ws)


def test_unfinished_runs_are_left_out_and_nothing_at_all_is_an_error(ws, tmp_path, caplog):
    run = put(ws, "unet2d", 0.88)
    (ws.artifacts / "runs" / run / "config.json").unlink()
    assert [one.model for one in collect(ws).runs] == ["atlas-no-image", "unet2d-mobilenetv3"]
    assert "not finished" in caplog.text
    with pytest.raises(table.RunError, match="notebooks 01 and 03"):
        collect(Workspace(tmp_path, "phantom", "smoke"))


def test_best_run_and_cases_by_rule(ws):
    found = collect(ws)
    best = found.best("grouped", 0)
    assert best.model == "unet2d"
    # Dice rises with the position in CASES; the middle of 8 is the fifth from above.
    assert tables.cases_by_rule(best.values()) == {"best": 13, "median": 7, "worst": 1}
    assert tables.mean_dice(best.cases).equals(best.values())
    # Equal scores go by case number, whatever the order of rows; a case without a score has no rank.
    tied = pd.Series({5: 0.8, 3: 0.8, 9: float("nan"), 4: 0.9})
    assert tables.cases_by_rule(tied) == {"best": 4, "median": 3, "worst": 5}
    with pytest.raises(ValueError, match="no case has a score"):
        tables.cases_by_rule(tied[[9]])
    with pytest.raises(table.RunError, match="notebook 03"):
        found.best("grouped", 3)


def test_a_clip_is_stored_and_compared_with_nothing(ws):
    put(ws, "unet2d-mobilenetv3", 0.89, family="clip")
    found = collect(ws)
    assert "unet2d-mobilenetv3" in set(found.results["model"])
    assert [run.model for run in found.on("grouped", 0)] == ["atlas-no-image", "unet2d"]
    assert found.best("grouped", 0).model == "unet2d"


def test_against_has_no_verdict_for_single_seeds(ws):
    found = collect(ws)
    names = evaluation.run_names(found.results)
    differences = tables.against(found.runs, found.runs[0], names)
    assert list(differences.index) == ["unet2d", "unet2d-mobilenetv3"]
    assert differences["difference"].tolist() == pytest.approx([0.18, 0.16])
    assert set(differences["verdict"]) == {"none: 1 seed"}
    put(ws, "unet2d-mobilenetv3", 0.86, precision="bfloat16")
    mixed = tables.against(collect(ws).runs[1:], found.runs[1], names)
    assert np.isnan(mixed["difference"].iloc[0]) and "not compared" in mixed["verdict"].iloc[0]
    text = tables.readable_differences(mixed).loc["unet2d-mobilenetv3"]
    assert text[["difference", "95 % interval", "people", "p (Holm)"]].tolist() == ["", "", "", "none"]
    assert tables.differences_in_words(mixed) == "unet2d-mobilenetv3: not compared: another setting"


def test_run_names_tell_seeds_apart(ws):
    put(ws, "unet2d", 0.87, seed=1)
    names = evaluation.run_names(collect(ws).results)
    assert list(names.values()) == ["atlas-no-image", "unet2d seed 0", "unet2d seed 1", "unet2d-mobilenetv3"]


def test_mistakes_add_up(ws):
    found = collect(ws)
    held = {case: SimpleNamespace(label=truth(case), spacing=(1.0, 1.0, 1.0)) for case in CASES}
    apart = tables.mistakes(found.runs[1:2], SimpleNamespace(spec=SPEC, cases=held))[found.runs[1].name]
    wrong = sum(int((np.roll(truth(case), 1, 1) != truth(case)).sum()) for case in CASES)
    assert apart.confusion.sum() == len(CASES) * truth(1).size
    assert apart.confusion.sum() - np.trace(apart.confusion) == wrong == len(apart.depths)
    assert apart.volumes.to_numpy().sum() == wrong
    assert tuple(apart.volumes.columns) == metrics.ERROR_KINDS
    assert set(apart.depths) == {1.0}


def test_readable_table_and_figures_hold_every_run(ws):
    found = collect(ws)
    names = evaluation.run_names(found.results)
    shown = tables.readable(found.results, names, SPEC)
    assert shown.loc["unet2d", ["anterior", "posterior", "mean Dice", "union"]].tolist() == [
        "0.890", "0.870", "0.880", "0.910",
    ]  # fmt: skip
    history = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5, "dice": {"mean": 0.8}}]
    agreements = tables.volume_agreements(found.runs[1], SPEC)
    figures = [
        evaluation.dice_by_run(found.results, SPEC, table.FLOOR),
        evaluation.case_distributions(found.cases, found.results, SPEC),
        evaluation.training_curves({"a": history}),
        evaluation.volume_agreement(found.runs[1].cases, agreements, SPEC),
        mistakes.confusion_matrices({"a": np.eye(3, dtype=int)}, ("background", *SPEC.names)),
        mistakes.error_kinds({"a": dict.fromkeys(metrics.ERROR_KINDS, 5.0)}, {"a": np.array([1.0, 2.0, 9.0])}, 1.0),
    ]
    for figure in figures:
        figure.canvas.draw()
        assert figure.get_axes()
        plt.close(figure)
    assert [tick.get_text() for tick in figures[0].axes[0].get_yticklabels()] == list(names.values())
