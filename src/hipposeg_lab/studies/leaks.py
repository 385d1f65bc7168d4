"""What leaks are worth: a leaking fold against its clean twin, with nothing else changed.

Both networks of a comparison are trained by one recipe, for as many steps, on as many volumes of as many people, and
are scored on the same ones. All that differs is whether the last volumes added are of scored people
(`data.leak_folds`). Differences are paired within people, over three seeds.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.plan import LEAKS, declared
from hipposeg.experiments.run import RunResult, load
from hipposeg.experiments.spec import RunSpec
from hipposeg.metrics import labels_of
from hipposeg.results import compare
from hipposeg_lab.studies.making import Context, Rows, Study, Unit

LEAKING, CLEAN = "leak", "clean"
ENDS = ("", "_low", "_high")
COLUMNS = (
    "kind", "label", "model", *(f"{side}{end}" for side in (LEAKING, CLEAN) for end in ENDS),
    "difference", "low", "high", "people", "seeds", "p_holm", "verdict",
)  # fmt: skip


def sides(results: Sequence[RunResult]) -> list[RunResult]:
    """The runs renamed by what their fold does, so that a leaking fold can be compared with its twin.

    Even folds leak. Folds 0 and 2 score different volumes of the same people, so each side covers all of them once.
    """
    return [
        replace(
            one, run=replace(one.run, model=(LEAKING, CLEAN)[one.run.fold % 2]), config=one.config | {"fold": "all"}
        )
        for one in results
    ]


def rows(results: Sequence[RunResult], kind: str, spec: DatasetSpec) -> list[dict[str, Any]]:
    """Rows of leaks.csv for one kind of leak, one a label. results: the runs of all its folds and seeds."""
    found = []
    for label in labels_of(spec):
        table = compare.scores(sides(results), label)
        means, difference = compare.means(table), compare.differences(table, CLEAN).loc[LEAKING]
        scores = {
            f"{side}{end}": means.loc[side, column]
            for side in (LEAKING, CLEAN)
            for end, column in zip(ENDS, ("value", "low", "high"), strict=True)
        }
        found.append({"kind": kind, "label": label, "model": results[0].run.model, **scores, **difference.to_dict()})
    return found


def _unit(kind: str, runs: tuple[RunSpec, ...]) -> Unit:
    def make(context: Context) -> Rows:
        return {"leaks": rows([load(context.ws, run) for run in runs], kind, context.cohort.spec)}

    return Unit(kind, runs, make)


STUDY = Study(
    "leaks",
    "What is a leak worth, by training?",
    {"leaks": COLUMNS},
    tuple(_unit(kind, tuple(run for run in declared("07") if run.folds == kind)) for kind in LEAKS),
    {"version": 1},
    weights=False,
)
