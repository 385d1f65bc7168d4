"""The page of a folder of results: scores, figures and warnings in one file."""

import base64
import html
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from hipposeg import files
from hipposeg.anydata.subjects import NO_RULE
from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DatasetSpec
from hipposeg.metrics import MEAN, UNION
from hipposeg.results import load, store
from hipposeg.results.load import Run
from hipposeg.results.tables import cases_by_rule, readable, summary
from hipposeg.stats import interval
from hipposeg.viz import intervals, slices, style
from hipposeg.workspace import Workspace

MEANING = (
    "Intervals resample subjects. In folds called grouped and test, no scored subject was trained on; in those called "
    "nnunet, which split by volume, some may have been."
)
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1f2933 }
img { max-width: 100% } table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0 }
td, th { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #e4e7eb; white-space: nowrap }
.warning { color: #a63d00; font-weight: bold }
"""


def write(out: Path, cohort: Cohort, ws: Workspace) -> Path:
    """Write `scores.png`, `cases.png` and `page.html` into the folder of results; returns the page."""
    style.use_style()
    frame = load.load(ws)
    spec, parts = cohort.spec, []
    warnings = [f"No rule says which cases are one subject: {NO_RULE}."] if spec.subject_rule == NO_RULE else []
    warnings += cohort.warnings
    parts += [f'<p class="warning">{html.escape(text)}</p>' for text in warnings]
    parts.append(
        f"<p>{len(cohort.cases)} labelled cases of {len(cohort.people)} subjects. Subjects: "
        f"{html.escape(spec.subject_rule)}. Channels: {html.escape(', '.join(spec.channels))}.</p>"
    )
    if len(frame):
        shown = _pooled(frame)
        table = readable(summary(shown, spec), {run: run for run in shown["run"].unique()}, spec)
        table["training (min)"] = (frame.drop_duplicates("run").set_index("run")["train_s"] / 60).round(1)
        parts += ["<h2>Test cases</h2>", f"<p>{MEANING}</p>", table.to_html(na_rep="")]
        parts.append(_figure(out / "scores.png", _scores(shown, spec), "Mean Dice with its 95 % interval."))
        found = load.runs(frame, ws)
        if found[-1].values().notna().any():
            caption = f"Best, median and worst test case of {found[-1].name}."
            parts.append(_figure(out / "cases.png", _cases(found[-1], cohort), caption))
        parts += _curves(found)
    evaluated = store.read_table(out / "evaluation.csv", ("run",), dtype={"without": str})
    if len(evaluated):
        parts += ["<h2>Training, validation and test; other data; missing channels</h2>", _parts(evaluated).to_html()]
    body = "\n".join(parts)
    title = html.escape(spec.title)
    files.write_text(
        out / "page.html",
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{body}\n</html>\n",
    )
    return out / "page.html"


def _pooled(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of all runs, with those of several folds of one model once more as one run."""
    found = [frame]
    for (model, kind, seed, schedule), rows in frame.groupby(["model", "folds", "seed", "schedule"], sort=False):
        if rows["fold"].nunique() > 1:
            name = f"{model}, {kind}, seed {seed}, {schedule}: {rows['fold'].nunique()} folds together"
            found.append(rows.assign(run=name))
    return pd.concat(found, ignore_index=True)


def _parts(evaluated: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice of each class in each part that was evaluated, with the interval of their mean."""
    rows = []
    for key, group in evaluated.fillna({"without": ""}).groupby(["run", "data", "without", "part"], sort=False):
        means = group.groupby("label", sort=False)["dice"].mean()
        mean = group[group["label"] == MEAN]
        ends = interval(mean["dice"].to_numpy(), mean["subject"].to_numpy())
        rows.append(
            dict(zip(("run", "data", "without", "part"), key, strict=True))
            | {label: f"{value:.3f}" for label, value in means.items() if label not in (MEAN, UNION)}
            | {"mean Dice": f"{ends.value:.3f}", "95 % interval": f"{ends.low:.3f} to {ends.high:.3f}"}
            | {"cases": len(mean)}
        )
    return pd.DataFrame(rows).set_index("run")


def _scores(frame: pd.DataFrame, spec: DatasetSpec) -> Figure:
    rows = []
    for (run, label), group in frame.groupby(["run", "label"], sort=False):
        if label != UNION:
            one = interval(group["dice"].to_numpy(), group["subject"].to_numpy())
            rows.append({"row": run, "series": label, "value": one.value, "low": one.low, "high": one.high})
    colours = {label.name: label.colour for label in spec.labels} | {MEAN: "#1f2933"}
    fig = intervals.dots(pd.DataFrame(rows), "Dice", colours)
    slices.heading(fig, f"Test cases of {spec.title}")
    return fig


def _cases(run: Run, cohort: Cohort) -> Figure:
    views = []
    for word, number in cases_by_rule(run.values()).items():
        case, title = cohort.cases[number], f"{word}: Dice {run.values()[number]:.3f}"
        masks = {"truth": case.label, "prediction": run.masks[number], "image": None}
        views.append(slices.CaseView(title, case.image[0], masks, case.spacing))
    spec = cohort.spec
    return slices.row_of_cases(views, spec, spec.title, axis=2)


def _curves(runs: Iterable[Run]) -> list[str]:
    """Dice of each class by epoch, a table a run: of the validation cases, or else of the test cases, for display."""
    parts = []
    for run in runs:
        if lines := [line for line in run.history if "dice_mean" in line]:
            table = pd.DataFrame(lines)
            columns = ["epoch", "loss", *(name for name in table if name.startswith("dice_"))]
            parts += [f"<h2>While {html.escape(run.name)} trained</h2>", table[columns].round(3).to_html(index=False)]
    return parts


def _figure(path: Path, fig: Figure, caption: str) -> str:
    style.save_figure(fig, path, phantom=False)
    plt.close(fig)
    content = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{content}"><figcaption>{text}</figcaption></figure>'
