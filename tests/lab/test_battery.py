"""The battery on a small phantom: nothing is silent, a seed repeats its trials, and a check that is gone is noticed."""

import csv
from collections import Counter

import numpy as np
import pytest

from hipposeg import files
from hipposeg.results import load
from hipposeg_lab import battery

FEW = 6


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    return battery.place(tmp_path_factory.mktemp("battery"))


@pytest.mark.parametrize("part", ["caches", "tables", "scans"])
def test_nothing_is_silent_and_a_seed_repeats_its_trials(at, part):
    found = [dict(getattr(battery, part)(at, FEW, np.random.default_rng(1))) for _ in range(2)]
    assert found[0] == found[1] and len(found[0]) >= 2
    for kind, outcomes in found[0].items():
        assert outcomes.total() >= FEW and not outcomes[battery.SILENT] + outcomes[battery.TRACEBACK], kind
        assert outcomes[battery.CLEAR], kind


def test_a_check_that_is_gone_is_noticed(at, monkeypatch):
    def believing(path, digest=None):
        if not path.is_file():
            return None
        return path.read_bytes() if digest else path.read_bytes().partition(b"\n")[2]

    monkeypatch.setattr(files, "read_cached", believing)
    monkeypatch.setattr(battery.weights, "read_cached", believing)
    found = dict(battery.caches(at, 2 * FEW, np.random.default_rng(0)))
    assert found["finished run"][battery.SILENT] and found["weights of a member or teacher"][battery.SILENT]
    monkeypatch.setattr(load, "_check_rows", lambda *_: None)
    found = dict(battery.tables(at, 2 * FEW, np.random.default_rng(0)))
    assert found["scores, impossible values"][battery.SILENT]


def test_the_table_and_the_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(battery, "place", lambda folder: battery.Place(folder, None, None, None))
    for part in ("caches", "tables", "scans", "refusals", "kills"):
        monkeypatch.setattr(battery, part, lambda *_, part=part: iter([(part, Counter(clear=2, harmless=1))]))
    path = tmp_path / "studies" / "battery.csv"
    assert battery.run(path, 0, 3, 3) == 0 and "15 trials, 0 silent" in capsys.readouterr().out
    row = next(csv.DictReader(path.open()))
    assert row == {"kind": "caches", "trials": "3", "clear": "2", "harmless": "1", "accepted": "0", "silent": "0",
                   "traceback": "0"}  # fmt: skip
    monkeypatch.setattr(battery, "scans", lambda *_: iter([("scans", Counter(silent=1))]))
    assert battery.run(path, 0, 3, 3) == 1 and "13 trials, 1 silent" in capsys.readouterr().out
