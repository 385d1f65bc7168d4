"""Studies of CLIPs: what their hook keeps, label efficiency, and what is credited to language."""

import numpy as np
import pandas as pd
import pytest
import torch
from guided import GUIDE, RUN
from stored_runs import invented, three

from hipposeg.data.captions import AXIS, KINDS
from hipposeg.experiments import weights
from hipposeg.experiments.registry import MODELS, needed_by
from hipposeg.results import compare, load, tables
from hipposeg.training.machine import Machine
from hipposeg_lab.studies import clip_study, retrieval

MACHINE = Machine("cpu", "fp32", 1)


def test_the_hook_keeps_the_studies_of_a_clip(eight, guided_run):
    ws, led = guided_run
    clip, scored = load.get(ws, GUIDE.name), eight.folds["grouped"][0]["scored"]
    table = clip_study.read(ws, clip_study.RETRIEVAL, clip.rows)
    assert list(table.columns) == ["run", *retrieval.COLUMNS, "seed"] and sorted(table.case.unique()) == scored
    moved = clip_study.read(ws, clip_study.TRANSFER, clip.rows)
    assert len(moved) == len(scored) * len(KINDS) * 3
    own = clip.rows.set_index(["case", "label"])["dice"]
    first = moved[moved["prompts"] == "geometric"].set_index(["case", "label"])["dice"]
    for key, value in first.items():
        assert value == pytest.approx(own[key], abs=1e-6), "its own scores are those of the first set of prompts"
    assert list(clip_study.by_prompts(moved).index) == list(KINDS)
    assert clip_study.read(ws, clip_study.RETRIEVAL, led.rows).empty, "only CLIPs are studied"
    cosines = clip_study.read(ws, clip_study.COSINES, clip.rows)
    angles = clip_study.angles(cosines, ("background", "anterior", "posterior"))
    assert list(angles.columns) == ["background, anterior", "background, posterior", "anterior, posterior"]
    assert list(angles.index) == list(KINDS)
    last = cosines[(cosines["prompts"] == "words") & (cosines["first"] == 1) & (cosines["second"] == 2)]
    assert angles.loc["words", "anterior, posterior"] == last["cosine"].item()


def test_examples_show_the_slices_that_their_captions_are_of(eight):
    prep, train = MODELS["hippoclip"].prep, eight.folds["grouped"][0]["train"]
    case, found = eight.cohort.cases[train[0]], clip_study.examples(eight.cohort, prep, train, train[0], 6)
    for image, label, text in found:
        at = [i for i in range(case.label.shape[AXIS]) if (np.take(case.image[0], i, AXIS) == image).all()]
        assert any((np.take(case.label, i, AXIS) == label).all() for i in at)
        assert ("mm2" in text or "millimetres" in text) == bool((label > 0).any())


@pytest.mark.parametrize("run", [RUN, *needed_by(RUN)], ids=lambda run: run.model)
def test_similarity_is_what_a_network_or_a_clip_predicts_by(eight, guided_run, run):
    ws, _ = guided_run
    network = weights.finished(run, eight.cohort.spec, ws.work / "runs")
    number = eight.folds["grouped"][0]["scored"][0]
    image = eight.cohort.cases[number].image
    found = clip_study.similarity(network, run.definition.prep, image, MACHINE)
    mask = load.get(ws, run.name).masks[number]
    assert found.shape == (3, *mask.shape) and np.nanmax(np.abs(found)) <= 1.0001
    known = ~np.isnan(found[0])
    assert (found.argmax(0)[known] == mask[known]).mean() > 0.9999


def test_label_efficiency_compares_within_a_share():
    found = pd.concat([three("clip2d-guided", 0.85, "p5"), three("clip2d-unguided", 0.8, "p5"),
                       three("clip2d-guided", 0.8, "standard"), three("clip2d-unguided", 0.8, "standard")])  # fmt: skip
    table = clip_study.share_differences(found)
    assert list(table.index) == ["5% of the people", "all training people"]
    assert table["conclusion"].tolist() == ["better", "equivalent"]
    assert table.loc["5% of the people", "difference"] == pytest.approx(0.05, abs=0.002)
    alone = compare.differences(found[found["schedule"] == "p5"], "clip2d-unguided")
    expected = min(1, 5 * alone["p_holm"].iloc[0])
    assert table.loc["5% of the people", "p_holm"] == pytest.approx(expected), "five shares were planned"
    lines = clip_study.by_share(found)
    assert len(lines) == 4 and set(lines["series"]) == {"clip2d-guided", "clip2d-unguided"}
    told = tables.differences_in_words(table)
    assert told.startswith("5% of the people: **+0.0") and told.count("; ") == 1 and told.endswith("equivalent)")
    other = invented("unet2d", 0.8)
    assert clip_study.share_differences(other).empty and clip_study.by_share(other).empty


def test_a_batch_holds_no_more_slices_than_people(eight):
    cohort, train = eight.cohort, eight.folds["grouped"][0]["train"]
    people = len({cohort.cases[number].subject for number in train})
    found = clip_study.batch_sizes(cohort, train)
    assert found["all training people"] == people < 64 and found["50% of the people"] == round(0.5 * people)
    assert found["5% of the people"] == 2, "two people at least"


def judged(**conclusions):
    """A table as `compare.by_family` gives it, with nothing but conclusions."""
    models = {"unguided": "clip2d-unguided", "angles": "clip2d-same-angles", "rotated": "clip2d-rotated"}
    index = pd.MultiIndex.from_tuples([("a family", models[name]) for name in conclusions], names=[None, None])
    return pd.DataFrame({"conclusion": list(conclusions.values())}, index=index)


def test_language_is_credited_only_if_both_controls_fall_behind():
    said = clip_study.language(judged(unguided="worse", angles="worse", rotated="worse"))
    assert said.startswith("Guidance as a whole is shown to help (`clip2d-unguided` is worse), and")
    assert "language is credited, as `clip2d-same-angles` is worse and `clip2d-rotated` is worse" in said
    for other in ("equivalent", "inconclusive", "better"):
        said = clip_study.language(judged(unguided="worse", angles="worse", rotated=other))
        assert "language is not credited, as `clip2d-same-angles` is worse and `clip2d-rotated` is " + other in said
    for whole, words in (("better", "to harm"), ("equivalent", "no difference"), ("inconclusive", "not shown to help")):
        said = clip_study.language(judged(unguided=whole, angles="equivalent", rotated="equivalent"))
        assert words in said and "language is not credited" in said


def test_a_conclusion_that_is_missing_leaves_its_question_open():
    nothing = pd.DataFrame(columns=["conclusion"])
    both = "Whether guidance as a whole helps is open, and whether any of it is the language is open"
    assert clip_study.language(nothing).startswith(both)
    said = clip_study.language(judged(unguided="worse", angles="worse", rotated="none: 2 seeds"))
    assert "shown to help" in said and "the language is open" in said
    said = clip_study.language(judged(unguided="not compared: another setting", angles="worse", rotated="worse"))
    assert "a whole helps is open" in said and "language is credited" in said
    for table in (nothing, judged(angles="worse"), judged(unguided="better", angles="better", rotated="better")):
        assert clip_study.language(table).endswith("came from training labels.")


def test_the_students_loss_by_hand():
    # Two pixels of class 0, one of class 1, all answered with one half: overlaps 1 and 1/2, sizes 2 + 3/2 and 1 + 3/2.
    target = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    expected = 1 - (2 * 1 / 3.5 + 2 * 0.5 / 2.5) / 2
    assert clip_study.dice_of_all_classes(torch.zeros(1, 2, 3), target).item() == pytest.approx(expected)
    assert clip_study.dice_of_all_classes(100 * target, target).item() == pytest.approx(0, abs=1e-6)
