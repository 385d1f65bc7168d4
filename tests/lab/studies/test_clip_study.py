"""Studies of CLIPs: what their hook keeps, label efficiency, and what is credited to language."""

import numpy as np
import pandas as pd
import pytest
import torch
from guided import GUIDE, RUN
from stored_runs import invented, three

from hipposeg.data.captions import KINDS
from hipposeg.experiments import weights
from hipposeg.experiments.registry import needed_by
from hipposeg.results import compare, load
from hipposeg.training.losses import cross_entropy
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
    assert list(dict.fromkeys(moved["prompts"])) == list(KINDS)
    assert clip_study.read(ws, clip_study.RETRIEVAL, led.rows).empty, "only CLIPs are studied"
    cosines = clip_study.read(ws, clip_study.COSINES, clip.rows)
    angles = clip_study.angles(cosines, ("background", "anterior", "posterior"))
    assert list(angles.columns) == ["background, anterior", "background, posterior", "anterior, posterior"]
    assert list(angles.index) == list(KINDS)
    last = cosines[(cosines["prompts"] == "words") & (cosines["first"] == 1) & (cosines["second"] == 2)]
    assert angles.loc["words", "anterior, posterior"] == last["cosine"].item()


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
    assert list(table.index) == ["5% of the subjects", "all training subjects"]
    assert table["conclusion"].tolist() == ["better", "equivalent"]
    assert table.loc["5% of the subjects", "difference"] == pytest.approx(0.05, abs=0.002)
    alone = compare.differences(found[found["schedule"] == "p5"], "clip2d-unguided")
    expected = min(1, 5 * alone["p_holm"].iloc[0])
    assert table.loc["5% of the subjects", "p_holm"] == pytest.approx(expected), "five shares were planned"
    lines = clip_study.by_share(found)
    assert len(lines) == 4 and set(lines["series"]) == {"clip2d-guided", "clip2d-unguided"}
    other = invented("unet2d", 0.8)
    assert clip_study.share_differences(other).empty and clip_study.by_share(other).empty


def test_the_students_loss_by_hand():
    # Two pixels of class 0, one of class 1, all answered with one half: overlaps 1 and 1/2, sizes 2 + 3/2 and 1 + 3/2.
    target = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    expected = 1 - (2 * 1 / 3.5 + 2 * 0.5 / 2.5) / 2
    assert clip_study.dice_of_all_classes(torch.zeros(1, 2, 3), target).item() == pytest.approx(expected)
    assert clip_study.dice_of_all_classes(100 * target, target).item() == pytest.approx(0, abs=1e-6)


def test_lowest_loss_by_hand():
    even, lowest = [1 / 3] * 3, clip_study.lowest_loss
    # Three directions at right angles: the best pixel leans away from the other two, by sqrt(3/2) in cosines.
    expected = np.log(1 + 2 * np.exp(-np.sqrt(1.5)))
    assert lowest(torch.eye(3, 5), 1.0, even, cross_entropy) == pytest.approx(expected, abs=1e-4)
    # Two opposite ones: cosines 1 and -1.
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expected = np.log(1 + np.exp(-2 * 3.0))
    assert lowest(opposite, 3.0, [0.5, 0.5], cross_entropy) == pytest.approx(expected, abs=1e-4)
    # Equal vectors: nothing can be told apart, whatever the scale.
    assert lowest(torch.ones(3, 4), 20.0, even, cross_entropy) == pytest.approx(np.log(3), abs=1e-4)
