"""Does a slice find its caption among those of other people, and a caption its slice? Against chance, and raw pixels.

Captions repeat: many slices of different people share all facts. So any candidate with equal facts counts as found, and
chance is computed with these duplicates. Candidates are slices of OTHER held-out people; the query's own person, whose
other hippocampus looks alike, is left out. The same candidates are ranked by the raw pixels of their slices: a nearest
neighbour that has learned nothing, and that may look at the candidates' images instead of reading their captions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hipposeg.stats import interval

IMAGE_TO_TEXT, TEXT_TO_IMAGE = "image to text", "text to image"
CLIP, PIXELS, CHANCE = "CLIP", "raw pixels", "chance"
TOPS = (1, 5, 10)
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
    right, candidates = (equal & allowed).sum(1), allowed.sum(1)
    found = {
        (IMAGE_TO_TEXT, CLIP): ranks(similarity, equal, allowed),
        (TEXT_TO_IMAGE, CLIP): ranks(similarity.T, equal, allowed),
        (IMAGE_TO_TEXT, PIXELS): ranks(pixels, equal, allowed),
        (TEXT_TO_IMAGE, PIXELS): ranks(pixels.T, equal, allowed),
    }
    rows = []
    for case in dict.fromkeys(cases.tolist()):
        chosen = (cases == case) & (right > 0)
        row = {"case": case, "subject": people[case], "queries": int(chosen.sum())}
        for (direction, source), rank in found.items():
            recalls = {f"recall{k}": _mean(rank[chosen] <= k) for k in TOPS}
            middle = float(np.median(rank[chosen])) if chosen.any() else float("nan")
            rows.append({**row, "direction": direction, "source": source, **recalls, "rank": middle})
        recalls = {f"recall{k}": _mean(1 - beyond(right[chosen], candidates[chosen], k)) for k in TOPS}
        middle = chance_rank(right[chosen], candidates[chosen])
        for direction in (IMAGE_TO_TEXT, TEXT_TO_IMAGE):
            rows.append({**row, "direction": direction, "source": CHANCE, **recalls, "rank": middle})
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
