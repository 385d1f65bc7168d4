"""What the templates of both pages name: every table's rows and every sentence's numbers, computed from artifacts.

A part whose files do not exist is empty, and its section is left out or names what is missing.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP, MODELS, RunSpec
from hipposeg.metrics import MEAN
from hipposeg.results import tables
from hipposeg.results.load import ATLAS
from hipposeg.stats import EQUIVALENCE_MARGIN
from hipposeg_lab.bench import summary
from hipposeg_lab.page import view, viewer, words
from hipposeg_lab.page.artifacts import Artifacts, Row, study_file
from hipposeg_lab.page.pictures import Figure, address, figure
from hipposeg_lab.page.view import RunRow
from hipposeg_lab.studies.coverage import CHOSEN, LEVEL
from hipposeg_lab.studies.published import PUBLISHED

SECTIONS = (
    ("results", "Every run"), ("conclusions", "Comparisons"), ("minutes", "Training time"), ("cases", "Every volume"),
    ("inflation", "Inflated scores"), ("trust", "Leaks, intervals, calibration"), ("robustness", "Robustness"),
    ("claims", "Claims of others"), ("data", "The data"), ("method", "Method"), ("limits", "Limits"),
    ("figures", "Notebooks and figures"), ("reproduce", "Reproduce"), ("licence", "Licence and citation"),
)  # fmt: skip


def page_context(art: Artifacts, page: Path) -> dict[str, Any]:
    """Names and values for the templates. page: the laboratory's file, from which figures are linked."""
    rows = view.main_rows(art)
    every = [*rows, *view.other_rows(art, rows)]
    phantom = art.ws.is_phantom
    pictures = {name: [figure(picture, page) for picture in found] for name, found in art.pictures.items()}
    cases = viewer.case_rows(tables.out_of_fold(art.results, FLAGSHIP))
    missing = absent(art) | (set() if cases else {"cases"})
    return {
        "phantom": phantom,
        "people": "synthetic subjects" if phantom else "people",
        "primary_words": "fold {1} of the {0} folds".format(*view.PRIMARY),
        "colours": [(label.name, label.colour) for label in MSD_HIPPOCAMPUS.labels],
        "classes": view.CLASSES,
        "labels": view.LABELS,
        "contents": [entry for entry in SECTIONS if entry[0] not in missing],
        "chapters": chapters(art, pictures),
        "executed": {path.stem: f"notebooks/{path.stem}.html" for path in art.executed},
        "placed": {picture.slug: picture for found in pictures.values() for picture in found},
        "folder": art.ws.artifacts.relative_to(art.ws.root).as_posix(),
        "files": {name: f"artifacts/{study_file(name)}" for name in art.studies},
        "flagship": FLAGSHIP,
        "title_of": lambda name: MODELS[name].title if name in MODELS else name,
        "head": view.headline(art, rows),
        "five_folds": view.five_folds(art),
        "rows": rows,
        "every": every,
        "filters": {"notebook": sorted({row.config["notebook"] for row in every}),
                    "folds": sorted({row.folds for row in every})},
        "atlases": {row.folds: row for row in reversed(every) if row.run.is_atlas},
        "gaps": gaps(rows),
        "versions": versions(art, rows),
        "cohort": view.cohort_size(art.folds),
        "leaks": leaks(art.folds),
        "facts": art.facts.get("01_exploration", {}),
        "details": art.facts.get("A0_data_details", {}),
        "published": PUBLISHED,
        "case_rows": cases,
        "missing": missing,
        "front": address(art.ws.page, page),
        "laboratory": address(page, art.ws.page),
    } | bench_context(art) | study_context(art)  # fmt: skip


def bench_context(art: Artifacts) -> dict[str, Any]:
    """Names of the benchmark: training times, speeds by kind of CPU, and the race."""
    minutes = summary.standard_minutes(art.bench)
    return {
        "flagship_minutes": minutes.get(FLAGSHIP),
        "minutes_rows": mean_minutes(art.results, minutes),
        "bench_threads": next((setting["threads"] for setting in art.bench.get("settings", ())), None),
        "predict_s": art.bench.get("predict_s"),
        "cpus": art.bench.get("kinds", ()),
        "races": art.bench.get("race", {}),
        "race_claims": art.bench.get("claims", {}),
        "racers": words.RACERS,
    }


def study_context(art: Artifacts) -> dict[str, Any]:
    """Names of the studies: rows of their tables, each with its place in the file, which is its origin."""
    comparisons = [*enumerate(art.rows("comparisons"))]
    return {
        "comparisons": comparisons,
        "n_planned": n_planned() if comparisons else 0,
        "margin": EQUIVALENCE_MARGIN,
        "inflation": inflation(art.rows("inflation")),
        "practices": words.PRACTICES,
        "leak_rows": [(at, row) for at, row in enumerate(art.rows("leaks")) if row["label"] == MEAN],
        "leak_words": words.LEAKS,
        "coverage": coverage(art.rows("conformal_coverage")),
        "level": LEVEL,
        "calibration": crossed(enumerate(art.rows("calibration_summary")), "method", "label"),
        "claims": [*enumerate(art.rows("claims"))],
    }


def absent(art: Artifacts) -> set[str]:
    """Sections that are left out: their studies have not run."""
    trusted = any(art.rows(name) for name in ("leaks", "conformal_coverage", "calibration_summary"))
    shown = {name: bool(art.rows(name)) for name in ("inflation", "robustness")}
    shown |= {"trust": trusted, "conclusions": bool(art.rows("comparisons")), "minutes": bool(art.bench)}
    return {section for section, found in shown.items() if not found}


def chapters(art: Artifacts, pictures: dict[str, list[Figure]]) -> list[tuple[words.Chapter, list[Figure] | None]]:
    """(chapter, figures or None if the notebook has not run) in the order of the notebooks."""
    listed = {
        name: words.Chapter(name, name, "")
        for name in {*art.facts, *art.pictures, *(path.stem for path in art.executed)}
    }
    listed |= {chapter.name: chapter for chapter in words.CHAPTERS}
    return [(listed[name], pictures[name] if art.done(name) else None) for name in sorted(listed)]


def gaps(rows: list[RunRow]) -> list[tuple[str, str, int, int]]:
    """(model, label, cases without a distance, cases) wherever an outline is empty."""
    found = []
    for row in rows:
        for label in (*view.CLASSES, "union"):
            missing = row.run.values(label, "hd95").isna()
            found += [(row.model, label, int(missing.sum()), len(missing))] if missing.any() else []
    return found


def versions(art: Artifacts, rows: list[RunRow]) -> list[tuple[str, str]]:
    """What produced the numbers: (name, value) pairs; several values of one name are listed, none is left out."""
    keys = {"torch": "torch", "processor": "Processor", "device": "Device", "precision": "Precision",
            "threads": "Threads of a run", "numerics": "Numerics version", "data_sha256": "Data, SHA-256"}  # fmt: skip
    networks = [row.run.config for row in rows if not row.run.is_atlas]
    found = [(text, ", ".join(sorted({str(config[key]) for config in networks}))) for key, text in keys.items()]
    return [("Data set and profile", f"{art.ws.dataset}, {art.ws.profile}"), *(pair for pair in found if pair[1])]


def leaks(folds: dict[str, Any]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Of each fold of the usual split and of ours: test volumes whose subject is in training, and all test volumes."""

    def siblings(fold: dict[str, list[int]]) -> tuple[int, int]:
        trained = set(map(MSD_HIPPOCAMPUS.subject, fold["train"]))
        return sum(MSD_HIPPOCAMPUS.subject(case) in trained for case in fold["scored"]), len(fold["scored"])

    names = (("nnunet", "by volume (the usual five folds)"), ("grouped", "by subject (ours)"))
    return [(text, list(map(siblings, folds[name]))) for name, text in names if folds.get(name)]


def mean_minutes(frame: pd.DataFrame, minutes: dict[str, float]) -> list[tuple[str, float, float, int]]:
    """(model, training minutes on the idle machine, mean Dice over seeds on grouped fold 0, seeds) by minutes."""
    found = plan.finished(frame, [RunSpec(model, seed=seed) for model in minutes for seed in plan.SEEDS])
    scores = found[found["label"] == MEAN].groupby(["model", "run"])["dice"].mean()
    table = [(name, minutes[name], float(one.mean()), len(one)) for name, one in scores.groupby(level="model")]
    return sorted(table, key=lambda row: (row[1], row[0]))


def n_planned() -> int:
    """How many comparisons are planned, with runs or without."""
    from hipposeg_lab.studies.comparisons import FAMILIES, PAIRS

    return len(PAIRS) + sum(len({*family.models} - {family.reference}) for family in FAMILIES)


# A table of a study: value of one column -> value of another -> (place of the row in its file, row).
Crossed = dict[str, dict[str, tuple[int, Row]]]


def crossed(rows: Iterable[tuple[int, Row]], down: str, across: str) -> Crossed:
    """Rows of a study by the values of two of their columns."""
    found: Crossed = {}
    for at, row in rows:
        found.setdefault(row[down], {})[row[across]] = (at, row)
    return found


def inflation(rows: Iterable[Row]) -> Crossed:
    """Practice -> run -> row: the honest score first, then the most inflated; the flagship first, the atlas last."""

    def rank(run: str) -> tuple[bool, bool, str]:
        model = run.split(".")[0]
        return model == ATLAS, model != FLAGSHIP, run

    whole = [(at, row) for at, row in enumerate(rows) if row["shown"] is not None and row["honest"] is not None]
    table = crossed(sorted(whole, key=lambda one: rank(one[1]["run"])), "practice", "run")
    first = {practice: next(iter(by_run.values()))[1]["shown"] for practice, by_run in table.items()}
    return {name: table[name] for name in sorted(table, key=lambda name: (name != "honest", -first[name]))}


def coverage(rows: Iterable[Row]) -> Crossed:
    """Group in words -> label -> row: all groups of the method in use, and all volumes of the other methods."""
    whole = [(at, row) for at, row in enumerate(rows) if row["coverage"] is not None]
    groups = crossed([one for one in whole if one[1]["method"] == CHOSEN], "group", "label")
    found = {text: groups[group] for group, text in words.GROUPS.items() if group in groups}
    others = [(at, row) for at, row in whole if row["method"] != CHOSEN and row["group"] == "all"]
    by_method = crossed(others, "method", "label")
    return found | {f"all volumes, {words.WIDTHS.get(name, name)}": row for name, row in by_method.items()}
