"""N4: it finds a field that we planted, gives the same bytes however it is run, and its cache knows what it holds."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hipposeg.data import n4 as n4_module
from hipposeg.data.n4 import N4Params, bias_field, cache_path, n4, n4_cohort
from hipposeg.data.read import Case
from hipposeg_lab.studies import n4_effect as effect

pytest.importorskip("SimpleITK")
FAST = N4Params(tolerance=1e-3, iterations=30)
MM = (1.0, 1.0, 1.0)


def blobs(seed=0, shape=(30, 40, 28)):
    """Two tissues in a fine random pattern, with noise: (1, X, Y, Z), and the pattern as a label."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    pattern = gaussian_filter(rng.normal(size=shape), 1.5) > 0
    image = np.where(pattern, 160.0, 100.0) + rng.normal(scale=3, size=shape)
    return image.astype(np.float32)[None], pattern.astype(np.uint8)


def make_case(number, seed=None):
    image, label = blobs(number if seed is None else seed)
    return Case(number, (number + 1) // 2, image, label, np.eye(4), MM, "float32", f"hash-of-{number}")


def make_cohort(n):
    return SimpleNamespace(cases={i: make_case(i) for i in range(1, n + 1)})


def test_it_takes_out_most_of_a_planted_field_and_keeps_the_brightness():
    (image,), _ = blobs()
    truth = effect.smooth_field(image.shape, np.random.default_rng(1), strength=0.15)
    found = bias_field((image * truth).astype(np.float32), MM, N4Params())
    left = np.log(found) - np.log(truth)
    assert left.std() < 0.35 * np.log(truth).std()
    mask = n4_module.estimation_mask(image * truth, N4Params())
    assert abs(np.log(found.astype(np.float64))[mask].mean()) < 1e-3


def test_without_a_field_it_changes_little():
    (image,), _ = blobs()
    assert effect.field_range(bias_field(image, MM, N4Params())) < 0.05


def test_same_input_same_bytes_and_a_scale_changes_nothing_but_the_scale():
    image, _ = blobs()
    first = n4(image, MM, FAST)
    assert first.dtype == np.float32 and first.shape == image.shape
    assert first.tobytes() == n4(image.copy(), MM, FAST).tobytes()
    # A power of two scales floats without rounding; N4 works on logarithms, whose differences stay.
    assert np.allclose(n4(image * 4096, MM, FAST) / 4096, first, rtol=2e-3)


def test_each_channel_is_corrected_on_its_own():
    first, second = (blobs(seed)[0] for seed in (0, 1))
    both = n4(np.concatenate([first, second]), MM, FAST)
    assert np.array_equal(both[1], n4(second, MM, FAST)[0])


@pytest.mark.parametrize("bad", [-1.0, 0.0])
def test_it_refuses_what_has_no_logarithm(bad):
    image = np.full((10, 10, 10), bad, np.float32)
    image[0] = 1 if bad < 0 else 0
    with pytest.raises(ValueError, match="before any z-scoring"):
        bias_field(image, MM, FAST)


def test_the_parallel_run_equals_the_serial_one_and_a_second_run_reads_the_cache(tmp_path, monkeypatch):
    cohort = make_cohort(n4_module.SMALLEST_POOL)
    one = n4_cohort(cohort, FAST, tmp_path / "one", jobs=1, progress=False)
    two = n4_cohort(cohort, FAST, tmp_path / "two", jobs=2, progress=False)
    assert list(one) == list(two) == list(cohort.cases)
    assert all(one[i].tobytes() == two[i].tobytes() for i in one)
    monkeypatch.setattr(n4_module, "n4", None)  # computing anything now would fail
    again = n4_cohort(cohort, FAST, tmp_path / "one", jobs=1, progress=False)
    assert all(np.array_equal(one[i], again[i]) for i in one)


def test_the_cache_key_holds_parameters_and_contents(tmp_path):
    case = make_case(1)
    path = cache_path(case, FAST, tmp_path)
    assert path == cache_path(make_case(1), FAST, tmp_path)
    assert path != cache_path(case, replace(FAST, shrink=2), tmp_path)
    assert path != cache_path(replace(case, sha256="other"), FAST, tmp_path)


def test_a_damaged_cache_file_is_computed_again(tmp_path):
    cohort = make_cohort(1)
    first = n4_cohort(cohort, FAST, tmp_path, progress=False)
    path = cache_path(cohort.cases[1], FAST, tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(n4_cohort(cohort, FAST, tmp_path, progress=False)[1], first[1])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_contrast_and_variation_by_hand():
    # A label of one voxel's width in a plane: 2 voxels of 10 and 14 inside, surroundings 0 and 4 in equal parts.
    image = np.zeros((1, 2, 1))
    image[0, :, 0] = (10, 14)
    assert effect.variation(image, image > 0) == pytest.approx(2 / 12)
    line = np.array([0, 4, 10, 14, 0, 4], dtype=float).reshape(6, 1, 1)
    label = np.array([0, 0, 1, 1, 0, 0], dtype=np.uint8).reshape(6, 1, 1)
    # Means 12 and 2, variances 4 and 4.
    assert effect.contrast_to_noise(line, label) == pytest.approx(10 / 2)
    assert np.isnan(effect.contrast_to_noise(line, np.zeros_like(label)))


def test_effects_of_a_correction_that_does_nothing_are_zero():
    from hipposeg.data.spec import MSD_HIPPOCAMPUS

    case = make_case(1)
    cohort = SimpleNamespace(cases={1: case}, spec=MSD_HIPPOCAMPUS)
    row = effect.effects(cohort, {1: case.image}).loc[1]
    assert row.field_range == 0 and row.z_change == 0 and row.correlation == pytest.approx(1)
    assert row.cnr_before == row.cnr_after and row.cv_anterior_before == row.cv_anterior_after
