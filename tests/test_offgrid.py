"""Off the grid: larger voxels, the way back to the files' own, and what a run of the study leaves."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import nn

from hipposeg import metrics
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import grid, phantom
from hipposeg.data.locate import Source
from hipposeg.data.rescale import rescale, rescale_label
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec
from hipposeg.experiments.hooks import Finished
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.run import train
from hipposeg.experiments.samples import make_samples
from hipposeg.experiments.weights import initial
from hipposeg.inference import HEAD, TRILINEAR, Prep, asker, off_grid, predictor
from hipposeg.models.inr import INRUNet, lattice
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import offgrid

MACHINE = Machine("cpu", "fp32", 1)
ONE, TWO = (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)
PREP = Prep((24, 32, 24), spacing=TWO)
RUN = RunSpec("unet3d-inr-siren-xyz", schedule="smoke")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Task04_Hippocampus"
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=6, seed=3)
    cohort = cohorts.load(Source("phantom", folder, PHANTOM_SPEC))
    images = {number: case.image for number, case in cohort.cases.items()}
    return SimpleNamespace(cohort=cohort, images=images, folds=folding.make(cohort.spec, cohort.numbers))


def test_coarse_labels_keep_the_volumes(small):
    for case in small.cohort.cases.values():
        coarse, _ = rescale_label(case.label, ONE, TWO, PREP.size, 3)
        for value in (1, 2):
            assert 8 * (coarse == value).sum() == pytest.approx((case.label == value).sum(), rel=0.1)


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
    found = predictor(asker(model, PREP, MACHINE))(image, ONE)
    assert found.shape == native and found.dtype == np.uint8
    where = lattice(native, ONE).numpy() / 2 + (np.array(how.size).reshape(3, 1, 1, 1) - 1) / 2
    blocks = map_coordinates((means[0] > 0.5).astype(np.uint8), where, order=0, mode="nearest")
    asked, nearest = metrics.dice(found == 1, truth == 1), metrics.dice(blocks == 1, truth == 1)
    assert asked > nearest + 0.02 and asked > 0.97


@pytest.mark.parametrize("at", [None, TWO, (0.5, 0.5, 0.5), (1.0, 0.8, 1.3)])
def test_trilinear_equals_scipys_interpolation_of_the_logits(at):
    generator = np.random.default_rng(2)
    image = generator.normal(size=(1, 21, 30, 18)).astype(np.float32)
    model = initial(RunSpec("unet3d-inr-mlp-xyz"), PHANTOM_SPEC).eval()
    found = off_grid(model, PREP, image, ONE, MACHINE, TRILINEAR, at)
    coarse, how = rescale(image, ONE, TWO, PREP.size)
    with torch.inference_mode():
        logits = model(PREP.place(coarse)[0])[0].double().numpy()
    sides = found.shape[1:]
    assert sides == {None: (21, 30, 18), TWO: how.size}.get(at, sides)
    where = lattice(sides, at or ONE).double().numpy() / 2 + (np.array(PREP.size).reshape(3, 1, 1, 1) - 1) / 2
    expected = np.stack([map_coordinates(one, where, order=1, mode="nearest") for one in logits])
    expected = torch.from_numpy(expected).softmax(0).numpy()
    assert np.allclose(found, expected, atol=1e-5)
    if at == TWO:
        assert np.allclose(off_grid(model, PREP, image, ONE, MACHINE, HEAD, at), found, atol=1e-4)


def test_outside_the_networks_box_is_background():
    image = np.random.default_rng(3).normal(size=(1, 60, 20, 20)).astype(np.float32)
    model = initial(RunSpec("unet3d-inr-siren-xyz"), PHANTOM_SPEC).eval()
    for query in offgrid.QUERIES:
        found = off_grid(model, PREP, image, ONE, MACHINE, query)
        assert found.shape == (3, 60, 20, 20) and np.allclose(found.sum(0), 1, atol=1e-5)
        outer = found[:, [*range(6), *range(54, 60)]]  # 24 voxels of 2 mm leave six out at each end
        assert (outer[0] == 1).all() and not outer[1:].any()
        assert (found[0, 6:54] < 1).all()
    with pytest.raises(ValueError, match="choose 'head' or 'trilinear'"):
        off_grid(model, PREP, image, ONE, MACHINE, "cubic")


@pytest.fixture(scope="module")
def studied(small, tmp_path_factory):
    """The study of an untrained network, whose random classes differ between the two queries.

    It has another head than the run of the picture, because that one predicts a single class untrained.
    """
    model, cases = initial(RunSpec("unet3d-inr-mlp-xyz"), PHANTOM_SPEC).eval(), small.cohort.numbers[1:3]
    predict, masks, scores = predictor(asker(model, PREP, MACHINE)), {}, []
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


def test_the_picture_can_be_drawn_without_weights(small, studied):
    case, maps = offgrid.picture(studied.work / offgrid.PICTURE)
    assert case == min(studied.cases)
    assert set(maps) == {(query, size) for query in offgrid.QUERIES for size in offgrid.DRAWN_MM}
    native = small.cohort.cases[case].label.shape
    for (query, size), (mask, sides) in maps.items():
        assert mask.dtype == np.uint8 and sides == (size,) * 3 and mask.any(), query
        assert all(size * n >= side for n, side in zip(mask.shape, native, strict=True))
    assert np.array_equal(maps[HEAD, 1.0][0], studied.masks[case])
    assert maps[HEAD, 0.5][0].shape == tuple(2 * side for side in native)
    assert (maps[HEAD, 2.0][0] != maps[TRILINEAR, 2.0][0]).mean() < 1e-3


def test_the_picture_of_a_real_shape_is_small(small):
    label = next(iter(small.cohort.cases.values())).label
    fine = np.stack([np.kron(label == k, np.ones((2, 2, 2), bool)) for k in range(3)]).astype(np.float32)
    maps = {(query, size): fine for query in offgrid.QUERIES for size in offgrid.DRAWN_MM}
    assert len(offgrid.packed(1, maps)) < 60_000


def test_a_run_publishes_its_study(small, tmp_path):
    ws = Workspace(tmp_path, "phantom", "smoke")
    run = train(RUN, small.cohort, small.folds, ws, MACHINE)
    rows = pd.read_csv(ws.artifacts / "studies" / "offgrid.csv.gz")
    assert set(rows["run"]) == {RUN.name}
    head = rows[rows["query"] == HEAD].set_index(["case", "label"]).sort_index()
    scores = run.rows.set_index(["case", "label"]).sort_index()
    pd.testing.assert_frame_equal(head[["dice", "nsd1", "nsd2"]], scores[["dice", "nsd1", "nsd2"]])
    case, _ = offgrid.picture(ws.artifacts / "studies" / "offgrid.npz")
    assert case == min(small.folds["grouped"][0]["scored"])


def test_the_same_maps_give_the_same_bytes():
    maps = {(HEAD, 0.5): np.random.default_rng(0).random((3, 4, 5, 6), dtype=np.float32)}
    assert offgrid.packed(7, maps) == offgrid.packed(7, maps)


def test_the_control_agrees_with_interpolation(small):
    network, model = initial(RunSpec("unet3d-inr-conv"), PHANTOM_SPEC).eval(), MODELS["unet3d-inr-conv"]
    image = small.images[small.cohort.numbers[0]]
    head, trilinear = (off_grid(network, model.prep, image, ONE, MACHINE, query) for query in offgrid.QUERIES)
    assert np.allclose(head, trilinear, atol=1e-5)


def test_other_runs_leave_nothing(small, tmp_path):
    for name in ("unet3d-inr-1mm", "unet3d", "atlas-no-image"):
        run = RunSpec(name, schedule="smoke")
        network = initial(run, PHANTOM_SPEC) if name != "atlas-no-image" else None
        offgrid.hook(Finished(run, network, small.cohort, {}, {}, [], MACHINE, tmp_path))
    assert not list(tmp_path.iterdir())
