"""What notebooks 01 and A0 find in the real data set, computed again: pairs, folds, crops cut around the label."""

import numpy as np
import pytest

from hipposeg.data import cohort, folds, locate


@pytest.fixture(scope="module")
def real(msd_dir):
    loaded = cohort.load(locate.locate("standard"))
    if loaded.dataset != "msd":
        pytest.skip("HIPPOSEG_DATA does not hold the real data set")
    return loaded


def gap(image):
    """The median gap between the different intensities of an image."""
    return np.median(np.diff(np.unique(image.astype(np.float64))))


def test_pairs_are_of_one_subject(real):
    cases = real.cases
    odd, even = ([(n, n + 1) for n in cases if n % 2 == rest and n + 1 in cases] for rest in (1, 0))
    volume = {n: (case.label > 0).sum() for n, case in cases.items()}
    first, second = zip(*odd, strict=True)
    assert len(odd) == 90
    assert np.corrcoef([volume[n] for n in first], [volume[n] for n in second])[0, 1] == pytest.approx(0.91, abs=0.01)
    assert all(cases[a].stored_dtype == cases[b].stored_dtype for a, b in odd)
    step = {n: gap(case.image) for n, case in cases.items() if case.stored_dtype.startswith("float")}
    # float32's relative precision is about 1e-7; the values differ by the rounding of one multiplication.
    assert all(abs(step[a] / step[b] - 1) < 1e-5 for a, b in odd if a in step and b in step)
    assert all(abs(step[a] / step[b] - 1) > 1e-3 for a, b in even if a in step and b in step)
    assert [step[n] for n in (3, 7, 19)] == pytest.approx([5.95898, 6.33066, 8.96948], abs=1e-5)


def test_folds_by_subject_share_nobody_and_those_by_volume_do(real):
    made = folds.make(real.spec, real.numbers)

    def shared(fold):
        trained = {(n + 1) // 2 for n in fold["train"]}
        return sum((n + 1) // 2 in trained for n in fold["scored"])

    assert [shared(fold) for fold in made["nnunet"]] == [36, 33, 31, 26, 28]
    assert not any(map(shared, made["grouped"]))


def test_crops_were_cut_around_the_label(real):
    found = [np.argwhere(case.label) for case in real.cases.values()]
    ends = np.array([case.label.shape for case in real.cases.values()]) - 1 - [where.max(0) for where in found]
    margins = np.hstack([[where.min(0) for where in found], ends])
    assert margins.mean(0) == pytest.approx([5.9, 5.2, 4.8, 7.5, 6.0, 5.4], abs=0.06)
    assert ((margins.std(0) > 0.75) & (margins.std(0) < 1.65)).all()
