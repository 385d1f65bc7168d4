"""Slices, charts and surfaces: orientation, scale, colours and determinism, on arrays made by hand."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from drawing import texts, volume
from matplotlib.colors import to_rgb
from same_bytes import saved_twice

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.data.spec import Label
from hipposeg.viz import planes, slices, surface
from hipposeg.viz.style import use_style
from hipposeg_lab.figures import boxes, exploration, siblings
from hipposeg_lab.studies import statistics as st

pytestmark = pytest.mark.usefixtures("house_style")


def test_outline_follows_voxel_edges():
    mask = np.zeros((5, 5), bool)
    mask[1:3, 2] = True
    edges = planes.outline(mask)
    # Two voxels side by side have a border of six unit edges, and this is their bounding box.
    assert edges.shape == (6, 2, 2)
    assert np.allclose(np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1), 1)
    assert edges.min((0, 1)).tolist() == [0.5, 1.5] and edges.max((0, 1)).tolist() == [2.5, 2.5]
    assert planes.outline(np.zeros((3, 3), bool)).shape == (0, 2, 2)


@pytest.mark.parametrize(("axis", "shape"), [(0, (20, 14)), (1, (12, 14)), (2, (20, 12))])
def test_plane_layout(axis, shape):
    array = np.arange(12 * 20 * 14).reshape(12, 20, 14)
    cut = planes.plane(array, axis, 3)
    assert cut.shape == shape
    index = [3, 3, 3]
    horizontal, vertical = planes.PLANES[axis]
    index[horizontal], index[vertical] = 5, 7
    assert cut[5, 7] == array[tuple(index)]


def test_plane_names_follow_the_axes():
    assert [planes.plane_name(SPEC, axis) for axis in range(3)] == ["sagittal", "coronal", "axial"]
    unknown = replace(SPEC, axes=(("", ""), ("", ""), ("", "")))
    assert planes.plane_name(unknown, 1) == "across axis 1"


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
    assert len(fig.axes) == 6
    assert [fig.axes[row].get_ylabel() for row in (0, 3)] == ["image", "truth"]
    found = texts(fig)
    assert {"P", "A", "I", "S", "10 mm"} == set(found)
    assert not {"L", "R"} & set(found)
    assert fig.axes[0].get_ylim() == (0, 28)
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {"anterior", "posterior"}


def test_three_plane_with_other_classes_and_empty_masks():
    image, label = volume()
    spec = replace(SPEC, labels=tuple(Label(value, f"class {value}", "#0072B2") for value in range(1, 6)))
    fig = slices.three_plane(image, {"nothing": np.zeros_like(label)}, spec)
    assert len(fig.legends[0].get_texts()) == 5
    assert "slice 7 of 12" in fig.axes[0].get_title(loc="left")


def test_row_of_cases():
    cases = [volume((12, 20, 14 + number), number) for number in range(5)]
    views = [slices.CaseView(f"case {n}", image, {"truth": label}) for n, (image, label) in enumerate(cases)]
    fig = slices.row_of_cases(views[:3], SPEC, "Three", axis=2)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["case 0", "case 1", "case 2"]
    odd_one = replace(views[0], masks={"prediction": cases[0][1]})
    with pytest.raises(ValueError, match="masks"):
        slices.row_of_cases([views[1], odd_one], SPEC)


def tiny_cohort():
    """Twelve cases of six people, enough for every chart."""
    cases = {}
    for number in range(1, 13):
        image, label = volume((12, 20, 12 + number % 3), number)
        cases[number] = SimpleNamespace(image=image[None], label=label, spacing=(1.0, 1.0, 1.0), stored_dtype="float32",
                                        subject=(number + 1) // 2)  # fmt: skip
    return SimpleNamespace(cases=cases, spec=SPEC)


def charts():
    """Every chart of the exploration notebook, on the tiny cohort."""
    cohort = tiny_cohort()
    table = st.describe(cohort)
    numbers = list(cohort.cases)
    kinds = {"odd": st.neighbours(numbers, "odd"), "even": st.neighbours(numbers, "even")}
    yield exploration.box_sizes(table, SPEC)
    yield exploration.intensities(table)
    yield exploration.class_shares(table, SPEC)
    yield exploration.volumes(table.assign(volume_anterior=np.arange(12.0)), SPEC)
    edges = np.linspace(-3, 3, 31)
    yield exploration.class_intensities(st.class_densities(cohort, edges), edges, SPEC)
    yield siblings.pair_scatter(table["mean"], kinds, "mm")
    yield siblings.chance_histogram(np.linspace(-0.3, 0.3, 50), {"odd": 0.9, "even": 0.0})
    images = {number: np.round(cohort.cases[number].image[0]) for number in (1, 2, 3, 4)}
    yield siblings.barcodes(images, [(1, 2), (3, 4)], {number: str(number) for number in images})
    yield siblings.agreement({"mean": {name: st.ratio_difference(table["mean"], kinds[name]) for name in kinds}})
    mask = st.mean_mask([case.label for case in cohort.cases.values()], (16, 24, 16))
    yield siblings.mean_masks({"odd": mask, "mirrored": mask[::-1]}, SPEC, (1, 1, 1))
    fold = {"train": numbers[:9], "scored": numbers[9:]}
    yield siblings.folds({"grouped": [fold, fold], "dev": [fold]}, table.subject)
    yield boxes.margins(table, SPEC)
    yield boxes.frequency_map(np.stack([1 - mask, mask / 2, mask / 2]), SPEC, (1, 1, 1))
    scores = table.assign(label="mean", dice=0.7)[["label", "dice"]]
    yield boxes.dice_strip(scores, SPEC, extra=("mean",))


def test_every_chart_saves_to_the_same_bytes_twice(tmp_path):
    first, second = saved_twice(charts, tmp_path)
    assert first == second and len(first) == 14


def test_folds_chart_names_people_on_both_sides():
    split = {"grouped": [{"train": [1, 2, 3], "scored": [5, 6]}], "nnunet": [{"train": [1, 3, 5], "scored": [2, 6]}]}
    fig = siblings.folds(split, {case: (case + 1) // 2 for case in range(1, 7)})
    assert [ax.get_title(loc="left") for ax in fig.axes] == [
        "grouped: no people on both sides",
        "nnunet: 2 people on both sides",
    ]


def test_browse_has_a_slider_for_each_axis():
    from hipposeg_lab.figures.browse import browse

    image, label = volume()
    box = browse(image, {"truth": label}, SPEC)
    sliders = box.children[0].children
    assert [slider.max for slider in sliders] == [11, 19, 13]
    assert [slider.description for slider in sliders] == ["sagittal", "coronal", "axial"]


def test_surface_fields_share_one_border():
    _, label = volume()
    lead = surface.fields(label, SPEC.n_classes)
    # No point belongs to two labels, and away from borders the smoothed winner is the label itself.
    assert not ((lead[0] > 0) & (lead[1] > 0)).any()
    assert lead[0][6, 13, 6] > 0.5 and lead[1][6, 7, 6] > 0.5
    assert lead[0][0, 0, 0] < 0


SURFACE = """
import hashlib
import numpy as np
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.viz import surface
surface.problem = lambda: None  # asked by the parent already
label = np.load({path!r})
print(hashlib.sha256(surface.picture(label, MSD_HIPPOCAMPUS, (1.0, 1.0, 1.0), (240, 140)).tobytes()).hexdigest())
"""


def test_surface_is_the_same_in_two_processes(tmp_path):
    if reason := surface.problem():
        pytest.skip(reason)
    _, label = volume()
    here = hashlib.sha256(surface.picture(label, SPEC, (1.0, 1.0, 1.0), (240, 140)).tobytes()).hexdigest()
    np.save(tmp_path / "label.npy", label)
    script = SURFACE.format(path=str(tmp_path / "label.npy"))
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert there.stdout.split()[-1] == here


def test_surface_volume_is_close_to_the_voxels():
    if reason := surface.problem():
        pytest.skip(reason)
    distance = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0)
    ball = (distance < 8).astype(np.uint8)
    mesh = surface.meshes(ball, SPEC, (1.0, 1.0, 2.0))["anterior"]
    assert mesh.volume == pytest.approx(2 * ball.sum(), rel=0.03)
    # The centre of voxel (0, 0, 0) is half a voxel inside the box, as in the slices.
    assert np.mean(np.reshape(mesh.bounds, (3, 2)), axis=1) == pytest.approx([12, 12, 24], abs=0.1)


def test_no_gl_is_said_and_not_raised(monkeypatch, caplog):
    monkeypatch.setattr(surface, "PROBE", "raise SystemExit('no GL here')")
    surface.problem.cache_clear()
    try:
        with caplog.at_level("INFO", surface.__name__):
            reason = surface.problem()
        # VTK's words differ from call to call, so they go to the log and not into a notebook.
        assert "found no way to draw" in reason and "libosmesa6" in reason
        assert "no GL here" in caplog.text and "no GL here" not in reason
        with pytest.raises(RuntimeError, match="found no way to draw"):
            surface.picture(volume()[1], SPEC, (1.0, 1.0, 1.0))
    finally:
        surface.problem.cache_clear()


def test_preview_keeps_the_label_colours():
    import io

    from PIL import Image

    from hipposeg.viz.style import preview

    image, label = volume()
    fig = slices.three_plane(image, {"truth": label}, SPEC)
    shown = np.asarray(Image.open(io.BytesIO(preview(fig))).convert("RGB"))
    for item in SPEC.labels:
        distance = np.abs(shown / 255 - to_rgb(item.colour)).max(-1)
        assert (distance < 0.03).sum() > 100, f"{item.name} has lost its colour"


def test_axes_placed_by_hand_stay_where_they_are_when_a_figure_is_saved_twice(tmp_path):
    from hipposeg.viz.style import preview, save_figure

    use_style()
    fig, ax = plt.subplots(layout="none")
    ax.set_position((0.3, 0.3, 0.2, 0.2))
    save_figure(fig, tmp_path / "a.png", phantom=False)
    first = preview(fig)
    assert fig.get_layout_engine() is None and preview(fig) == first
    assert ax.get_position().bounds == pytest.approx((0.3, 0.3, 0.2, 0.2))
