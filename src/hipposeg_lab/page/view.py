"""What the page and README show, computed from artifacts: rows of the table of runs, the headline, the folds."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP, RunSpec
from hipposeg.metrics import MEAN, UNION
from hipposeg.results import load, tables
from hipposeg_lab.page.artifacts import Artifacts, Row

CLASSES = MSD_HIPPOCAMPUS.names
LABELS = (*CLASSES, MEAN, UNION)
PRIMARY = ("grouped", 0)
# Scores in the table of runs, by label.
SHOWN = {**dict.fromkeys(CLASSES, ("dice",)), MEAN: ("dice", "iou", "hd95", "nsd1"), UNION: ("dice", "volume_bias")}
DECIMALS = 6
CLIP = "clip"  # family of models that compare slices with text and do not segment


@dataclass(frozen=True)
class RunRow:
    """A finished run in the table of the page."""

    run: load.Run
    scores: dict[tuple[str, str], float]  # (label, column) -> mean over cases, or an end of its interval ("dice_low")
    train_s: float | None  # seconds of training; None on a page that must not hold times
    is_main: bool  # whether it is one of the runs of the notebooks' main sections

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name

    @property
    def model(self) -> str:
        """The model's name."""
        return self.run.model

    @property
    def config(self) -> dict[str, Any]:
        """Its row of runs.csv and its entry of configs.json, without times."""
        return {name: value for name, value in self.run.config.items() if name != "train_s"}

    @property
    def folds(self) -> str:
        """The kind of folds and its number: `grouped 0`."""
        return f"{self.run.config['folds']} {self.run.config['fold']}"

    @property
    def setting(self) -> str:
        """Seed, and schedule and hardware where they are not the usual ones: `seed 1, schedule S, fp32`."""
        config = self.run.config
        usual = RunSpec(*(config[name] for name in ("model", "folds", "fold", "seed", "schedule"))).name
        schedule = "" if config["schedule"] == "standard" else f", schedule {config['schedule']}"
        hardware = self.name.removeprefix(usual).strip(".")
        return f"seed {config['seed']}{schedule}{hardware and f', {hardware}'}"

    @property
    def is_leak(self) -> bool:
        """Whether its training cases leak information on the test subjects, as the leak experiment plans."""
        return self.run.config["folds"].startswith("leak-")

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU trained it."""
        return self.run.config["device"] != "cpu"

    def get(self, label: str, column: str) -> float | None:
        """A score; None if it does not exist."""
        value = self.scores.get((label, column))
        return None if pd.isna(value) else value


def main_rows(art: Artifacts) -> list[RunRow]:
    """The finished runs of the notebooks' main sections on the primary fold: the atlas first, then by mean Dice.

    CLIPs are left out: they do not learn to segment.
    """
    found = plan.finished(art.results, plan.main(art.ws.profile))
    rows = _rows(art, found[found["family"] != CLIP], is_main=True)
    return sorted(rows, key=lambda row: (not row.run.is_atlas, -(row.get(MEAN, "dice") or 0), row.name))


def other_rows(art: Artifacts, main: list[RunRow]) -> list[RunRow]:
    """All other runs, by kind of folds and then by mean Dice."""
    rows = _rows(art, art.results[~art.results["run"].isin([row.name for row in main])], is_main=False)
    return sorted(rows, key=lambda row: (row.folds, -(row.get(MEAN, "dice") or 0), row.name))


def _rows(art: Artifacts, frame: pd.DataFrame, is_main: bool) -> list[RunRow]:
    scores: dict[str, dict[tuple[str, str], float]] = {}
    for row in tables.summary(frame, MSD_HIPPOCAMPUS, SHOWN).to_dict("records"):
        mine = {(row["label"], column): round(row[column], DECIMALS) for column in tables.METRIC_COLUMNS}
        scores.setdefault(row["run"], {}).update(mine)
    return [
        RunRow(run, scores[run.name], None if art.ws.is_phantom else run.config["train_s"], is_main)
        for run in load.runs(frame, art.ws)
    ]


@dataclass(frozen=True)
class Headline:
    """The answer: a run on the primary fold beside the image-free atlas."""

    best: RunRow  # the flagship, or the highest mean Dice where the flagship is missing
    atlas: RunRow | None
    n_runs: int  # number of networks
    n_subjects: int  # number of test subjects
    by_score: bool  # whether `best` was picked for its score


def headline(art: Artifacts, rows: list[RunRow]) -> Headline | None:
    """The answer, or None while no network has been scored. rows: as `main_rows` gives them."""
    networks = [row for row in rows if not row.run.is_atlas]
    if not networks:
        return None
    named = [row for row in networks if row.model == FLAGSHIP]
    best = max(named or networks, key=lambda row: (row.get(MEAN, "dice"), row.name))
    atlas = next((row for row in rows if row.run.is_atlas), None)
    n_subjects = int(best.run.subjects().nunique())
    return Headline(best, atlas, len(networks), n_subjects, not named and len(networks) > 1)


@dataclass(frozen=True)
class FiveFolds:
    """Every volume scored by a network trained without its fold: rows of studies/folds.csv, and their places in it."""

    folds: str  # "grouped" or "nnunet"
    text: str  # what kind of folds these are
    row: Row  # the flagship's mean Dice with its interval
    index: int  # place of the row
    atlas: Row | None  # mean Dice of the image-free atlas on the same volumes, if it was scored on them
    atlas_index: int  # place of its row


def five_folds(art: Artifacts) -> list[FiveFolds]:
    """Mean Dice of the flagship over all volumes, on the folds that are complete: split by subject, then by volume."""
    size = cohort_size(art.folds)
    kinds = {
        "grouped": "folds split by subject",
        "nnunet": "nnU-Net's own folds, split by volume, so people are shared",
    }
    places = {(row["model"], row["folds"]): (row, at) for at, row in enumerate(art.rows("folds"))
              if (row["part"], row["label"]) == ("all", MEAN) and size and row["volumes"] == size[0]}  # fmt: skip
    return [
        FiveFolds(kind, text, *places[FLAGSHIP, kind], *places.get((load.ATLAS, kind), (None, -1)))
        for kind, text in kinds.items()
        if (FLAGSHIP, kind) in places
    ]


def cohort_size(folds: dict[str, Any]) -> tuple[int, int] | None:
    """Volumes and subjects of the whole cohort, from the folds file; None if it does not exist."""
    return (folds["n_cases"], folds["n_people"]) if {"n_cases", "n_people"} <= set(folds) else None
