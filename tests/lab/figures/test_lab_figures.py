"""Figures of notebooks: each against what it is drawn from, and all of them with the same bytes twice."""

import hashlib
import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawing import texts, volume
from matplotlib.colors import to_hex, to_rgb

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.viz import surface
from hipposeg.viz.slices import CaseView
from hipposeg.viz.style import ERROR
from hipposeg_lab.figures import exploration, gallery, language, maps, mistakes, pairs, preprocessing, trust
from hipposeg_lab.studies import statistics as st
from hipposeg_lab.studies.errors import error_masks

pytestmark = pytest.mark.usefixtures("house_style")
ISOTROPIC = (1.0, 1.0, 1.0)


def titles(fig):
    """The panels' titles, empty ones left out."""
    return [ax.get_title(loc="left") for ax in fig.axes if ax.get_title(loc="left")]


# --- pairs


def volumes():
    rows = pd.DataFrame({"label": "anterior", "volume_true": [100.0, 200], "volume_predicted": [110.0, 190]})
    rows = rows.assign(volume_bias=rows["volume_predicted"] - rows["volume_true"])
    return rows, {"anterior": SimpleNamespace(bias=0.0, low=-20.0, high=20.0, icc_agreement=0.9)}


def test_agreement_draws_errors_and_limits():
    (ax,) = pairs.volume_agreement(*volumes(), SPEC).axes
    assert ax.collections[0].get_offsets().tolist() == [[105, 10], [195, -10]]
    assert [line.get_ydata()[0] for line in ax.lines[:3]] == [0, -20, 20]


def test_pairs_of_a_row_share_one_square_scale():
    values = np.array([1.0, 2, 3])
    fig = pairs.equality([pairs.Pairs(f"{n}", values, values + n, "#0072B2", "first", "second") for n in range(3)], 3)
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in fig.axes}) == 1
    assert fig.axes[0].get_xlim()[0] < 1 and fig.axes[0].get_ylim()[1] > 5


# --- exploration


def cohort():
    """Twelve cases of six subjects."""
    cases = {}
    for number in range(1, 13):
        image, label = volume((12, 20, 12 + number % 3), number)
        cases[number] = SimpleNamespace(image=image[None], label=label, spacing=ISOTROPIC, stored_dtype="float32",
                                        subject=(number + 1) // 2)  # fmt: skip
    return SimpleNamespace(cases=cases, spec=SPEC)


def explored():
    people = cohort()
    table, numbers = st.describe(people), list(people.cases)
    kinds = {"odd": st.neighbours(numbers, "odd"), "even": st.neighbours(numbers, "even")}
    edges = np.linspace(-3, 3, 31)
    mask = st.mean_mask([case.label for case in people.cases.values()], (16, 24, 16))
    images = {number: np.round(people.cases[number].image[0]) for number in (1, 2, 3, 4)}
    fold = {"train": numbers[:9], "scored": numbers[9:]}
    yield exploration.box_sizes(table, SPEC)
    yield exploration.intensities(table)
    yield exploration.volumes(table.assign(volume_anterior=np.arange(12.0)), SPEC)
    yield exploration.class_intensities(st.class_densities(people, edges), edges, SPEC)
    yield exploration.pair_scatter(table["mean"], kinds, "mm")
    yield exploration.chance_histogram(np.linspace(-0.3, 0.3, 50), {"odd": 0.9, "even": 0.0})
    yield exploration.barcodes(images, [(1, 2), (3, 4)], {number: str(number) for number in images})
    yield exploration.mean_masks({"odd": mask, "mirrored": mask[::-1]}, SPEC, ISOTROPIC)
    yield exploration.folds({"grouped": [fold, fold], "dev": [fold]}, table.subject)
    yield exploration.margins(table, SPEC)
    yield exploration.frequency_map(np.stack([1 - mask, mask / 2, mask / 2]), SPEC, ISOTROPIC)


def test_folds_chart_counts_subjects_on_both_sides():
    split = {"grouped": [{"train": [1, 2, 3], "scored": [5, 6]}], "nnunet": [{"train": [1, 3, 5], "scored": [2, 6]}]}
    fig = exploration.folds(split, {case: (case + 1) // 2 for case in range(1, 7)})
    assert titles(fig) == ["grouped: no subjects on both sides", "nnunet: 2 subjects on both sides"]


def test_slice_shares_count_by_position():
    held = np.array([[True, False], [False, False], [True, True]])
    (ax,) = exploration.slice_shares(held, np.array([0.01, 0.02, 1.0]), SPEC).axes
    values = [patch.get_data().values for patch in ax.patches]
    assert values[0][[0, 10, 19]].tolist() == [50, 0, 100] and values[1][[0, 19]].tolist() == [0, 100]


# --- gallery


def views(count):
    """Cases of falling volume."""
    cases = [volume((12, 20 + n % 3, 14 + n % 2), n) for n in range(count)]
    return [CaseView(f"case {n}", image, {"truth": label}) for n, (image, label) in enumerate(cases)]


@pytest.mark.parametrize(("bare", "each"), [(True, 2), (False, 1)])
def test_grid_shows_every_case_in_one_scale(bare, each):
    fig = gallery.grid(views(5), SPEC, "Cases", columns=3, bare=bare)
    assert titles(fig) == [f"case {n}" for n in range(5)] and len(fig.axes) == 5 * each
    # Every panel spans the same mm, whatever its box, and the box lies in its middle.
    spans = [(np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())) for ax in fig.axes]
    assert np.allclose(spans, spans[0])
    for ax in fig.axes:
        left, right, bottom, top = ax.images[0].get_extent()
        assert sum(ax.get_xlim()) == pytest.approx(left + right) and sum(ax.get_ylim()) == pytest.approx(bottom + top)
    if bare:
        assert [bool(ax.collections) for ax in fig.axes] == [False, True] * 5
    else:  # outlines without a fill
        assert all(image.get_array()[..., 3].max() == 0 for ax in fig.axes for image in ax.images[1:])
    with pytest.raises(ValueError, match="no cases"):
        gallery.grid([], SPEC, columns=3)


def test_card_holds_the_numbers_of_numpy():
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
    # The anterior block spans voxels 4 to 7, 11 to 15 and 4 to 8, counted from 0; centres round half to even.
    assert titles(fig) == ["sagittal, slice 7", "coronal, slice 14", "axial, slice 7"]
    profiles = [ax for ax in fig.axes if ax.get_xlabel().endswith(" slice")]
    for ax, step in zip(profiles, (1.0, 2.0, 1.5), strict=True):
        assert ax.patches[0].get_data().values.sum() * step == pytest.approx(100 * 3.0)
    assert {"P", "A", "I", "S", "10 mm", "12 × 20 × 14 voxels", "uint8"} <= set(texts(fig))
    with pytest.raises(ValueError, match="0 foreground voxels"):
        gallery.sample(image, np.zeros_like(label), SPEC)
    with pytest.raises(ValueError, match="one shape"):
        gallery.sample(image, label[1:], SPEC)


def test_browse_has_a_slider_for_each_axis():
    image, label = volume()
    *sliders, _ = gallery.browse(image, {"truth": label}, SPEC).children
    assert [(one.description, one.max, one.value) for one in sliders] == [
        ("sagittal", 11, 4), ("coronal", 19, 11), ("axial", 13, 5)
    ]  # fmt: skip


def shifted():
    """An image, its label, and the kinds of error of the label moved by one voxel."""
    image, label = volume()
    return image, label, error_masks(np.roll(label, 1, 1), label)


def test_error_map_gives_each_kind_its_value():
    _, _, kinds = shifted()
    found = gallery.error_map(kinds)
    counts = [int((found == label.value).sum()) for label in gallery.ERRORS]
    assert counts == [int(mask.sum()) for mask in kinds.values()] and min(counts) > 0


# --- preprocessing


def test_one_window_serves_a_whole_row():
    images = {f"case {n}": (volume(seed=n)[0] * 10**n, volume(seed=n)[0] / 20) for n in range(3)}
    fig = preprocessing.one_window(images, SPEC)
    windows = [ax.images[0].get_clim() for ax in fig.axes if ax.images]
    assert len(set(windows[:3])) == len(set(windows[3:])) == 1
    assert windows[0] == pytest.approx((np.percentile(images["case 0"][0], 1), np.percentile(images["case 2"][0], 99)))
    assert {"intensity (no unit)", "standard deviations"} <= {ax.get_ylabel() for ax in fig.axes}
    with pytest.raises(ValueError, match="no cases"):
        preprocessing.one_window({}, SPEC)


# --- maps


def test_soft_labels_mix_colours_and_fade_with_the_background():
    half = np.zeros((3, 2, 1))
    half[:, 0, 0], half[:, 1, 0] = (0, 0.5, 0.5), (0.5, 0.5, 0)
    rgba = maps.mixed(half, SPEC)
    assert rgba.shape == (1, 2, 4)
    anterior, posterior = (np.array(to_rgb(item.colour)) for item in SPEC.labels)
    assert np.allclose(rgba[0, 0], [*(anterior + posterior) / 2, 0.75])
    assert np.allclose(rgba[0, 1], [*anterior, 0.375])
    assert maps.mixed(np.eye(3)[:, :, None], SPEC)[0, 0, 3] == 0


def schedules():
    """Two draws of one slice each: unchanged, and a shift by two voxels with more contrast."""
    image, label = volume()[0][5], volume()[1][5]
    moved = ("", 2 * np.roll(image, 2, 0), np.roll(label, 2, 0))
    return {"none": [("", image, label)] * 3, "shift": [("", image, label), moved, moved]}


def test_strips_before_and_after_share_a_window_and_show_the_outline_before():
    rows = schedules()
    grid = np.array(maps.strips(rows, SPEC, axis=0, before=True).axes).reshape(2, 3)
    drawn = [ax.images[0].get_array().T for ax in grid.flat]
    assert all(np.array_equal(a, b[1]) for a, b in zip(drawn, itertools.chain(*rows.values()), strict=True))
    assert len({ax.images[0].get_clim() for ax in grid.flat}) == 1
    dotted = [[c for c in ax.collections if to_hex(c.get_edgecolor()[0]) == "#ffffff"] for ax in grid.flat]
    assert [len(found) for found in dotted] == [0, 1, 1, 0, 1, 1]
    corner = np.argwhere(rows["shift"][0][2] > 0).min(0)
    assert np.concatenate(dotted[5][0].get_segments()).min(0).tolist() == corner.tolist()


def test_strips_spread_coarse_soft_labels_over_the_slice():
    (ax,) = maps.strips({"a": [("", np.zeros((8, 6)), np.ones((3, 4, 3)) / 3)]}, SPEC).axes
    assert [tuple(image.get_extent()) for image in ax.images] == [(0, 8, 0, 6)] * 2
    for rows in ({}, {"a": [("", np.zeros((8, 6)), None), ("", np.zeros((7, 6)), None)]}):
        with pytest.raises(ValueError, match="of one shape"):
            maps.strips(rows, SPEC)


def test_around_keeps_the_voxel_in_the_middle():
    field = np.zeros((6, 7, 8))
    field[1, 5, 7] = 1
    cut = maps.around(field, (1, 5, 7), (3, 2, 4))
    assert cut.shape == (7, 5, 9) and cut[3, 2, 4] == 1 and cut.sum() == 1


def test_contours_of_two_grids_lie_on_each_other():
    fine = np.zeros((12, 20, 16), np.uint8)
    fine[4:8, 6:16, 4:8] = 1
    both = {"2 mm": (fine[::2, ::2, ::2], (2, 2, 2)), "1 mm": (fine, ISOTROPIC)}
    fig = maps.contours(np.zeros(fine.shape), both, SPEC, ISOTROPIC)
    ends = [np.concatenate(ax.collections[0].get_segments()) for ax in fig.axes]
    assert np.allclose(ends[0].min(0), ends[1].min(0)) and np.allclose(ends[0].max(0), ends[1].max(0))
    # In mm from the centre: voxels 6 to 15 of 20 along axis 1 span -4 to 6, voxels 4 to 7 of 16 along axis 2 -4 to 0.
    assert ends[0].min(0).tolist() == [-4, -4] and ends[0].max(0).tolist() == [6, 0]


def mapped():
    image, label = volume()
    half = np.where(label > 0, 0.9, 0.2)
    half[:, 0] = np.nan
    both = {"1 mm": half, "2 mm": np.full(label.shape, 0.5)}
    return [maps.MapView(title, image, label, both) for title in ("best", "worst")]


def test_maps_lie_on_the_image_in_one_scale_of_colours():
    fig = maps.maps(mapped(), SPEC, "Attention", limits=(-1, 1), what="cosine")
    panels = [ax for ax in fig.axes if ax.images]
    assert all(len(ax.collections) == 2 for ax in panels)  # the two parts' outlines
    with_maps = [ax for ax in panels if ax.images[-1].get_cmap().name == maps.MAP]
    assert len(panels) == 6 and len(with_maps) == 4
    for ax in with_maps:
        assert ax.images[-1].get_clim() == (-1, 1)
        assert ax.images[-1].get_extent() == ax.images[0].get_extent()
    assert with_maps[0].images[-1].get_array().mask[:, 0].all(), "NaN is drawn"
    assert fig.axes[-1].get_xlabel() == "cosine" and fig.axes[-1].get_xlim() == (-1, 1)
    one = mapped()[0]
    drawn = maps.maps([one], SPEC, axis=1, part=2).axes[0].images[0].get_array()
    assert np.allclose(drawn, one.image[:, int(np.argmax((one.label == 2).sum((0, 2))))].T)
    other = maps.MapView("c", one.image, one.label, {"4 mm": one.image})
    with pytest.raises(ValueError, match="4 mm"):
        maps.maps([one, other], SPEC)


def ratios():
    return pd.DataFrame([{"within": within, "scale": scale, "control": control, "value": 2.0, "low": 1.5, "high": 3.0}
                         for within in ("sample", "volume") for scale in (1, 2) for control in ("a", "b")])  # fmt: skip


def test_ratios_show_every_scale_and_control_on_one_axis():
    fig = maps.ratios(ratios(), {"sample": "in a slice", "volume": "in all"}, 1.0)
    assert titles(fig) == ["in a slice", "in all"]
    assert len({ax.get_xlim() for ax in fig.axes}) == 1 and fig.axes[0].get_xlim()[0] < 1
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["skip of 1 mm voxels", "skip of 2 mm voxels"]


# --- errors


def inflated():
    return pd.DataFrame({"run": ["a", "b"], "practice": "union", "honest": [0.7, 0.8], "shown": [0.9, 0.85],
                         "difference": [0.2, 0.05]})  # fmt: skip


NAMES = ({"honest": "honest", "union": "one", "nsd2": "absent"}, {"a": "A", "b": "B"})


def test_inflation_draws_from_honest_to_shown():
    (ax,) = mistakes.inflation(inflated(), *NAMES, "b").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one  +0.050"]
    ends = [bars.get_segments()[0][:, 0].tolist() for bars in ax.collections]
    assert ends == [[0.7, 0.9], [0.8, 0.85]] and [line.get_xdata()[0] for line in ax.lines] == [0.9, 0.85]


BINS = ("w", "x", "y", "z")


def wrong():
    """Rows as `studies.errors` gives them, of one run: 1, 2 and 3 mm3 of the kinds in each bin."""
    return pd.DataFrame([{"run": "a", "by": by, "kind": kind, "bin": name, "mm3": float(size), "true_mm3": 10.0}
                         for by in ("position", "distance") for name in BINS
                         for size, kind in enumerate(mistakes.KINDS, start=1)])  # fmt: skip


def test_bars_of_errors_add_up():
    (ax,) = mistakes.by_distance(wrong(), {"a": "A"}, BINS).axes
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(300)
    above, below = mistakes.by_position(wrong(), {"a": "A"}, BINS, ("front", "back")).axes
    assert sum(bar.get_height() for bar in above.patches) == 24 and sum(b.get_height() for b in below.patches) == 240
    volumes = {"A": dict.fromkeys(mistakes.KINDS, 2.0)}
    left, right = mistakes.error_kinds(volumes, {"A": np.array([1.0, 2.0, 2.5, 9.0])}, 1.0).axes
    assert [text.get_text() for text in left.texts] == ["6"]
    assert [bar.get_width() for bar in right.patches] == [25, 25, 25, 25]


def test_outcomes_count_every_voxel_once():
    truth = volume()[1]
    prediction = np.roll(truth, 1, 1)
    found = mistakes.outcomes(prediction, truth)
    assert (found > 0).sum() == ((prediction > 0) | (truth > 0)).sum()
    assert (found == mistakes.TOO_MUCH.value).sum() == (found == mistakes.MISSED.value).sum() > 0
    # A part taken for the other is no error of the outer border.
    assert set(np.unique(mistakes.outcomes(np.where(truth == 1, 2, truth), truth))) == {0, mistakes.FOUND.value}
    with pytest.raises(ValueError, match="one grid"):
        mistakes.outcomes(prediction[1:], truth)


def test_wrong_voxels_are_drawn_as_cubes_in_their_colours():
    if reason := surface.problem():
        pytest.skip(reason)
    found = np.zeros((10, 10, 10), np.uint8)
    found[3:7, 3:7, 3:7] = mistakes.FOUND.value
    found[8, 2, 5] = mistakes.TOO_MUCH.value
    spec = mistakes.outcome_spec(SPEC)
    made = mistakes.blocks(found, spec, (1.0, 1.0, 2.0))
    assert set(made) == {mistakes.FOUND.name, mistakes.TOO_MUCH.name}
    assert made[mistakes.TOO_MUCH.name].bounds == pytest.approx((8, 9, 2, 3, 10, 12))
    assert np.reshape(made[mistakes.FOUND.name].bounds, (3, 2)).mean(1) == pytest.approx([5, 5, 10], abs=0.1)
    pixels = surface.picture(found, spec, ISOTROPIC, 10, mistakes.blocks, (240, 140)).astype(int)
    assert ((pixels[..., 1] - pixels[..., 0]) > 60).any(), "no green cube in the picture"


# --- clip


def test_every_slice_has_its_caption():
    image, label = volume()
    slices = [(image[:, y], label[:, y], f"caption of slice {y}, long enough for two lines") for y in range(5)]
    found = [ax.get_xlabel().replace("\n", " ") for ax in language.captioned(slices, SPEC).axes if ax.axison]
    assert found == [text for _, _, text in slices]


def embedded():
    generator = np.random.default_rng(1)
    images, captions = generator.normal(size=(30, 8)), generator.normal(size=(30, 8)) + 3
    return images, captions, np.where(np.arange(30) < 6, np.nan, np.arange(30) * 3.0)


def test_space_draws_every_slice_and_caption_by_largest_variance():
    points = np.random.default_rng(0).normal(size=(200, 6)) * [1, 9, 1, 4, 1, 1] + 5
    found = language.principal(points)
    assert np.abs(np.corrcoef(found[:, 0], points[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(found[:, 1], points[:, 3])[0, 1]) > 0.98
    for ax in language.space(*embedded()).axes[:2]:
        assert sum(len(part.get_offsets()) for part in ax.collections) == 60


# --- trust


def changed():
    return pd.DataFrame([
        {"run": run, "change": change, "severity": float(k), "label": "mean", "dice": 0.9 - 0.01 * k, "low": 0.8,
         "high": 0.95, "difference": -0.01 * k * (1 + n), "difference_low": -0.1, "difference_high": 0.1}
        for n, run in enumerate(("a", "b")) for change in ("cut", "padded") for k in range(4)
    ])  # fmt: skip


PANELS = {"cut": ("Cut", "voxels"), "padded": ("Padded", "voxels")}


def test_severity_has_a_line_for_each_run_and_bands_where_wanted():
    fig = trust.severity(changed(), PANELS, trust.DIFFERENCE, ("b",), 0.005)
    left, right = fig.axes
    assert left.get_ylim() == right.get_ylim() and titles(fig) == ["Cut", "Padded"]
    lines = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    assert lines["a"] == pytest.approx([0, -0.01, -0.02, -0.03]) and lines["b"][-1] == pytest.approx(-0.06)
    assert len(left.collections) == 1


def calibrated():
    methods, labels = ("one network", "flips, trained without"), (*SPEC.names, trust.TOP)
    bins = pd.DataFrame([
        {"method": m, "label": label, "bin": n, "confidence": c, "accuracy": c**2, "voxels": 10 * n}
        for m, label, (n, c) in itertools.product(methods, labels, enumerate(np.linspace(0.05, 0.95, 10)))
    ])  # fmt: skip
    summary = pd.DataFrame([{"method": m, "label": label, "ece_before": 0.05, "ece_after": 0.01}
                            for m in methods for label in labels])  # fmt: skip
    return bins, bins, summary


def test_reliability_leaves_out_empty_bins_and_prints_the_error():
    fig = trust.reliability(*calibrated(), SPEC)
    assert titles(fig) == ["one network", "flips,\ntrained without"]
    solid = [line for line in fig.axes[0].get_lines() if line.get_marker() == "o"]
    assert len(solid) == 3 and all(len(line.get_xdata()) == 9 for line in solid), "the first bin has no voxel"
    assert "ECE 0.050 \N{RIGHTWARDS ARROW} 0.010" in texts(fig)


def kept(lower=0.0):
    coverage = np.linspace(0.05, 1, 20)
    curve = pd.DataFrame({"measure": "entropy", "coverage": coverage, "dice": 0.9 - 0.02 * coverage, "oracle": 0.92})
    lowered = curve.assign(dice=curve["dice"] - lower, method="one network")
    return pd.concat([lowered, curve.assign(method="flips")])


def test_risk_falls_from_all_to_the_most_certain_and_names_what_is_far_below():
    (ax,) = trust.risk_coverage(kept(), "entropy").axes
    assert ax.get_xlim() == (1, 0.2) and [line.get_label() for line in ax.lines][:2] == ["one network", "flips"]
    (ax,) = trust.risk_coverage(kept(0.1), "entropy").axes
    assert ax.get_title(loc="left") == "Too low to be drawn: one network (0.780)" and len(ax.lines) == 2


def conformal():
    """Ten volumes for each label; the third and the seventh lie outside."""
    rows = pd.DataFrame([{"case": case, "label": label, "predicted": 1000 + 10 * case, "lower": 900, "upper": 1200,
                          "true": 1300 if case in (3, 7) else 1000}
                         for label in ("anterior", "union") for case in range(10)])  # fmt: skip
    return rows.assign(inside=rows["true"] <= rows["upper"])


def test_every_interval_is_drawn_and_true_volumes_outside_stand_out():
    fig = trust.intervals(conformal(), SPEC, {"anterior": "anterior", "union": "total"})
    assert titles(fig) == ["anterior", "total"]
    for ax in fig.axes:
        bars, inside, outside = ax.collections
        assert len(bars.get_segments()) == 10 and len(inside.get_offsets()) == 8
        assert to_hex(outside.get_facecolor()[0]) == ERROR.lower() and outside.get_offsets()[:, 0].tolist() == [3, 7]


# --- all


def figures():
    image, label, kinds = shifted()
    yield from explored()
    yield gallery.grid(views(5), SPEC, "Five", columns=3, bare=True)
    yield gallery.sample(image, label, SPEC, "One", stored_dtype="float32")
    yield gallery.failures([gallery.Failure("Case 5", "Words. " * 40, image, label, kinds)] * 2, SPEC)
    yield preprocessing.one_window({"a": (image, image / 9)}, SPEC)
    yield preprocessing.intensity_curves({1: image}, {1: image / 9}, {1: "uint8"})
    yield preprocessing.placed({"a": (image, label, (slice(0, 11), slice(1, 20), slice(0, 14)))}, SPEC)
    yield preprocessing.resampled({"1 mm": (image, label, ISOTROPIC)}, image - image.mean(), SPEC)
    yield preprocessing.along_axes(image, label, SPEC, 3)
    yield preprocessing.n4_fields({"weak": (image, image * 1.1, label)}, SPEC)
    yield maps.strips(schedules(), SPEC, axis=0, before=True)
    field = np.exp(-np.square(np.indices((11, 13, 9)) - np.array([5, 6, 4])[:, None, None, None]).sum(0) / 9)
    yield maps.receptive_fields({"2D": field, "3D": field}, SPEC, ISOTROPIC, {"2D": (3, 9, 9)})
    yield maps.contours(image, {"1 mm": (label, ISOTROPIC)}, SPEC, ISOTROPIC)
    yield maps.maps(mapped(), SPEC, "Attention")
    yield maps.ratios(ratios(), {"sample": "in a slice"}, 1.0)
    yield mistakes.confusion_matrices({"a": np.eye(3), "b": np.ones((3, 3))}, ("x", "y", "z"))
    yield mistakes.error_kinds({"A": dict.fromkeys(mistakes.KINDS, 2.0)}, {"A": np.array([1.0, 9.0])}, 1.0)
    yield mistakes.by_position(wrong(), {"a": "A"}, BINS, ("front", "back"))
    yield mistakes.by_distance(wrong(), {"a": "A"}, BINS)
    yield mistakes.inflation(inflated(), *NAMES, "b")
    yield language.captioned([(image[:, 5], label[:, 5], "a caption")], SPEC)
    yield language.space(*embedded())
    yield language.lowest_losses({"close": ([1, 10], [1.2, 0.4])}, {"fixed": (1.0, 1.3)})
    yield trust.severity(changed(), PANELS)
    yield trust.reliability(*calibrated(), SPEC)
    yield trust.risk_coverage(kept(), "entropy")
    yield trust.intervals(conformal(), SPEC, {"anterior": "anterior", "union": "total"})


def pixels(fig):
    """SHA-256 of a figure's pixels, small; the figure is closed."""
    fig.set_dpi(40)
    fig.canvas.draw()
    digest = hashlib.sha256(np.asarray(fig.canvas.buffer_rgba()).tobytes()).hexdigest()
    plt.close(fig)
    return digest


def test_every_figure_is_drawn():
    assert len({pixels(fig) for fig in figures()}) == 37


def test_layouts_are_the_same_twice():
    image, label, kinds = shifted()
    failure = gallery.Failure("Case 5", "Words. " * 40, image, label, kinds)
    for draw in (lambda: gallery.grid(views(5), SPEC, columns=3), lambda: gallery.failures([failure], SPEC),
                 lambda: maps.maps(mapped(), SPEC)):  # fmt: skip
        assert pixels(draw()) == pixels(draw())
