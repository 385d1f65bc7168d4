"""The phantom: of the sizes of the real data, paired like them, and generated again where its parameters changed."""

import numpy as np
import pytest

from hipposeg.data import phantom
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.files import read_json, write_json


@pytest.fixture(scope="module")
def many(phantom_people):
    return phantom_people(24).cohort


def test_sizes_are_about_those_of_the_real_data(many):
    volumes = np.array([[np.count_nonzero(case.label == part) for part in (1, 2)] for case in many.cases.values()])
    shapes = np.array([case.label.shape for case in many.cases.values()])
    assert (np.abs(volumes.mean(0) - [1715, 1580]) < 350).all() and volumes.min() > 700
    assert (np.abs(np.median(shapes, axis=0) - [35, 50, 36]) < 7).all() and (shapes <= [48, 64, 48]).all()
    ahead = [np.subtract(*(np.argwhere(case.label == part)[:, 1].mean() for part in (1, 2)))
             for case in many.cases.values()]  # fmt: skip
    assert min(ahead) > 10, "the first part lies in front"


def test_two_hippocampi_of_a_subject_are_alike_and_share_a_scan(many):
    pairs = [cases for cases in many.people.values() if len(cases) == 2]
    assert len(pairs) == 12 and len(many.people) == 24
    total = {number: np.count_nonzero(case.label) for number, case in many.cases.items()}
    left, right = np.array([[total[a], total[b]] for a, b in pairs]).T
    assert np.corrcoef(left, right)[0, 1] > 0.6
    assert {case.stored_dtype for case in many.cases.values()} == {"uint8", "float32"}
    steps = {n: np.median(np.diff(np.unique(case.image))) for n, case in many.cases.items()}
    for first, second in pairs:
        assert many.cases[first].stored_dtype == many.cases[second].stored_dtype
        assert steps[first] == pytest.approx(steps[second], rel=0.01)
    peaks = [case.image.max() for case in many.cases.values()]
    assert max(peaks) / min(peaks) > 100, "there is no common intensity scale"


def test_only_a_complete_phantom_of_the_same_parameters_is_current(tmp_path):
    assert not phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 1)
    phantom.generate(tmp_path, n_subjects=1, seed=1)
    assert phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 1) and not phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 2)
    listing = read_json(tmp_path / "dataset.json")
    write_json(tmp_path / "dataset.json", {**listing, "phantom": {**listing["phantom"], "version": 0}})
    assert not phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 1)
