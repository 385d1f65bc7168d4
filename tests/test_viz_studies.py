"""Figures of studies: drawn from tables alone, each method named, the same bytes twice."""

import itertools

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from same_bytes import saved_twice

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg_lab.figures import sensitivity, uncertainty

pytestmark = pytest.mark.usefixtures("house_style")
SIDES = ("axis 0 low", "axis 0 high", "P", "A", "I", "S")


def row(run, change, severity, loss, unit="voxels"):
    spread = {"low": 0.87 - loss, "high": 0.89 - loss, "difference_low": -loss - 0.01, "difference_high": 0.01 - loss}
    return {"run": run, "change": change, "severity": severity, "unit": unit, "label": "mean", "dice": 0.88 - loss,
            "difference": -loss, "people": 34, **spread}  # fmt: skip


@pytest.fixture
def boxes():
    curves = [name for change in ("cut", "padded") for name in (change, *(f"{change} {side}" for side in SIDES))]
    return pd.DataFrame([row(run, curve, float(k), 0.01 * k * (1 + n)) for n, run in enumerate(("a", "b"))
                         for curve in curves for k in range(4)])  # fmt: skip


@pytest.fixture
def robust():
    steps = {"rotation": (0, 5, 10), "resolution": (0, 1.5, 2), "rescaled": (0, 0.001, 1000), "mirrored P-A": (0, 1)}
    return pd.DataFrame([row(run, change, float(value), 0.001 * index, "mm" if change == "resolution" else "unit")
                         for run in ("a", "b")
                         for change, values in steps.items() for index, value in enumerate(values)])  # fmt: skip


@pytest.fixture
def tables():
    methods, labels = ("one network", "flips, trained without"), (*SPEC.names, "predicted class")
    edges = np.linspace(0.05, 0.95, 10)
    bins = pd.DataFrame([
        {"method": m, "label": label, "bin": n, "confidence": c, "accuracy": c**2, "voxels": 10 * n}
        for m, label, (n, c) in itertools.product(methods, labels, enumerate(edges))
    ])  # fmt: skip
    errors = pd.DataFrame([{"method": m, "label": label, "ece_before": 0.05, "ece_after": 0.01}
                           for m in methods for label in labels])  # fmt: skip
    kept = pd.DataFrame([{"method": m, "measure": "entropy", "coverage": c, "dice": 0.9 - 0.02 * c, "oracle": 0.92}
                         for m in methods for c in np.linspace(0.05, 1, 20)])  # fmt: skip
    return bins, errors, kept


def test_box_shows_curves_and_every_side(boxes):
    fig = sensitivity.box(boxes, "b", 0.005)
    left, middle, right = fig.axes
    assert left.get_ylim() == middle.get_ylim()
    assert [tick.get_text() for tick in right.get_yticklabels()] == list(SIDES)
    assert left.get_ylim()[0] < -0.06 and left.get_ylim()[1] >= 0.005
    lines = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    assert lines["a"] == pytest.approx([0, -0.01, -0.02, -0.03]) and lines["b"][-1] == pytest.approx(-0.06)


def test_severity_has_a_panel_for_each_curve_and_dots_for_the_rest(robust):
    fig = sensitivity.severity(robust, 1.0)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["Rotation", "Resolution", "Rescaled (×), mirrored"]
    assert fig.axes[1].get_lines()[0].get_xdata() == pytest.approx([1, 1.5, 2]), "a file has voxels, not of 0 mm"
    ticks = [tick.get_text() for tick in fig.axes[-1].get_yticklabels()]
    assert ticks == ["×0.001", "×1000", "P-A"]


def test_reliability_leaves_out_empty_bins_and_tells_the_error(tables):
    bins, errors, _ = tables
    fig = uncertainty.reliability(bins, bins, errors, SPEC)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["one network", "flips,\ntrained without"]
    solid = [line for line in fig.axes[0].get_lines() if line.get_marker() == "o"]
    assert len(solid) == 3 and all(len(line.get_xdata()) == 9 for line in solid), "the first bin has no voxel"
    assert "ECE 0.050 \N{RIGHTWARDS ARROW} 0.010" in [text.get_text() for text in fig.axes[0].texts]


def test_risk_falls_from_all_to_the_surest(tables):
    _, _, kept = tables
    (ax,) = uncertainty.risk_coverage(kept, "entropy").axes
    assert ax.get_xlim() == (1, 0.2)
    assert [line.get_label() for line in ax.get_lines()][:2] == ["one network", "flips, trained without"]


def test_a_method_far_below_is_named_and_not_drawn(tables):
    _, _, kept = tables
    kept.loc[kept["method"] == "one network", "dice"] -= 0.1
    (ax,) = uncertainty.risk_coverage(kept, "entropy").axes
    assert ax.get_title(loc="left") == "Too low to be drawn: one network (0.780)"
    assert [line.get_label() for line in ax.get_lines()][0] == "flips, trained without"


def test_figures_are_the_same_bytes_twice(boxes, robust, tables, tmp_path):
    def draw():
        bins, errors, kept = tables
        yield sensitivity.box(boxes, "a", 0.005)
        yield sensitivity.severity(robust, 1.0)
        yield uncertainty.reliability(bins, bins, errors, SPEC)
        yield uncertainty.risk_coverage(kept, "entropy")

    first, second = saved_twice(draw, tmp_path)
    assert first == second and len(set(first)) == 4
