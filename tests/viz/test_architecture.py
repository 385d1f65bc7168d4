"""Diagrams of networks: every stage is shown, and nothing overlaps."""

from functools import cache

import matplotlib
import pytest

matplotlib.use("Agg")

from drawing import texts

from hipposeg.models import inspection
from hipposeg.models.attention import AttentionUNet
from hipposeg.models.unet import UNet
from hipposeg.viz import architecture

pytestmark = pytest.mark.usefixtures("house_style")


NETWORKS = {
    "2d": (lambda: UNet(2, 3, 3, (8, 16, 32)), (3, 16, 24)),
    "3d residual supervised": (lambda: UNet(3, 1, 3, (4, 8, 16, 32), residual=True, supervised=2), (1, 16, 24, 16)),
    "gated": (lambda: AttentionUNet(2, 1, 3, (4, 8, 16)), (1, 16, 24)),
}  # fmt: skip


@cache
def network(name):
    """A model, and what was traced of it."""
    build, sizes = NETWORKS[name]
    model = build()
    return model, inspection.trace(model, sizes[0], sizes[1:])


each_network = pytest.mark.parametrize("name", NETWORKS)


@each_network
def test_diagram_shows_every_stage_once_and_the_sum(name):
    model, traced = network(name)
    fig = architecture.diagram(traced, name)
    words = texts(fig)
    for stage in traced.stages:
        label = [f"{stage.channels} @ {'×'.join(map(str, stage.sides))}", f"{stage.parameters:,}"]
        assert any(words[n : n + 2] == label for n in range(len(words))), stage.name
    assert f"{name}: {inspection.parameters(model):,} parameters" in words
    outputs = sum(stage.role == inspection.HEAD for stage in traced.stages)
    arrows = [patch for patch in fig.axes[0].patches if isinstance(patch, matplotlib.patches.FancyArrowPatch)]
    assert len(arrows) == sum(len(stage.reads) for stage in traced.stages) + outputs


@each_network
def test_diagram_overlaps_nothing(name):
    fig = architecture.diagram(network(name)[1])
    fig.canvas.draw()
    ax = fig.axes[0]
    boxes = [text.get_window_extent() for text in ax.texts]
    boxes += [p.get_window_extent() for p in ax.patches if isinstance(p, matplotlib.patches.FancyBboxPatch)]
    assert all(fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 and fig.bbox.y0 <= box.y0 for box in boxes)
    for n, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[n + 1 :])


def test_gates_have_a_colour_of_their_own():
    names = [[text.get_text() for text in architecture.diagram(network(name)[1]).legends[0].get_texts()]
             for name in ("gated", "2d")]  # fmt: skip
    assert names == [["encoder", "decoder", "attention gate", "output"], ["encoder", "decoder", "output"]]
