"""Retrieval on matrices small enough to rank by hand, and chance against every order there is."""

import itertools

import numpy as np
import pandas as pd
import pytest

from hipposeg_lab.studies import retrieval
from hipposeg_lab.studies.retrieval import CHANCE, CLIP, IMAGE_TO_TEXT, PIXELS, TEXT_TO_IMAGE


def test_ranks_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.5, 0.5, 0.2], [0.4, 0.3, 0.2, 0.1]])
    equal = np.array([[0, 0, 1, 1], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
    allowed = np.ones_like(equal)
    # The first right one is third; a tie with a wrong one costs a place; the last query finds at once.
    assert retrieval.ranks(scores, equal, allowed).tolist() == [3, 2, 1]
    allowed[0, 0] = False  # the query's own subject is no candidate
    allowed[2, 0] = False
    found = retrieval.ranks(scores, equal, allowed)
    assert found[:2].tolist() == [2, 2] and np.isnan(found[2]), "a query without any right candidate has no rank"


@pytest.mark.parametrize(("right", "candidates"), [(1, 5), (2, 5), (3, 6), (5, 5)])
def test_chance_counts_duplicates_as_all_orders_do(right, candidates):
    ranks = []
    for order in itertools.permutations(range(candidates)):
        ranks.append(1 + min(order.index(one) for one in range(right)))
    for top in (1, 2, 3):
        expected = np.mean([rank > top for rank in ranks])
        found = retrieval.beyond(np.array([right]), np.array([candidates]), top)
        assert found.item() == pytest.approx(expected)
    # The median: half of the orders, or more, have found one by then.
    shares = [np.mean([rank <= top for rank in ranks]) for top in range(1, candidates + 1)]
    assert retrieval.chance_rank(np.array([right]), np.array([candidates])) == 1 + next(
        index for index, share in enumerate(shares) if share >= 0.5
    )


def test_study_by_hand():
    # Subjects 1 (cases 1, 2) and 2 (case 3). Slices 0, 1 of case 1, slice 2 of case 2, slices 3, 4 of case 3.
    cases, subjects = np.array([1, 1, 2, 3, 3]), {1: 1, 2: 1, 3: 2}
    said = ["a", "b", "a", "a", "c"]
    similarity = np.zeros((5, 5))
    similarity[0] = [9, 9, 9, 1, 2]  # slice 0 likes its own subject's captions, which do not count, then "c", then "a"
    similarity[2] = [0, 0, 0, 2, 1]  # finds the other subject's "a" at once
    similarity[3] = [1, 2, 3, 0, 0]  # finds "a" of case 2 first
    pixels = np.zeros((5, 5))
    pixels[0, 3] = pixels[3, 0] = 1.0
    table = retrieval.study(similarity, pixels, said, cases, subjects)
    at = table.set_index(["case", "direction", "source"])
    assert at.loc[(1, IMAGE_TO_TEXT, CLIP), "queries"] == 1, "nobody else has said b"
    assert at.loc[(1, IMAGE_TO_TEXT, CLIP), "rank"] == 2 and at.loc[(1, IMAGE_TO_TEXT, CLIP), "recall1"] == 0
    assert at.loc[(2, IMAGE_TO_TEXT, CLIP), "recall1"] == 1
    assert at.loc[(3, IMAGE_TO_TEXT, CLIP), "rank"] == 1
    assert at.loc[(1, IMAGE_TO_TEXT, PIXELS), "rank"] == 1
    # A tie with the wrong slice 4 costs a place.
    assert at.loc[(2, IMAGE_TO_TEXT, PIXELS), "rank"] == 2
    # Caption of slice 0 among slices 3 and 4: similarity[3, 0] = 1 is ahead of similarity[4, 0] = 0.
    assert at.loc[(1, TEXT_TO_IMAGE, CLIP), "rank"] == 1
    # Slice 3 has two right ones among three slices, which hold two captions: "a", once, and "b".
    assert at.loc[(1, IMAGE_TO_TEXT, CHANCE), "recall1"] == pytest.approx(1 / 2)
    assert at.loc[(3, IMAGE_TO_TEXT, CHANCE), "recall1"] == pytest.approx(1 / 2)
    assert at.loc[(3, TEXT_TO_IMAGE, CHANCE), "recall1"] == pytest.approx(2 / 3)
    assert list(table.columns) == list(retrieval.COLUMNS)
    summed = retrieval.summary(table).set_index(["direction", "source", "what"])
    assert summed.loc[(IMAGE_TO_TEXT, CLIP, "recall1"), "value"] == pytest.approx(2 / 3)


def recalls(rows):
    """A table as `study` gives it: rows of case, subject, recall of CLIP and of raw pixels, the same in all columns."""
    found = []
    for case, subject, clip, pixels in rows:
        for source, value in ((CLIP, clip), (PIXELS, pixels), (CHANCE, 0.0)):
            for direction in (IMAGE_TO_TEXT, TEXT_TO_IMAGE):
                sign = 1 if direction == IMAGE_TO_TEXT else -1
                values = sign * value, 0.0, sign * value / 2, 1.0
                found.append((case, subject, direction, source, 0, *values))
    columns = ["case", "subject", "direction", "source", "seed", "recall1", "recall5", "recall10", "rank"]
    return pd.DataFrame(found, columns=columns)


def test_the_advantage_over_pixels_counts_each_subject_once():
    # Subject 1 has two volumes that gain 0.4 and 0.2, subject 2 gains 0.1; a case without a query does not count.
    table = recalls([(4, 2, 0.3, 0.2), (1, 1, 0.9, 0.5), (2, 1, 0.4, 0.2), (6, 3, np.nan, np.nan)])
    found = retrieval.advantage(table).set_index(["direction", "what"])
    assert len(found) == 4 and (found["subjects"] == 2).all() and (found["seeds"] == 1).all()
    first = found.loc[(IMAGE_TO_TEXT, "first")]
    assert first["difference"] == pytest.approx((0.3 + 0.1) / 2)
    # Two people: a resample is one of them, the other, or both.
    assert (first["low"], first["high"]) == pytest.approx((0.1, 0.3))
    assert found.loc[(IMAGE_TO_TEXT, "first 10"), "difference"] == pytest.approx(0.1)
    assert found.loc[(TEXT_TO_IMAGE, "first"), "difference"] == pytest.approx(-0.2)
