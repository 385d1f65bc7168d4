"""The conformal study on a tiny flagship: its tables and card, kept results, and refusal of outdated runs."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hipposeg.predict import card
from hipposeg.results import load
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import conformal


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_study_writes_intervals_table_and_card(served):
    ws, cohort = served.context.ws, served.context.cohort
    found = rows(ws.artifacts / conformal.INTERVALS)
    assert list(found[0]) == ["case", "label", "predicted", "lower", "upper"]
    assert [int(row["case"]) for row in found[::3]] == cohort.numbers
    assert [row["label"] for row in found[:3]] == ["anterior", "posterior", "union"]
    scored = load.load(ws).set_index(["case", "label"])["volume_predicted"]
    assert all(float(row["predicted"]) == scored[int(row["case"]), row["label"]] for row in found)
    assert all(float(row["lower"]) <= float(row["predicted"]) <= float(row["upper"]) for row in found)
    assert list(rows(ws.artifacts / conformal.COVERAGE)[0]) == [
        "label", "method", "group", "coverage", "low", "high", "width", "subjects"
    ]  # fmt: skip
    one = card.read(ws.work / card.NAME)
    assert all(q == round(q, 6) for q in one.quantiles.values())
    assert one.people == 14 and one.volumes == len(cohort.cases) and one.level == 0.9
    shapes = np.array([case.image.shape[1:] for case in cohort.cases.values()])
    assert one.boxes.smallest == tuple(shapes.min(0)) and one.boxes.largest == tuple(shapes.max(0))
    assert one.boxes.axes == "RAS" and one.boxes.spacing == (1, 1, 1)
    name = "blobs.grouped3.s0.standard"
    assert one.runs[name] == load.get(ws, name).config["weights_sha256"]


def test_boxes_of_test_crops_by_hand():
    def mask(shape, low, high):
        found = np.zeros(shape, np.uint8)
        found[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
        return found

    # Voxels in front of and behind the foreground: 2 3 4 | 6 2 1, 3 5 4 | 4 2 3 and 4 4 4 | 7 3 2; the last is empty.
    masks = {1: mask((10, 11, 12), (2, 3, 4), (4, 9, 11)), 2: mask((12, 10, 11), (3, 5, 4), (8, 8, 8)),
             3: mask((12, 11, 11), (4, 4, 4), (5, 8, 9)), 4: mask((9, 11, 12), (0, 0, 0), (0, 0, 0))}  # fmt: skip
    case = SimpleNamespace(affine=np.diag((1, -1, 1, 1)), spacing=(1.0, 1.0, 1.0))
    cohort = SimpleNamespace(cases=dict.fromkeys(masks, case))
    runs = {
        "a": SimpleNamespace(masks={1: masks[1], 4: masks[4]}),
        "b": SimpleNamespace(masks={2: masks[2], 3: masks[3]}),
    }
    found = conformal.boxes(runs, cohort)
    assert (found.smallest, found.largest) == ((9, 10, 11), (12, 11, 12))
    # Their medians: 3 4 4 | 6 2 2.
    assert (found.margin, found.axes, found.spacing) == ((2, 6), "RPS", (1.0, 1.0, 1.0))
    cohort.cases[2] = SimpleNamespace(affine=np.eye(4), spacing=(1.0, 1.0, 1.0))
    with pytest.raises(load.ResultsError, match="2 kinds of orientation and spacing"):
        conformal.boxes(runs, cohort)


def test_every_interval_has_the_scale_and_a_score_of_its_own_label(served):
    """Whichever volumes were drawn: a quantile is one of the label's own scores |true - predicted| / scale."""
    context = served.context
    runs = conformal.out_of_fold(context, "blobs")
    measured = conformal.measures(context, runs).set_index("case")
    one = card.read(context.ws.work / card.NAME)
    for label, quantile in one.quantiles.items():
        true, predicted = (
            pd.concat([run.values(label, f"volume_{name}") for run in runs.values()]) for name in ("true", "predicted")
        )
        spread = measured[f"spread_{label}"].loc[true.index]
        scores = {"volume": abs(true - predicted) / predicted, "spread": abs(true - predicted) / spread}
        assert np.isclose(scores[one.scale], quantile, rtol=0, atol=1e-6).any(), label
        for row in rows(context.ws.artifacts / conformal.INTERVALS):
            case, half = int(row["case"]), float(row["upper"]) - float(row["predicted"])
            if row["label"] == label:
                each = [half / predicted[case], half / spread[case]]
                ours = [np.isclose(scores[kind], q, rtol=1e-5).any() for kind, q in zip(scores, each, strict=True)]
                assert any(ours), row


def test_study_repeats_itself_without_predicting_again(served, monkeypatch):
    ws = served.context.ws
    paths = [ws.artifacts / name for name in (conformal.INTERVALS, conformal.COVERAGE, conformal.MEASURES)]
    before = [path.read_bytes() for path in paths]
    monkeypatch.setattr(conformal, "predict", lambda *_: pytest.fail("the weights are the same"))
    conformal.write(served.context, "blobs")
    assert [path.read_bytes() for path in paths] == before


def test_missing_runs_and_cards_say_what_makes_them(served, tmp_path):
    with pytest.raises(FileNotFoundError, match="hipposeg train --plan 04"):
        conformal.write(replace(served.context, ws=Workspace(tmp_path, "phantom", "smoke")), "blobs")
    with pytest.raises(FileNotFoundError, match="hipposeg-lab study card"):
        card.read(tmp_path / card.NAME)
    (tmp_path / card.NAME).write_text("{}")
    with pytest.raises(ValueError, match="found no boxes, .*expected a card"):
        card.read(tmp_path / card.NAME)


def test_a_run_of_another_version_is_refused(served, monkeypatch):
    monkeypatch.setattr("hipposeg.experiments.registry.metrics.NUMERICS", 99)
    with pytest.raises(FileNotFoundError, match="no current blobs.grouped0"):
        conformal.write(served.context, "blobs")
