"""Values for the page's larger sections: table of all runs, comparisons, explorer, studies, training time, claims.

A part whose files do not exist is empty, and its section is left out or says so.
"""

import base64
from typing import Any

import pandas as pd
from markupsafe import Markup

from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.experiments.spec import RunSpec
from hipposeg.metrics import MEAN
from hipposeg.predict.intervals import LEVEL
from hipposeg.results import tables
from hipposeg.stats import EQUIVALENCE_MARGIN
from hipposeg_lab.page import plots, studies, view, viewer
from hipposeg_lab.page.artifacts import Artifacts, study_file
from hipposeg_lab.page.embed import VENDOR
from hipposeg_lab.page.view import RunRow
from hipposeg_lab.page.words import GROUPS, LEAKS, PRACTICES, RACERS, WIDTHS

RULES = ("best", "median", "worst")


def section_context(art: Artifacts, rows: list[RunRow]) -> dict[str, Any]:
    """Names and values for the templates. rows: as `view.main_rows` gives them."""
    every = [*rows, *view.other_rows(art, rows)]
    minutes = standard_minutes(art.bench)
    timed = mean_minutes(art.results, minutes)
    dims = {model: MODELS[model].dims for model, *_ in timed}
    cases = tables.out_of_fold(art.results, FLAGSHIP)
    here = frozenset(case["case"] for case in art.explorer.get("cases", ()))
    panels, axis = studies.inflation(art.rows("inflation"), FLAGSHIP)
    covered, coverage_axis = studies.coverage(art.rows("conformal_coverage"), LEVEL)
    return {
        "every": every,
        "filters": filters(every),
        "flagship": FLAGSHIP,
        "flagship_minutes": minutes.get(FLAGSHIP),
        "bench_threads": next((setting["threads"] for setting in art.bench.get("settings", ())), None),
        "predict_s": art.bench.get("predict_s"),
        "cpus": art.bench.get("kinds", ()),
        "comparisons": [*enumerate(art.rows("comparisons"))],
        "declared": declared() if art.rows("comparisons") else 0,
        "ahead": [row for row in art.rows("comparisons") if row["verdict"] == "ahead"],
        "viewer": Markup(viewer.payload(art)),
        "three": base64.b64encode((VENDOR / "three.min.js.gz").read_bytes()).decode() if art.explorer else "",
        "three_licence": (VENDOR / "LICENSE").read_text(encoding="utf-8"),
        "viewer_models": [model["model"] for model in art.explorer.get("models", ())],
        "hero_case": viewer.drawn(art, "median", (0, 1, 2)),
        "drawn": [one for rule in RULES if (one := viewer.drawn(art, rule, (0,)))],
        "cases_plot": studies.all_cases(cases, here),
        "case_rows": case_rows(cases),
        "minutes_rows": timed,
        "minutes_plot": plots.minutes(timed, dims, FLAGSHIP),
        "minutes_dims": sorted(set(dims.values())),
        "minutes_off": [row for row in timed if row[2] < plots.fence([dice for _, _, dice, _ in timed])],
        "races": art.bench.get("race", {}),
        "race_claims": art.bench.get("claims", {}),
        "racers": RACERS,
        "files": {name: f"artifacts/{study_file(name)}" for name in art.studies},
        "inflation": panels,
        "inflation_axis": axis,
        "leak_forest": studies.forest(art.rows("leaks"), LEAKS),
        "reliability": studies.calibration(*(art.rows(f"calibration{part}") for part in ("", "_scaled", "_summary"))),
        "coverage": covered,
        "coverage_axis": coverage_axis,
        "groups": GROUPS,
        "widths": WIDTHS,
        "practices": PRACTICES,
        "margin": EQUIVALENCE_MARGIN,
        "promise": LEVEL,
        "claims": [*enumerate(art.rows("claims"))],
    }


def declared() -> int:
    """How many comparisons are planned, with runs or without."""
    from hipposeg_lab.studies.attention_summary import PAIRS
    from hipposeg_lab.studies.comparisons import FAMILIES

    return len(PAIRS) + sum(len({*family.models} - {family.reference}) for family in FAMILIES)


def standard_minutes(bench: dict[str, Any]) -> dict[str, float]:
    """Model -> minutes of its standard schedule, as the benchmark measured it on an idle machine."""
    found = {model: cost["schedule_minutes"].get("standard") for model, cost in bench.get("models", {}).items()}
    return {model: minutes for model, minutes in found.items() if minutes is not None}


def mean_minutes(frame: pd.DataFrame, minutes: dict[str, float]) -> list[tuple[str, float, float, int]]:
    """(model, training minutes on the idle machine, mean Dice over seeds on grouped fold 0, seeds) by minutes."""
    found = plan.finished(frame, [RunSpec(model, seed=seed) for model in minutes for seed in plan.SEEDS])
    scores = found[found["label"] == MEAN].groupby(["model", "run"])["dice"].mean()
    table = [(name, minutes[name], float(one.mean()), len(one)) for name, one in scores.groupby(level="model")]
    return sorted(table, key=lambda row: (row[1], row[0]))


def filters(every: list[RunRow]) -> dict[str, list[str]]:
    """The choices of each filter above the table of runs, in alphabetical order."""
    return {
        "notebook": sorted({row.run.config["notebook"] for row in every}),
        "folds": sorted({row.folds for row in every}),
    }


def case_rows(cases: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a case: person, fold, Dice of each label, distance and volume error; lowest mean Dice first."""
    found = []
    for number, group in cases.groupby("case"):
        label = {row["label"]: row for row in group.to_dict("records")}
        found.append({
            "case": int(number), "person": int(group["subject"].iloc[0]), "fold": int(group["fold"].iloc[0]),
            **{name: float(label[name]["dice"]) for name in label},
            "hd95": float(label["mean"]["hd95"]), "volume_true": float(label["union"]["volume_true"]),
            "volume_bias": float(label["union"]["volume_bias"]),
        })  # fmt: skip
    return sorted(found, key=lambda row: (row["mean"], row["case"]))
