"""Captions and prompts on hand-made labels: what is said must be what is there."""

import re

import numpy as np
import pytest

from hipposeg.data import captions as module
from hipposeg.data.captions import (
    BEHIND,
    IN_FRONT,
    KINDS,
    SIZES,
    Facts,
    Measured,
    attributes,
    caption,
    facts,
    measure,
    prompts,
    terciles,
)
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC

SPACING = (1.0, 2.0, 0.5)
ANY = ((40.0, 80.0),) * 5


def hand_made():
    """Eleven slices with hippocampus: posterior in 3 to 10, anterior in 9 to 13; two empty ones on either side."""
    label = np.zeros((6, 16, 8), np.uint8)
    label[1:5, 3:11, 2:6] = 2  # 16 voxels a slice
    label[2:4, 9:14, 1:7] = 1  # 12 voxels, over the posterior part in slices 9 and 10
    return label


def words(seed=0):
    return np.random.default_rng(seed)


def test_slices_are_measured_as_they_were_made():
    found = measure(hand_made(), SPEC, SPACING)
    assert len(found) == 16
    assert found[2].parts == () and found[2].percent < 0 and found[14].percent > 100
    assert found[3] == Measured(0.0, ("posterior",), 16 * 0.5)
    # Ten steps from slice 3 to slice 13: slice 9 lies at 60 percent. Both parts: 16 + 12 - 8 shared voxels.
    assert found[9] == Measured(60.0, ("anterior", "posterior"), 20 * 0.5)
    assert found[13] == Measured(100.0, ("anterior",), 12 * 0.5)
    with pytest.raises(ValueError, match="holds no hippocampus"):
        measure(np.zeros((4, 5, 6), np.uint8), SPEC, SPACING)


def test_facts_are_rounded_and_compared_with_slices_of_the_same_place():
    assert facts(Measured(-9.0, (), 0.0), ANY) == Facts(BEHIND, ())
    assert facts(Measured(109.0, (), 0.0), ANY) == Facts(IN_FRONT, ())
    assert facts(Measured(63.0, ("anterior",), 78.0), ANY) == Facts(60, ("anterior",), 80, "medium")
    assert facts(Measured(63.0, ("anterior",), 2.0), ANY).area == 20, "what is visible has an area"
    # Slices of 10, 20, ... 90 mm2 in the first fifth; of 100 to 900 in the last.
    seen = [Measured(5.0, ("posterior",), 10.0 * n) for n in range(1, 10)]
    seen += [Measured(95.0, ("anterior",), 100.0 * n) for n in range(1, 10)]
    sizes = terciles(seen)
    assert [facts(one, sizes).size for one in seen[:9]] == [size for size in SIZES for _ in range(3)]
    assert facts(Measured(95.0, ("anterior",), 90.0), sizes).size == "small", "90 mm2 is large behind, small in front"
    assert facts(Measured(5.0, ("posterior",), 90.0), sizes).size == "large"


def test_a_caption_states_every_fact_in_many_wordings():
    said = Facts(70, ("anterior", "posterior"), 140, "large")
    found = {caption(said, words(seed)) for seed in range(60)}
    assert len(found) > 40, "wording and order vary"
    for text in found:
        assert re.findall(r"\d+", text.replace("mm2", "mm")) in (["70", "140"], ["140", "70"])
        assert "large" in text and "coronal" in text
        assert any(name in text for name in ("anterior", "head")) and any(
            name in text for name in ("posterior", "tail")
        )
    assert caption(said, words(3)) == caption(said, words(3)), "the wording depends on the generator alone"


def test_different_facts_never_share_a_caption():
    every = [Facts(BEHIND, ()), Facts(IN_FRONT, ())]
    for place in (0, 50, 100):
        for parts in (("anterior",), ("posterior",), ("anterior", "posterior")):
            every += [Facts(place, parts, area, size) for area in (50, 100) for size in SIZES]
    owner = {}
    for said in every:
        for seed in range(200):
            assert owner.setdefault(caption(said, words(seed)), said) == said
    assert len(owner) > 20 * len(every)


def test_attributes_are_the_same_facts_in_numbers():
    names = SPEC.names
    assert attributes(Facts(70, ("posterior",), 140, "large"), names) == pytest.approx([0, 1, 0.7, 1.4, 1])
    assert attributes(Facts(BEHIND, ()), names) == pytest.approx([0, 0, -0.2, 0, 0])
    assert attributes(Facts(IN_FRONT, ()), names) == pytest.approx([0, 0, 1.2, 0, 0])
    every = [Facts(0, ("anterior",), 50, size) for size in SIZES] + [Facts(0, ("posterior",), 50, "small")]
    assert len({tuple(attributes(said, names)) for said in every}) == 4


def test_prompts_of_every_set_name_each_class():
    seen = [Facts(BEHIND, ()), *(Facts(20, ("posterior",), area, "small") for area in (50, 60, 130))]
    seen += [Facts(90, ("anterior",), 80, "large")]
    for kind in KINDS:
        found = prompts(kind, SPEC.names, seen)
        assert len(found) == 3 and all(len(set(one)) == len(one) or kind == "geometric" for one in found), kind
        assert len(set().union(*found)) == sum(len(set(one)) for one in found), "no prompt belongs to two classes"
    assert [len(one) for one in prompts("sentences", SPEC.names, ())] == [5, 5, 5]
    # The median slice that shows the posterior part alone: 20 percent, 60 mm2.
    assert all(re.findall(r"\d+", text.replace("mm2", "mm")) in (["20", "60"], ["60", "20"])
               for text in prompts("geometric", SPEC.names, seen)[2])  # fmt: skip


def test_what_no_prompt_can_be_written_for_is_said():
    with pytest.raises(ValueError, match="no prompt is written for bladder"):
        prompts("words", ("anterior", "bladder"), ())
    with pytest.raises(ValueError, match="no training slice shows anterior alone"):
        prompts("geometric", SPEC.names, [Facts(BEHIND, ()), Facts(50, ("posterior",), 50, "small")])


def test_the_digest_follows_every_word_and_step(monkeypatch):
    before = module.digest()
    derived = ("KINDS", "GEOMETRIC", "SENTENCES")
    for name in [name for name in vars(module) if name.isupper() and name[0] != "_" and name not in derived]:
        with monkeypatch.context() as changed:
            changed.setattr(module, name, [getattr(module, name)])
            assert module.digest() != before, name
    assert module.digest() == before
