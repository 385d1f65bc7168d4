"""Forest plots, the gallery and the augmentation grid: against what they are drawn from."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from drawing import texts, volume
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from same_bytes import saved_twice

from hipposeg import stats
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.models import shapes
from hipposeg.models.unet import UNet
from hipposeg.viz import architecture, batches, forest
from hipposeg.viz.slices import CaseView
from hipposeg_lab.figures import gallery, preprocessing
from hipposeg_lab.studies import statistics as st

MARGIN = stats.EQUIVALENCE_MARGIN


pytestmark = pytest.mark.usefixtures("house_style")


# --- forest plots


def compared(**differences):
    """A table as `compare.differences` makes it, from `stats.paired` on 20 people: name -> (shift, spread, seeds)."""
    rng = np.random.default_rng(0)
    base, rows = rng.normal(0.85, 0.03, 20), {}
    for name, (shift, spread, seeds) in differences.items():
        shifted = np.stack([base + shift + rng.normal(0, spread, 20) for _ in range(seeds)])
        pair = stats.paired(shifted, np.tile(base, (seeds, 1)), range(20))
        said = stats.verdict(pair) or f"none: {seeds} seed"
        rows[name] = {"difference": pair.difference, "low": pair.low, "high": pair.high, "people": pair.n_people,
                      "seeds": pair.n_seeds, "p_holm": pair.p_value, "verdict": said}  # fmt: skip
    return pd.DataFrame(rows).T.infer_objects()


FIVE = {"ahead": (0.02, 0.002, 3), "behind": (-0.02, 0.002, 3), "equivalent": (0.0, 0.0005, 3),
        "undecided": (0.0, 0.05, 3), "single": (0.01, 0.002, 1)}  # fmt: skip


def rows_of(fig):
    """What stands in a forest plot, by line from the top: name, and the texts at the right."""
    names = [
        (text.get_position()[1] if text.xyann is None else text.xy[1], text.get_text()) for text in fig.axes[0].texts
    ]
    right = {}
    for text in fig.axes[2].texts:
        right.setdefault(text.get_position()[1], []).append(text.get_text())
    return [(name, right[y]) for y, name in sorted(names)]


def test_forest_prints_its_input_and_sorts_it():
    table = compared(**FIVE)
    lines = rows_of(forest.forest(table, MARGIN))
    assert [name for name, _ in lines] == list(table.sort_values("difference", ascending=False).index)
    for name, words in lines:
        row = table.loc[name]
        numbers = f"{row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
        assert words == [numbers.replace("-", "\N{MINUS SIGN}"), f"{row.people}", f"{row.seeds}", row.verdict]
    kept = rows_of(forest.forest(table, MARGIN, sort=False))
    assert [name for name, _ in kept] == list(table.index)


def test_forest_tells_verdicts_by_shape_and_draws_the_interval():
    table = compared(**FIVE)
    assert list(table["verdict"]) == ["ahead", "behind", "equivalent", "undecided", "none: 1 seed"]
    ax = forest.forest(table, MARGIN, sort=False).axes[1]
    marks = [line for line in ax.lines if line.get_marker() != "None"]
    assert len({mark.get_marker() for mark in marks}) == len({to_hex(m.get_markeredgecolor()) for m in marks}) == 5
    assert [float(mark.get_xdata()[0]) for mark in marks] == pytest.approx(list(table["difference"]))
    whiskers = [item.get_segments()[0] for item in ax.collections if isinstance(item, LineCollection)]
    assert np.allclose([line[:, 0] for line in whiskers], table[["low", "high"]].to_numpy(float))
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-MARGIN, MARGIN))
    assert ax.get_xlim()[0] < table["low"].min() and ax.get_xlim()[1] > table["high"].max()


def test_forest_cuts_the_one_row_that_leaves_the_others_no_room():
    table = compared(**FIVE)
    whole = forest.forest(table, MARGIN).axes[1]
    assert whole.get_xlim()[0] < table["low"].min() and whole.get_xlim()[1] > table["high"].max()
    failed = table.iloc[[0]].assign(difference=-0.3, low=-0.6, high=0.0)
    failed.index = ["failed"]
    ax = forest.forest(pd.concat([table, failed]), MARGIN).axes[1]
    assert -0.3 < ax.get_xlim()[0] < table["low"].min()
    arrows = [line for line in ax.lines if line.get_marker() == "<" and line.get_xdata()[0] == ax.get_xlim()[0]]
    assert len(arrows) == 1


def test_forest_groups_families_under_headings():
    table = pd.concat({"Loss, minus Dice": compared(a=(0.01, 0.001, 3), b=(0.02, 0.001, 3)),
                       "Axis, minus sagittal": compared(c=(0.0, 0.001, 3), d=(0.0, 0.001, 3))})  # fmt: skip
    gone = ("Axis, minus sagittal", "d")
    table.loc[gone, ["difference", "low", "high", "people", "seeds"]] = np.nan
    table.loc[gone, "verdict"] = "not compared: another setting"
    fig = forest.forest(table, MARGIN)
    lines = rows_of(fig)
    assert [name for name, _ in lines] == ["Loss, minus Dice", "b", "a", "Axis, minus sagittal", "c", "d"]
    bold = [text.get_text() for text in fig.axes[0].texts if text.get_weight() == "bold"]
    assert bold == ["Loss, minus Dice", "Axis, minus sagittal"]
    assert dict(lines)["d"] == ["", "", "", "not compared: another setting"]
    assert len([line for line in fig.axes[1].lines if line.get_marker() != "None"]) == 3


@pytest.mark.parametrize("count", [1, 3, 30])
def test_forest_texts_stay_on_the_page_and_apart(count):
    names = [f"{'a name of five and thirty characters':.35s}{n}"[-35:] for n in range(count)]
    fig = forest.forest(compared(**dict.fromkeys(names, (0.0, 0.01, 3))), MARGIN)
    fig.canvas.draw()
    page, left, chart = fig.bbox, fig.axes[0].texts, fig.axes[1].get_window_extent()
    assert all(text.get_window_extent().x1 < chart.x0 for text in left)
    right = [text.get_window_extent() for text in fig.axes[2].texts]
    assert all(chart.x1 < box.x0 and box.x1 <= page.x1 for box in right)
    for y in {round(box.y0) for box in right}:
        line = sorted((box for box in right if round(box.y0) == y), key=lambda box: box.x0)
        assert all(a.x1 < b.x0 for a, b in zip(line, line[1:], strict=False))


def test_forest_refuses_what_it_cannot_draw():
    table = compared(**FIVE)
    with pytest.raises(ValueError, match="has no row"):
        forest.forest(table.iloc[:0], MARGIN)
    with pytest.raises(ValueError, match="lacks the columns low, verdict"):
        forest.forest(table.drop(columns=["low", "verdict"]), MARGIN)
    table["verdict"] = None
    assert "no verdict: one seed" in texts(forest.forest(table, MARGIN))


# --- the gallery


def cohort_views(count):
    """Cases 1 to 24 of falling volume, and the views of `count` of them at evenly spaced ranks."""
    cases = {n: volume((12, 20 + n % 3, 14 + n % 2), n) for n in range(1, 25)}
    for n, (_, label) in cases.items():
        label.reshape(-1)[np.flatnonzero(label)[: 4 * n]] = 0
    sizes = pd.Series({n: int((label > 0).sum()) for n, (_, label) in cases.items()})
    chosen = st.at_ranks(sizes, count)
    return sizes, [CaseView(f"case {n}", cases[n][0], {"truth": cases[n][1]}) for n in chosen]


@pytest.mark.parametrize(("draw", "count", "each"), [(gallery.pairs, 9, 2), (gallery.overview, 20, 1)])
def test_gallery_shows_the_cases_of_the_rule_in_their_order(draw, count, each):
    sizes, views = cohort_views(count)
    fig = draw(views, SPEC, "Cases")
    titles = [ax.get_title(loc="left") for ax in fig.axes if ax.get_title(loc="left")]
    # Volume falls with the number, so the rule can be said without the function that applies it.
    assert sizes.is_monotonic_decreasing and sizes.is_unique
    assert titles == [f"case {24 - round(rank)}" for rank in np.linspace(0, 23, count)]
    assert len(fig.axes) == each * count
    # One scale: every panel spans the same mm, whatever its box, and the box lies in its middle.
    spans = [(np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())) for ax in fig.axes]
    assert np.allclose(spans, spans[0])
    for ax in fig.axes:
        left, right, bottom, top = ax.images[0].get_extent()
        assert sum(ax.get_xlim()) == pytest.approx(left + right) and sum(ax.get_ylim()) == pytest.approx(bottom + top)


def test_pairs_are_bare_and_labelled_and_the_overview_is_outlines():
    _, views = cohort_views(4)
    fig = gallery.pairs(views, SPEC, columns=2)
    assert [bool(ax.collections) for ax in fig.axes] == [False, True] * 4
    assert all(np.array_equal(*(ax.images[0].get_array() for ax in fig.axes[n : n + 2])) for n in range(0, 8, 2))
    fig = gallery.overview(views, SPEC, columns=3)
    assert len(fig.axes) == 4 and all(len(ax.collections) == 2 for ax in fig.axes)
    assert all(image.get_array()[..., 3].max() == 0 for ax in fig.axes for image in ax.images[1:])


def test_card_says_what_numpy_says():
    image, label = volume()
    card = gallery.card(image, label, SPEC, (1.0, 2.0, 1.5), "uint8")
    assert card["File"] == {"shape": "12 × 20 × 14 voxels", "voxel size": "1 × 2 × 1.5 mm", "stored as": "uint8"}
    # 4 x 5 x 5 and 4 x 7 x 3 voxels of 3 mm3 in 3360.
    assert card["Volume"]["anterior"] == "300 mm³, 3.0 % of voxels"
    assert card["Volume"]["posterior"] == "252 mm³, 2.5 % of voxels"
    assert card["Slices with label"] == {
        "sagittal": "4 of 12, from 5 to 8", "coronal": "12 of 20, from 5 to 16", "axial": "5 of 14, from 5 to 9",
    }  # fmt: skip
    low, middle, high = (float(text) for text in card["Intensity (no unit)"]["quartiles"].split(", "))
    assert (low, middle, high) == pytest.approx(tuple(np.quantile(image, (0.25, 0.5, 0.75))), abs=0.5)


def test_sample_cuts_through_the_label_and_profiles_hold_its_volume():
    image, label = volume()
    label[4:8, 4:11, 5:8] = 0
    fig = gallery.sample(image, label, SPEC, "One", spacing=(1.0, 2.0, 1.5), stored_dtype="uint8")
    titles = [ax.get_title(loc="left") for ax in fig.axes if ax.get_title(loc="left")]
    # The anterior block spans voxels 4 to 7, 11 to 15 and 4 to 8, counted from 0; centres round half to even.
    assert titles == ["sagittal, slice 7", "coronal, slice 14", "axial, slice 7"]
    profiles = [ax for ax in fig.axes if ax.get_xlabel().endswith(" slice")]
    for ax, step in zip(profiles, (1.0, 2.0, 1.5), strict=True):
        assert ax.patches[0].get_data().values.sum() * step == pytest.approx(100 * 3.0)
    assert {"P", "A", "I", "S", "10 mm", "12 × 20 × 14 voxels", "uint8"} <= set(texts(fig))
    assert not {"L", "R"} & set(texts(fig))


def test_one_window_serves_a_whole_row():
    images = {f"case {n}": (volume(seed=n)[0] * 10**n, volume(seed=n)[0] / 20) for n in range(3)}
    fig = preprocessing.one_window(images, SPEC)
    panels = [ax for ax in fig.axes if ax.images]
    windows = [ax.images[0].get_clim() for ax in panels]
    assert len(set(windows[:3])) == len(set(windows[3:])) == 1
    assert windows[0] == pytest.approx((np.percentile(images["case 0"][0], 1), np.percentile(images["case 2"][0], 99)))
    assert {"intensity (no unit)", "standard deviations"} <= {ax.get_ylabel() for ax in fig.axes}


def test_gallery_refuses_nothing_to_draw():
    image, label = volume()
    for draw in (gallery.pairs, gallery.overview):
        with pytest.raises(ValueError, match="no cases"):
            draw([], SPEC)
    with pytest.raises(ValueError, match="no cases"):
        preprocessing.one_window({}, SPEC)
    with pytest.raises(ValueError, match="0 foreground voxels"):
        gallery.sample(image, np.zeros_like(label), SPEC)
    with pytest.raises(ValueError, match="one shape"):
        gallery.sample(image, label[1:], SPEC)


# --- augmentation


def schedules():
    """Two recipes of two draws on one slice: nothing, and a shift by two voxels with more contrast."""
    image, label = volume()[0][5], volume()[1][5]
    moved = (2 * np.roll(image, 2, 0), np.roll(label, 2, 0))
    return {"none": [(image, label)] * 3, "shift": [(image, label), moved, moved]}


def test_augmentation_grid_has_a_row_a_recipe_and_one_window():
    rows = schedules()
    fig = batches.augmentation_grid(rows, SPEC)
    grid = np.array(fig.axes).reshape(2, 3)
    assert [row[0].get_title(loc="left") for row in grid] == ["none", "shift"]
    drawn = [ax.images[0].get_array().T for ax in grid.flat]
    given = [image for row in rows.values() for image, _ in row]
    assert all(np.array_equal(a, b) for a, b in zip(drawn, given, strict=True))
    assert len({ax.images[0].get_clim() for ax in grid.flat}) == 1
    # The dotted outline is the original's, wherever the draw's own label went; the original needs none.
    dotted = [[c for c in ax.collections if to_hex(c.get_edgecolor()[0]) == "#ffffff"] for ax in grid.flat]
    assert [len(found) for found in dotted] == [0, 1, 1, 0, 1, 1]
    corner = np.argwhere(rows["shift"][0][1] > 0).min(0)
    assert np.concatenate(dotted[5][0].get_segments()).min(0).tolist() == corner.tolist()


def test_augmentation_grid_refuses_rows_that_do_not_compare():
    image, label = schedules()["none"][0]
    for rows in ({}, {"none": []}, {"none": [(image, label)]}):
        with pytest.raises(ValueError, match="at least one draw"):
            batches.augmentation_grid(rows, SPEC)
    with pytest.raises(ValueError, match="one shape"):
        batches.augmentation_grid({"none": [(image, label), (image[1:], label)]}, SPEC)


def figures():
    """Every figure of this file."""
    _, views = cohort_views(5)
    image, label = volume()
    yield forest.forest(compared(**FIVE), MARGIN)
    yield architecture.diagram(shapes.trace(UNet(2, 3, 3, (4, 8), supervised=0), 3, (8, 8)))
    yield gallery.pairs(views, SPEC, "Five")
    yield gallery.overview(views, SPEC, "Five")
    yield gallery.sample(image, label, SPEC, "One", stored_dtype="float32")
    yield preprocessing.one_window({"a": (image, image / 9)}, SPEC)
    yield batches.augmentation_grid(schedules(), SPEC)


def test_every_figure_saves_to_the_same_bytes_twice(tmp_path):
    first, second = saved_twice(figures, tmp_path)
    assert first == second and len(first) == 7
