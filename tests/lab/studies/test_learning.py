"""The study of a network that learns, on a phantom."""

import numpy as np

from hipposeg import metrics
from hipposeg.experiments import RunSpec
from hipposeg.experiments.run import train
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import learning
from hipposeg_lab.studies.making import Context


def test_masks_of_the_median_case_are_kept_epoch_by_epoch(eight, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "RUN", RunSpec("unet2d", schedule="smoke"))
    context = Context(Workspace(tmp_path, "phantom", "smoke"), eight.cohort, eight.folds, Machine("cpu", "fp32", 1))
    assert "missing" in learning.update(context)
    run = train(learning.RUN, context.cohort, context.folds, context.ws, context.machine)
    assert learning.update(context) == "made" and learning.update(context) == "kept"
    found = np.load(context.ws.artifacts / learning.TABLE)
    case = eight.cohort.cases[int(found["case"])]
    assert found["epochs"].tolist() == [1, 2] and found["masks"].dtype == np.uint8
    assert found["masks"].shape == (2, *case.label.shape) and case.number in eight.folds["grouped"][0]["scored"]
    # The stored run's weights are rounded to half precision, which moves few voxels.
    assert (found["masks"][-1] != run.masks[case.number]).mean() < 0.01
    scores = metrics.class_dice(found["masks"][-1], case.label, eight.cohort.spec)
    assert found["dice"][-1] == np.mean(list(scores.values()))
