"""The study of attention maps: ratios by hand, controls, and no label in the input."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hipposeg.data import grid
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.experiments import RunSpec
from hipposeg.experiments.run import Finished
from hipposeg.experiments.weights import initial
from hipposeg.inference import Prep
from hipposeg.models.attention import AttentionUNet
from hipposeg.training.machine import Machine
from hipposeg_lab.studies import attention

MACHINE = Machine("cpu", "fp32", 1)
ISOTROPIC = (1.0, 1.0, 1.0)


def test_ratio_by_hand():
    found = np.array([[[0.8, 0.4, 0.2, 0.2]]])
    inside = np.array([[[True, True, False, False]]])
    assert attention.ratio(found, inside) == pytest.approx(3)
    assert attention.ratio(np.array([[[np.nan, 0.4, 0.2, np.nan]]]), inside) == pytest.approx(2)
    assert np.isnan(attention.ratio(found, np.zeros_like(inside))) and np.isnan(attention.ratio(found, inside | True))
    assert np.isnan(attention.ratio(np.array([[[0.8, 0.4, 0.0, 0.0]]]), inside))
    assert attention.ratio(np.full((1, 1, 4), 0.3, np.float32), inside) == 1


def test_relative_maps_know_places_within_a_sample_only():
    found = np.array([[[0.2, 0.6]], [[0.1, 0.3]], [[np.nan, 0.5]], [[np.nan, np.nan]]])
    slices = attention.relative(found, 0)
    assert slices[:3].ravel()[[0, 1, 2, 3, 5]].tolist() == pytest.approx([0.5, 1.5, 0.5, 1.5, 1.0])
    assert np.isnan(slices[2, 0, 0]) and np.isnan(slices[3]).all()
    whole = attention.relative(found[:2], None)
    assert whole.mean() == pytest.approx(1) and whole[0, 0, 1] == pytest.approx(2)


def test_another_case_is_of_another_subject():
    subjects = {1: 1, 2: 1, 4: 2, 7: 4, 8: 4}
    assert attention.paired_cases([8, 1, 2, 4, 7], subjects) == {1: 4, 2: 4, 4: 7, 7: 1, 8: 1}
    with pytest.raises(ValueError, match="one subject"):
        attention.paired_cases([1, 2], subjects)


class Bright(nn.Module):
    """Weight 0.9 where the input is bright and 0.1 elsewhere, at two scales."""

    divisor = 2

    def maps(self, x):
        fine = 0.1 + 0.8 * (x[:, x.shape[1] // 2, None] > 0).float()
        return [fine, fine[(..., *[slice(None, None, 2)] * (x.ndim - 2))]]


def cohort_of(shapes):
    """Bright boxes on dark ground that are the structure, each case of another size and subject."""
    cases = {}
    for number, shape in shapes.items():
        label = np.zeros(shape, np.uint8)
        label[2:6, 2:6, 2:6] = 1
        label[4:6, 2:6, 2:6] = 2
        image = (label[None] > 0).astype(np.float32) + 0.01 * np.indices(shape)[:1].astype(np.float32)
        cases[number] = SimpleNamespace(image=image, label=label, spacing=ISOTROPIC, subject=number)
    return SimpleNamespace(cases=cases, spec=SPEC)


@pytest.mark.parametrize("axis", [None, 0])
def test_maps_come_back_to_the_images_grid(axis):
    case = cohort_of({1: (9, 8, 12)}).cases[1]
    prep = Prep((8, 8, 8), axis=axis, neighbours=0 if axis is None else 1)
    found = attention.maps(Bright(), prep, case.image, MACHINE)
    assert list(found) == [1, 2] and all(one.shape == (9, 8, 12) for one in found.values())
    fine, coarse = found.values()
    inside = grid.place(case.image, prep.size)[1].inside_native  # what the network's box keeps
    assert np.allclose(fine[inside], np.where(case.label[inside] > 0, 0.9, 0.1))
    assert np.isnan(fine).sum() == fine.size - 512
    step = slice(None) if axis == 0 else slice(None, None, 2)  # slices are never made coarser across
    assert np.allclose(coarse[inside][step, ::2, ::2], fine[inside][step, ::2, ::2])
    assert np.allclose(coarse[inside][:, 1::2], coarse[inside][:, ::2])


@pytest.mark.parametrize("axis", [None, 0])
def test_study_measures_trained_maps_and_controls(axis):
    cohort = cohort_of({1: (8, 8, 8), 3: (10, 8, 8), 5: (8, 8, 10)})
    prep = Prep((8, 8, 8), axis=axis)
    torch.manual_seed(0)
    dims = 3 if axis is None else 2
    constant = AttentionUNet(dims, 1, 3, (2, 2, 2), spatial=False).eval()
    images = {number: case.image for number, case in cohort.cases.items()}
    gated = {attention.TRAINED: Bright(), attention.CONSTANT: constant}
    table = attention.study(gated, prep, images, cohort, MACHINE)
    assert tuple(table.columns) == attention.COLUMNS and not table.duplicated(list(attention.COLUMNS[:-1])).any()
    assert set(table.label) == {"hippocampus"} and set(table.scale) == {1, 2}
    trained = table[table.control == attention.TRAINED].set_index(["within", "scale", "case"]).ratio
    # Case 1 as it is: 0.9 in the 64 voxels of the structure, 0.1 outside.
    assert trained[attention.VOLUME, 1, 1] == pytest.approx(9)
    # Slices 2 to 5 hold it, a quarter of each: mean 0.3, so 3 inside and 1/3 outside; elsewhere 1 in 256 voxels.
    if axis == 0:
        assert trained[attention.SAMPLE, 1, 1] == pytest.approx(3 / ((192 / 3 + 256) / 448))
    else:
        assert trained[attention.SAMPLE, 1, 1] == pytest.approx(9)
    check = table[table.control == attention.CONSTANT]
    assert set(check.within) == {attention.SAMPLE} and check.ratio.to_numpy() == pytest.approx(1, abs=1e-6)
    # The next subject's map, centre on centre: case 3 is two voxels longer along axis 0, so its box lies one lower.
    other = table[(table.control == attention.OTHER) & (table.scale == 1) & (table.within == attention.VOLUME)]
    assert set(other.case) == {1, 3, 5}
    moved = np.zeros((8, 8, 8), bool)
    moved[1:5, 2:6, 2:6] = True
    expected = attention.ratio(np.where(moved, 0.9, 0.1), cohort.cases[1].label > 0)
    assert other.set_index("case").ratio[1] == pytest.approx(expected)


def finished(run, network, cohort, folder, cases=None):
    images = {number: cohort.cases[number].image for number in cases or cohort.cases}
    return Finished(run, network, cohort, {}, images, [], MACHINE, folder)


def test_a_gated_run_leaves_its_table_and_others_none(tmp_path, caplog):
    cohort = cohort_of({1: (8, 8, 8), 3: (8, 10, 8)})
    run = RunSpec("attention2d", seed=1, schedule="smoke")
    network = MACHINE.place(initial(run, SPEC)).eval()
    attention.hook(finished(run, network, cohort, tmp_path))
    content = (tmp_path / attention.TABLE).read_bytes()
    stored = pd.read_csv(tmp_path / attention.TABLE)
    assert tuple(stored.columns) == attention.COLUMNS and set(stored["case"]) == {1, 3}
    # Its weights are the initial ones, so trained and untrained are one network here.
    wide = stored.pivot(index=["case", "scale", "within"], columns="control", values="ratio")
    assert (wide[attention.TRAINED] == wide[attention.UNTRAINED]).all()
    attention.hook(finished(run, network, cohort, tmp_path))
    assert (tmp_path / attention.TABLE).read_bytes() == content
    for model in ("attention2d-constant", "unet2d", "atlas-no-image"):
        attention.hook(finished(RunSpec(model), None, cohort, tmp_path / "others"))
    attention.hook(finished(run, network, cohort, tmp_path / "others", [1]))
    assert "needs two subjects" in caplog.text and not (tmp_path / "others").exists()
