"""Families of comparisons, and what two schedules say of the same one."""

import numpy as np
import pandas as pd
import pytest

from hipposeg.experiments.run import RunResult
from hipposeg.experiments.spec import RunSpec
from hipposeg.results import compare

PEOPLE, CASES = 12, 24
NOISE = 0.002 * np.random.default_rng(0).standard_normal((9, CASES))


def made(model: str, dice: float, seed: int, schedule: str = "S", fold: int = 0) -> RunResult:
    """A run with invented scores: every case near `dice`."""
    values = dice + NOISE[3 * len(model) % 9] * 0.1 + NOISE[seed]
    cases = pd.DataFrame({"case": range(1, CASES + 1), "label": "mean", "dice": values})
    cases["subject"] = (cases["case"] + 1) // 2
    config = dict.fromkeys(("folds", "fold", "schedule", "data_sha256", "device", "precision", "torch"), "same")
    return RunResult(RunSpec(model, "grouped", fold, seed, schedule), config, cases, [], None, None)


def three(model: str, dice: float, schedule: str = "S") -> list[RunResult]:
    return [made(model, dice, seed, schedule) for seed in range(3)]


def test_each_family_is_compared_and_corrected_by_itself():
    results = [*three("ref", 0.80), *three("better", 0.83), *three("worse", 0.75), *three("same", 0.8004)]
    results += [made("better", 0.1, 0, fold=1), made("better", 0.1, 0, schedule="standard")]  # of other settings
    table = compare.by_family(results, "ref", {"one": ("better", "worse"), "two": ("same", "absent")}, "S")
    assert list(table.index) == [("one", "better"), ("one", "worse"), ("two", "same")]
    assert table["verdict"].tolist() == ["ahead", "behind", "equivalent"]
    assert table.loc[("one", "better"), "difference"] == pytest.approx(0.03, abs=1e-3)
    alone = compare.by_family(results, "ref", {"one": ("better",)}, "S")
    assert table.loc[("one", "better"), "p_holm"] >= alone.loc[("one", "better"), "p_holm"]
    words = compare.in_words(table, "`ref`")
    assert words == "Against `ref`: ahead `better`; behind `worse`; equivalent `same`."
    assert compare.by_family(results[3:], "ref", {"one": ("better",)}, "S").empty, "nothing without the reference"


def test_single_seeds_are_counted_as_open():
    table = compare.by_family([made("ref", 0.8, 0), made("x", 0.9, 0)], "ref", {"one": ("x",)}, "S")
    assert compare.in_words(table, "it") == "Against it: 1 without a verdict."


def test_conclusions_that_turn_around_with_the_budget_are_named():
    family = {"one": ("x", "y", "z")}
    short = [*three("ref", 0.80), *three("x", 0.83), *three("y", 0.83), made("z", 0.9, 0)]
    long = [*three("ref", 0.85, "L"), *three("x", 0.82, "L"), *three("y", 0.85, "L"), *three("z", 0.9, "L")]
    both = compare.flips(compare.by_family(short, "ref", family, "S"), compare.by_family(long, "ref", family, "L"))
    assert both["says"].tolist() == ["flips", "differs", "open"]
    assert both.loc[("one", "x"), "difference_short"] > 0 > both.loc[("one", "x"), "difference_long"]
    longer = [*three("ref", 0.85, "L"), *three("x", 0.8504, "L")]
    neither = [
        compare.by_family(runs, "ref", family, one).assign(verdict="undecided")
        for runs, one in ((short, "S"), (longer, "L"))
    ]
    assert compare.flips(*neither)["says"].tolist() == ["undecided"]
    nothing = compare.by_family([], "ref", family, "S")
    assert compare.flips(nothing, nothing).empty
    assert compare.flips(compare.by_family(short, "ref", family, "S"), nothing).empty


def test_how_far_a_difference_moves_with_the_budget_is_paired_over_cases_and_seeds():
    short = [*three("ref", 0.80), *three("x", 0.83), *three("y", 0.79), made("z", 0.8, 0)]
    long = [*three("ref", 0.85, "L"), *three("x", 0.82, "L"), *three("y", 0.84, "L"), *three("z", 0.9, "L")]
    table = compare.moved([*short, *long, made("x", 0.1, 0, fold=1)], "ref", ("x", "y", "z", "absent"), "S", "L")
    assert list(table.index) == ["x", "y"], "of z the seeds differ between the schedules"
    # x: 0.82 - 0.85 long, 0.83 - 0.80 short. The cases' noise is the same in all four and cancels.
    assert table["difference"].tolist() == pytest.approx([-0.06, 0.0], abs=1e-9)
    assert table["verdict"].tolist() == ["behind", "equivalent"]
    other = [made("x", 0.82, seed, "L") for seed in range(3)]
    for one in other:
        one.config["device"] = "another"
    assert compare.moved([*short, *long[:3], *other], "ref", ("x",), "S", "L").empty, "machines are not mixed"
