"""Figures of notebooks: each against what it is drawn from."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawing import texts, volume
from matplotlib.colors import to_hex, to_rgb

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.viz.slices import CaseView
from hipposeg_lab.figures import bench, gallery, maps, mistakes, pairs, trust

pytestmark = pytest.mark.usefixtures("house_style")
ISOTROPIC = (1.0, 1.0, 1.0)


def titles(fig):
    """The panels' titles, empty ones left out."""
    return [ax.get_title(loc="left") for ax in fig.axes if ax.get_title(loc="left")]


def pixels(fig):
    """A figure's pixels, small; the figure is closed."""
    fig.set_dpi(40)
    fig.canvas.draw()
    found = np.asarray(fig.canvas.buffer_rgba()).tobytes()
    plt.close(fig)
    return found


def test_pairs_of_a_row_share_one_square_scale():
    values = np.array([1.0, 2, 3])
    fig = pairs.equality([pairs.Pairs(f"{n}", values, values + n, "#0072B2", "first", "second") for n in range(3)], 3)
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in fig.axes}) == 1
    assert fig.axes[0].get_xlim()[0] < 1 and fig.axes[0].get_ylim()[1] > 5


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
        gallery.grid([], SPEC, "Cases", columns=3)


def test_sliders_show_the_slice_that_they_name(monkeypatch):
    image, label = volume()
    shown = []
    monkeypatch.setattr(gallery.slices, "three_plane", lambda *args, **_: shown.append(args[4]) or plt.figure())
    widget = gallery.browse(image, {"truth": label}, SPEC, "Case")
    sliders = widget.children[:3]
    assert [(one.min, one.max) for one in sliders] == [(1, side) for side in image.shape]
    widget.f(**{one.description: one.max for one in sliders})
    assert shown[-1] == [side - 1 for side in image.shape]


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


SCALE = {"what": "cosine", "limits": (-1, 1)}


def mapped():
    image, label = volume()
    half = np.where(label > 0, 0.9, 0.2)
    half[:, 0] = np.nan
    both = {"1 mm": half, "2 mm": np.full(label.shape, 0.5)}
    return [maps.MapView(title, image, label, both) for title in ("best", "worst")]


def test_maps_lie_on_the_image_in_one_scale_of_colours():
    fig = maps.maps(mapped(), SPEC, "Attention", **SCALE)
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
    drawn = maps.maps([one], SPEC, "Attention", 1, **SCALE).axes[0].images[0].get_array()
    assert np.allclose(drawn, one.image[:, int(np.argmax((one.label > 0).sum((0, 2))))].T)
    other = maps.MapView("c", one.image, one.label, {"4 mm": one.image})
    with pytest.raises(ValueError, match="4 mm"):
        maps.maps([one, other], SPEC, "Attention", **SCALE)


def test_layouts_are_the_same_twice():
    for draw in (lambda: gallery.grid(views(5), SPEC, "", columns=3), lambda: maps.maps(mapped(), SPEC, "", **SCALE)):
        assert pixels(draw()) == pixels(draw())


BINS = ("w", "x", "y", "z")


def test_bars_of_errors_add_up():
    rows = [{"run": "a", "by": "position", "kind": kind, "bin": name, "mm3": float(size), "true_mm3": 10.0}
            for name in BINS for size, kind in enumerate(mistakes.KINDS, start=1)]  # fmt: skip
    above, below = mistakes.by_position(pd.DataFrame(rows), {"a": "A"}, BINS, ("front", "back")).axes
    assert sum(bar.get_height() for bar in above.patches) == 24 and sum(b.get_height() for b in below.patches) == 240


def test_outcomes_count_every_voxel_once():
    truth = volume()[1]
    prediction = np.roll(truth, 1, 1)
    found = mistakes.outcomes(prediction, truth)
    right, *errors = [(found == label.value).sum() for label in mistakes.outcome_spec(SPEC).labels]
    assert right == ((prediction == truth) & (truth > 0)).sum()
    # Moved by one voxel: as much too much as missed, and the face between the parts is taken for the other one.
    assert right + sum(errors) == ((prediction > 0) | (truth > 0)).sum() and errors[1] == errors[2] > 0 < errors[0]
    with pytest.raises(ValueError):
        mistakes.outcomes(prediction[1:], truth)


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


def test_race_draws_every_system_at_its_training_time():
    dice = {"mean": {"value": 0.8, "low": 0.7, "high": 0.9}}
    rows = {"ours": {"train_s": 300, "dice": dice}, "nnunet-released": {"train_s": 310, "dice": dice}}
    fig = bench.race({"5": rows, "15": rows})
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Flagship", "nnU-Net v2, released"]
    assert fig.axes[0].lines[0].get_ydata().tolist() == [0.8, 0.8]
