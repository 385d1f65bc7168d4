"""Statistics against textbook values, scipy, and properties that only a person-level bootstrap has."""

import warnings

import numpy as np
import pytest
from scipy import stats as scipy_stats

from hipposeg import stats

# Table 2 of Shrout & Fleiss 1979 (doi 10.1037/0033-2909.86.2.420): 6 targets, 4 judges.
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def test_icc_equals_the_published_example():
    found = stats.icc(SHROUT_FLEISS)
    assert [round(value, 2) for value in found] == [0.29, 0.71]


def test_icc_agreement_falls_with_a_constant_bias_and_consistency_does_not():
    true = np.array([1500.0, 1700.0, 1650.0, 1400.0, 1820.0])
    shifted = stats.agreement(true + 100, true)
    assert shifted.icc_consistency == pytest.approx(1.0)
    assert shifted.icc_agreement < 0.95
    assert (shifted.bias, shifted.low, shifted.high) == pytest.approx((100, 100, 100))


def test_icc_of_two_targets_by_hand():
    # Mean squares between targets 4, between raters 1, residual 0: ICC(2,1) is 4 / (4 + 2 * 1 / 2), ICC(3,1) is 4 / 4.
    assert stats.icc(np.array([[1.0, 2.0], [3.0, 4.0]])) == pytest.approx((0.8, 1.0))
    for few in (np.ones((1, 2)), np.ones((2, 1)), np.array([[1.0, 2.0], [3.0, np.nan]])):
        with pytest.raises(ValueError, match="at least 2 of each"):
            stats.icc(few)


def test_a_difference_as_text():
    assert [stats.signed(value) for value in (0.01234, -0.5, 0.00001, -0.00001)] == [
        "+0.0123", "-0.5000", "0.0000", "0.0000"
    ]  # fmt: skip


def test_width_of_an_interval():
    assert stats.Interval(0.5, 0.4, 0.7).width == pytest.approx(0.3)


def test_bland_altman_by_hand():
    # Differences -1, 1, 3: mean 1, sample SD 2.
    found = stats.agreement(np.array([9.0, 21.0, 33.0]), np.array([10.0, 20.0, 30.0]))
    assert (found.bias, found.sd, found.low, found.high) == pytest.approx((1, 2, 1 - 3.92, 1 + 3.92))


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, then never falling.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert stats.holm([0.01, 0.04], declared=8) == pytest.approx([0.08, 0.28]), "planned, and not finished yet"
    with_nan = stats.holm([0.02, np.nan, 0.03])
    assert with_nan[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(with_nan[1])


def test_interval_is_near_the_t_interval_for_independent_people():
    values = np.random.default_rng(1).normal(0.88, 0.03, 200)
    found = stats.interval(values, np.arange(200))
    half = scipy_stats.t.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)


def test_interval_resamples_people_and_not_cases():
    """Writing every person down twice adds no information: the interval must not shrink by sqrt(2)."""
    values = np.random.default_rng(2).normal(0.88, 0.03, 60)
    once = stats.interval(values, np.arange(60))
    twice = stats.interval(np.repeat(values, 2), np.repeat(np.arange(60), 2))
    wrong = stats.interval(np.repeat(values, 2), np.arange(120))
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert wrong.high - wrong.low == pytest.approx((once.high - once.low) / np.sqrt(2), rel=0.1)


def test_interval_skips_nan_repeats_and_does_not_depend_on_order():
    values, subjects = np.array([0.9, np.nan, 0.8, 0.7]), np.array([1, 1, 2, 3])
    found = stats.interval(values, subjects)
    assert found.value == pytest.approx(0.8)
    assert 0.7 - 1e-9 <= found.low <= found.high <= 0.9 + 1e-9
    assert found == stats.interval(values, subjects)
    assert found == stats.interval(values[::-1], subjects[::-1])
    with warnings.catch_warnings(action="error"):  # such as NumPy's about 0 / 0
        assert np.isnan(stats.interval(np.array([np.nan, np.nan]), [1, 2]).value)
        assert stats.interval(np.array([0.5, np.nan]), [1, 2]) == stats.Interval(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="one subject per case"):
        stats.interval(np.array([1.0, 2.0]), [1])


def test_paired_follows_the_protocol_and_scipy():
    rng = np.random.default_rng(4)
    subjects = np.repeat(np.arange(20), 2)[:33]  # some people with one volume
    a, b = rng.normal(0.88, 0.03, (2, 33)), rng.normal(0.87, 0.03, (3, 33))
    per_case = a.mean(axis=0) - b.mean(axis=0)
    per_person = np.array([per_case[subjects == person].mean() for person in np.unique(subjects)])
    found = stats.paired(a, b, subjects)
    assert found.difference == pytest.approx(per_person.mean())
    assert found.p_value == pytest.approx(scipy_stats.wilcoxon(per_person).pvalue)
    assert (found.n_subjects, found.n_seeds) == (17, 2)
    assert found.low < found.difference < found.high
    flipped = stats.paired(b, a, subjects)
    assert flipped.difference == pytest.approx(-found.difference)


def test_paired_edge_cases():
    same = stats.paired(np.ones(8), np.ones(8), np.arange(8))
    assert same.difference == 0
    assert np.isnan(same.p_value)
    # Six subjects that all differ in one direction: p = 2 / 2^6. Five cannot reach 0.05.
    assert stats.paired(np.arange(1.0, 7), np.zeros(6), np.arange(6)).p_value == pytest.approx(2 / 64)
    assert np.isnan(stats.paired(np.arange(1.0, 6), np.zeros(5), np.arange(5)).p_value)
    without_nan = stats.paired(np.array([np.nan, 0.9]), np.array([0.5, 0.8]), [1, 2])
    assert without_nan.difference == pytest.approx(0.1)
    assert stats.paired(np.array([np.nan]), np.array([0.5]), [1]).n_subjects == 0
    with pytest.raises(ValueError, match="same cases"):
        stats.paired(np.ones(3), np.ones(4), [1, 2, 3])


@pytest.mark.parametrize(
    ("low", "high", "seeds", "expected"),
    [
        (0.001, 0.01, 3, "better"),
        (-0.01, -0.001, 3, "worse"),
        (-0.004, 0.005, 3, "equivalent"),
        (-0.004, 0.006, 3, "inconclusive"),
        (-0.006, 0.004, 3, "inconclusive"),
        (-0.005, 0.004, 3, "equivalent"),
        (0.0, 0.004, 3, "equivalent"),
        (0.0, 0.01, 3, "inconclusive"),
        (-0.01, 0.0, 3, "inconclusive"),
        (0.001, 0.01, 2, None),
        (0.001, 0.01, 1, None),
    ],
)
def test_conclusion(low, high, seeds, expected):
    assert stats.conclusion(stats.Paired((low + high) / 2, low, high, 0.01, 34, seeds)) == expected


def test_intervals_draw_a_subjects_cases_together():
    subjects = np.array([1, 1, 2, 2, 3, 3])
    seen = []
    met = []
    found = stats.of_cases(lambda i, k: seen.append(i) or met.append(set(k)) or float(len(i)), subjects, 3)
    assert (found.value, found.low, found.high) == (6, 6, 6)
    assert met[-1] == {0, 1, 2} and any(len(some) < 3 for some in met), "seeds are drawn, too"
    assert set(np.concatenate(seen[:-1]).tolist()) == set(range(6)), "each subject is drawn"
    for drawn_cases in seen:
        counts = np.bincount(drawn_cases, minlength=6)
        assert (counts[::2] == counts[1::2]).all()


def test_a_statistic_gets_the_indices_of_its_seeds():
    for seeds, some in ((1, {(0,)}), (2, {(0, 0), (0, 1), (1, 0), (1, 1)})):
        met = set()
        stats.of_cases(lambda i, k, met=met: met.add(tuple(k.tolist())) or 1.0, [1, 2], seeds)
        assert met == some
    met = []
    stats.of_cases(lambda i, k: met.append(k.tolist()) or 1.0, [1, 2])
    assert all(k == [0] for k in met), "one seed unless said"


def test_a_resample_of_one_value_counts():
    values = np.array([1.0, 0, 0, 0, *[np.nan] * 16])
    found = stats.interval(values, np.arange(20))
    (drawn,) = stats._draws(stats.RESAMPLES, 20)
    counts = drawn[:, :4].sum(axis=1)
    means = (drawn @ np.nan_to_num(values))[counts > 0] / counts[counts > 0]
    assert (found.low, found.high) == pytest.approx(np.percentile(means, [2.5, 97.5])) and (counts == 1).any()
    assert found.high > np.percentile(means[counts[counts > 0] > 1], 97.5)


def test_correlation_and_its_interval():
    rng = np.random.default_rng(3)
    x = rng.normal(size=200)
    y = 0.6 * x + 0.8 * rng.normal(size=200)
    found = stats.correlation(x, y)
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    # Fisher's interval, which is right for normal values.
    half = 1.96 / np.sqrt(197)
    ends = np.tanh([np.arctanh(found.value) - half, np.arctanh(found.value) + half])
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=0.025)
    shifted = stats.correlation(1e8 + 3 * x, 1e8 - y)
    assert (shifted.value, shifted.low, shifted.high) == pytest.approx((-found.value, -found.high, -found.low))
    with warnings.catch_warnings(action="error"):
        for constant in ((np.ones(5), np.arange(5.0)), (np.arange(5.0), np.ones(5))):
            assert np.isnan(stats.correlation(*constant).value)
    assert stats.correlation([1, 2, 3], [1, 2, 3]).value == pytest.approx(1)
    with pytest.raises(ValueError, match="3 or more"):
        stats.correlation([1, 2], [1, 2])


def test_the_interval_of_a_correlation_is_that_of_resampled_subjects():
    x, y = np.random.default_rng(5).normal(size=(2, 9)) + 40
    (drawn,) = stats._draws(stats.RESAMPLES, 9)
    places = [np.repeat(np.arange(9), row.astype(int)) for row in drawn]
    expected = [np.corrcoef(x[some], y[some])[0, 1] for some in places if len(set(some)) > 1]
    found = stats.correlation(x, y)
    assert (found.low, found.high) == pytest.approx(np.percentile(expected, [2.5, 97.5]), rel=1e-9)
