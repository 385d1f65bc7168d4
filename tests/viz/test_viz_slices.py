"""Slices and how figures are saved: layout, outlines, letters, scale and colours, on arrays made by hand."""

import io
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import texts, volume
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from PIL import Image

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.data.spec import Label
from hipposeg.viz import slices
from hipposeg.viz.style import preview, save_figure

pytestmark = pytest.mark.usefixtures("house_style")


def test_outline_follows_voxel_edges():
    mask = np.zeros((5, 5), bool)
    mask[1:3, 2] = True
    edges = slices.outline(mask)
    # Two voxels side by side have a border of six unit edges, and this is their bounding box.
    assert edges.shape == (6, 2, 2)
    assert np.allclose(np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1), 1)
    assert edges.min((0, 1)).tolist() == [0.5, 1.5] and edges.max((0, 1)).tolist() == [2.5, 2.5]
    assert slices.outline(np.zeros((3, 3), bool)).shape == (0, 2, 2)


@pytest.mark.parametrize(("axis", "shape"), [(0, (20, 14)), (1, (12, 14)), (2, (20, 12))])
def test_plane_layout(axis, shape):
    array = np.arange(12 * 20 * 14).reshape(12, 20, 14)
    cut = slices.plane(array, axis, 3)
    assert cut.shape == slices.plane_size(array, axis) == shape
    index = [3, 3, 3]
    horizontal, vertical = slices.PLANES[axis]
    index[horizontal], index[vertical] = 5, 7
    assert cut[5, 7] == array[tuple(index)]


def test_plane_names_follow_the_axes():
    assert [slices.plane_name(SPEC, axis) for axis in range(3)] == ["sagittal", "coronal", "axial"]
    unknown = replace(SPEC, axes=(("", ""), ("", ""), ("", "")))
    assert slices.plane_name(unknown, 1) == "across axis 1"


def test_overlay_puts_the_low_corner_at_the_lower_left():
    image, label = np.zeros((8, 6)), np.zeros((8, 6), np.uint8)
    label[0, 0] = 1
    fig, ax = plt.subplots(figsize=(4, 3))
    slices.overlay(ax, image, label, SPEC, spacing=(2.0, 1.0), alpha=1.0)
    assert ax.get_xlim() == (0, 16) and ax.get_ylim() == (0, 6) and ax.get_aspect() == 1
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())[..., :3] / 255
    x, y = ax.transData.transform((1.0, 0.5)).astype(int)
    assert np.allclose(pixels[pixels.shape[0] - y, x], to_rgb(SPEC.labels[0].colour), atol=0.02)
    with pytest.raises(ValueError, match="differ"):
        slices.overlay(ax, image, label[:-1], SPEC)


def test_three_plane_names_masks_and_known_directions_only():
    image, label = volume()
    fig = slices.three_plane(image, {"image": None, "truth": label}, SPEC, "Case 1", spacing=(1.0, 1.0, 2.0))
    assert [fig.axes[row].get_ylabel() for row in (0, 3)] == ["image", "truth"]
    # The files do not say which side is left.
    assert set(texts(fig)) == {"P", "A", "I", "S", "10 mm"}
    assert fig.axes[0].get_ylim() == (0, 28)
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {"anterior", "posterior"}


def test_three_plane_with_other_classes_and_empty_masks():
    image, label = volume()
    spec = replace(SPEC, labels=tuple(Label(value, f"class {value}", "#0072B2") for value in range(1, 6)))
    fig = slices.three_plane(image, {"nothing": np.zeros_like(label)}, spec)
    assert len(fig.legends[0].get_texts()) == 5
    assert "slice 7 of 12" in fig.axes[0].get_title(loc="left")


def test_row_of_cases():
    cases = [volume((12, 20, 14 + number), number) for number in range(3)]
    views = [slices.CaseView(f"case {n}", image, {"truth": label}) for n, (image, label) in enumerate(cases)]
    fig = slices.row_of_cases(views, SPEC, "Three", axis=2)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["case 0", "case 1", "case 2"]
    odd_one = replace(views[0], masks={"prediction": cases[0][1]})
    with pytest.raises(ValueError, match="masks"):
        slices.row_of_cases([views[1], odd_one], SPEC)


def test_quality_picture_is_bare_above_and_outlined_below_whatever_the_style():
    fig = slices.quality({"left": volume()})
    outlined = [len([c for c in ax.collections if isinstance(c, LineCollection)]) for ax in fig.axes]
    assert outlined[:3] == [0, 0, 0] and min(outlined[3:]) >= 1
    with plt.style.context("dark_background"):
        assert slices.quality_png({"left": volume()}, dpi=30) == slices.quality_png({"left": volume()}, dpi=30)


def test_preview_keeps_the_label_colours():
    image, label = volume()
    fig = slices.three_plane(image, {"truth": label}, SPEC)
    shown = np.asarray(Image.open(io.BytesIO(preview(fig))).convert("RGB"))
    for item in SPEC.labels:
        distance = np.abs(shown / 255 - to_rgb(item.colour)).max(-1)
        assert (distance < 0.03).sum() > 100, f"{item.name} has lost its colour"


def test_a_figure_drawn_twice_gives_the_same_file(tmp_path):
    image, label = volume()
    for name in ("a.svg", "b.svg"):
        save_figure(slices.three_plane(image, {"truth": label}, SPEC), tmp_path / name, phantom=False)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
