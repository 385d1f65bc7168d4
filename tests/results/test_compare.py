"""Means, paired differences and conclusions against values computed by hand."""

import numpy as np
import pandas as pd
import pytest
from frames import rows, three

from hipposeg.experiments.registry import RunSpec
from hipposeg.results import compare
from hipposeg.results.load import ATLAS


def one(model, dice, **changes):
    return rows(RunSpec(model), dice, **changes)


def test_a_mean_is_over_cases_and_its_interval_over_subjects():
    # Subject 1 has 0.8 and 0.9, subject 2 has 0.6 alone. Bootstrap samples: only subject 1, both, only subject 2.
    found = compare.means(one("a", [0.8, 0.9, 0.6])).loc["a"]
    assert found.tolist() == pytest.approx([2.3 / 3, 0.6, 0.85, 1])
    # One subject, two seeds: samples of seeds are the first alone, both, the second alone.
    seeds = pd.concat([rows(RunSpec("b", seed=seed), [dice]) for seed, dice in enumerate((0.5, 0.7))])
    assert compare.means(seeds).loc["b"].tolist() == pytest.approx([0.6, 0.5, 0.7, 2])
    both = compare.means(pd.concat([seeds, one("a", [0.8])]))
    assert list(both.index) == ["b", "a"] and list(both.columns) == ["value", "low", "high", "seeds"]


def test_stacked_rows_are_sorted_and_complete():
    frame = pd.concat([rows(RunSpec("a", seed=seed), [0.1 + seed, 0.2 + seed, 0.3 + seed]) for seed in (1, 0)])
    values, subjects = compare.stacked(frame.sample(frac=1, random_state=0))
    assert values.tolist() == [[0.1, 0.2, 0.3], [1.1, 1.2, 1.3]] and subjects.tolist() == [1, 1, 2]
    doubled = pd.concat([frame.iloc[:-1], frame.iloc[:1]])  # one case twice, another missing
    for wrong in (frame.iloc[1:], pd.concat([frame, frame]), doubled):
        with pytest.raises(ValueError, match="for 2 seeds of 3 cases; expected every case once"):
            compare.stacked(wrong)


def test_a_difference_is_paired_and_over_subjects():
    # Differences by case: 0.1, 0.3 (subject 1: 0.2), 0.0 (subject 2: 0). Their mean is over subjects.
    found = compare.differences(pd.concat([one("a", [0.6, 0.9, 0.7]), one("ref", [0.5, 0.6, 0.7])]), "ref").loc["a"]
    assert found[["difference", "low", "high"]].tolist() == pytest.approx([0.1, 0.0, 0.2])
    assert (found["subjects"], found["seeds"], found["conclusion"]) == (2, 1, "none: 1 seed") and np.isnan(
        found["p_holm"]
    )
    # A case without a value in one group is left out of both.
    found = compare.differences(pd.concat([one("a", [0.6, np.nan, 0.7]), one("ref", [0.5, 0.6, 0.7])]), "ref").loc["a"]
    assert found["difference"] == pytest.approx(0.05)


def test_p_values_are_wilcoxons_and_adjusted_by_holm():
    # Six subjects. "a" is better in all: p = 2 / 2^6. "b" is worse in the one with the smallest difference: of all sign
    # patterns, two have a rank sum of at most 1 on each side, so p = 4 / 2^6.
    gains = {"a": [1, 2, 3, 4, 5, 6], "b": [-1, 2, 3, 4, 5, 6], "ref": [0] * 6}
    frame = pd.concat([one(name, 0.5 + np.repeat(gain, 2) / 100) for name, gain in gains.items()])
    found = compare.differences(frame, "ref")["p_holm"]
    assert found.to_dict() == pytest.approx({"a": 2 * 2 / 64, "b": max(2 * 2 / 64, 4 / 64)})
    found = compare.differences(frame, "ref", declared=3)["p_holm"]
    assert found.to_dict() == pytest.approx({"a": 3 * 2 / 64, "b": 2 * 4 / 64}), "one of three is not finished yet"


def test_conclusions_follow_from_the_interval_and_three_seeds():
    better, worse, same = three("better", 0.83), three("worse", 0.75), three("same", 0.8, spread=0.001)
    unclear = pd.concat([rows(RunSpec("unclear", seed=s, schedule="S"), [0.7, 0.7, 0.92, 0.92]) for s in range(3)])
    few = pd.concat([rows(RunSpec("ref", seed=s, schedule="S"), [0.8] * 4) for s in range(3)])
    found = compare.differences(pd.concat([three("ref", 0.8), better, worse, same, better.assign(model="two").query(
        "seed < 2")]), "ref")  # fmt: skip
    assert found["conclusion"].to_dict() == {
        "better": "better", "worse": "worse", "same": "equivalent", "two": "none: 2 seeds"
    }  # fmt: skip
    assert found.loc["better", ["difference", "low", "high"]].tolist() == pytest.approx([0.03] * 3), "no spread at all"
    assert compare.differences(pd.concat([few, unclear]), "ref")["conclusion"].tolist() == ["inconclusive"]


@pytest.mark.parametrize(("column", "value"), [
    ("folds", "nnunet"), ("fold", 1), ("schedule", "S"), ("device", "cuda"), ("data_sha256", "e")
])  # fmt: skip
def test_settings_are_not_mixed_but_the_atlas_has_no_training(column, value):
    other = one("a", 0.9).assign(**{column: value})
    found = compare.differences(pd.concat([other, one("ref", 0.8)]), "ref").loc["a"]
    assert np.isnan(found["difference"]) and found["conclusion"] == "not compared: another setting"
    atlas = one(ATLAS, 0.7, steps=0)
    found = compare.differences(pd.concat([other, atlas]), ATLAS).loc["a"]
    trained_only = column in ("schedule", "device")
    assert found["difference"] == (pytest.approx(0.2) if trained_only else pytest.approx(np.nan, nan_ok=True))


def test_processors_and_precisions_are_mixed_and_other_cases_are_not_compared():
    frame = pd.concat([one("a", 0.9, processor="B", precision="fp32"), one("b", 0.9, cases=10), one("ref", 0.8)])
    found = compare.differences(frame, "ref")
    assert found.loc["a", "difference"] == pytest.approx(0.1)
    assert found.loc["b", "conclusion"] == "not compared: other cases"
    assert compare.differences(frame, "absent").empty and list(compare.differences(frame, "absent")) == [
        *compare.DIFFERENCES
    ]


def test_each_family_is_adjusted_by_itself():
    frame = pd.concat([
        *(three(model, dice) for model, dice in (("ref", 0.80), ("better", 0.83), ("worse", 0.75))),
        three("same", 0.8, spread=0.001),
        rows(RunSpec("better", fold=1, schedule="S"), 0.1), rows(RunSpec("better"), 0.1),  # other folds and schedules
        three("better", 0.1).assign(label="anterior"),
    ])  # fmt: skip
    found = compare.by_family(frame, "ref", {"one": ("better", "worse"), "two": ("same", "absent")}, "S")
    assert list(found.index) == [("one", "better"), ("one", "worse"), ("two", "same")]
    assert found["conclusion"].tolist() == ["better", "worse", "equivalent"]
    assert found["difference"].tolist() == pytest.approx([0.03, -0.05, 0.0])
    # 12 subjects, all better: 2 / 2^12 (up to scipy's correction for ties), twice in a family of two.
    alone = compare.by_family(frame, "ref", {"one": ("better",)}, "S")
    assert found["p_holm"].iloc[0] == pytest.approx(2 * alone["p_holm"].iloc[0])
    assert compare.by_family(frame.query("model != 'ref'"), "ref", {"one": ("better",)}, "S").empty
