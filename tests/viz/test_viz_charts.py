"""Charts of `viz`: dots and forest plots, against the tables that they are drawn from."""

import functools

import numpy as np
import pandas as pd
import pytest
from drawing import texts
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from hipposeg import stats
from hipposeg.viz import intervals

MARGIN = stats.EQUIVALENCE_MARGIN

pytestmark = pytest.mark.usefixtures("house_style")


def table(series=("head", "trilinear"), panels=("a", "b")):
    made = [(r, s, p, 0.8 + 0.01 * i) for i, r in enumerate(("conv", "mlp")) for s in series for p in panels]
    return pd.DataFrame(
        [{"row": r, "series": s, "panel": p, "value": v, "low": v - 0.01, "high": v + 0.02} for r, s, p, v in made]
    )


def test_dots_stand_at_their_row_unless_it_has_several():
    rows = pd.DataFrame({"row": ["a", "b"], "series": ["x", "y"], "value": 0.5, "low": 0.4, "high": 0.6})
    alone = intervals.dots(rows, "Dice").axes[0]
    assert [line.get_ydata().tolist() for line in alone.lines] == [[0], [1]]
    both = intervals.dots(pd.concat([rows, rows[:1].assign(series="y")]), "Dice").axes[0]
    places = [np.round(line.get_ydata(), 3).tolist() for line in both.lines]
    assert places == [[-0.175], [1, 0.175]]


def test_dots_show_intervals_numbers_and_the_line():
    fig = intervals.dots(table(), {"a": "left", "b": "right"}, line=("twin", 0.8), numbers="head")
    assert [ax.get_xlabel() for ax in fig.axes] == ["left", "right"]
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["conv", "mlp"]
    segments = [bars.get_segments() for bars in fig.axes[0].collections if isinstance(bars, LineCollection)]
    ends = [segment[:, 0].tolist() for found in segments for segment in found]
    assert ends == [pytest.approx([0.79, 0.82]), pytest.approx([0.8, 0.83])] * 2
    assert texts(fig) == ["0.800", "0.810", "twin"] * 2


# --- forest plots


@functools.cache
def compared(**differences):
    """A table as `compare.differences` makes it, from `stats.paired` on 20 subjects: name -> (shift, spread, seeds)."""
    rng = np.random.default_rng(0)
    base, rows = rng.normal(0.85, 0.03, 20), {}
    for name, (shift, spread, seeds) in differences.items():
        shifted = np.stack([base + shift + rng.normal(0, spread, 20) for _ in range(seeds)])
        pair = stats.paired(shifted, np.tile(base, (seeds, 1)), range(20))
        said = stats.conclusion(pair) or f"none: {seeds} seed"
        rows[name] = {"difference": pair.difference, "low": pair.low, "high": pair.high, "subjects": pair.n_subjects,
                      "seeds": pair.n_seeds, "p_holm": pair.p_value, "conclusion": said}  # fmt: skip
    return pd.DataFrame(rows).T.infer_objects()


FIVE = {"higher": (0.02, 0.002, 3), "lower": (-0.02, 0.002, 3), "same": (0.0, 0.0005, 3),
        "wide": (0.0, 0.05, 3), "single": (0.01, 0.002, 1)}  # fmt: skip


def lines_of(fig):
    """Name and words of each line of a forest plot, from the top."""
    fig.draw_without_rendering()
    ax = fig.axes[0]
    right = ax.child_axes[0].yaxis
    return [
        (name.get_text(), words.get_text())
        for name, words in zip(ax.get_yticklabels(), right.get_ticklabels(), strict=True)
    ]


def marks_of(ax):
    return [line for line in ax.lines if line.get_marker() != "None"]


def test_forest_prints_its_input_and_sorts_it():
    rows = compared(**FIVE)
    lines = lines_of(intervals.forest(rows, MARGIN))
    assert [name for name, _ in lines] == list(rows.sort_values("difference", ascending=False).index)
    for name, words in lines:
        row = rows.loc[name]
        numbers = f"{row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})".replace("-", "\N{MINUS SIGN}")
        seeds = "1 seed" if row.seeds == 1 else f"{row.seeds} seeds"
        assert words == f"{numbers}, {row.subjects} subjects, {seeds}: {row.conclusion}"
    assert [name for name, _ in lines_of(intervals.forest(rows, MARGIN, sort=False))] == list(rows.index)
    assert lines_of(intervals.forest(rows.assign(conclusion=None), MARGIN))[0][1].endswith("seeds: no conclusion")


def test_forest_tells_conclusions_by_shape_and_draws_the_interval():
    rows = compared(**FIVE)
    ax = intervals.forest(rows, MARGIN, sort=False).axes[0]
    marks = marks_of(ax)
    assert len({mark.get_marker() for mark in marks}) == len({to_hex(m.get_markeredgecolor()) for m in marks}) == 5
    assert [float(mark.get_xdata()[0]) for mark in marks] == pytest.approx(list(rows["difference"]))
    whiskers = [item.get_segments()[0] for item in ax.collections if isinstance(item, LineCollection)]
    assert np.allclose([line[:, 0] for line in whiskers], rows[["low", "high"]].to_numpy(float))
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-MARGIN, MARGIN))


def test_forest_cuts_the_one_row_that_leaves_the_others_no_room():
    rows = compared(**FIVE)
    failed = rows.iloc[[0]].assign(difference=-0.3, low=-0.6, high=0.0)
    failed.index = ["failed"]
    ax = intervals.forest(pd.concat([rows, failed]), MARGIN).axes[0]
    assert -0.3 < ax.get_xlim()[0] < rows["low"].min() and rows["high"].max() < ax.get_xlim()[1]
    assert (
        len([mark for mark in marks_of(ax) if (mark.get_marker(), mark.get_xdata()[0]) == ("<", ax.get_xlim()[0])]) == 1
    )


def test_forest_groups_rows_under_headings():
    rows = pd.concat({"Loss, minus Dice": compared(a=(0.01, 0.001, 3), b=(0.02, 0.001, 3)),
                      "Axis, minus sagittal": compared(c=(0.0, 0.001, 3), d=(0.0, 0.001, 3))})  # fmt: skip
    gone = ("Axis, minus sagittal", "d")
    rows.loc[gone, ["difference", "low", "high", "subjects", "seeds"]] = np.nan
    rows.loc[gone, "conclusion"] = "not compared: another setting"
    fig = intervals.forest(rows, MARGIN)
    lines = lines_of(fig)
    assert [name for name, _ in lines] == ["", "b", "a", "", "c", "d"]
    bold = {int(text.get_position()[1]): text.get_text() for text in fig.axes[0].texts if text.get_weight() == "bold"}
    assert bold == {0: "Loss, minus Dice", 3: "Axis, minus sagittal"}
    assert lines[-1][1] == "not compared: another setting" and len(marks_of(fig.axes[0])) == 3


def test_forest_refuses_what_it_cannot_draw():
    rows = compared(**FIVE)
    with pytest.raises(ValueError, match="has no row"):
        intervals.forest(rows.iloc[:0], MARGIN)
    with pytest.raises(ValueError, match="lacks the columns low, conclusion"):
        intervals.forest(rows.drop(columns=["low", "conclusion"]), MARGIN)
