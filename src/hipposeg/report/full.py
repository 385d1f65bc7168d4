"""Runs of the declared series, as committed under artifacts/<data set>-full: rows of the table, verdicts, all volumes.

They are read as they are stored, through `runs.table` and `runs.seeds`, so that page and notebooks cannot differ.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hipposeg import stats
from hipposeg.config import Workspace
from hipposeg.report.artifacts import Artifacts, Row
from hipposeg.report.view import LABELS, RunRow

# Shown of every run: (label, metric). Each gets its interval over people.
SHOWN = (*((label, "dice") for label in LABELS), ("mean", "hd95"), ("mean", "nsd1"), ("union", "volume_bias"))


@dataclass(frozen=True)
class Verdict:
    """One declared comparison over seeds: arm minus reference on grouped fold 0, with its interval over people."""

    question: str
    arm: str
    reference: str
    budget: str
    seeds: int
    people: int
    difference: float
    low: float
    high: float
    verdict: str


def runs(ws: Workspace) -> list[Any]:
    """Every committed run of the series (`runs.table.Run`); none where there is no series, or `ws` is the series."""
    full = Workspace(ws.root, ws.dataset, "full")
    if ws.profile in ("smoke", "full") or not (full.artifacts / "runs").is_dir():
        return []
    from hipposeg.runs.table import find_runs

    return find_runs(full)


def rows(art: Artifacts, found: Iterable[Any]) -> list[RunRow]:
    """The runs as rows of the results table, by falling mean Dice on each kind of folds."""
    times, made = _seconds(art.ws), []
    for run in found:
        time = times.get(run.name, {})
        made.append(RunRow(run.name, run.arm, _setting(run.config), _values(run), run.config, time, "full", "full"))
    return sorted(made, key=lambda row: (row.folds, row.older, -(row.get("mean", "dice") or 0), row.run))


def _values(run: Any) -> dict[str, Row]:
    """label -> a row as in results.csv, of the metrics SHOWN."""
    subjects = run.subjects().to_numpy()
    shared = {**run.config, "older": run.older, "n": len(subjects)}
    found: dict[str, Row] = {label: dict(shared) for label in LABELS}
    for label, metric in SHOWN:
        one = stats.interval(run.values(label, metric).to_numpy(), subjects)
        found[label] |= {metric: one.value, f"{metric}_low": one.low, f"{metric}_high": one.high}
    return found


def _setting(config: dict[str, Any]) -> str:
    budget = "" if config["budget"] == "standard" else f", budget {config['budget']}"
    return f"seed {config['seed']}{budget}"


def _seconds(ws: Workspace) -> dict[str, Row]:
    from hipposeg.report.artifacts import read_rows

    found = read_rows(Workspace(ws.root, ws.dataset, "full").artifacts / "timings.csv")
    return {str(row["name"]): row for row in found if row["kind"] == "run"}


def out_of_fold(found: Sequence[Any], arm: str | None) -> pd.DataFrame:
    """Every case scored once by a network of `arm` that never saw its person: the five grouped folds, seed 0.

    Columns as in cases.csv and `fold`. Empty unless all five folds are there.
    """
    mine = [
        run for run in found
        if (run.arm, run.config["folds"], run.config["seed"], run.config["budget"]) == (arm, "grouped", 0, "standard")
    ]  # fmt: skip
    if len({run.config["fold"] for run in mine}) < 5:
        return pd.DataFrame()
    return pd.concat([run.cases.assign(fold=run.config["fold"]) for run in mine], ignore_index=True)


def verdicts(ws: Workspace, found: Sequence[Any]) -> list[Verdict]:
    """Every declared comparison that has three seeds on both sides; runs older than the code enter none."""
    from hipposeg.runs import attention_summary, seeds
    from hipposeg.runs.run import load
    from hipposeg.runs.series import AUGMENTATIONS, FAMILIES_2D, HEADS, LOSSES
    from hipposeg.runs.spec import RunSpec

    full = Workspace(ws.root, ws.dataset, "full")
    keys = ("arm", "folds", "fold", "seed", "budget")
    specs = [RunSpec(*(run.config[key] for key in keys)) for run in found if not run.older]
    results = [load(full, spec) for spec in specs if (spec.folds, spec.fold) == ("grouped", 0)]

    families = [(f"2D: {name}", "unet2d", arms, "S") for name, arms in FAMILIES_2D.items()]
    families += [
        ("2D: repeated at full length", "unet2d", (*AUGMENTATIONS, *LOSSES, "unet2d-mobilenetv3"), "standard"),
        ("3D: mirror images in training", "unet3d", ("unet3d+flip",), "standard"),
        ("3D: heads at 2 mm", "unet3d-inr-1mm", HEADS, "standard"),
    ]
    made = []
    for question, reference, arms, budget in families:
        here = [one for one in results if one.run.budget == budget and one.run.arm in (reference, *arms)]
        made += _told(question, budget, reference, seeds.differences(seeds.scores(here), reference))
    for arm, reference in attention_summary.PAIRS:
        here = [one for one in results if one.run.budget == "standard" and one.run.arm in (arm, reference)]
        made += _told("Attention", "standard", reference, seeds.differences(seeds.scores(here), reference))
    return made


def _told(question: str, budget: str, reference: str, table: pd.DataFrame) -> list[Verdict]:
    """The rows of `seeds.differences` that carry a verdict."""
    from hipposeg.runs.seeds import VERDICTS

    kept = table[table["verdict"].isin(VERDICTS)]
    return [
        Verdict(question, str(arm), reference, budget, int(row.seeds), int(row.people), float(row.difference),
                float(row.low), float(row.high), row.verdict)
        for arm, row in kept.iterrows()
    ]  # fmt: skip


def mean_minutes(found: Sequence[Any], minutes: dict[str, float]) -> list[tuple[str, float, float, int]]:
    """(arm, minutes of its schedule on the idle machine, mean Dice over seeds on grouped fold 0, seeds) by minutes."""
    scores: dict[str, list[float]] = {}
    for run in found:
        if (run.config["folds"], run.config["fold"], run.config["budget"]) == ("grouped", 0, "standard"):
            if not run.older and run.arm in minutes:
                scores.setdefault(run.arm, []).append(float(run.values().mean()))
    table = [(arm, minutes[arm], float(np.mean(values)), len(values)) for arm, values in scores.items()]
    return sorted(table, key=lambda row: (row[1], row[0]))
