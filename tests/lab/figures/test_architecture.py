"""Diagrams of networks: stages as they run, every one shown, and nothing overlaps."""

import pytest
import torch
from drawing import texts
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from hipposeg.models.attention import AttentionUNet
from hipposeg.models.cost import parameters
from hipposeg.models.unet import UNet
from hipposeg_lab.figures import architecture

pytestmark = pytest.mark.usefixtures("house_style")

NETWORKS = {
    "2d": (lambda: UNet(2, 3, 3, (8, 16, 32)), (3, 16, 24)),
    "3d": (lambda: UNet(3, 1, 3, (4, 8, 16, 32), residual=True, supervised=2), (1, 16, 24, 16)),
    "gated": (lambda: AttentionUNet(2, 1, 3, (4, 8, 16)), (1, 16, 24)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """Name, model, size of its input, and what was traced of it."""
    build, size = NETWORKS[request.param]
    model = build()
    return request.param, model, size, architecture.trace(model, size[0], size[1:])


def test_stages_have_the_shapes_of_a_real_pass_and_read_what_the_class_says(network):
    name, model, size, stages = network
    real = {"input": size}

    def note(path, output):
        real[path] = tuple((output[0] if isinstance(output, tuple) else output).shape[1:])

    for path, module in model.named_modules():
        if path:
            module.register_forward_hook(lambda _, __, output, path=path: note(path, output))
    model.train()(torch.rand(2, *size))
    assert all((stage.channels, *stage.sides) == real[stage.name] for stage in stages)
    assert sum(stage.parameters for stage in stages) == parameters(model)
    reads = {stage.name: [stages[at].name for at in stage.reads] for stage in stages}
    deepest = max(number for number in range(3) if f"down.{number}" in reads)
    assert reads["stem"] == ["input"] and reads["down.0"] == ["stem"] and reads["up.0"] == [f"down.{deepest}"]
    skip = f"down.{deepest - 1}"
    assert reads["merge.0"] == (["gates.0", "up.0"] if name == "gated" else [skip, "up.0"])
    assert reads.get("gates.0", [skip, f"down.{deepest}"]) == [skip, f"down.{deepest}"]
    assert reads["head"] == [f"merge.{deepest}"] and reads.get("coarse_heads.1", ["merge.0"]) == ["merge.0"]


def test_diagram_shows_every_stage_and_overlaps_nothing(network):
    name, model, _, stages = network
    fig = architecture.diagram(stages, name)
    ax, words = fig.axes[0], texts(fig)
    assert f"{name}: {parameters(model):,} parameters" in words
    for stage in stages:
        assert {stage.name, f"{stage.channels} @ {'×'.join(map(str, stage.sides))}"} <= set(words)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    outputs = sum(stage.role == architecture.HEAD for stage in stages)
    assert len(arrows) == sum(len(stage.reads) for stage in stages) + outputs
    assert ("attention gate" in [text.get_text() for text in fig.legends[0].get_texts()]) == (name == "gated")
    fig.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    boxes += [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    assert all(fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 and fig.bbox.y0 <= box.y0 for box in boxes)
    for n, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[n + 1 :])
