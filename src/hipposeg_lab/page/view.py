"""What the page and the README say, computed from artifacts: the rows of the table, the headline, the folds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.stats import paired
from hipposeg_lab.page.artifacts import Artifacts, ReportError, Row
from hipposeg_lab.page.words import CLIP, FLOOR, model_text

CLASSES = MSD_HIPPOCAMPUS.names
LABELS = (*CLASSES, "mean", "union")
PRIMARY = ("grouped", 0)


@dataclass(frozen=True)
class RunRow:
    """One run of the results table. profile: whose artifacts hold it. place: as `build.number` names it.

    values: label -> row of results.csv; config and timing are empty if absent.
    """

    run: str
    model: str
    note: str
    values: dict[str, Row]
    config: dict[str, Any]
    timing: Row
    profile: str = ""
    place: str = "of"

    @property
    def folds(self) -> str:
        """The kind of folds and its number: `grouped 0`."""
        return f"{self.first.get('folds')} {self.first.get('fold')}"

    @property
    def is_floor(self) -> bool:
        """Whether this is the guess that never reads an image."""
        return self.model == FLOOR

    @property
    def first(self) -> Row:
        """Columns that are the same for all labels of a run."""
        return next(iter(self.values.values()))

    @property
    def older(self) -> bool:
        """Whether the code's arithmetic has moved on since; such a run is shown and enters no comparison."""
        return str(self.first.get("older") or "").lower() in {"1", "true", "yes"}

    @property
    def is_leak(self) -> bool:
        """Whether its training saw something of the scored people, on purpose: one half of the leak experiment."""
        return str(self.first.get("folds")).startswith("leak-")

    @property
    def train_s(self) -> float | None:
        """Seconds that training took, None where timings.csv does not say."""
        return self.timing.get("train_s")

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU trained it, as far as timings.csv says."""
        return self.timing.get("device") in {"cuda", "mps"}

    @property
    def text(self) -> str:
        """What the model is, in a line."""
        return model_text(self.model)

    def get(self, label: str, metric: str) -> float | None:
        """A number of results.csv, None where the field is empty or the label absent."""
        return self.values.get(label, {}).get(metric)


@dataclass(frozen=True)
class Headline:
    """The answer: a run on the primary fold beside the floor. by_score: it was picked as the highest of `n_runs`."""

    best: RunRow
    floor: RunRow | None
    n_runs: int
    n_people: int
    difference: tuple[float, float, float] | None
    by_score: bool


def run_rows(art: Artifacts, folds: str = PRIMARY[0], fold: int = PRIMARY[1]) -> list[RunRow]:
    """Runs scored on one fold: the floor first, then by falling mean Dice, older runs last.

    CLIPs do not learn to segment: what text alone can do is told in notebook 06 and is no rival here.
    """
    runs: dict[str, dict[str, Row]] = {}
    for row in art.results:
        if (row.get("folds"), row.get("fold")) == (folds, fold) and row.get("family") != CLIP:
            runs.setdefault(row["run"], {})[row["label"]] = row
    firsts = {run: next(iter(values.values())) for run, values in runs.items()}
    rows = [
        RunRow(
            run,
            firsts[run]["model"],
            _note(run, firsts),
            values,
            art.configs.get(run, {}),
            art.timing("run", run),
            art.ws.profile,
        )
        for run, values in runs.items()
    ]
    return sorted(rows, key=lambda row: (not row.is_floor, row.older, -(row.get("mean", "dice") or 0), row.run))


def _note(run: str, firsts: dict[str, Row]) -> str:
    """Seed and schedule, named only where another run of the same model makes it necessary."""
    twins = [first for first in firsts.values() if first["model"] == firsts[run]["model"]]
    said = [
        f"{key} {firsts[run][key]}" for key in ("seed", "schedule", "device") if len({t.get(key) for t in twins}) > 1
    ]
    return ", ".join(said)


def headline(art: Artifacts, rows: list[RunRow]) -> Headline | None:
    """The answer, or None while no network has been scored: the flagship, which was named before it was scored here.

    Where it is not among the runs, the highest mean Dice. Older runs cannot be the answer.
    """
    networks = [row for row in rows if not row.is_floor and not row.older and row.get("mean", "dice") is not None]
    if not networks:
        return None
    named = [row for row in networks if row.model == flagship(art)]
    best = max(named or networks, key=lambda row: (row.get("mean", "dice"), row.run))
    floor = next((row for row in rows if row.is_floor and not row.older), None)
    people = {case["subject"] for case in art.cases if case.get("run") == best.run}
    if not people:
        raise ReportError(f"cases.csv has no row of {best.run}, which results.csv has; run notebook 07 again")
    difference = _difference(art, best, floor)
    return Headline(best, floor, len(networks), len(people), difference, not named and len(networks) > 1)


def flagship(art: Artifacts) -> str | None:
    """The model that is handed to users, as notebook 04 noted it."""
    return art.facts.get("04_unet3d", {}).get("flagship")


def _difference(art: Artifacts, best: RunRow, floor: RunRow | None) -> tuple[float, float, float] | None:
    """Mean Dice of the best run minus the floor, over people and on the same cases, with its bootstrap interval."""
    if floor is None:
        return None
    scores = {
        run: {c["case"]: c for c in art.cases if c.get("run") == run and c.get("label") == "mean"}
        for run in (best.run, floor.run)
    }
    cases = sorted(scores[best.run])
    if not cases or cases != sorted(scores[floor.run]):
        raise ReportError(
            f"cases.csv: {best.run} and {floor.run} do not cover the same cases ({len(cases)} and "
            f"{len(scores[floor.run])}); run notebook 07 again"
        )
    a, b = ([nan_if_none(scores[run][case].get("dice")) for case in cases] for run in (best.run, floor.run))
    result = paired(np.array(a), np.array(b), [scores[best.run][case]["subject"] for case in cases])
    return result.difference, result.low, result.high


@dataclass(frozen=True)
class FiveFolds:
    """Every volume scored by a network trained without its fold. value, low, high: mean Dice and its interval.

    floor: mean Dice of the guess that never reads the image, on the same volumes, if it was scored there.
    """

    kind: str
    text: str
    value: float
    low: float
    high: float
    volumes: int
    floor: float | None


def five_folds(art: Artifacts) -> list[FiveFolds]:
    """What notebook 04 read from the full series, as far as all volumes are scored: by person first, then by volume."""
    facts, size = art.facts.get("04_unet3d", {}), cohort_size(art.folds)
    kinds = (
        ("grouped", "folds split by person"),
        ("nnunet", "nnU-Net's own folds, split by volume, so people are shared"),
    )
    found = [(kind, text, facts.get(f"folds_{kind}")) for kind, text in kinds]
    keys = ("value", "low", "high", "volumes")
    return [
        FiveFolds(kind, text, *(numbers[key] for key in keys), numbers.get("floor"))
        for kind, text, numbers in found
        if numbers and size and numbers["volumes"] == size[0]
    ]


def nan_if_none(value: float | None) -> float:
    """An empty CSV field as NaN."""
    return float("nan") if value is None else value


@dataclass(frozen=True)
class FoldLeak:
    """How many scored volumes of one fold have the other hippocampus of the same person in training."""

    fold: int
    scored: int
    siblings: int


def fold_leaks(folds: dict[str, Any], name: str) -> list[FoldLeak]:
    """For every fold of a split, count the scored volumes whose person is also in training."""
    leaks = []
    for index, fold in enumerate(folds.get(name, [])):
        trained = {MSD_HIPPOCAMPUS.subject(case) for case in fold["train"]}
        siblings = sum(MSD_HIPPOCAMPUS.subject(case) in trained for case in fold["scored"])
        leaks.append(FoldLeak(index, len(fold["scored"]), siblings))
    return leaks


def cohort_size(folds: dict[str, Any]) -> tuple[int, int] | None:
    """Volumes and people of the whole cohort, from the folds file; None if it is not there."""
    return (folds["n_cases"], folds["n_people"]) if {"n_cases", "n_people"} <= set(folds) else None


def distinct(rows: list[RunRow], key: str) -> list[str]:
    """The different values that the runs' configurations hold for a key, as text, sorted."""
    found = {str(row.config.get(key) or row.first.get(key) or "") for row in rows if not row.is_floor}
    return sorted(found - {""})


def flat(facts: dict[str, Any], above: str = "") -> list[tuple[str, str, Any]]:
    """Facts as (name, path in the JSON file, value): nested names joined, short lists kept, long ones left out."""
    found: list[tuple[str, str, Any]] = []
    for key, value in sorted(facts.items()):
        path = f"{above}{key}"
        if isinstance(value, dict):
            found += flat(value, f"{path}/")
        elif not isinstance(value, list) or (
            len(value) <= 6 and not any(isinstance(item, (dict, list)) for item in value)
        ):
            found.append((path.replace("/", ": ").replace("_", " "), path, value))
    return found
