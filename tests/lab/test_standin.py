"""Stand-ins: the same arguments give the same bytes, every layout says what it is, and all classes are there."""

import hashlib

import numpy as np
import pytest

from hipposeg_lab import standin

SIZE = (24, 26, 20)


def bytes_of(folder):
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


@pytest.mark.parametrize("layout", standin.STANDINS)
def test_same_arguments_same_bytes_and_a_mark(layout, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        standin.generate(layout, tmp_path / name, 2, SIZE, seed)
    first, again, other = (bytes_of(tmp_path / name) for name in "abc")
    assert first == again and first.keys() == other.keys() and first != other
    assert "stand-in, synthetic" in (tmp_path / "a" / "STAND-IN.txt").read_text()


@pytest.mark.parametrize("layout", standin.STANDINS)
def test_volumes_hold_every_class_and_visits_of_a_subject_are_alike(layout):
    plan = standin.STANDINS[layout]
    values = sorted({0, *(one.value for one in plan.structures)})
    image, label = standin.volume(plan, SIZE, 0, 1, 0)
    _, visit = standin.volume(plan, SIZE, 0, 1, 1)
    others = [standin.volume(plan, SIZE, 0, subject, 0)[1] for subject in range(2, 8)]
    assert np.unique(label).tolist() == values and image.shape == (len(plan.structures[0].contrast), *SIZE)

    def overlap(a, b):
        return 2 * ((a > 0) & (b > 0)).sum() / ((a > 0).sum() + (b > 0).sum())

    assert overlap(label, visit) > np.mean([overlap(label, other) for other in others])


def test_an_ellipsoid_has_the_volume_of_its_radii_and_its_tilt():
    size, radii = (60, 60, 60), np.array([0.3, 0.15, 0.1])
    straight = standin._ellipsoid(size, np.array([0.5, 0.5, 0.5]), radii, np.zeros(3)) < 1
    expected = 4 / 3 * np.pi * np.prod(radii * 60)
    assert straight.sum() == pytest.approx(expected, rel=0.04)
    tilted = standin._ellipsoid(size, np.array([0.5, 0.5, 0.5]), radii, np.array([0, 0, np.pi / 2])) < 1
    assert np.abs(np.ptp(np.argwhere(tilted), 0) - np.ptp(np.argwhere(straight), 0)[[1, 0, 2]]).max() <= 1
