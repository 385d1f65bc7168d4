"""Reading finished runs: what is joined, what is refused, and the tables that people read."""

import gzip

import numpy as np
import pandas as pd
import pytest

from hipposeg import stats
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments.registry import RunSpec
from hipposeg.files import DamagedError
from hipposeg.metrics import METRICS
from hipposeg.results import compare, load, store, tables
from hipposeg.results.load import ResultsError
from hipposeg.workspace import Workspace

CASES = (1, 2, 5, 7, 8, 11, 12, 13)
FOLDS = {"grouped": [{"train": [21, 22], "scored": list(CASES)}]}
SHIFTS = {"anterior": 0.01, "posterior": -0.01, "union": 0.03, "mean": 0.0}


def put(ws, model, dice, seed=0, edit=None, folds="grouped", **changes):
    """A finished run whose Dice rises from case to case by 0.004; the volume error of case n is -10 n mm3."""
    run = RunSpec(model, folds, 0, seed)
    scores = pd.DataFrame([
        {"case": case, "subject": (case + 1) // 2, "label": label, "dice": dice + 0.004 * (place - 3.5) + shift,
         "iou": 0.7, "nsd1": 0.9, "nsd2": 0.95, "hd95": 2.0, "msd": 0.5, "volume_true": 1000.0 + 50 * case,
         "volume_predicted": 1000.0 + 40 * case}
        for place, case in enumerate(CASES) for label, shift in SHIFTS.items()
    ])  # fmt: skip
    row = {
        "run": run.name, "model": model, "folds": folds, "fold": 0, "seed": seed, "schedule": "standard", "dims": 2,
        "device": "cpu", "processor": "A", "precision": "bf16", "threads": 1, "torch": "2", "params": 1000,
        "gflops": 1.5, "steps": 100, "train_s": 90.0, "n": len(CASES), "key": "k", "title": "a model",
    }  # fmt: skip
    config = {"notebook": "03", "family": "unet", "numerics": "n", "data_sha256": "d", "samples": 7}
    history = pd.DataFrame([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5, "dice_mean": 0.8}])
    masks = {case: np.full((2, 3, 4), case % 3, np.uint8) for case in CASES}
    store.put(ws, row | changes, config, edit(scores) if edit else scores, history, masks)
    return run.name


@pytest.fixture
def ws(tmp_path):
    """The atlas and two networks."""
    made = Workspace(tmp_path, "msd", "stored")
    put(made, "unet2d", 0.88)
    put(made, load.ATLAS, 0.7, steps=0, train_s=1.0)
    put(made, "unet2d-mobilenetv3", 0.86)
    return made


def test_one_row_per_run_case_and_label(ws):
    frame = load.load(ws)
    assert len(frame) == 3 * len(CASES) * 4 and not frame.duplicated(["run", "case", "label"]).any()
    assert frame["model"].unique().tolist() == [load.ATLAS, "unet2d-mobilenetv3", "unet2d"]
    row = frame.query("model == 'unet2d' and case == 5 and label == 'anterior'").iloc[0]
    assert row[["subject", "notebook", "data_sha256", "threads", "planned"]].tolist() == [3, "03", "d", 1, row["run"]]
    assert row["dice"] == pytest.approx(0.88 + 0.004 * -1.5 + 0.01)
    empty = load.load(Workspace(ws.root / "new", "msd", "stored"))
    assert empty.empty and list(empty.columns) == list(frame.columns)


def test_volume_errors_are_differences_and_their_mean_is_over_the_classes(ws):
    def edit(scores):
        scores.loc[scores["label"] == "posterior", "volume_predicted"] += 500.0
        return scores.assign(volume_true=scores["volume_true"].where(scores["label"] != "mean", 7.0))

    put(ws, "unet2d", 0.88, edit=edit)
    found = load.get(ws, RunSpec("unet2d").name)
    assert found.values("anterior", "volume_bias")[5] == -50 and found.values("anterior", "volume_abs_error")[5] == 50
    assert found.values("posterior", "volume_abs_error")[5] == found.values("posterior", "volume_bias")[5] == 450
    assert found.values("union", "volume_abs_error")[5] == 50
    # The mean of |-50| and |450|, which the mean of predicted minus true volumes does not give.
    assert found.values("mean", "volume_abs_error")[5] == 250 and found.values("mean", "volume_bias")[5] == 1193


def test_a_run_holds_its_rows_configuration_history_and_masks(ws):
    run = load.get(ws, RunSpec("unet2d").name)
    assert (run.model, run.is_atlas, run.config["samples"], run.config["train_s"]) == ("unet2d", False, 7, 90.0)
    assert run.mean() == pytest.approx(0.88) and run.mean("union") == pytest.approx(0.91)
    assert run.values().index.tolist() == list(CASES) and run.subjects()[13] == 7
    assert run.history == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5, "dice_mean": 0.8}]
    assert list(run.masks) == list(CASES) and (run.masks[5] == 2).all()
    (ws.artifacts / "masks" / f"{run.name}.npz").unlink()
    again = load.get(ws, run.name)
    assert not again.has_masks
    with pytest.raises(ResultsError, match=f"masks/{run.name}.npz is missing"):
        _ = again.masks
    assert load.get(ws, "unet4d.grouped0.s0.standard") is None
    assert [one.is_atlas for one in load.runs(load.load(ws), ws)] == [True, False, False]


def test_a_change_of_the_tables_is_seen(ws):
    assert load.load(ws)["run"].nunique() == 3
    frame = load.load(ws)
    frame["dice"] = 0.0
    assert load.load(ws)["dice"].min() > 0.5, "callers get their own columns"
    name = put(ws, "unet3d", 0.87)
    assert name in set(load.load(ws)["run"])


@pytest.mark.parametrize("name", [store.RUNS, store.SCORES, store.CONFIGS])
@pytest.mark.parametrize("content", [b"\x1f\x8b\x08", b"{", b""])
def test_damaged_tables_are_refused(name, content, ws):
    (ws.artifacts / name).write_bytes(content)
    with pytest.raises(ResultsError, match=f"{ws.artifacts / name}: found a damaged file .*Restore it with git"):
        load.load(ws)


def test_damaged_masks_are_refused(ws):
    path = store.masks_file(ws.artifacts, RunSpec("unet2d").name)
    whole = path.read_bytes()
    for content in (b"", whole[:-30], whole[:100] + bytes(20) + whole[120:]):
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=f"{path}: found a damaged file .*expected packed masks"):
            _ = load.get(ws, RunSpec("unet2d").name).masks


@pytest.mark.parametrize("name", [store.SCORES, store.CONFIGS])
def test_tables_that_lack_a_run_are_refused(name, ws):
    kept = (ws.artifacts / name).read_bytes()
    put(ws, "unet3d", 0.87)
    (ws.artifacts / name).write_bytes(kept)
    with pytest.raises(ResultsError, match=f"{name} lacks unet3d.grouped0.s0.standard, which runs.csv lists"):
        load.load(ws)


def test_every_run_covers_its_fold_with_every_label_once(ws):
    load.check(load.load(ws), SPEC, FOLDS)
    name = put(ws, "unet2d", 0.88, edit=lambda scores: scores.iloc[4:], n=7)
    with pytest.raises(
        ResultsError, match=f"{name}: scored 7 cases by the label anterior, .* not the 8 of grouped fold 0"
    ):
        load.check(load.load(ws), SPEC, FOLDS)
    put(ws, "unet2d", 0.88)
    rows = load.load(ws).query("run != @name or case != 1 or label != 'anterior'")
    with pytest.raises(ResultsError, match=f"{name}: scored 7 cases by the label anterior"):
        load.check(rows, SPEC, FOLDS)


def changed(table, line, column, value):
    """Change a value of a CSV file; line 1 holds the names."""
    path = table.with_name(table.name.removesuffix(".gz"))
    text = gzip.decompress(table.read_bytes()).decode() if path != table else table.read_text()
    lines = [one.split(",") for one in text.splitlines()]
    lines[line - 1][lines[0].index(column)] = value
    content = "".join(",".join(one) + "\n" for one in lines).encode()
    table.write_bytes(gzip.compress(content) if path != table else content)


@pytest.mark.parametrize(
    ("name", "column", "value", "words"),
    [
        (store.SCORES, "dice", "1.5", "found dice 1.5, expected 0 to 1"),
        (store.SCORES, "nsd2", "-0.01", "found nsd2 -0.01, expected 0 to 1"),
        (store.SCORES, "hd95", "-1", "found hd95 -1, expected a number of 0 or more"),
        (store.SCORES, "volume_true", "inf", "found volume_true inf, expected a number of 0 or more"),
        (store.SCORES, "iou", "high", "found iou high, expected 0 to 1"),
        (store.SCORES, "subject", "2", r"found subject 2, expected \(case \+ 1\) // 2, the subject rule"),
        (store.SCORES, "label", "mean", r"found run, case, label unet2d\S+, 1, mean, expected one row of each"),
        (store.SCORES, "label", "", "found label nan, expected a value"),
        (store.RUNS, "train_s", "-5", "found train_s -5, expected a number of 0 or more"),
        (store.RUNS, "run", f"{load.ATLAS}.grouped0.s0.standard", "found run atlas-no.*, expected one row of each"),
    ],
)
def test_an_impossible_value_is_refused_with_file_and_line(ws, name, column, value, words):
    # Sorted: 32 rows each of the atlas, the encoder and the 2D U-Net, whose first row is on line 66.
    line = 66 if name == store.SCORES else 4
    changed(ws.artifacts / name, line, column, value)
    line += (column, value) == ("label", "mean")  # the second of two equal rows
    with pytest.raises(ResultsError, match=rf"{name}, line {line} \(.*\): {words}; restore the file with git"):
        load.load(ws)


def test_subjects_of_another_data_set_follow_its_own_rule(tmp_path):
    """Task04's rule would refuse every odd case here; a case with two subjects is still refused."""
    elsewhere = Workspace(tmp_path, "data-mine", "stored")
    put(elsewhere, "unet2d", 0.88, edit=lambda scores: scores.assign(subject=scores["case"]))
    frame = load.load(elsewhere)
    assert (frame["subject"] == frame["case"]).all() and len(frame) == len(CASES) * 4
    elsewhere = Workspace(tmp_path / "damaged", "data-mine", "stored")
    put(elsewhere, "unet2d", 0.88, edit=lambda scores: scores.assign(subject=scores["case"]))
    changed(elsewhere.artifacts / store.SCORES, 5, "subject", "9")
    with pytest.raises(
        ResultsError, match=r"scores.csv.gz, line 5 \(.*\): found subject 9, expected the subject of the"
    ):
        load.load(elsewhere)


def test_a_missing_case_or_label_is_refused(ws):
    name = put(ws, "unet2d", 0.88, edit=lambda scores: scores.iloc[4:])
    with pytest.raises(ResultsError, match=f"found 7 cases of {name} with the label anterior, expected 8, its n in"):
        load.load(ws)
    put(ws, "unet2d", 0.88, edit=lambda scores: scores.drop(index=1))
    with pytest.raises(ResultsError, match=f"found 7 cases of {name} with the label posterior, expected 8"):
        load.load(ws)


def test_the_leak_alarm_rings_on_new_subjects_of_the_real_data_only(ws):
    put(ws, "unet2d", 0.92)  # anterior: 0.93
    with pytest.raises(ResultsError, match="LEAK ALARM: unet2d.* has a mean anterior Dice of 0.9300"):
        load.check(load.load(ws), SPEC, FOLDS)
    load.check(load.load(ws), PHANTOM_SPEC, FOLDS)
    one = load.load(ws).query("model == 'unet2d' and label == 'anterior'").iloc[:1]
    load.leak_alarm("one", one.assign(dice=load.LEAK_DICE), SPEC)
    with pytest.raises(ResultsError, match="LEAK ALARM: one"):
        load.leak_alarm("one", one.assign(dice=load.LEAK_DICE + 1e-6), SPEC)
    with pytest.raises(ResultsError, match="scored 1 cases by the label anterior"):
        load.check(one, SPEC, FOLDS)
    put(ws, "unet2d", 0.88)
    put(ws, "unet3d", 0.95, folds="leak-volumes")
    load.check(load.load(ws), SPEC, FOLDS | {"leak-volumes": FOLDS["grouped"]})


def test_runs_trained_here_take_the_place_of_those_they_repeat(ws):
    planned, here = RunSpec("unet2d"), RunSpec("unet2d", hardware="fp32")
    frame = load.load(ws)
    assert load.with_stand_ins(frame, {}).equals(frame)
    frame = pd.concat([frame, frame[frame["run"] == planned.name].assign(run=here.name, planned=here.name)])
    found = load.with_stand_ins(frame, {here.name: planned.name})
    assert planned.name not in set(found["run"]) and found["run"].nunique() == 3
    assert found.loc[found["run"] == here.name, "planned"].unique().tolist() == [planned.name]
    assert load.without_twins(found).equals(found)


def test_a_run_and_its_twin_in_another_precision_are_not_two_seeds(ws):
    def with_hardware(run, source):
        return frame[frame["run"] == source].assign(run=run.name, planned=run.name, **{
            name: getattr(run, name) for name in load.PLACE})  # fmt: skip

    frame, name = load.load(ws), RunSpec("unet2d").name
    twins = [with_hardware(RunSpec("unet2d", hardware=kind), name) for kind in ("fp32", "cuda")]
    alone = with_hardware(RunSpec("unet2d", schedule="e8", hardware="fp32"), name)
    both = pd.concat([*twins, frame, alone])
    found = load.without_twins(both)
    assert set(found["run"]) == {*frame["run"], alone["run"].iloc[0]}, "what is planned in float32 alone stays"
    assert len(found) == len(frame) + len(alone) and load.without_twins(frame).equals(frame)
    assert compare.means(found.query("label == 'mean' and schedule == 'standard'"))["seeds"].eq(1).all()
    with pytest.raises(ValueError, match="expected every case once"):
        compare.means(both.query("label == 'mean' and schedule == 'standard'"))
    # Where this machine trains in float32, its run counts and the stored one does not.
    here = load.with_stand_ins(both, {twins[0]["run"].iloc[0]: name})
    assert set(load.without_twins(here).query("model == 'unet2d' and schedule == 'standard'")["run"]) == {
        f"{name}.fp32"
    }


# Tables for people.


def test_a_summary_has_means_and_intervals_over_subjects(ws):
    def lose(scores):
        lost = scores["case"].isin([2, 5]) & (scores["label"] == "posterior")
        return scores.assign(hd95=scores["hd95"].mask(lost), msd=scores["msd"].mask(lost))

    put(ws, "unet2d", 0.88, edit=lose)
    found = tables.summary(load.load(ws), SPEC)
    assert tuple(found.columns) == tables.SUMMARY_COLUMNS
    assert list(found["label"]) == ["anterior", "posterior", "mean", "union"] * 3
    rows = found[found["model"] == "unet2d"].set_index("label")
    values = load.get(ws, RunSpec("unet2d").name)
    expected = stats.interval(values.values("anterior").to_numpy(), values.subjects().to_numpy())
    assert rows.loc["anterior", ["dice", "dice_low", "dice_high"]].tolist() == pytest.approx(
        [expected.value, expected.low, expected.high]
    )
    assert rows["n_nan"].to_dict() == {"anterior": 0, "posterior": 2, "mean": 2, "union": 0}
    assert rows.loc["posterior", ["n", "hd95"]].tolist() == [8, 2.0]
    text = tables.readable(found, {RunSpec("unet2d").name: "2D"}, SPEC).loc["2D"]
    assert text[["anterior", "posterior", "mean Dice", "union"]].tolist() == ["0.890", "0.870", "0.880", "0.910"]
    assert text[["HD95 (mm)", "volumes", "no distance"]].tolist() == ["2.00", 8, 2]
    assert [tables.WRITTEN[metric][0] in text for metric in METRICS[2:]] == [True] * 6


def test_differences_as_text(ws):
    for seed in (1, 2):
        put(ws, "unet2d", 0.88, seed), put(ws, load.ATLAS, 0.7, seed, steps=0)
    put(ws, "unet2d-mobilenetv3", 0.86, device="cuda")
    frame = load.load(ws)
    found = compare.differences(frame[frame["label"] == "mean"], "unet2d")
    text = tables.readable_differences(found)
    columns = ["difference", "95 % interval", "subjects", "seeds", "p (Holm)", "conclusion"]
    # Five subjects are too few for a p-value.
    assert text.loc[load.ATLAS, columns].tolist() == ["-0.1800", "-0.1800 to -0.1800", "5", "3", "none", "worse"]


def test_intervals_run_from_low_to_high_in_tables_for_people(ws):
    row = {"difference": 0.012, "low": -0.0031, "high": 0.0272, "subjects": 8, "seeds": 3, "p_holm": 0.2}
    text = tables.readable_differences(pd.DataFrame([row | {"conclusion": "inconclusive"}]))
    assert text["95 % interval"].tolist() == ["-0.0031 to +0.0272"] and text["p (Holm)"].tolist() == ["0.2000"]
    small = pd.DataFrame([row | {"conclusion": "better", "p_holm": p} for p in (0.0001, 0.00009)])
    assert tables.readable_differences(small)["p (Holm)"].tolist() == ["0.0001", "< 0.0001"]
    found = tables.summary(load.load(ws), SPEC)
    shown = tables.readable(found, {run: run for run in found["run"].unique()}, SPEC)["95 % interval"]
    ends = [[float(end) for end in interval.split(" to ")] for interval in shown]
    wanted = found.loc[found["label"] == "mean", ["dice_low", "dice_high"]]
    assert ends == wanted.round(3).to_numpy().tolist() and all(low < high for low, high in ends)


def test_machines_count_the_networks_that_they_trained(ws):
    put(ws, "unet3d", 0.9, processor="a GPU", steps=1)
    assert tables.machines(load.load(ws)) == "A: 2; a GPU: 1"


def test_cases_by_rule(ws):
    run = load.get(ws, RunSpec("unet2d").name)
    # Dice rises with the place in CASES; the middle of 8 is the fifth from above.
    assert tables.cases_by_rule(run.values()) == {"best": 13, "median": 7, "worst": 1}
    tied = pd.Series({5: 0.8, 3: 0.8, 9: float("nan"), 4: 0.9})
    assert tables.cases_by_rule(tied) == {"best": 4, "median": 3, "worst": 5}, "ties go by case number"


def test_readable_volumes_are_of_the_union_and_distances_of_the_mean(ws):
    found = tables.summary(load.load(ws), SPEC)
    for label, metric, value in (
        ("union", "volume_bias", 77.0),
        ("mean", "volume_bias", 1.0),
        ("mean", "hd95", 3.25),
        ("union", "hd95", 9.0),
    ):
        found.loc[found["label"] == label, metric] = value
    text = tables.readable(found, {RunSpec("unet2d").name: "2D"}, SPEC).loc["2D"]
    assert "77" in text[tables.WRITTEN["volume_bias"][0]] and text["HD95 (mm)"] == "3.25"


def test_out_of_fold_rows_are_of_all_five_folds():
    rows = [
        {"planned": f"a.grouped{fold}.s{seed}.standard", "run": f"{fold} {seed}"}
        for seed in (0, 1)
        for fold in range(5)
    ]
    frame = pd.DataFrame(rows)
    assert tables.out_of_fold(frame, "a")["run"].tolist() == [f"{fold} 0" for fold in range(5)]
    assert tables.out_of_fold(frame.iloc[1:], "a").empty and tables.out_of_fold(frame, "b").empty
