"""What the page's newer sections name: the full table, verdicts, explorer, studies, minutes, claims.

A part whose files are not there is empty, and its section is left out or says so.
"""

import base64
from typing import Any

from markupsafe import Markup

from hipposeg.predict.intervals import LEVEL
from hipposeg.stats import EQUIVALENCE_MARGIN
from hipposeg_lab.page import full, plots, studies, view, viewer
from hipposeg_lab.page.artifacts import Artifacts
from hipposeg_lab.page.embed import VENDOR
from hipposeg_lab.page.view import RunRow
from hipposeg_lab.page.words import GROUPS, LEAKS, PRACTICES, RACERS, WIDTHS

RULES = ("best", "median", "worst")


def section_context(art: Artifacts, rows: list[RunRow]) -> dict[str, Any]:
    """Names and values for the templates. rows: the workspace's own runs, as `view.run_rows` gives them."""
    series = full.runs(art.ws)
    every = [*rows, *full.rows(art, series)]
    flagship = view.flagship(art)
    minutes = standard_minutes(art.bench)
    timed = full.mean_minutes(series, minutes)
    dims = {run.model: run.config["dims"] for run in series}
    cases = full.out_of_fold(series, flagship)
    here = frozenset(case["case"] for case in art.explorer.get("cases", ()))
    panels, axis = studies.inflation(rows_of(art, "inflation"), flagship)
    covered, coverage_axis = studies.coverage(rows_of(art, "conformal_coverage"), LEVEL)
    return {
        "every": every,
        "filters": filters(every),
        "flagship": flagship,
        "flagship_minutes": minutes.get(flagship),
        "bench_threads": next((setting["threads"] for setting in art.bench.get("settings", ())), None),
        "predict_s": art.bench.get("predict_s"),
        "cpus": art.bench.get("kinds", ()),
        "verdicts": [*enumerate(rows_of(art, "verdicts"))],
        "declared": declared() if "verdicts" in art.studies else 0,
        "ahead": [row for row in rows_of(art, "verdicts") if row["verdict"] == "ahead"],
        "viewer": Markup(viewer.payload(art)),
        "three": base64.b64encode((VENDOR / "three.min.js.gz").read_bytes()).decode() if art.explorer else "",
        "three_licence": (VENDOR / "LICENSE").read_text(encoding="utf-8"),
        "viewer_models": [model["model"] for model in art.explorer.get("models", ())],
        "hero_case": viewer.drawn(art, "median", (0, 1, 2)),
        "drawn": [one for rule in RULES if (one := viewer.drawn(art, rule, (0,)))],
        "cases_plot": studies.all_cases(cases, here),
        "case_rows": case_rows(cases),
        "minutes_rows": timed,
        "minutes_plot": plots.minutes(timed, dims, flagship),
        "minutes_dims": sorted({dims[model] for model, *_ in timed}),
        "minutes_off": [row for row in timed if row[2] < plots.fence([dice for _, _, dice, _ in timed])],
        "races": art.bench.get("race", {}),
        "race_claims": art.bench.get("claims", {}),
        "racers": RACERS,
        "files": {name: study.file for name, study in art.studies.items()},
        "inflation": panels,
        "inflation_axis": axis,
        "leak_forest": studies.forest(rows_of(art, "leaks"), LEAKS),
        "reliability": studies.calibration(
            *(rows_of(art, f"calibration{part}") for part in ("", "_scaled", "_summary"))
        ),
        "coverage": covered,
        "coverage_axis": coverage_axis,
        "groups": GROUPS,
        "widths": WIDTHS,
        "practices": PRACTICES,
        "margin": EQUIVALENCE_MARGIN,
        "promise": LEVEL,
        "claims": [*enumerate(rows_of(art, "claims"))],
    }


def rows_of(art: Artifacts, name: str) -> tuple[dict[str, Any], ...]:
    """Rows of a study, none where it is not there."""
    return art.studies[name].rows if name in art.studies else ()


def declared() -> int:
    """How many comparisons were declared, with runs or without."""
    from hipposeg_lab.studies.attention_summary import PAIRS
    from hipposeg_lab.studies.verdicts import FAMILIES

    return len(PAIRS) + sum(len({*family.models} - {family.reference}) for family in FAMILIES)


def standard_minutes(bench: dict[str, Any]) -> dict[str, float]:
    """Model -> minutes of its standard schedule, as the benchmark measured it on an idle machine."""
    found = {model: cost["schedule_minutes"].get("standard") for model, cost in bench.get("models", {}).items()}
    return {model: minutes for model, minutes in found.items() if minutes is not None}


def filters(every: list[RunRow]) -> dict[str, list[str]]:
    """The choices of each filter above the table of runs, in the order of the alphabet."""
    return {
        "notebook": sorted({str(row.first.get("notebook")) for row in every}),
        "folds": sorted({row.folds for row in every}),
        "profile": sorted({row.profile for row in every}, reverse=True),
    }


def case_rows(cases: Any) -> list[dict[str, Any]]:
    """One row a case: person, fold, Dice of each label, distance and volume error; lowest mean Dice first."""
    if not len(cases):
        return []
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
