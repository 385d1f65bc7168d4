"""What the page shows of the studies: how scores get inflated, leaks, calibration, coverage, minutes, all cases.

Each function takes a study's rows as they stand in its CSV file, and only places them; nothing is computed anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hipposeg.predict.intervals import CHOSEN
from hipposeg.results.load import ATLAS
from hipposeg_lab.page import charts, plots
from hipposeg_lab.page.artifacts import Row
from hipposeg_lab.page.numbers import show
from hipposeg_lab.page.words import PRACTICES, run_text

HONEST, NOTHING = "honest", "pooled-nothing"
SCALED = "after temperature scaling"


@dataclass(frozen=True)
class Practice:
    """A way to arrive at a score. at_honest, at_shown: per cent of the axis, below 0 if outside. index: in its file."""

    name: str
    row: Row
    index: int
    at_honest: float
    at_shown: float


@dataclass(frozen=True)
class Inflation:
    """All practices on the predictions of one run. honest: its score by this project's rules."""

    run: str
    text: str
    honest: float
    practices: tuple[Practice, ...]


def inflation(rows: Sequence[Row], first: str | None) -> tuple[list[Inflation], charts.Axis | None]:
    """A panel for each run, those of the model `first` before the others and the atlas last, and their shared axis."""
    whole = [row for row in rows if row["shown"] is not None and row["honest"] is not None]
    if not whole:
        return [], None
    # What a prediction of nothing honestly scores is 0, and would leave the others no room.
    values = [row["honest"] for row in whole if row["practice"] != NOTHING] + [row["shown"] for row in whole]
    axis = charts.axis_for(values)
    panels: dict[str, list[Practice]] = {}
    for index, row in enumerate(rows):
        if row["practice"] != HONEST and row["shown"] is not None and row["honest"] is not None:
            name = PRACTICES.get(row["practice"], row["practice"])
            placed = Practice(name, row, index, axis.at(row["honest"]), axis.at(row["shown"]))
            panels.setdefault(row["run"], []).append(placed)
    honest = {row["run"]: row for row in rows if row["practice"] == HONEST}
    found = [
        Inflation(run, run_text(run) if honest[run]["seeds"] == 1 else run.split(".")[0], honest[run]["honest"],
                  tuple(practices))
        for run, practices in panels.items()
    ]  # fmt: skip
    return sorted(found, key=lambda panel: (panel.run.startswith(ATLAS), panel.run.split(".")[0] != first)), axis


@dataclass(frozen=True)
class Forest:
    """Differences with intervals. rows: (name, row of the file, its index, position, low end, high end)."""

    rows: tuple[tuple[str, Row, int, float, float, float], ...]
    zero: float
    ticks: tuple[tuple[str, float], ...]


def forest(rows: Sequence[Row], names: dict[str, str], label: str = "mean") -> Forest | None:
    """Differences around zero for one label; None without rows."""
    kept = [(at, row) for at, row in enumerate(rows) if row["label"] == label and row["difference"] is not None]
    ends = [row[end] for _, row in kept for end in ("difference", "low", "high")]
    if not ends:
        return None
    scale = plots.linear("", [*ends, 0.0])
    placed = tuple(
        (names.get(row["kind"], row["kind"]), row, at, *(scale.at(row[end]) for end in ("difference", "low", "high")))
        for at, row in kept
    )
    return Forest(placed, scale.at(0.0), scale.ticks)


@dataclass(frozen=True)
class Reliability:
    """One method's reliability diagram. errors: (label, row of the summary, its index, column)."""

    method: str
    plot: plots.Scatter
    errors: tuple[tuple[str, Row, int, str], ...]


def calibration(before: Sequence[Row], after: Sequence[Row], summary: Sequence[Row]) -> list[Reliability]:
    """A diagram for each method as it is, and then each after temperature scaling, in the order of the files."""
    return [
        _reliability(str(method), rows, summary, column)
        for rows, column in ((before, "ece_before"), (after if before else (), "ece_after"))
        for method in dict.fromkeys(row["method"] for row in rows)
    ]


def _reliability(method: str, rows: Sequence[Row], summary: Sequence[Row], column: str) -> Reliability:
    axes = [plots.linear(title, [0, 1], 0, 1) for title in ("confidence", "share that was right")]
    dots = tuple(
        plots.Dot(
            axes[0].at(row["confidence"]), axes[1].at(row["accuracy"]), str(row["label"]).replace(" ", "-"),
            f"{row['label']}: confidence {show(row['confidence'], 'score')}, right {show(row['accuracy'], 'score')}, "
            f"{show(row['voxels'], 'count')} voxels",
        )
        for row in rows if row["method"] == method and row["voxels"] and row["accuracy"] is not None
    )  # fmt: skip
    name = method if column == "ece_before" else f"{method}, {SCALED}"
    words = f"Reliability of {name}: {len(dots)} dots, confidence across, share that was right upwards"
    errors = [(str(row["label"]), row, at, column) for at, row in enumerate(summary) if row["method"] == method]
    return Reliability(name, plots.Scatter(*axes, dots, words, diagonal=True), tuple(errors))


@dataclass(frozen=True)
class Coverage:
    """How often one method's intervals held the truth. rows: (row, index in the file, position, low end, high end)."""

    method: str
    rows: tuple[tuple[Row, int, float, float, float], ...]


def coverage(rows: Sequence[Row], promise: float) -> tuple[list[Coverage], plots.Scale | None]:
    """A panel for each method, the one in use first, and the axis that they share; of single folds the lowest."""
    lowest: dict[tuple, int] = {}
    for at, row in enumerate(rows):
        if str(row["group"]).startswith("fold") and row["coverage"] is not None:
            own = (row["label"], row["method"])
            lowest[own] = min(lowest.get(own, at), at, key=lambda index: rows[index]["coverage"])
    kept = [(at, row) for at, row in enumerate(rows) if row["coverage"] is not None
            and (at in lowest.values() or not str(row["group"]).startswith("fold"))]  # fmt: skip
    ends = [row[end] for _, row in kept for end in ("coverage", "low", "high")]
    if not ends:
        return [], None
    axis = plots.linear("coverage", [*ends, promise], high=1.0)
    panels: dict[str, list[tuple[Row, int, float, float, float]]] = {}
    for at, row in kept:
        placed = (row, at, *(axis.at(row[end]) for end in ("coverage", "low", "high")))
        panels.setdefault(str(row["method"]), []).append(placed)
    methods = sorted(panels, key=lambda method: method != CHOSEN)
    return [Coverage(method, tuple(panels[method])) for method in methods], axis


def all_cases(table: pd.DataFrame, here: frozenset[int]) -> plots.Scatter | None:
    """Every case by true volume and mean Dice; those in `here` open in the explorer. None without cases.

    table: as `results.tables.out_of_fold` gives it.
    """
    if not len(table):
        return None
    dice = table[table["label"] == "mean"].set_index("case")["dice"].sort_index()
    truth = table[table["label"] == "union"].set_index("case")["volume_true"].reindex(dice.index)
    x, y = plots.linear("true volume, mm³", list(truth)), plots.linear("mean Dice", list(dice))
    dots = tuple(
        plots.Dot(x.at(volume), y.at(score), "mean" if case in here else "atlas",
                  f"case {case:03d}: mean Dice {show(float(score), 'score')}, volume {show(float(volume), 'mm3')} mm³",
                  case=int(case) if case in here else None)
        for case, volume, score in zip(dice.index, truth, dice, strict=True)
    )  # fmt: skip
    return plots.Scatter(x, y, dots, f"{len(dots)} cases, true volume across, mean Dice upwards")
