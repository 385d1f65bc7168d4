"""Image-text retrieval among slices of other subjects, compared with chance and with raw pixels.

Many slices share all facts, so captions repeat. A caption is therefore one candidate, with the score of its best
wording (else one wrong caption could fill all first places). Where slices are searched, any slice with equal facts
counts as found, and chance accounts for these duplicates. Candidates come from other test subjects; the query's own
subject, whose contralateral hippocampus looks alike, is left out. Raw pixels rank the same candidates by the distance
between slices: a nearest neighbour without learning, which may look at the candidates' images instead of captions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hipposeg.stats import interval, paired

IMAGE_TO_TEXT, TEXT_TO_IMAGE = "image to text", "text to image"
CLIP, PIXELS, CHANCE = "CLIP", "raw pixels", "chance"
TOPS = (1, 5, 10)
# What two sources are compared by, in words.
COMPARED = {"recall1": "first", "recall10": "first 10"}
COLUMNS = ("case", "subject", "direction", "source", "queries", *(f"recall{k}" for k in TOPS), "rank")


def ranks(scores: np.ndarray, equal: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Rank of the first correct candidate, from 1: (Q,), NaN without one. In ties, wrong candidates come first.

    All (Q, N). scores: higher is nearer. equal: has the query's facts. allowed: is a candidate.
    """
    right = allowed & equal
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    ahead = (allowed & ~equal & (scores >= best)).sum(1)
    return np.where(right.any(1), ahead + 1.0, np.nan)


def by_caption(scores: np.ndarray, kinds: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Best score (Q, K) among the allowed candidates (Q, N) of each kind of caption; -inf for a kind without any."""
    open_ = np.where(allowed, scores, -np.inf)
    return np.stack([open_[:, kinds == kind].max(1) for kind in range(kinds.max() + 1)], axis=1)


def beyond(right: np.ndarray, candidates: np.ndarray, top: int) -> np.ndarray:
    """Chance (Q,) that none of `right` candidates is among the first `top` of `candidates` in random order."""
    chance = np.ones(len(right))
    for drawn in range(top):
        left = candidates - drawn
        chance *= np.divide(np.maximum(left - right, 0), left, out=np.zeros(len(right)), where=left > 0)
    return chance


def chance_rank(right: np.ndarray, candidates: np.ndarray) -> float:
    """Median rank of the first correct candidate over queries and random orders; NaN without a query."""
    if not len(right):
        return float("nan")
    return float(next(top for top in range(candidates.max() + 1) if beyond(right, candidates, top).mean() <= 0.5))


def study(
    similarity: np.ndarray, pixels: np.ndarray, said: Sequence[object], cases: np.ndarray, subjects: Mapping[int, int]
) -> pd.DataFrame:
    """Recall among the first TOPS and median rank of every case, direction and source: columns COLUMNS.

    Args:
        similarity: (N, N), of slice i with the caption of slice j.
        pixels: (N, N), symmetric, of slice i with slice j; higher is nearer.
        said: facts of each slice. `queries` counts those that occur in another subject; others cannot be found.
        cases: case numbers (N,).
        subjects: case -> subject.
    """
    number = {one: index for index, one in enumerate(dict.fromkeys(said))}
    kinds = np.array([number[one] for one in said])
    owners = np.array([subjects[case] for case in cases])
    equal, allowed = kinds[:, None] == kinds, owners[:, None] != owners
    own, there = kinds[:, None] == np.arange(len(number)), by_caption(allowed.astype(float), kinds, allowed) > 0
    found = {
        (IMAGE_TO_TEXT, CLIP): ranks(by_caption(similarity, kinds, allowed), own, there),
        (TEXT_TO_IMAGE, CLIP): ranks(similarity.T, equal, allowed),
        (IMAGE_TO_TEXT, PIXELS): ranks(by_caption(pixels, kinds, allowed), own, there),
        (TEXT_TO_IMAGE, PIXELS): ranks(pixels.T, equal, allowed),
    }
    # Numbers of correct candidates and of all candidates.
    counts = {
        IMAGE_TO_TEXT: ((own & there).sum(1), there.sum(1)),
        TEXT_TO_IMAGE: ((equal & allowed).sum(1), allowed.sum(1)),
    }
    rows = []
    for case in dict.fromkeys(cases.tolist()):
        chosen = (cases == case) & (equal & allowed).any(1)
        first = case, subjects[case]
        queries = int(chosen.sum())
        for (direction, source), rank in found.items():
            middle = float(np.median(rank[chosen])) if queries else float("nan")
            rows.append((*first, direction, source, queries, *(_mean(rank[chosen] <= k) for k in TOPS), middle))
        for direction, (right, candidates) in counts.items():
            drawn = right[chosen], candidates[chosen]
            recalls = (_mean(1 - beyond(*drawn, k)) for k in TOPS)
            rows.append((*first, direction, CHANCE, queries, *recalls, chance_rank(*drawn)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over cases of recall and median rank of one run, with 95 % intervals over subjects."""
    rows = []
    for key, group in table.groupby(["direction", "source"], sort=False):
        for what in (*(f"recall{k}" for k in TOPS), "rank"):
            found = interval(group[what].to_numpy(), group["subject"].to_numpy())
            rows.append((*key, what, *vars(found).values()))
    return pd.DataFrame(rows, columns=["direction", "source", "what", "value", "low", "high"])


def advantage(table: pd.DataFrame) -> pd.DataFrame:
    """Recall of CLIP minus that of raw pixels on the same queries, with 95 % intervals over subjects and seeds.

    table: of `study`, with a column seed.
    """
    subjects = table.drop_duplicates("case").set_index("case")["subject"].sort_index()
    rows = []
    for direction, group in table.groupby("direction", sort=False):
        for recall, what in COMPARED.items():
            wide = group.pivot(index="seed", columns=["source", "case"], values=recall)
            found = paired(*(wide[source][subjects.index].to_numpy() for source in (CLIP, PIXELS)), subjects.to_numpy())
            ends = found.difference, found.low, found.high
            rows.append((direction, what, *ends, found.n_subjects, found.n_seeds))
    return pd.DataFrame(rows, columns=["direction", "what", "difference", "low", "high", "subjects", "seeds"])
