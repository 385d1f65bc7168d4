"""Does a slice find its caption among those of other people, and a caption its slice? Against chance, and raw pixels.

Captions repeat: many slices of different people share all facts. So a caption that is looked for is a candidate once,
however often it stands there (else one wrong caption could fill all first places), with the score of its best wording;
where slices are looked for, any one with equal facts counts as found, and chance is computed with these duplicates.
Candidates come from slices of OTHER held-out people; the query's own person, whose other hippocampus looks alike, is
left out. The same candidates are ranked by the raw pixels of their slices: a nearest neighbour that has learned
nothing, and that may look at the candidates' images instead of reading their captions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hipposeg.stats import interval, paired, signed

IMAGE_TO_TEXT, TEXT_TO_IMAGE = "image to text", "text to image"
CLIP, PIXELS, CHANCE = "CLIP", "raw pixels", "chance"
TOPS = (1, 5, 10)
# What two sources are compared by, in words.
COMPARED = {"recall1": "first", "recall10": "first 10"}
COLUMNS = ("case", "subject", "direction", "source", "queries", *(f"recall{k}" for k in TOPS), "rank")


def ranks(scores: np.ndarray, equal: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(Q,) rank of the first candidate that counts as found, from 1; NaN where no allowed candidate does.

    scores: (Q, N), higher is nearer. equal: (Q, N) bool, has the query's facts. allowed: (Q, N) bool, is a candidate.
    A wrong candidate of the same score stands before the right one.
    """
    right = allowed & equal
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    ahead = (allowed & ~equal & (scores >= best)).sum(1)
    return np.where(right.any(1), ahead + 1.0, np.nan)


def by_caption(scores: np.ndarray, kinds: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(Q, K) best score among the allowed candidates of each kind of caption; -inf for a kind without any.

    scores: (Q, N). kinds: (N,) integers from 0 to K - 1. allowed: (Q, N) bool.
    """
    open_ = np.where(allowed, scores, -np.inf)
    return np.stack([open_[:, kinds == kind].max(1) for kind in range(kinds.max() + 1)], axis=1)


def beyond(right: np.ndarray, candidates: np.ndarray, top: int) -> np.ndarray:
    """Chance that none of `right` candidates is among the first `top` of `candidates` in random order; arrays (Q,)."""
    chance = np.ones(len(right))
    for drawn in range(top):
        left = candidates - drawn
        chance *= np.divide(np.maximum(left - right, 0), left, out=np.zeros(len(right)), where=left > 0)
    return chance


def chance_rank(right: np.ndarray, candidates: np.ndarray) -> float:
    """The median rank of the first right candidate, over queries and random orders; NaN without a query."""
    if not len(right):
        return float("nan")
    left, top = np.ones(len(right)), 0
    while left.mean() > 0.5:
        left *= np.divide(np.maximum(candidates - top - right, 0), candidates - top,
                          out=np.zeros(len(right)), where=candidates > top)  # fmt: skip
        top += 1
    return float(top)


def study(
    similarity: np.ndarray, pixels: np.ndarray, said: Sequence[object], cases: np.ndarray, people: Mapping[int, int]
) -> pd.DataFrame:
    """Recall among the first TOPS and median rank of every case, direction and source: columns COLUMNS.

    similarity: (N, N), of slice i with the caption of slice j. pixels: (N, N), how near slices i and j are, symmetric;
    higher is nearer. said: facts of each slice. cases: (N,) case numbers. people: case -> person. queries: slices of
    the case whose facts some slice of another person shares; others cannot be found and are left out.
    """
    number = {one: index for index, one in enumerate(dict.fromkeys(said))}
    kinds = np.array([number[one] for one in said])
    persons = np.array([people[case] for case in cases])
    equal, allowed = kinds[:, None] == kinds, persons[:, None] != persons
    own, there = kinds[:, None] == np.arange(len(number)), by_caption(allowed.astype(float), kinds, allowed) > 0
    found = {
        (IMAGE_TO_TEXT, CLIP): ranks(by_caption(similarity, kinds, allowed), own, there),
        (TEXT_TO_IMAGE, CLIP): ranks(similarity.T, equal, allowed),
        (IMAGE_TO_TEXT, PIXELS): ranks(by_caption(pixels, kinds, allowed), own, there),
        (TEXT_TO_IMAGE, PIXELS): ranks(pixels.T, equal, allowed),
    }
    # Of each direction: how many candidates are right, and how many there are.
    counts = {
        IMAGE_TO_TEXT: ((own & there).sum(1), there.sum(1)),
        TEXT_TO_IMAGE: ((equal & allowed).sum(1), allowed.sum(1)),
    }
    rows = []
    for case in dict.fromkeys(cases.tolist()):
        chosen = (cases == case) & (equal & allowed).any(1)
        row = {"case": case, "subject": people[case], "queries": int(chosen.sum())}
        for (direction, source), rank in found.items():
            recalls = {f"recall{k}": _mean(rank[chosen] <= k) for k in TOPS}
            middle = float(np.median(rank[chosen])) if chosen.any() else float("nan")
            rows.append({**row, "direction": direction, "source": source, **recalls, "rank": middle})
        for direction, (right, candidates) in counts.items():
            drawn = right[chosen], candidates[chosen]
            recalls = {f"recall{k}": _mean(1 - beyond(*drawn, k)) for k in TOPS}
            rows.append({**row, "direction": direction, "source": CHANCE, **recalls, "rank": chance_rank(*drawn)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over cases of each recall and of the median rank, with 95 % intervals over people.

    table: of `study`, of one run. Columns direction, source, what (a column of `study`), value, low, high.
    """
    rows = []
    for (direction, source), group in table.groupby(["direction", "source"], sort=False):
        for what in (*(f"recall{k}" for k in TOPS), "rank"):
            found = vars(interval(group[what].to_numpy(), group["subject"].to_numpy()))
            rows.append({"direction": direction, "source": source, "what": what, **found})
    return pd.DataFrame(rows)


def advantage(table: pd.DataFrame) -> pd.DataFrame:
    """CLIP minus raw pixels in recall, on the same queries, with 95 % intervals over people (and seeds).

    table: of `study`, of one run, or of several with a column seed. Columns direction, what ("first", "first 10"),
    difference, low, high, people, seeds. A person counts once.
    """
    table = table if "seed" in table else table.assign(seed=0)
    subjects = table.drop_duplicates("case").set_index("case")["subject"].sort_index()
    rows = []
    for direction, group in table.groupby("direction", sort=False):
        for recall, what in COMPARED.items():
            sides = (group[group["source"] == source].pivot(index="seed", columns="case", values=recall)
                     for source in (CLIP, PIXELS))  # fmt: skip
            found = paired(*(side[subjects.index].to_numpy() for side in sides), subjects.to_numpy())
            row = {"difference": found.difference, "low": found.low, "high": found.high}
            rows.append({"direction": direction, "what": what, **row, "people": found.n_people, "seeds": found.n_seeds})
    return pd.DataFrame(rows)


def in_words(found: pd.DataFrame) -> str:
    """What `advantage` found, as one line of Markdown: each difference, and whether its interval excludes zero.

    Not in a verdict's words: those take three seeds.
    """
    told = []
    for row in found.itertuples():
        shown = "excludes zero" if row.low > 0 or row.high < 0 else "holds zero"
        ends = f"{signed(row.low, 3)} to {signed(row.high, 3)}, which {shown}"
        told.append(f"{row.direction}, {row.what}: **{signed(row.difference, 3)}** ({ends})")
    return "; ".join(told)
