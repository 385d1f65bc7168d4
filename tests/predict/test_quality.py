"""Measures and flags of masks: by hand, and silent on the mask that the limits were made from."""

import numpy as np
import pytest

from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.predict import quality


def mask():
    """A hippocampus of two blocks, 3 voxels from the low side of axis 2, and one stray voxel."""
    found = np.zeros((20, 30, 20), np.uint8)
    found[8:12, 20:24, 3:7] = 1
    found[8:12, 12:20, 3:7] = 2
    return found


CALM = {"anterior": 3.0, "posterior": 3.0, "union": 4.0}


def test_measures_by_hand():
    found = quality.measure(mask(), (1.0, 2.0, 1.0), CALM, PHANTOM_SPEC)
    assert (found["anterior"], found["posterior"], found["union"]) == (128, 256, 384)
    assert found["margin"] == 3 and found["stray"] == 0
    assert found["order"] == (21.5 - 15.5) * 2 and found["doubt"] == pytest.approx(4 / 384)
    for part, margin in ((np.s_[8:], 0), (np.s_[:, :26], 2), (np.s_[:, :, :8], 1), (np.s_[:, 11:], 1), (np.s_[:13], 1)):
        assert quality.measure(mask()[part], (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)["margin"] == margin
    pieces = mask()
    pieces[0, 0, 0] = 2
    assert quality.measure(pieces, (1.0, 2.0, 1.0), CALM, PHANTOM_SPEC)["stray"] == pytest.approx(1 / 193)


def test_limits_leave_half_a_percent_beyond_each():
    order = np.random.default_rng(0).permutation(401)
    found = quality.limits(
        [dict.fromkeys(("anterior", "posterior", "union", *quality.RULES), n) for n in order], PHANTOM_SPEC
    )
    assert found["union"] == [2, 398], "half a percent of 400 steps are 2"
    assert found["stray"] == [None, 398] and found["margin"] == [2, None]


def test_flags_name_what_is_beyond_the_limits():
    usual = quality.measure(mask(), (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    within = quality.limits([usual] * 3, PHANTOM_SPEC)
    assert quality.flags(usual, within) == []
    turned = quality.measure(mask()[:, ::-1], (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert [flag for flag in quality.flags(turned, within)] == [
        "the anterior part's centre is -6 mm in front of the posterior's (limit 6)"
    ]
    cut = quality.measure(mask()[:, :, 3:], (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert [flag.split(" (")[0] for flag in quality.flags(cut, within)] == [
        "voxels between the hippocampus and the nearest side of the crop: 0"
    ]
    doubtful = quality.measure(mask(), (1.0, 1.0, 1.0), CALM | {"union": 40.0}, PHANTOM_SPEC)
    assert (
        len(quality.flags(doubtful, within)) == 1 and "differ in the total volume" in quality.flags(doubtful, within)[0]
    )
    small = quality.measure(np.where(mask() == 1, 0, mask()), (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert any("anterior volume of 0 mm³ is below" in flag for flag in quality.flags(small, within))
    empty = quality.measure(mask() * 0, (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert quality.flags(empty, within) == ["no hippocampus was found"]


def test_without_a_spread_its_rule_is_silent():
    unknown = dict.fromkeys(CALM, float("nan"))
    found = quality.measure(mask(), (1.0, 1.0, 1.0), unknown, PHANTOM_SPEC)
    assert quality.limits([found], PHANTOM_SPEC)["doubt"] == [None, None]
