"""The study off the grid: both queries against scores by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from hipposeg import metrics
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec
from hipposeg.experiments.run import Finished
from hipposeg.experiments.weights import initial
from hipposeg.inference import TRILINEAR, Prep, evaluator, off_grid, predictor
from hipposeg.training.machine import Machine
from hipposeg_lab.studies import offgrid

MACHINE = Machine("cpu", "fp32", 1)
ONE, TWO = (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)
PREP = Prep((24, 32, 24), spacing=TWO)
RUN = RunSpec("unet3d-inr-siren-xyz", schedule="smoke")


@pytest.fixture(scope="module")
def small(phantom_people):
    people = phantom_people(6)
    for number, case in people.cohort.cases.items():  # smaller, for speed
        inner = (slice(8, -8), slice(10, -10), slice(8, -8))
        people.cohort.cases[number] = replace(case, image=case.image[:, *inner], label=case.label[inner])
    images = {number: case.image for number, case in people.cohort.cases.items()}
    return SimpleNamespace(**vars(people), images=images)


@pytest.fixture(scope="module")
def studied(small, tmp_path_factory):
    """The study of an untrained network, whose random classes differ between the two queries."""
    model, cases = initial(RunSpec("unet3d-inr-mlp-xyz"), PHANTOM_SPEC).eval(), small.cohort.numbers[1:3]
    predict, masks, scores = predictor(evaluator(model, PREP, MACHINE)), {}, []
    for number in cases:
        case = small.cohort.cases[number]
        masks[number] = predict(case.image, ONE)
        rows = metrics.score_case(masks[number], case.label, ONE, PHANTOM_SPEC)
        scores += [{"case": number, "subject": case.subject, **row} for row in rows]
    work = tmp_path_factory.mktemp("studied")
    images = {number: small.images[number] for number in cases}
    offgrid.hook(Finished(RUN, model, small.cohort, {}, images, scores, MACHINE, work))
    return SimpleNamespace(model=model, cases=cases, masks=masks, scores=pd.DataFrame(scores), work=work)


def test_every_case_is_scored_by_both_queries(small, studied):
    rows = pd.read_csv(studied.work / offgrid.TABLE)
    assert tuple(rows.columns) == offgrid.COLUMNS
    counts = rows.groupby(["query", "case"]).size()
    assert counts.index.tolist() == [(query, case) for query in offgrid.QUERIES for case in studied.cases]
    assert set(counts) == {len(metrics.labels_of(PHANTOM_SPEC))}
    head, trilinear = (rows[rows["query"] == query].reset_index(drop=True) for query in offgrid.QUERIES)
    shared = ["case", "subject", "label", "dice", "nsd1", "nsd2"]
    pd.testing.assert_frame_equal(head[shared], studied.scores[shared], atol=1e-6)
    # Dice of the interpolated logits, recomputed by hand for one case and the second class.
    case = small.cohort.cases[studied.cases[0]]
    found = off_grid(studied.model, PREP, case.image, ONE, MACHINE, TRILINEAR).argmax(0) == 2
    dice = 2 * (found & (case.label == 2)).sum() / (found.sum() + (case.label == 2).sum())
    assert trilinear["dice"][1] == pytest.approx(dice, abs=1e-6) and dice > 0
    assert (head["dice"] != trilinear["dice"]).any()


def test_other_runs_leave_nothing(small, tmp_path):
    for name in ("unet3d-inr-1mm", "unet3d", "atlas-no-image"):
        run = RunSpec(name, schedule="smoke")
        network = initial(run, PHANTOM_SPEC) if name != "atlas-no-image" else None
        offgrid.hook(Finished(run, network, small.cohort, {}, {}, [], MACHINE, tmp_path))
    assert not list(tmp_path.iterdir())
