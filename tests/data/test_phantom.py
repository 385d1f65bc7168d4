"""The phantom: deterministic, paired like the real data, and not solved by a threshold."""

import hashlib

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


def test_no_threshold_solves_it(many):
    best = []
    for case in list(many.cases.values())[:20]:
        order = np.argsort(case.image, axis=None, kind="stable")
        inside = np.cumsum(case.label.ravel()[order] > 0)
        edges = np.linspace(0, inside.size - 1, 80).astype(int)
        low, high = np.meshgrid(edges, edges)
        size, hits = high - low, inside[high] - inside[low]
        best.append((2 * hits / (np.maximum(size, 0) + inside[-1]))[high > low].max())
    assert max(best) < 0.6 and np.mean(best) < 0.45


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_only_a_complete_phantom_of_the_same_parameters_is_current(tmp_path):
    assert not phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 1)
    phantom.generate(tmp_path, n_subjects=1, seed=1)
    assert phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 1) and not phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 2)
    listing = read_json(tmp_path / "dataset.json")
    write_json(tmp_path / "dataset.json", {**listing, "phantom": {**listing["phantom"], "version": 0}})
    assert not phantom.is_current(tmp_path, PHANTOM_SPEC, 1, 1)


def test_smooth_fields_are_standardised_and_smooth():
    values = np.stack([phantom.smooth_field(np.random.default_rng(seed), (30, 40, 20), 3.0) for seed in range(30)])
    assert values.shape == (30, 30, 40, 20) and values.dtype == np.float32
    assert abs(values.mean()) < 0.1 and values.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(values, axis=1)).mean() < 0.35
