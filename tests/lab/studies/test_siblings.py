"""Both hippocampi of a subject: pairs, correlations against numpy, and what cancels out in a difference."""

import numpy as np
import pandas as pd
import pytest

from hipposeg_lab.studies import siblings

SUBJECTS = 40


def scored(shared, own, seed=0):
    """Rows of scores: 40 subjects with two volumes, three with one. shared, own: SD of errors."""
    rng, rows = np.random.default_rng(seed), []
    for person in range(1, SUBJECTS + 4):
        head, both = rng.normal(3000, 300), rng.normal(0, shared)
        for side in range(2 if person <= SUBJECTS else 1):
            true, error = head + rng.normal(0, 60), both + rng.normal(0, own)
            volumes = {"volume_true": true, "volume_predicted": true + error, "volume_bias": error}
            row = {"case": 2 * person - 1 + side, "subject": person, "label": "union", "dice": rng.uniform(0.8, 0.9)}
            rows.append(row | volumes)
    return pd.DataFrame(rows)


def test_pairs_are_of_subjects_with_two_volumes_in_order():
    cases = scored(50, 20)
    table = siblings.pairs(cases.sample(frac=1, random_state=1), "union")
    assert len(table) == SUBJECTS and (table["second"] == table["first"] + 1).all()
    by_case = cases.set_index("case")
    assert table["true_first"].tolist() == by_case.loc[table["first"], "volume_true"].tolist()
    assert table["error_second"].tolist() == by_case.loc[table["second"], "volume_bias"].tolist()
    with pytest.raises(ValueError, match="more than two"):
        siblings.pairs(pd.concat([cases, cases[cases["subject"] == 3]]), "union")


def test_study_by_numpy_and_what_cancels_out():
    cases = scored(80, 5)
    row = siblings.study({"run": cases}, ["union"]).iloc[0]
    pairs = cases[cases["subject"] <= SUBJECTS].set_index("subject")
    first, second = (pairs[pairs["case"] % 2 == odd] for odd in (1, 0))
    for name, column in (("true", "volume_true"), ("error", "volume_bias"), ("dice", "dice")):
        assert row[f"r_{name}"] == pytest.approx(np.corrcoef(first[column], second[column])[0, 1])
    gap = {name: second[column] - first[column] for name, column in (("t", "volume_true"), ("p", "volume_predicted"))}
    assert row["r_difference"] == pytest.approx(np.corrcoef(gap["t"], gap["p"])[0, 1])
    assert row["difference_bias"] == pytest.approx((gap["p"] - gap["t"]).mean())
    assert row["true_second_minus_first"] == pytest.approx(gap["t"].mean())
    assert row["subjects"] == SUBJECTS
    alone = siblings.study({"run": scored(5, 80)}, ["union"]).iloc[0]
    assert row["r_error"] > 0.9 > 0.5 > alone["r_error"], "shared errors go together"
    assert row["r_difference"] > 0.95 > 0.8 > alone["r_difference"], "and leave the difference alone"
