"""N4 finds a planted field and gives the same bytes however it is run; its cache follows contents and parameters."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hipposeg.data import n4 as module
from hipposeg.data.n4 import N4Params, bias_field, cache_path, n4_cohort
from hipposeg.data.read import Case

pytest.importorskip("SimpleITK")
FAST = N4Params(tolerance=1e-3, iterations=30)
MM = (1.0, 1.0, 1.0)


def blobs(seed=0, shape=(30, 40, 28)):
    """Two tissues in a fine random pattern, with noise: (1, X, Y, Z)."""
    rng = np.random.default_rng(seed)
    pattern = gaussian_filter(rng.normal(size=shape), 1.5) > 0
    image = np.where(pattern, 160.0, 100.0) + rng.normal(scale=3, size=shape)
    return image.astype(np.float32)[None]


def make_cohort(n, shape=(18, 20, 16)):
    cases = {
        i: Case(i, (i + 1) // 2, blobs(i, shape), None, np.eye(4), MM, "float32", f"hash-of-{i}")
        for i in range(1, n + 1)
    }
    return SimpleNamespace(cases=cases)


def test_it_removes_most_of_a_planted_field_and_keeps_the_brightness():
    (image,) = blobs()
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
    truth = 0.2 * x - 0.15 * y + 0.1 * z**2
    truth = np.exp(truth - truth.mean())
    found = bias_field((image * truth).astype(np.float32), MM, N4Params())
    mask = module.estimation_mask(image * truth, N4Params())
    left = np.log(found) - np.log(truth)
    assert left.std() < 0.35 * np.log(truth).std()
    assert abs(np.log(found.astype(np.float64))[mask].mean()) < 1e-3
    assert np.log(bias_field(image, MM, N4Params())).std() < 0.02, "without a field it changes little"


@pytest.mark.parametrize("bad", [-1.0, 0.0])
def test_values_without_a_logarithm_are_refused(bad):
    image = np.full((10, 10, 10), bad, np.float32)
    image[0] = 1 if bad < 0 else 0
    with pytest.raises(ValueError, match="before any z-scoring"):
        bias_field(image, MM, FAST)


def test_threads_change_no_byte_and_a_second_run_reads_the_cache(tmp_path, monkeypatch):
    cohort = make_cohort(4)
    one = n4_cohort(cohort, FAST, tmp_path / "one", jobs=1)
    two = n4_cohort(cohort, FAST, tmp_path / "two", jobs=2)
    assert list(one) == list(two) == list(cohort.cases)
    assert all(one[i].tobytes() == two[i].tobytes() for i in one)
    monkeypatch.setattr(module, "n4", None)  # computing anything now would fail
    again = n4_cohort(cohort, FAST, tmp_path / "one")
    assert all(np.array_equal(one[i], again[i]) for i in one)


def test_the_cache_follows_parameters_and_contents_and_replaces_a_damaged_file(tmp_path, caplog):
    cohort = make_cohort(1)
    case, path = cohort.cases[1], cache_path(cohort.cases[1], FAST, tmp_path)
    assert path != cache_path(case, replace(FAST, shrink=2), tmp_path)
    assert path != cache_path(replace(case, sha256="other"), FAST, tmp_path)
    first = n4_cohort(cohort, FAST, tmp_path)
    whole = path.read_bytes()
    for damaged in (whole[:100], whole[:-9] + bytes(9), b""):  # numpy reads the second one without complaint
        path.write_bytes(damaged)
        assert np.array_equal(n4_cohort(cohort, FAST, tmp_path)[1], first[1]) and path.read_bytes() == whole
        assert f"{path} is damaged" in caplog.text
        caplog.clear()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
