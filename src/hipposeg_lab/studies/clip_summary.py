"""What notebook 06 says of its planned runs: transfer by text alone, label efficiency, whether language is credited."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from hipposeg.data.cohort import Cohort
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.samples import shared
from hipposeg.experiments.zoo_clip import SHARES
from hipposeg.metrics import MEAN
from hipposeg.results import compare
from hipposeg.stats import holm

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


def by_prompts(table: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice by text alone for each set of prompts: value, low, high, seeds.

    table: what `clip_study.read` gives of TRANSFER, of runs with one schedule.
    """
    return compare.means(table[table["label"] == MEAN], "prompts")


def angles(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Cosines between the vectors of each two classes, a row for each set of prompts.

    table: what `clip_study.read` gives of COSINES, of one run. names: of the classes, background first.
    """
    rows: dict[str, dict[str, float]] = {}
    for row in table.itertuples():
        rows.setdefault(row.prompts, {})[f"{names[row.first]}, {names[row.second]}"] = row.cosine
    return pd.DataFrame(rows).T


def by_share(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice of the guided network and its twin at each share of people: columns row, series, value, low, high.

    rows: of `results.load`, on one fold.
    """
    found = []
    for schedule, chosen in _pairs(rows):
        for model, mean in compare.means(chosen).iterrows():
            found.append({"row": share_text(schedule), "series": model, **mean[["value", "low", "high"]]})
    return pd.DataFrame(found, columns=["row", "series", "value", "low", "high"])


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each schedule with the mean Dice rows of the guided network and its twin."""
    both = rows[rows["model"].isin((GUIDED, TWIN)) & (rows["label"] == MEAN)]
    for schedule in (*SHARES, ALL):
        yield schedule, both[both["schedule"] == schedule]


def share_differences(rows: pd.DataFrame) -> pd.DataFrame:
    """The guided network minus its twin at each share of people, with Holm over the shares; index: share in words.

    rows: of `results.load`, on one fold. A share's two models learn from the same people, seed by seed.
    """
    found = {}
    for schedule, chosen in _pairs(rows):
        table = compare.differences(chosen, TWIN)
        if len(table):
            found[share_text(schedule)] = table.iloc[0]
    table = pd.DataFrame(list(found.values()), index=list(found), columns=list(compare.DIFFERENCES))
    # Each came alone; together they are one family, of as many comparisons as were planned.
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

    verdicts: of `compare.by_family`, models minus GUIDED: index (family, model), column verdict. Language is credited
    only if both models are behind whose class vectors have the text's angles and nothing else of it. Without a
    conclusion (fewer than three seeds, or no run) its question stays open.
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
