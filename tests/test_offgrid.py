"""Off the grid: larger voxels, the way back to the files' own, and the study of both queries."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import nn

from hipposeg import metrics
from hipposeg.data import grid
from hipposeg.data.grid import rescale
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec
from hipposeg.experiments.run import Finished
from hipposeg.experiments.samples import make_samples
from hipposeg.experiments.weights import initial
from hipposeg.inference import TRILINEAR, Prep, evaluator, off_grid, predictor
from hipposeg.models.inr import INRUNet, lattice
from hipposeg.training.machine import Machine
from hipposeg_lab.studies import offgrid

MACHINE = Machine("cpu", "fp32", 1)
ONE, TWO = (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)
PREP = Prep((24, 32, 24), spacing=TWO)
RUN = RunSpec("unet3d-inr-siren-xyz", schedule="smoke")


@pytest.fixture(scope="module")
def small(phantom_people):
    people = phantom_people(6)
    images = {number: case.image for number, case in people.cohort.cases.items()}
    return SimpleNamespace(**vars(people), images=images)


def test_samples_at_2_mm_and_at_the_files_own_spacing(small):
    numbers = small.cohort.numbers[:2]
    coarse = make_samples(small.images, small.cohort, PREP, numbers)
    assert coarse.images.shape == (2, 1, *PREP.size) and coarse.labels.shape == (2, *PREP.size)
    assert coarse.labels.dtype == torch.uint8 and coarse.spacing == TWO
    native = make_samples(small.images, small.cohort, Prep((40, 56, 40)), numbers)
    for i, number in enumerate(numbers):
        case = small.cohort.cases[number]
        assert np.array_equal(native.images[i].numpy(), grid.place(grid.zscore(case.image), (40, 56, 40))[0])
        assert np.array_equal(native.labels[i].numpy(), grid.place(case.label, (40, 56, 40))[0])
        # Training sees what inference makes of the same image.
        made, _ = rescale(case.image, case.spacing, TWO, PREP.size)
        assert torch.equal(coarse.images[i], PREP.place(made)[0][0])


class Direct(nn.Module):
    """A backbone whose features are the image."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x


def direct(gain: float, threshold: float) -> INRUNet:
    """An INR network that finds class 1 where the z-scored image is above a threshold."""
    model = INRUNet("conv", 1, 3, channels=(1, 2), spacing=TWO)
    model.backbone = Direct()
    with torch.no_grad():
        model.head.layers[0].weight[:] = torch.tensor([-gain, gain, 0.0]).view(3, 1, 1, 1, 1)
        model.head.layers[0].bias[:] = torch.tensor([gain * threshold, -gain * threshold, -1e4])
    return model.eval()


@pytest.mark.parametrize("native", [(36, 48, 36), (35, 47, 36)])
def test_asked_at_1_mm_a_2_mm_network_recovers_more_than_its_voxels_show(native):
    # A ball a quarter of a voxel off the centre: the means of 2 mm voxels know where its border runs.
    truth = (((lattice(native, ONE).numpy() - 0.25) ** 2).sum(0) < 10.3**2).astype(np.uint8)
    image = truth[None].astype(np.float32)
    means, how = rescale(image, ONE, TWO, PREP.size)
    model = direct(4.0, float((0.5 - means.mean()) / means.std()))
    found = predictor(evaluator(model, PREP, MACHINE))(image, ONE)
    assert found.shape == native and found.dtype == np.uint8
    where = lattice(native, ONE).numpy() / 2 + (np.array(how.size).reshape(3, 1, 1, 1) - 1) / 2
    blocks = map_coordinates((means[0] > 0.5).astype(np.uint8), where, order=0, mode="nearest")
    asked, nearest = metrics.dice(found == 1, truth == 1), metrics.dice(blocks == 1, truth == 1)
    assert asked > nearest + 0.02 and asked > 0.97


@pytest.mark.parametrize("spacing", [ONE, (1.0, 0.8, 1.3)])
def test_trilinear_equals_scipys_interpolation_of_the_logits(spacing):
    image = np.random.default_rng(2).normal(size=(1, 21, 30, 18)).astype(np.float32)
    model = initial(RunSpec("unet3d-inr-mlp-xyz"), PHANTOM_SPEC).eval()
    found = off_grid(model, PREP, image, spacing, MACHINE, TRILINEAR)
    coarse, _ = rescale(image, spacing, TWO, PREP.size)
    with torch.inference_mode():
        logits = model(PREP.place(coarse)[0])[0].double().numpy()
    where = lattice(image.shape[1:], spacing).double().numpy() / 2 + (np.array(PREP.size).reshape(3, 1, 1, 1) - 1) / 2
    expected = np.stack([map_coordinates(one, where, order=1, mode="nearest") for one in logits])
    assert np.allclose(found, torch.from_numpy(expected).softmax(0).numpy(), atol=1e-5)


@pytest.mark.parametrize("query", offgrid.QUERIES)
def test_outside_the_networks_box_is_background(query):
    image = np.random.default_rng(3).normal(size=(1, 60, 20, 20)).astype(np.float32)
    model = initial(RunSpec("unet3d-inr-siren-xyz"), PHANTOM_SPEC).eval()
    found = off_grid(model, PREP, image, ONE, MACHINE, query)
    assert found.shape == (3, 60, 20, 20) and np.allclose(found.sum(0), 1, atol=1e-5)
    outer = found[:, [*range(6), *range(54, 60)]]  # 24 voxels of 2 mm leave six out at each end
    assert (outer[0] == 1).all() and not outer[1:].any()
    assert (found[0, 6:54] < 1).all()


def test_the_study_scores_every_case_by_both_queries(small, tmp_path):
    model, cases = initial(RunSpec("unet3d-inr-mlp-xyz"), PHANTOM_SPEC).eval(), small.cohort.numbers[1:3]
    predict, images, scores = predictor(evaluator(model, PREP, MACHINE)), {n: small.images[n] for n in cases}, []
    for number, image in images.items():
        case = small.cohort.cases[number]
        rows = metrics.score_case(predict(image, ONE), case.label, ONE, PHANTOM_SPEC)
        scores += [{"case": number, "subject": case.subject, **row} for row in rows]
    offgrid.hook(Finished(RUN, model, small.cohort, {}, images, scores, MACHINE, tmp_path))
    rows = pd.read_csv(tmp_path / offgrid.TABLE)
    assert tuple(rows.columns) == offgrid.COLUMNS
    head, trilinear = (rows[rows["query"] == query].reset_index(drop=True) for query in offgrid.QUERIES)
    assert len(head) == len(trilinear) == len(cases) * len(metrics.labels_of(PHANTOM_SPEC))
    shared = ["case", "subject", "label", "dice", "nsd1", "nsd2"]
    pd.testing.assert_frame_equal(head[shared], pd.DataFrame(scores)[shared], atol=1e-6)
    # Dice of the interpolated logits, recomputed by hand for one case and the second class.
    label = small.cohort.cases[cases[0]].label == 2
    found = off_grid(model, PREP, images[cases[0]], ONE, MACHINE, TRILINEAR).argmax(0) == 2
    assert trilinear["dice"][1] == pytest.approx(2 * (found & label).sum() / (found.sum() + label.sum()), abs=1e-6)


def test_the_study_leaves_nothing_of_other_runs(small, tmp_path):
    for name in ("unet3d-inr-1mm", "unet3d", "atlas-no-image"):
        network = initial(RunSpec(name), PHANTOM_SPEC) if name != "atlas-no-image" else None
        offgrid.hook(Finished(RunSpec(name, schedule="smoke"), network, small.cohort, {}, {}, [], MACHINE, tmp_path))
    assert not list(tmp_path.iterdir())
