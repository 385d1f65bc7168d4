"""Figures of notebook 06: what they show, and the same bytes each time."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from drawing import volume
from same_bytes import saved_twice

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg_lab.figures import clip as pictures
from hipposeg_lab.figures.attention import MapView, maps

pytestmark = pytest.mark.usefixtures("house_style")


def test_every_slice_has_its_caption():
    image, label = volume()
    said = [
        pictures.Said(image[:, y], label[:, y], f"caption of slice {y}, long enough for two lines") for y in range(5)
    ]
    fig = pictures.captioned(said, SPEC)
    found = [ax.get_xlabel().replace("\n", " ") for ax in fig.axes if ax.axison]
    assert found == [one.text for one in said]


def figures():
    image, label = volume()
    points = np.random.default_rng(1).normal(size=(30, 8))
    yield pictures.captioned([pictures.Said(image[:, 5], label[:, 5], "a caption")], SPEC)
    yield pictures.space(points, points + 3, np.where(np.arange(30) < 6, np.nan, np.arange(30) * 3.0))
    yield pictures.courses({"one": [{"epoch": 1, "loss": 2.0, "scale": 14.0}]}, 14.3)
    yield pictures.lowest_losses({"close": ([1, 10], [1.2, 0.4])}, {"fixed": (1.0, 1.3)})


def test_every_figure_saves_to_the_same_bytes_twice(tmp_path):
    first, second = saved_twice(figures, tmp_path)
    assert first == second and len(first) == 4


def test_principal_components_are_those_of_the_largest_variance():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(200, 6)) * [1, 9, 1, 4, 1, 1] + 5
    found = pictures.principal(points)
    centred = points - points.mean(0)
    assert np.abs(np.corrcoef(found[:, 0], centred[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(found[:, 1], centred[:, 3])[0, 1]) > 0.98
    assert np.allclose(found.mean(0), 0) and np.allclose(pictures.principal(points[:, ::1].copy()), found)


def test_space_draws_every_slice_and_caption():
    generator = np.random.default_rng(1)
    images, texts = generator.normal(size=(30, 8)), generator.normal(size=(30, 8)) + 3
    along = np.where(np.arange(30) < 6, np.nan, np.arange(30) * 3.0)

    for ax in pictures.space(images, texts, along).axes[:2]:
        assert sum(len(part.get_offsets()) for part in ax.collections) == 60


def test_courses_begin_where_the_scale_began():
    lines = [{"epoch": n, "loss": 2 - 0.1 * n, "scale": 14 + n} for n in (1, 2, 3)]
    fig = pictures.courses({"one": lines, "other": lines[:2]}, 14.3)
    right = fig.axes[1].lines
    assert right[0].get_xydata().tolist() == [[0, 14.3], [1, 15], [2, 16], [3, 17]] and len(right[1].get_xydata()) == 3


def test_lowest_losses_mark_where_trainings_ended():
    lines = {"close": ([1, 10], [1.2, 0.4]), "apart": ([1, 10], [0.9, 0.1])}
    ax = pictures.lowest_losses(lines, {"fixed": (1.0, 1.3)}).axes[0]
    assert ax.get_xscale() == "log" and [1.0, 1.3] in [line.get_xydata()[0].tolist() for line in ax.lines]
    assert {"fixed", "no scale"} <= {text.get_text() for text in ax.texts}


def test_maps_of_cosines_share_one_scale_of_both_signs():
    image, label = volume()
    values = np.linspace(-1, 1, image.size).reshape(image.shape)
    fig = maps([MapView("case", image, label, {"cosine": values})], SPEC, axis=1, what="cosine", limits=(-1, 1))
    drawn = [picture for ax in fig.axes for picture in ax.images if picture.get_cmap().name == "cividis"]
    assert [one.get_clim() for one in drawn] == [(-1, 1)]
    bar = fig.axes[-1]
    assert bar.get_xlabel() == "cosine" and bar.get_xlim() == (-1, 1)
