"""What the page shows of the studies: how scores get inflated, leaks, calibration, coverage, minutes.

Each function takes a study's rows as they stand in its CSV file, and only places them; nothing is computed anew but
the calibration error, which is the voxel-weighted mean gap between confidence and accuracy (Guo et al. 2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hipposeg.report import charts, plots
from hipposeg.report.artifacts import Row
from hipposeg.report.numbers import show
from hipposeg.report.words import PRACTICES, run_text

HONEST = "honest"


@dataclass(frozen=True)
class Practice:
    """One way to arrive at a score. at_honest, at_shown: per cent of the panel's axis. index: row in the file."""

    name: str
    text: str
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


def inflation(rows: Sequence[Row]) -> tuple[list[Inflation], charts.Axis | None]:
    """A panel for each run, in the order of the file, and the axis that they share."""
    values = [row[column] for row in rows for column in ("honest", "shown") if row[column] is not None]
    if not values:
        return [], None
    axis = charts.axis_for(values)
    panels: dict[str, list[Practice]] = {}
    for index, row in enumerate(rows):
        name, text = PRACTICES.get(row["practice"], (row["practice"], ""))
        if row["practice"] != HONEST and row["shown"] is not None and row["honest"] is not None:
            placed = Practice(name, text, row, index, axis.at(row["honest"]), axis.at(row["shown"]))
            panels.setdefault(row["run"], []).append(placed)
    return [
        Inflation(run, run_text(run), practices[0].row["honest"], tuple(practices)) for run, practices in panels.items()
    ], axis


@dataclass(frozen=True)
class Forest:
    """Differences with intervals. rows: (name, row of the file, its index, position, low end, high end)."""

    rows: tuple[tuple[str, Row, int, float, float, float], ...]
    zero: float
    ticks: tuple[tuple[str, float], ...]


def forest(rows: Sequence[Row], names: dict[str, str], key: str = "kind") -> Forest | None:
    """Differences around zero; None without rows."""
    ends = [row[end] for row in rows for end in ("difference", "low", "high") if row[end] is not None]
    if not ends:
        return None
    scale = plots.linear("", [*ends, 0.0])
    placed = tuple(
        (names.get(row[key], row[key]), row, index, *(scale.at(row[end]) for end in ("difference", "low", "high")))
        for index, row in enumerate(rows) if row["difference"] is not None
    )  # fmt: skip
    return Forest(placed, scale.at(0.0), scale.ticks)


@dataclass(frozen=True)
class Reliability:
    """One method's reliability diagram. errors: label -> expected calibration error."""

    method: str
    plot: plots.Scatter
    errors: dict[str, float]


def calibration(rows: Sequence[Row]) -> list[Reliability]:
    """A diagram for each method, in the order of the file."""
    made = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method and row["voxels"] and row["accuracy"] is not None]
        axes = [plots.linear(title, [0, 1], 0, 1) for title in ("confidence", "share that was right")]
        dots = tuple(
            plots.Dot(
                axes[0].at(row["confidence"]), axes[1].at(row["accuracy"]), str(row["label"]),
                f"{row['label']}: confidence {show(row['confidence'], 'score')}, right "
                f"{show(row['accuracy'], 'score')}, {show(row['voxels'], 'count')} voxels",
            )
            for row in mine
        )  # fmt: skip
        words = f"Reliability of {method}: {len(dots)} dots, confidence across, share that was right upwards"
        errors = {}
        for label in dict.fromkeys(str(row["label"]) for row in mine):
            part = [row for row in mine if row["label"] == label]
            total = sum(row["voxels"] for row in part)
            errors[label] = sum(r["voxels"] * abs(r["confidence"] - r["accuracy"]) for r in part) / total
        made.append(Reliability(method, plots.Scatter(*axes, dots, words, diagonal=True), errors))
    return made


def coverage(rows: Sequence[Row]) -> tuple[list[tuple[Row, int, float, float, float]], plots.Scale | None]:
    """(row, index, position, ends) of every coverage with its interval, and the axis."""
    ends = [row[end] for row in rows for end in ("coverage", "low", "high") if row[end] is not None]
    if not ends:
        return [], None
    axis = plots.linear("coverage", [*ends, 0.9], high=1.0)
    return [
        (row, index, *(axis.at(row[end]) for end in ("coverage", "low", "high")))
        for index, row in enumerate(rows) if row["coverage"] is not None
    ], axis  # fmt: skip


def minutes(table: Sequence[tuple[str, float, float, int]], flagship: str | None) -> plots.Scatter | None:
    """Dice against minutes of training, a dot for each arm; None without any."""
    if not table:
        return None
    x = plots.logarithmic("minutes of training, two threads, idle machine", [row[1] for row in table])
    y = plots.linear("mean Dice", [row[2] for row in table])
    dots = tuple(
        plots.Dot(x.at(at), y.at(dice), "best" if arm == flagship else "mean",
                  f"{arm}: {show(60 * at, 'minutes')} minutes, mean Dice {show(dice, 'score')}, "
                  f"{show(seeds)} {'seed' if seeds == 1 else 'seeds'}", arm if arm == flagship else "")
        for arm, at, dice, seeds in table
    )  # fmt: skip
    return plots.Scatter(x, y, dots, f"{len(dots)} arms, minutes of training across, mean Dice upwards")


def all_cases(table: Any, here: frozenset[int]) -> plots.Scatter | None:
    """Every case by true volume and mean Dice; those in `here` can be opened in the explorer. None without cases."""
    if not len(table):
        return None
    dice = table[table["label"] == "mean"].set_index("case")["dice"].sort_index()
    truth = table[table["label"] == "union"].set_index("case")["volume_true"].reindex(dice.index)
    x, y = plots.linear("true volume, mm³", list(truth)), plots.linear("mean Dice", list(dice))
    dots = tuple(
        plots.Dot(x.at(volume), y.at(score), "mean" if case in here else "floor",
                  f"case {case:03d}: mean Dice {show(float(score), 'score')}, volume {show(float(volume), 'mm3')} mm³",
                  case=int(case) if case in here else None)
        for case, volume, score in zip(dice.index, truth, dice, strict=True)
    )  # fmt: skip
    return plots.Scatter(x, y, dots, f"{len(dots)} cases, true volume across, mean Dice upwards")
