"""The explorer's part of the page: the cases' files as they are, their metrics as text, and the scatter of all cases.

Volumes travel as base64 of the files that `studies.explorer` wrote, and a browser unpacks only the case that is shown.
At most eight models are named, in words. The scatter is drawn with HTML and CSS, so that its dots open their cases.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments.registry import MODELS
from hipposeg.files import reading
from hipposeg.metrics import MEAN, UNION
from hipposeg.results import load
from hipposeg.results.tables import cases_by_rule
from hipposeg_lab.page.artifacts import Artifacts, ReportError, file_in
from hipposeg_lab.page.numbers import show
from hipposeg_lab.page.view import LABELS
from hipposeg_lab.page.words import short

# Columns of the metrics table: column of `results.load`, and how it is written.
METRICS = (
    ("dice", "score"), ("nsd1", "score"), ("hd95", "mm"), ("volume_true", "mm3"), ("volume_predicted", "mm3"),
    ("volume_bias", "bias"),
)  # fmt: skip
MOST_MODELS = 8
# Ends of axis 0. The files do not record the side, but all crops are stored like a left hippocampus in RAS axes: their
# mean correlates with the left of the MNI head by 0.70, with its reflection by 0.09. So the low end is lateral.
SIDES = ("lateral", "medial")
# The row "mean" averages two scores; a mean of two parts' volumes is the volume of nothing.
NOT_OF_MEAN = ("volume_true", "volume_predicted", "volume_bias")


def payload(art: Artifacts, learning: dict[str, Any]) -> str:
    """Everything that the explorer's script reads, as JSON for a script element; "" without files.

    learning: what the function of this name returns.
    """
    if not art.explorer:
        return ""
    index, folder = art.explorer, art.ws.artifacts / "explorer"
    words = {(row["run"], row["case"]): row["words"] for row in art.rows("words")}
    every = shown_runs(art)
    kept = sorted({*range(len(every))[: MOST_MODELS - 1], len(every) - 1})  # the atlas is the last
    runs = [every[at] for at in kept]
    scores = [run.rows.set_index(["case", "label"]).to_dict("index") for run in runs]
    cases = []
    for case in index["cases"]:
        texts = [[_texts(rows[case["case"], label], label) for label in LABELS] for rows in scores]
        parts = {kind: _base64(folder, f"{case['name']}.{end}") for kind, end in (("image", "webp"), ("masks", "gz"))}
        cases.append(
            {key: case[key] for key in ("case", "person", "shape", "spacing")}
            | {"scores": texts, "words": [words.get((run.name, case["case"])) or "" for run in runs]}
            | parts
        )
    titles = [run.config["title"] for run in runs]
    models = [{"mask": 1 + at, "title": one, "name": short(one)} for at, one in zip(kept, titles, strict=True)]
    labels = [{"name": label.name, "colour": label.colour} for label in MSD_HIPPOCAMPUS.labels]
    content = {"models": models, "labels": labels, "rows": LABELS, "cases": cases}
    content["ends"] = index["ends"] if art.ws.is_phantom else [SIDES, *index["ends"][1:]]
    content |= {"planes": index["planes"], "rules": cases_by_rule(runs[0].values()), "learning": learning}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")


def learning(art: Artifacts) -> dict[str, Any]:
    """One case as a network outlined it during its training (`studies.learning`); empty without it."""
    path = art.ws.artifacts / "studies" / "learning.npz"
    if not path.is_file():
        return {}
    with reading(path, "arrays"), np.load(path) as kept:
        case, epochs = int(kept["case"]), kept["epochs"].tolist()
        masks = base64.b64encode(gzip.compress(kept["masks"].tobytes(), 9, mtime=0)).decode()
        dice = [show(float(value), "score") for value in kept["dice"]]
    if case not in {one["case"] for one in art.explorer.get("cases", ())}:
        return {}  # the phantom's explorer has other cases
    return {"case": case, "epochs": epochs, "dice": dice, "masks": masks, "name": MODELS["unet2d"].title}


def _base64(folder: Path, name: str) -> str:
    path = file_in(folder, name, "index.json")
    if not path.is_file():
        raise ReportError(f"explorer/index.json lists {path.name}, which is missing; run notebook 07 again")
    return base64.b64encode(path.read_bytes()).decode()


def shown_runs(art: Artifacts) -> list[load.Run]:
    """The runs whose masks the explorer holds, in its order. Raises ReportError if results lack a run or a case."""
    names = [model["run"] for model in art.explorer["models"]]
    found = {run.name: run for run in load.runs(art.results[art.results["run"].isin(names)], art.ws)}
    cases = {case["case"] for case in art.explorer["cases"]}
    for name in names:
        if name not in found or not cases <= set(found[name].rows["case"]):
            raise ReportError(f"explorer/index.json lists cases of {name} without scores; run notebook 07 again")
    return [found[name] for name in names]


def _texts(row: dict[str, Any], label: str) -> list[str]:
    return ["" if label == MEAN and metric in NOT_OF_MEAN else show(row[metric], kind) for metric, kind in METRICS]


def case_rows(cases: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a case: subject, fold, Dice of each label, distance and volume error; lowest mean Dice first.

    cases: as `results.tables.out_of_fold` gives it.
    """
    found = []
    for number, group in cases.groupby("case"):
        label = {row["label"]: row for row in group.to_dict("records")}
        found.append({
            "case": int(number), "person": int(group["subject"].iloc[0]), "fold": int(group["fold"].iloc[0]),
            **{name: float(label[name]["dice"]) for name in label},
            "hd95": float(label[MEAN]["hd95"]), "volume_true": float(label[UNION]["volume_true"]),
            "volume_bias": float(label[UNION]["volume_bias"]),
        })  # fmt: skip
    return sorted(found, key=lambda row: (row["mean"], row["case"]))


@dataclass(frozen=True)
class Scale:
    """A linear axis. ticks: (text, position in per cent)."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[str, float], ...] = ()

    def at(self, value: float) -> float:
        """Position of a value in per cent, rounded so that equal inputs give equal bytes."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def scale(title: str, values: Sequence[float]) -> Scale:
    """A linear axis that holds all values, its ends on ticks (1, 2 or 5 times a power of ten)."""
    from matplotlib.ticker import MaxNLocator

    at = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(min(values), max(values)).tolist()
    bare = Scale(title, at[0], at[-1])
    return replace(bare, ticks=tuple((show(tick), bare.at(tick)) for tick in at))


def scatter(rows: Sequence[dict[str, Any]], here: frozenset[int]) -> dict[str, Any]:
    """A plot of every case by true volume and volume error; those in `here` open in the explorer. Empty without cases.

    rows: as `case_rows` gives them.
    """
    if not rows:
        return {}
    x = scale("expert's volume, mm³", [row["volume_true"] for row in rows])
    y = scale("error of the predicted volume, mm³", [0.0, *(row["volume_bias"] for row in rows)])
    dots = []
    for row in sorted(rows, key=lambda row: row["case"]):
        tip = (
            f"Case {row['case']:03d}: expert {show(row['volume_true'], 'mm3')} mm³, error "
            f"{show(row['volume_bias'], 'bias')} mm³, mean Dice {show(row['mean'], 'score')}"
        )
        at = {"x": x.at(row["volume_true"]), "y": y.at(row["volume_bias"])}
        dots.append(at | {"tip": tip, "case": row["case"] if row["case"] in here else None})
    return {"x": x, "y": y, "dots": dots, "words": f"{len(dots)} volumes, expert's volume across, error upwards"}
