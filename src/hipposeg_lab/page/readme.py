"""Results blocks in texts; README's is made of the same files as the page, by the same formatting."""

import re
from pathlib import Path

from hipposeg import files
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.workspace import Workspace
from hipposeg_lab.bench import summary
from hipposeg_lab.page import view
from hipposeg_lab.page.artifacts import Artifacts, ReportError, load
from hipposeg_lab.page.numbers import interval, show
from hipposeg_lab.studies.published import PUBLISHED

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_BLOCK = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)


def expected_block(ws: Workspace) -> str:
    """The block, markers included, computed from the artifacts of `ws`. Raises ReportError on damaged artifacts."""
    return "\n".join([BEGIN, *_lines(load(ws)), END])


def current_block(text: Path) -> str:
    """The block, markers included, of the file. Raises ReportError unless there is exactly one."""
    found = _BLOCK.findall(text.read_text(encoding="utf-8"))
    if len(found) != 1:
        raise ReportError(f"{text.name} has {len(found)} results blocks; expected one, between {BEGIN} and {END}")
    return found[0]


def update(text: Path, new: str) -> bool:
    """Put a block into the file; returns whether anything changed. Raises ReportError as `current_block` does."""
    old = current_block(text)
    if old == new:
        return False
    files.write_text(text, text.read_text(encoding="utf-8").replace(old, new))
    return True


def _lines(art: Artifacts) -> list[str]:
    rows = view.main_rows(art)
    head = view.headline(art, rows)
    if head is None:
        return ["No network has been scored yet: run `make all`."]
    return [*_five_folds(art), _fold(art, head), "", *_table(art, rows), "", *_notes(art)]


def _five_folds(art: Artifacts) -> list[str]:
    """One line for each kind of folds with a score for every volume, and what nnU-Net reports."""
    lines = [
        f"- all {one.row['volumes']} volumes, {one.text}: **{show(one.row['dice'], 'score')}** "
        f"({interval(one.row['low'], one.row['high'], 'score')})"
        + (f"; image-free atlas: {show(one.atlas['dice'], 'score')}" if one.atlas else "")
        for one in view.five_folds(art)
    ]
    title = f"The flagship `{FLAGSHIP}` over five folds, one network a fold, mean Dice (95 % interval):"
    theirs = f"- {PUBLISHED[0].method}, as published, on the second kind of folds: {show(PUBLISHED[0].mean, 'score')}"
    return [title, "", *lines, theirs, ""] if lines else []


def _table(art: Artifacts, rows: list[view.RunRow]) -> list[str]:
    """Mean Dice, parameters and training time of the main runs; times are the benchmark's, from one idle machine."""
    minutes, cells = summary.standard_minutes(art.bench), []
    for row in rows:
        atlas = row.run.is_atlas
        parameters = "none" if atlas else show(row.run.config["params"], "millions")
        took = "none" if atlas else show(minutes.get(row.model), "schedule")
        dice = f"{show(row.get('mean', 'dice'), 'score')}"
        cells.append(f"| {MODELS[row.model].title} | {dice} | {parameters} | {took} |")
    heads = ["| Model | Mean Dice | Parameters | Training, minutes |", "|---|---:|---:|---:|"]
    return [*heads, *cells]


def _fold(art: Artifacts, head: view.Headline) -> str:
    """Which volumes the table's scores are of."""
    who = "synthetic subjects" if art.ws.is_phantom else "unseen subjects"
    count = f"{show(head.best.run.config['n'], 'count')} volumes of {show(head.n_subjects, 'count')} {who}"
    return f"On the first of the folds split by subject ({count}):"


def _notes(art: Artifacts) -> list[str]:
    """The times of each kind of CPU that the benchmark measured, and what others report."""
    lines = []
    for kind in art.bench.get("kinds", ()):
        seconds = show(kind["first_s"], "times")
        lines.append(
            f"Two idle cores of {kind['cpu']}: {show(kind['schedule_minutes'][kind['precision']], 'schedule')} minutes "
            f"to train the flagship, {seconds} s to segment a crop from a cold start."
        )
    return [" ".join(lines), *_claims(art)]


def _claims(art: Artifacts) -> list[str]:
    """One line a published project: its first claim, and what its configuration scores by the rules of this project."""
    found = {}
    for row in art.rows("claims"):
        found.setdefault(row["project"], row)
    lines = [
        f"- [{name}]({row['url']}): {show(row['claimed'], 'score')}"
        f"{' on other data' if 'other data' in row['method'] else ''}, here {show(row['ours'], 'score')}"
        for name, row in found.items()
    ]
    title = "Dice that published student projects report, and of their configuration on that fold:"
    return ["", title, "", *lines] if lines else []
