"""The tables of artifacts/: the same content gives the same bytes, and a killed process leaves no half of a run."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hipposeg import files
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.results import load, store
from hipposeg.workspace import Workspace

NAME = "unet2d.grouped0.s0.smoke.fp32"
MASKS = {2: np.ones((2, 3, 4), np.uint8), 1: np.zeros((2, 3, 4), np.uint8)}


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path, "phantom", "smoke")


def put(ws, dice=0.8, masks=MASKS, name=NAME, studies=(), **changes):
    row = {name: 0 for name in store.RUN_COLUMNS} | dict.fromkeys(store.TEXT, "x")
    row |= {"run": name, "train_s": 60.5, "gflops": 1.5, "n": 2} | changes
    scores = pd.DataFrame([
        dict.fromkeys(store.SCORE_COLUMNS, float("nan")) | {"case": case, "subject": 1, "label": label, "dice": dice}
        for case in (1, 2) for label in ("mean", "anterior")
    ])  # fmt: skip
    history = pd.DataFrame([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "dice_mean": dice}])
    config = dict.fromkeys(load.CONFIG_COLUMNS, "x")
    store.put(ws, row, config, scores, history, masks, studies)


def files_of(ws):
    return {path.name: path.read_bytes() for path in ws.artifacts.rglob("*") if path.is_file()}


def test_put_twice_gives_the_same_bytes_and_keeps_the_time_of_the_first(ws):
    put(ws, name="b"), put(ws, name="a", train_s=61.5)
    before = files_of(ws)
    put(ws, name="b", train_s=99.0, processor="another")
    assert files_of(ws) == before
    put(ws, 0.9, name="b", train_s=99.0)
    found = store.read_runs(ws).set_index("run")["train_s"]
    assert found.to_dict() == {"a": 61.5, "b": 99.0}, "other scores have a time of their own"
    put(ws, name="b")
    assert files_of(ws) == before
    other = Workspace(ws.root / "other", "phantom", "smoke")
    put(other, name="a", train_s=61.5), put(other, name="b")
    assert files_of(other) == before, "the order does not matter"
    packed = [content for content in before.values() if content.startswith(b"\x1f\x8b")]
    assert packed and all(content[4:8] == bytes(4) for content in packed), "gzip's header holds no time"


def put_three(root, first):
    for number in range(first, first + 3):
        put(Workspace(root, "phantom", "smoke"), name=f"run{number}")


@pytest.mark.processes
def test_processes_that_put_runs_at_once_lose_no_row_and_leave_no_half_file(ws):
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(put_three, [ws.root] * 3, [0, 3, 6])) == [None] * 3
    alone = Workspace(ws.root / "alone", "phantom", "smoke")
    for first in (6, 0, 3):
        put_three(alone.root, first)
    assert files_of(ws) == files_of(alone) and len(load.load(ws)["run"].unique()) == 9
    assert not [path for path in ws.root.rglob("*") if ".part." in path.name]


def test_tables_hold_whole_numbers_and_empty_cells(ws):
    put(ws)
    assert (ws.artifacts / store.RUNS).read_text().splitlines()[1].startswith(f"{NAME},x,x,0,0,x,0,x,x,x,0,x,0,1.5")
    scores = store.read_scores(ws.artifacts)
    assert scores["case"].tolist() == [1, 1, 2, 2] and scores["label"].tolist() == ["anterior", "mean"] * 2
    assert load.get(ws, NAME).history == [
        {"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "dice_mean": 0.8}
    ]  # fmt: skip
    assert list(store.unpacked(ws.artifacts / "masks" / f"{NAME}.npz")) == [1, 2]
    put(ws, masks=None)
    assert not load.get(ws, NAME).has_masks


@pytest.mark.parametrize("step", ["_write_table", "_write_configs", "packed", "_put_study"])
def test_a_killed_put_leaves_no_complete_row(step, ws, monkeypatch, tmp_path):
    study = tmp_path / "look.csv"
    study.write_text("case,value\n1,2\n")
    put(ws, 0.7, name="other")
    for before in ((), (0.5,)):  # a new run, and one whose scores change
        for dice in before:
            put(ws, dice)
        with monkeypatch.context() as patch:
            patch.setattr(store, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                put(ws, studies=[study])
        assert load.get(ws, NAME) is None and load.get(ws, "other").mean() == pytest.approx(0.7)
        put(ws, studies=[study])
        assert load.get(ws, NAME).mean() == pytest.approx(0.8)


def test_what_hooks_leave_is_put_beside_the_tables(ws, tmp_path):
    table, other = tmp_path / "look.csv", tmp_path / "curve.json"
    other.write_text(json.dumps([1]))
    for name, value in (("b", 2), ("a", 1), ("b", 3)):
        table.write_text(f"case,value\n7,{value}\n")
        put(ws, name=name, studies=[table, other])
    found = store.read_table(ws.artifacts / "studies" / "look.csv.gz")
    assert found.to_dict("list") == {"run": ["a", "b"], "case": [7, 7], "value": [1, 3]}
    assert (ws.artifacts / "studies" / "curve.json").read_text() == "[1]"


def test_only_runs_with_another_dice_are_changed_here(ws):
    files.write_csv(ws.artifacts / store.REPRODUCED, ("run", "difference"), [
        {"run": name, "difference": value} for name, value in (("a", 0.0), ("b", -0.01), ("c", 0.01))
    ])  # fmt: skip
    assert store.changed_here(ws) == ["b", "c"]


def test_scores_have_a_row_for_each_case_and_label():
    label = np.zeros((6, 6, 6), np.uint8)
    label[1:4, 1:4, 1:4], label[4, 1:4, 1:4] = 1, 2
    case = SimpleNamespace(label=label, spacing=(1.0, 2.0, 1.0), subject=7)
    cohort = SimpleNamespace(cases={3: case, 4: case}, spec=PHANTOM_SPEC)
    rows = store.score_all({4: label, 3: label * (label == 1)}, cohort)
    assert [(row["case"], row["subject"]) for row in rows] == [(4, 7)] * 4 + [(3, 7)] * 4
    assert [row["dice"] for row in rows if row["label"] == "posterior"] == [1, 0]
    assert [row["volume_true"] for row in rows if row["label"] == "anterior"] == [54, 54]
    # Only slices 2, 7, ... along Y count, as one of five voxels' thickness.
    (held, *_) = store.score_all({3: label}, cohort, {"held": [1, 2, 5]})
    assert (held["label"], held["volume_true"]) == ("anterior", 9 * 2 * 5)
