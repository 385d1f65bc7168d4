"""What notebook 06 tells of the series: transfer by text alone, label efficiency, and whether language is credited."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from hipposeg.data.cohort import Cohort
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.run import RunResult
from hipposeg.experiments.samples import shared
from hipposeg.experiments.zoo_clip import SHARES
from hipposeg.files import read_json
from hipposeg.metrics import MEAN
from hipposeg.results import compare
from hipposeg.stats import holm
from hipposeg_lab.studies.clip_study import COSINES, TRANSFER

CLIP, GUIDED, TWIN = "hippoclip", "clip2d-guided", "clip2d-unguided"
# Guided by class vectors with the text's angles, whose directions are not the text's.
WITHOUT_TEXT = ("clip2d-same-angles", "clip2d-rotated")
ALL = "standard"
# What a verdict on the twin, compared with the guided network, says of guidance.
_WHOLE = {
    "behind": f"Guidance as a whole is shown to help (`{TWIN}` is behind)",
    "ahead": f"Guidance as a whole is shown to harm (`{TWIN}` is ahead)",
    "equivalent": f"Guidance as a whole makes no difference that matters (`{TWIN}` is equivalent)",
    "undecided": f"Guidance as a whole is not shown to help (`{TWIN}` is undecided)",
}


def share_text(schedule: str) -> str:
    """A schedule's share of the training people, in words."""
    return f"{SHARES[schedule]:.0%} of the people" if schedule in SHARES else "all training people"


def by_prompts(results: Sequence[RunResult]) -> pd.DataFrame:
    """Mean Dice by text alone for each set of prompts: value, low, high, seeds. results: CLIP runs of one schedule."""
    table = compare.side_table(results, TRANSFER)
    return compare.means(table[table["label"] == MEAN], "prompts") if len(table) else pd.DataFrame()


def angles(result: RunResult, names: Sequence[str]) -> pd.DataFrame:
    """Cosines between the vectors of each two classes, a row for each set of prompts.

    result: a CLIP's run that left COSINES. names: of the classes, background first.
    """
    rows = {}
    for kind, table in read_json(result.folder / COSINES).items():
        rows[kind] = {f"{names[i]}, {names[j]}": table[i][j] for i, j in combinations(range(len(names)), 2)}
    return pd.DataFrame(rows).T


def by_share(results: Sequence[RunResult]) -> pd.DataFrame:
    """Mean Dice of the guided network and its twin at each share of people: columns row, series, value, low, high."""
    rows = []
    for schedule in (*SHARES, ALL):
        chosen = [one for one in results if one.run.schedule == schedule and one.run.model in (GUIDED, TWIN)]
        for model, found in compare.means(compare.scores(chosen)).iterrows() if chosen else ():
            rows.append({"row": share_text(schedule), "series": model, **found[["value", "low", "high"]]})
    return pd.DataFrame(rows, columns=["row", "series", "value", "low", "high"])


def share_differences(results: Sequence[RunResult]) -> pd.DataFrame:
    """The guided network minus its twin at each share of people, with Holm over the shares; index: share in words.

    A share's two models learn from the same people, seed by seed.
    """
    found = {}
    for schedule in (*SHARES, ALL):
        chosen = [one for one in results if one.run.schedule == schedule and one.run.model in (GUIDED, TWIN)]
        table = compare.differences(compare.scores(chosen), TWIN)
        if len(table):
            found[share_text(schedule)] = table.iloc[0]
    table = pd.DataFrame(list(found.values()), index=list(found), columns=list(compare.DIFFERENCES))
    # Each came alone; together they are one family, of as many comparisons as were declared.
    table["p_holm"] = holm(table["p_holm"].to_numpy(dtype=float), len(SHARES) + 1)
    return table


def batch_sizes(cohort: Cohort, cases: list[int]) -> dict[str, int]:
    """The most slices that a batch of HippoCLIP's can hold at each share of the people: one a person.

    cases: of all training people. Index: share in words.
    """
    sizes = {}
    for schedule in (*SHARES, ALL):
        recipe = MODELS[CLIP].training(schedule)
        people = {cohort.cases[number].subject for number in shared(cohort, cases, recipe.share, 0)}
        sizes[share_text(schedule)] = min(recipe.batch, len(people))
    return sizes


def language(verdicts: pd.DataFrame) -> str:
    """What the controls say of guidance and of language, in one sentence.

    verdicts: of `seeds.by_family`, models minus GUIDED: index (family, model), column verdict. Language is credited only if
    both models fall behind whose class vectors have the text's angles and nothing else of it. A verdict that is not there
    (a model without three seeds, or none) leaves its question open.
    """
    found = {model: verdict for (_, model), verdict in verdicts["verdict"].items()}
    said = {model: found.get(model) for model in WITHOUT_TEXT}
    if not set(said.values()) <= set(compare.VERDICTS):
        credit = "whether any of it is the language is open"
    elif set(said.values()) == {"behind"}:
        credit = f"language is credited, as {_listed(said)}"
    else:
        credit = f"language is not credited, as {_listed(said)}"
    whole = _WHOLE.get(found.get(TWIN), "Whether guidance as a whole helps is open")
    return f"{whole}, and {credit}; the captions that the guide learned from came from training labels."


def _listed(said: Mapping[str, str]) -> str:
    return " and ".join(f"`{model}` is {verdict}" for model, verdict in said.items())
