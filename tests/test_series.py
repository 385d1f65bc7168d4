"""Training a series side by side: every run in a process of its own, failures named at the end, nothing lost."""

import sys
import time
from types import SimpleNamespace

import pytest

from hipposeg.experiments import plan
from hipposeg.experiments.many import SeriesError, command, train_series
from hipposeg.experiments.spec import RunSpec
from hipposeg.workspace import Workspace

RUNS = [RunSpec("unet3d", seed=seed) for seed in range(4)]


def test_command_names_the_run():
    words = command(RunSpec("unet3d+flip", "nnunet", 3, 2, "standard"))
    assert words[3:] == ["train", "unet3d+flip", "--folds", "nnunet", "--fold", "3", "--seed", "2",
                         "--schedule", "standard", "--profile", "full"]  # fmt: skip


def test_all_runs_are_made_two_at_a_time(tmp_path):
    ws, said = Workspace(tmp_path, "phantom", "full"), []

    def make(run):
        note = "import sys, time; a = time.time(); time.sleep(1); open(sys.argv[1], 'w').write(f'{a} {time.time()}')"
        return [sys.executable, "-c", note, str(tmp_path / str(run.seed))]

    train_series(RUNS, ws, 2, said.append, make)
    spans = [tuple(map(float, (tmp_path / str(seed)).read_text().split())) for seed in range(4)]
    together = [sum(a <= start < b for a, b in spans) for start, _ in spans]
    assert max(together) == 2, "two runs were at work at some moment, and never three"
    assert sum("done" in line for line in said) == 4


def test_a_failed_run_is_named_and_the_others_are_made(tmp_path):
    ws = Workspace(tmp_path, "phantom", "full")

    def make(run):
        code = (
            "raise SystemExit('the disk is full')" if run.seed == 1 else f"open({str(tmp_path / str(run.seed))!r}, 'w')"
        )
        return [sys.executable, "-c", code]

    with pytest.raises(SeriesError, match=r"1 of 4 runs failed:\nunet3d.grouped0.s1.standard .*the disk is full"):
        train_series(RUNS, ws, 2, lambda text: None, make)
    assert {path.name for path in tmp_path.glob("[0-9]")} == {"0", "2", "3"}


def test_an_interrupted_series_leaves_no_training_behind(tmp_path):
    ws, children = Workspace(tmp_path, "phantom", "full"), []

    def say(text):
        if "done" in text:
            raise KeyboardInterrupt

    def make(run):
        children.append(run)
        return [sys.executable, "-c", f"import time; time.sleep({0.2 if run.seed == 0 else 30})"]

    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        train_series(RUNS, ws, 2, say, make)
    assert time.perf_counter() - started < 10 and len(children) <= 3


def test_the_best_arm_of_each_whole_family_follows_at_the_main_budget(monkeypatch, tmp_path):
    ws = Workspace(tmp_path, "phantom", "full")
    best = {"unet2d+aug-flip", "unet2d+bce"}

    def there(ws, runs):
        made = dict.fromkeys(("data_sha256", "device", "precision", "torch"), "same")
        return [
            SimpleNamespace(run=run, config=made.copy(), mean=lambda run=run: 0.9 if run.model in best else 0.8)
            for run in runs
        ]

    monkeypatch.setattr(series, "finished", there)
    monkeypatch.setattr(plan.sweep, "following", lambda ws: [])
    found = plan.winners(ws)
    assert {(run.model, run.seed) for run in found} == {(model, seed) for model in best for seed in plan.SEEDS}
    assert all(run.schedule == "standard" for run in found) and set(found) <= set(plan.following(ws, "03"))
    monkeypatch.setattr(series, "finished", lambda ws, runs: there(ws, runs)[1:])
    assert plan.winners(ws) == [], "one run is missing"

    def on_two_machines(ws, runs):
        found = there(ws, runs)
        found[0].config["device"] = "another"
        return found

    monkeypatch.setattr(series, "finished", on_two_machines)
    assert plan.winners(ws) == [], "scores of two kinds of machine are not ranked together"
    best.clear(), best.add("unet2d+aug-none")
    monkeypatch.setattr(series, "finished", there)
    assert not {run.model for run in plan.following(ws, "03")} & best, "it is declared already"
