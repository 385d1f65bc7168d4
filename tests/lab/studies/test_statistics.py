"""Evidence on the origin of the volumes, against hand-made arrays and known values of the real data set."""

from types import SimpleNamespace

import numpy as np
import pytest

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg_lab.studies import statistics as st


def case(image, label, number=1, dtype="float32"):
    """A stand-in for `read.Case`, with what `describe` reads."""
    return SimpleNamespace(
        image=np.asarray(image, np.float32)[None], label=np.asarray(label, np.uint8), spacing=(1.0, 2.0, 0.5),
        stored_dtype=dtype, subject=(number + 1) // 2,
    )  # fmt: skip


@pytest.fixture
def label():
    """A box of 6x5x4 with a 2x2x1 anterior part at its low corner's neighbourhood and one posterior voxel."""
    found = np.zeros((6, 5, 4), np.uint8)
    found[1:3, 2:4, 1] = 1
    found[3, 3, 1] = 2
    return found


def test_step_of_rescaled_integers_is_the_factor():
    integers = np.random.default_rng(0).integers(0, 60, 4000)
    assert st.quantisation_step(integers * 5.958984) == pytest.approx(5.958984)
    assert np.isnan(st.quantisation_step(np.full(9, 3.0)))


def test_slices_that_two_labels_share(label):
    # The posterior voxel is the neighbour on axis 0; on the other axes it lies in slices of the anterior part.
    assert [st.shared_slices(label, axis) for axis in range(3)] == [0, 1, 1]
    assert st.shared_slices(np.zeros((3, 3, 3), np.uint8), 0) == 0


def test_describe_one_case(label):
    image = np.arange(120.0).reshape(6, 5, 4)
    cohort = SimpleNamespace(cases={3: case(image, label, 3)}, spec=MSD_HIPPOCAMPUS)
    row = st.describe(cohort).loc[3]
    assert (row.subject, row.stored_dtype, row.maximum, row["median"], row.step) == (2, "float32", 119, 59.5, 1)
    assert (row.volume_anterior, row.volume_posterior, row.volume) == (4, 1, 5)
    assert row.share_background == pytest.approx(115 / 120)
    assert [[row[f"{side}_{axis}"] for axis in range(3)] for side in ("low", "high")] == [[1, 2, 1], [2, 1, 2]]


def test_random_pairs_are_disjoint_and_never_neighbours():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pairs = st.random_pairs(range(1, 41), 15, rng)
        flat = [number for pair in pairs for number in pair]
        assert len(pairs) == 15 and len(set(flat)) == 30
        assert all(abs(a - b) > 1 for a, b in pairs)
    with pytest.raises(ValueError, match="too few"):
        st.random_pairs([1, 2, 3], 2, rng)


@pytest.fixture(scope="module")
def real(msd_dir):
    """The real cohort and its table."""
    from hipposeg.data import cohort, locate

    loaded = cohort.load(locate.locate("standard"))
    if loaded.dataset != "msd":
        pytest.skip("HIPPOSEG_DATA does not hold the real data set")
    return loaded, st.describe(loaded)


def test_real_pairs_are_of_one_subject(real):
    _, table = real
    odd, even = st.neighbours(table.index, "odd"), st.neighbours(table.index, "even")
    assert len(odd) == 90
    assert st.correlation(table.volume, odd) == pytest.approx(0.91, abs=0.01)
    assert st.correlation(table.volume, even) == pytest.approx(0.06, abs=0.01)
    assert all(table.stored_dtype[a] == table.stored_dtype[b] for a, b in odd)
    # float32's relative precision is about 1e-7; the values differ by the rounding of one multiplication.
    assert st.ratio_difference(table.step, st.floating(table, odd)).max() < 1e-5
    assert st.ratio_difference(table.step, st.floating(table, even)).min() > 1e-3
    assert table.step[[3, 7, 19]].to_numpy() == pytest.approx([5.95898, 6.33066, 8.96948], abs=1e-5)


def test_real_boxes_were_cut_around_the_truth(real):
    _, table = real
    margins = table[[f"{side}_{axis}" for side in ("low", "high") for axis in range(3)]]
    assert margins.mean().to_numpy() == pytest.approx([5.9, 5.2, 4.8, 7.5, 6.0, 5.4], abs=0.06)
    assert margins.std().between(0.75, 1.65).all()
    assert table[[f"centre_{axis}" for axis in range(3)]].std().max() < 1.1
    assert table.volume_anterior.mean() == pytest.approx(1715, abs=1)
    assert table.volume_posterior.mean() == pytest.approx(1580, abs=1)


def test_real_folds_and_orientation(real):
    from hipposeg.data import folds

    loaded, table = real
    splits = folds.make(loaded.spec, loaded.numbers)
    assert [st.siblings_in_training(fold, table.subject) for fold in splits["nnunet"]] == [36, 33, 31, 26, 28]
    assert not any(st.siblings_in_training(fold, table.subject) for fold in splits["grouped"])
    odd, even = (
        st.mean_mask([case.label for n, case in loaded.cases.items() if n % 2 == rest], (48, 64, 48)) for rest in (1, 0)
    )
    assert np.corrcoef(odd.ravel(), even.ravel())[0, 1] == pytest.approx(0.987, abs=0.005)
    assert np.corrcoef(odd.ravel(), even[::-1].ravel())[0, 1] < 0.7
