"""Seconds stand as long as the result that they belong to does."""

import subprocess
import sys

import pytest

from hipposeg import timings
from hipposeg.files import read_json, write_json
from hipposeg.workspace import Workspace


@pytest.fixture
def ws(tmp_path) -> Workspace:
    return Workspace(tmp_path, "msd", "standard")


def test_row_stays_while_the_bytes_are_the_same(ws):
    timings.record(ws, "run", "unet2d", "aa", train_s=400.0, device="cpu")
    committed = (ws.artifacts / "timings.csv").read_bytes()
    timings.record(ws, "run", "unet2d", "aa", train_s=12.5, device="cpu")
    assert (ws.artifacts / "timings.csv").read_bytes() == committed
    last = timings.read(ws.work / "timings-last.csv")["run", "unet2d"]
    assert last["train_s"] == "12.500"


def test_row_is_replaced_when_the_bytes_change(ws):
    timings.record(ws, "run", "unet2d", "aa", train_s=400.0)
    timings.record(ws, "notebook", "01_exploration", "cc", total_s=3.0)
    timings.record(ws, "run", "unet2d", "bb", train_s=12.5)
    rows = timings.read(ws.artifacts / "timings.csv")
    assert list(rows) == [("notebook", "01_exploration"), ("run", "unet2d")]
    assert rows["run", "unet2d"]["train_s"] == "12.500"
    assert rows["notebook", "01_exploration"]["total_s"] == "3.000"
    header = (ws.artifacts / "timings.csv").read_text().splitlines()[0]
    assert header == (
        "kind,name,train_s,predict_s_per_volume,score_s,total_s,peak_mb,device,precision,threads,machine,result_sha256"
    )


def test_a_notebook_with_cached_runs_replaces_no_row(ws):
    timings.record(ws, "notebook", "03_unet2d", "aa", whole=False, total_s=40.0)
    timings.record(ws, "notebook", "03_unet2d", "bb", total_s=800.0)
    timings.record(ws, "notebook", "03_unet2d", "cc", whole=False, total_s=30.0)
    assert timings.read(ws.artifacts / "timings.csv")["notebook", "03_unet2d"]["total_s"] == "800.000"
    assert timings.read(ws.work / "timings-last.csv")["notebook", "03_unet2d"]["total_s"] == "30.000"


@pytest.mark.parametrize(("kind", "column"), [("epoch", "total_s"), ("run", "minutes")])
def test_unknown_kind_or_column_is_refused(ws, kind, column):
    with pytest.raises(ValueError, match="epoch|minutes"):
        timings.record(ws, kind, "unet2d", "aa", **{column: 1.0})
    assert not ws.artifacts.exists()


def test_provenance_follows_the_same_rule(tmp_path):
    path = tmp_path / "provenance.json"
    timings.record_provenance(path, "aa", date="2026-01-01")
    timings.record_provenance(path, "aa", date="2026-02-02")
    assert read_json(path) == {"date": "2026-01-01", "result_sha256": "aa"}
    timings.record_provenance(path, "bb", date="2026-02-02")
    assert read_json(path)["date"] == "2026-02-02"


def test_peak_memory_sees_a_large_child():
    before = timings.peak_mb(children=True)
    subprocess.run([sys.executable, "-c", "x = bytearray(300_000_000); x[::4096] = b'1' * len(x[::4096])"], check=True)
    assert timings.peak_mb(children=True) >= max(before, 300) and timings.peak_mb() > 10


def test_budgets_of_the_benchmark_ascend(tmp_path):
    assert timings.benchmark(tmp_path) == {}
    rows = {"30": {"ours": 3}, "5": {"ours": 1}, "15": {"ours": 2}}
    write_json(tmp_path / "artifacts" / "bench" / "summary.json", {"race": rows, "claims": rows, "busy": None})
    found = timings.benchmark(tmp_path)
    assert list(found["race"]) == list(found["claims"]) == ["5", "15", "30"] and found["race"] == rows
