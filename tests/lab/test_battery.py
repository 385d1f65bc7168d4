"""The battery on a small phantom: nothing is silent, a seed repeats its trials, and a check that is gone is noticed."""

import ast
import csv
import time

import numpy as np
import pytest

from hipposeg import files
from hipposeg.results import load
from hipposeg.workspace import Workspace
from hipposeg_lab import battery
from hipposeg_lab.battery import damage, determinism, mutants, system

FEW = 6


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    return tmp_path_factory.mktemp("battery"), tmp_path_factory.mktemp("kept")


def outcomes(at, kind, count=FEW, seed=1):
    return [damage.trial(*at, kind, np.random.default_rng([seed, n]), n)[0] for n in range(count)]


@pytest.mark.parametrize("kind", damage.KINDS)
def test_nothing_is_silent_and_a_seed_repeats_its_trials(at, kind):
    found = outcomes(at, kind)
    assert found == outcomes(at, kind) and set(found) <= {damage.CLEAR, damage.HARMLESS, damage.ACCEPTED}
    assert damage.CLEAR in found or kind == "cached voxels", "those are made again"


def test_a_check_that_is_gone_is_noticed(at, monkeypatch):
    def believing(path, digest=None):
        if not path.is_file():
            return None
        return path.read_bytes() if digest else path.read_bytes().partition(b"\n")[2]

    damage.targets(*at)
    monkeypatch.setattr(files, "read_cached", believing)
    monkeypatch.setattr(damage.weights, "read_cached", believing)
    monkeypatch.setattr(load, "_check_rows", lambda *_: None)
    for kind in ("finished run", "weights of a member or teacher", "cached voxels", "scores, impossible values"):
        assert {damage.SILENT, damage.TRACEBACK} & set(outcomes(at, kind, 2 * FEW)), kind


def test_a_refusal_ends_in_a_sentence(tmp_path):
    for number in (0, 1):
        assert system.refused(tmp_path, None, number) == [damage.CLEAR]


def slow() -> int:
    """A step that leaves a file, and in the middle half of one elsewhere."""
    folder = Workspace.here("phantom", "smoke").artifacts
    with files.replacing(folder / "a.txt") as part:
        for line in range(20):
            with part.open("a") as stream:
                stream.write(f"{line}\n")
            time.sleep(0.02)
    return 0


def careless() -> int:
    """A step that goes on from half a file as if it were whole."""
    path = Workspace.here("phantom", "smoke").artifacts / "a.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        for line in range(20):
            with path.open("a") as stream:
                stream.write(f"{line}\n")
            time.sleep(0.02)
    return 0


@pytest.mark.parametrize(("step", "outcome"), [(slow, damage.HARMLESS), (careless, damage.SILENT)])
def test_kills_find_a_half_file(tmp_path, monkeypatch, step, outcome):
    monkeypatch.setattr(system, "PRELOADED", ["hipposeg_lab.battery", "pytest"])
    monkeypatch.setattr(system, "KILLED", {"it": (step,)})
    found = []
    for seed in range(3):
        found += system.kills(tmp_path, tmp_path / "kept", "it", np.random.default_rng(seed), 0)
    assert len(found) >= 3 and outcome in found and set(found) <= {damage.HARMLESS, outcome}


def test_surroundings_are_compared_with_the_first(tmp_path, monkeypatch):
    made = {"first-train": {"a": "1", "b": "2"}, "0": {"a": "1", "b": "2"}, "1": {"a": "1", "c": "2"}}
    monkeypatch.setattr(determinism, "_made", lambda folder, *_: made[folder.name])
    (same,), (other,) = (determinism.trial(tmp_path, tmp_path, None, number) for number in (0, 1))
    assert (same["surroundings"], same["files"], same["same"], same["differing"]) == ("nothing differs", 2, 2, "")
    assert (other["command"], other["same"], other["differing"]) == ("train", 0, "b c")


def test_mutants_change_one_thing_and_no_message():
    text = "def f(a, b=2):\n if not a < b: raise ValueError(f'{a - 1}', 3)\n return a + b if a is None else 0.5\n"
    found = []
    for node, container, key, new in mutants.changes(tree := ast.parse(text)):
        old, container[key] = container[key], new
        found.append(ast.unparse(node))
        container[key] = old
    assert sorted(found) == ["1.5", "3", "a - b", "a <= b", "a is not None", "not not a < b"]
    assert ast.unparse(tree) == ast.unparse(ast.parse(text))
    chosen = mutants.sample(600, 0)
    assert chosen == mutants.sample(600, 0) and {one.module for one in chosen} == set(mutants.MODULES)
    assert len({one.source for one in chosen}) == 600


def test_outcomes_of_mutants_are_kept_and_failing_tests_are_no_kill(tmp_path, monkeypatch):
    chosen, tried = mutants.sample(600, 0)[:2], []

    class Process:
        def __init__(self, source):
            self.exitcode = int(source == chosen[0].source)  # the tests notice the first mutant alone

        def join(self, timeout):
            tried.append(timeout)

        def kill(self):
            pass

    monkeypatch.setattr(mutants.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(mutants, "start", lambda function, module, source: Process(source))
    rows = mutants.trial(chosen, tmp_path, None, 0)
    assert [row["outcome"] for row in rows] == ["killed", "survived"] and len(tried) == 3
    assert mutants.trial(chosen, tmp_path, None, 0) == rows and len(tried) == 3, "kept"
    monkeypatch.setattr(mutants, "_source", lambda module: chosen[0].source)
    with pytest.raises(RuntimeError, match="fail without a mutant"):
        mutants.trial(chosen, tmp_path, None, 0)


def test_only_survivors_get_a_reason():
    module, line, change = next(iter(mutants.reasons()))
    known = {"module": module, "line": line, "change": change}
    rows = [known | {"outcome": one} for one in (mutants.SURVIVED, mutants.KILLED)]
    rows.append(known | {"line": line + 1, "outcome": mutants.SURVIVED})
    assert [bool(row["reason"]) for row in mutants.with_reasons(rows)] == [True, False, False]


def test_every_reason_is_of_a_mutant():
    possible = {(one.module, one.line, one.change) for module in mutants.MODULES for one in mutants.every(module)}
    assert not set(mutants.reasons()) - possible


def test_a_stopped_battery_goes_on_and_its_tables_say_how_far_it_came(tmp_path, monkeypatch):
    made, said = [], []

    def part(table, name, results):
        return battery.Part(table, name, 3, lambda rng, number: made.append((name, rng.random())) or results)

    row = {"module": "stats", "line": 1, "change": "a -> b", "outcome": "killed", "reason": ""}
    cell = {"command": "train", "surroundings": "x", "files": 2, "same": 1, "differing": "a"}
    parts = [part(battery.TABLE, "caches", ["clear"]), part(battery.TABLE, "kills", ["harmless"] * 3)]
    parts += [part(battery.DETERMINISM, "determinism", [cell]), part(battery.MUTANTS, "mutants", [row])]
    monkeypatch.setattr(battery, "parts", lambda *_: parts)
    arguments = {"artifacts": tmp_path, "work": tmp_path / "work", "say": said.append}
    assert battery.run(**arguments, minutes=0) == 0 and not made and said[0] == "caches: 0 of 3"
    assert battery.run(**arguments, only="kills") == 0 and len(made) == 1
    assert battery.run(**arguments) == 0 and len(made) == 1 + 3 + 3 + 3
    assert battery.run(**arguments) == 0 and len(made) == 10 and len(set(made)) == 10
    assert said[-4:-2] == ["6 trials, 0 silent or with a traceback.", "0 of 3 other surroundings give the same bytes."]

    def table(name):
        with (tmp_path / "studies" / name).open() as stream:
            return list(csv.DictReader(stream))

    first = table(battery.TABLE)[0]
    assert first == {"kind": "caches", "planned": "3", "trials": "3", "clear": "3", "harmless": "0", "accepted": "0",
                     "silent": "0", "traceback": "0"}  # fmt: skip
    assert table(battery.MUTANTS) == [{name: str(value) for name, value in row.items()}] * 3
    assert table(battery.DETERMINISM)[0]["differing"] == "a"
    parts[0] = part(battery.TABLE, "scans", ["silent"])
    assert battery.run(**arguments) == 1 and "6 trials, 3 silent" in said[-4]
