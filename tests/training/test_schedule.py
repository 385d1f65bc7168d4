"""Learning rates and early stopping by hand; inner subjects are not trained on."""

from types import SimpleNamespace

import pytest

from hipposeg.experiments.samples import inner_part
from hipposeg.training.schedule import SCHEDULES, StopRule, falls, one_cycle, rate


def test_schedule():
    rates = [one_cycle(step, 100, 1.0, 0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[20] == pytest.approx(1.0) == max(rates)
    assert rates[60] == pytest.approx(0.5)
    assert rates[99] < 0.001 and all(rate >= 0 for rate in rates)


def test_the_seeds_schedules():
    def rates(name: str) -> list[float]:
        return [rate(name, step, 90, 0.2, []) for step in range(90)]

    assert rates("one-cycle") == [one_cycle(step, 90, 1.0, 0.2) for step in range(90)]
    cosine, restarts = rates("cosine"), rates("restarts")
    assert cosine[0] == 1 and cosine[45] == pytest.approx(0.5) and cosine == sorted(cosine, reverse=True)
    assert [restarts[step] for step in (0, 30, 60)] == pytest.approx([1, 1, 1]) and restarts[29] < 0.01
    assert restarts[15] == pytest.approx(0.5)
    with pytest.raises(ValueError, match=", ".join(SCHEDULES)):
        rate("linear", 0, 90, 0.2, [])


def test_plateau_falls_after_an_epoch_without_a_new_low():
    losses = [3.0, 2.0, 2.5, 1.0, 1.0, 1.2, 0.9]
    assert [falls(losses[:n]) for n in range(8)] == [0, 0, 0, 1, 1, 2, 3, 3]
    history = [{"loss": loss} for loss in losses[:3]]
    assert rate("plateau", 5, 90, 0.2, history) == pytest.approx(0.1)


def history(*looks: tuple[float, ...] | None) -> list[dict]:
    """Lines of history; None is an epoch without a look."""
    return [{"epoch": 1} if look is None else {"inner": dict(enumerate(look))} for look in looks]


def test_reach_wants_every_class_at_the_latest_look():
    rule = StopRule(reach=0.7)
    assert not rule.ends([]) and not rule.ends(history(None, None))
    assert not rule.ends(history((0.9, 0.69)))
    assert rule.ends(history((0.9, 0.69), None, (0.7, 0.7), None))
    assert not rule.ends(history((0.8, 0.8), (0.9, 0.6)))


def test_patience_counts_looks_without_a_rise():
    rule = StopRule(patience=2)
    assert not rule.ends(history((0.5, 0.5)))
    assert not rule.ends(history((0.5, 0.5), None, None, (0.4, 0.5)))
    assert rule.ends(history((0.5, 0.5), None, (0.4, 0.5), None, (0.45, 0.5)))
    assert rule.ends(history((0.5, 0.5), (0.5, 0.5), (0.5, 0.5)))  # the same again is no rise
    assert not rule.ends(history((0.5, 0.5), (0.4, 0.5), (0.6, 0.5)))
    # The mean counts: one class may fall while the other rises more.
    assert not rule.ends(history((0.5, 0.5), (0.4, 0.7), (0.3, 0.9)))


def test_switched_off_never_ends_and_one_condition_is_enough():
    assert not StopRule().ends(history(*[(1.0, 1.0)] * 9))
    both = StopRule(reach=0.9, patience=2)
    assert both.ends(history((0.95, 0.95))) and both.ends(history((0.5,), (0.4,), (0.4,)))


@pytest.mark.parametrize("wrong", [{"reach": 1.5}, {"reach": -0.1}, {"patience": -1}, {"every": 0}, {"people": 1}])
def test_senseless_rules_are_refused(wrong):
    with pytest.raises(ValueError, match="must be a Dice"):
        StopRule(**wrong)


def test_inner_subjects_are_not_trained_on():
    cohort = SimpleNamespace(cases={number: SimpleNamespace(subject=(number + 1) // 2) for number in range(1, 25)})
    cases = [number for number in cohort.cases if number % 7]
    trained, inner = inner_part(cohort, cases, 5)
    assert sorted(trained + inner) == cases and trained and inner
    people = [{cohort.cases[number].subject for number in part} for part in (trained, inner)]
    assert not people[0] & people[1] and len(people[1]) == 3  # of the 12 subjects: the first, the sixth, the eleventh
