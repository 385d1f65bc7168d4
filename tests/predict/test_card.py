"""A card with impossible values is refused with file, finding, expectation and remedy; weights: see test_output."""

import json

import numpy as np
import pytest

from hipposeg.predict import card


@pytest.mark.parametrize(
    ("place", "value", "found"),
    [
        (("quantiles", "union"), 0, "as quantiles"),
        (("quantiles", "anterior"), -0.1, "as quantiles"),
        (("quantiles", "anterior"), "0.1", "as quantiles"),
        (("quantiles", "anterior"), float("inf"), "as quantiles"),
        (("level",), 1, "1 as level"),
        (("quantiles",), {"union": 0.1}, "as quantiles"),
        (("limits",), {}, "as measures with limits"),
        (("limits", "union"), None, "None as limits of union"),
        (("limits", "union"), ["2410", 4267.0], "as limits of union"),
        (("limits", "union"), [4267.0, 2410.0], "as limits of union"),
        (("limits", "union"), [None, float("nan")], "as limits of union"),
        (("scale",), "width", "'width' as scale"),
        (("boxes",), {}, "missing"),
    ],
)
def test_a_card_with_a_wrong_value(tmp_path, place, value, found):
    content = json.loads((card.PACKAGED / card.NAME).read_text())
    inner = content[place[0]] if len(place) == 2 else content
    inner[place[-1]] = value
    path = tmp_path / card.NAME
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError) as error:
        card.read(path)
    text = str(error.value)
    assert text.startswith(f"{path}: found ") and found in text and "expected a card" in text and "copy card" in text


def test_no_end_of_an_interval_is_negative():
    low, high = card.bounds(np.array([100.0, 10.0]), np.array([20.0, 20.0]))
    assert low.tolist() == [80, 0] and high.tolist() == [120, 30]


def test_the_scale_of_an_interval_is_at_least_one_cubic_millimetre():
    predicted, spread = np.array([100.0, 0.0]), np.array([1.5, 0.5])
    found = {one: card.scale_of(one, predicted, spread).tolist() for one in (card.CONSTANT, card.VOLUME, card.SPREAD)}
    assert found == {"constant": [1, 1], "volume": [100, 1], "spread": [1.5, 1]}
