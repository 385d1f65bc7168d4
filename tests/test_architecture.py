"""Diagrams of networks: stages against a real forward pass, parameters against `cost`, and what is no U is refused."""

import copy
from functools import cache

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from drawing import texts
from torch import nn

from hipposeg.models import cost, shapes
from hipposeg.models.encoders import EncoderUNet
from hipposeg.models.transformer import UNETR
from hipposeg.models.unet import UNet
from hipposeg.viz import architecture

pytestmark = pytest.mark.usefixtures("house_style")


class Gate(nn.Module):
    """An additive gate that looks at two resolutions and gives its map beside what gets through."""

    def __init__(self, skip, gate):
        super().__init__()
        self.skip, self.gate = nn.Conv2d(skip, 4, 2, 2), nn.Conv2d(gate, 4, 1)
        self.score = nn.Conv2d(4, 1, 1)

    def forward(self, skip, gate):
        weight = self.score((self.skip(skip) + self.gate(gate)).relu()).sigmoid()
        weight = nn.functional.interpolate(weight, scale_factor=2)
        return skip * weight, weight


class Gated(UNet):
    """A U-Net whose skips pass gates."""

    def __init__(self):
        super().__init__(2, 1, 3, (4, 8, 16))
        self.gates = nn.ModuleList([Gate(8, 16), Gate(4, 8)])

    def stages(self, x):
        fine = self.stem(x)
        middle = self.down[0](fine)
        x = self.down[1](middle)
        x = self.merge[0](torch.cat([self.up[0](x), self.gates[0](middle, x)[0]], 1))
        return [self.merge[1](torch.cat([self.up[1](x), self.gates[1](fine, x)[0]], 1)), x]


class Pyramid(nn.Module):
    """An encoder that gives two levels, and runs a third for nobody."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(a, b, 3, 2, 1) for a, b in ((1, 4), (4, 8), (8, 16)))

    def forward(self, x):
        fine = self.first(x)
        coarse = self.second(fine)
        self.third(coarse)
        return [x, fine, coarse]


class Wasteful(nn.Module):
    """A decoder on such an encoder."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Pyramid(), nn.Conv2d(12, 4, 3, padding=1)
        self.head = nn.ConvTranspose2d(4, 3, 2, 2)

    def forward(self, x):
        _, fine, coarse = self.encoder(x)
        raised = nn.functional.interpolate(coarse, scale_factor=2)
        return self.head(self.decoder(torch.cat([raised, fine], 1)))


NETWORKS = {
    "2d": (lambda: UNet(2, 3, 3, (8, 16, 32)), (3, 16, 24)),
    "3d residual supervised": (lambda: UNet(3, 1, 3, (4, 8, 16, 32), residual=True, supervised=2), (1, 16, 24, 16)),
    "gated": (Gated, (1, 16, 24)),
    "mobilenet": (lambda: EncoderUNet("tu-tf_mobilenetv3_small_100", 3, 3), (3, 64, 64)),
    "wasteful": (Wasteful, (1, 16, 24)),
}  # fmt: skip


@cache
def network(name):
    """A model, and what was traced of it."""
    build, sizes = NETWORKS[name]
    model = build()
    return model, shapes.trace(model, sizes[0], sizes[1:])


each_network = pytest.mark.parametrize("name", NETWORKS)


def real_shapes(model, sizes):
    """Path -> shape of what each module gives in a real forward pass on the CPU (levels of an encoder numbered)."""
    found = {}

    def note(path, output):
        tensors = output if isinstance(output, (list, tuple)) else [output]
        found[path] = tuple(tensors[0].shape[1:])
        found.update({f"{path}.{n}": tuple(tensor.shape[1:]) for n, tensor in enumerate(tensors)})

    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, __, output, path=path: note(path, output))
    with torch.no_grad():
        model.train()(torch.rand(2, *sizes))
    return found


@each_network
def test_stages_carry_the_shapes_of_a_real_pass_and_all_parameters(name):
    model, traced = network(name)
    real = real_shapes(copy.deepcopy(model), NETWORKS[name][1])
    for stage in traced.stages:
        if stage.role != shapes.UNREAD:
            assert (stage.channels, *stage.sides) == real[stage.name], stage.name
    assert traced.parameters == sum(stage.parameters for stage in traced.stages) == cost.parameters(model)
    assert next(model.parameters()).device.type == "cpu", "the model itself was moved"


@each_network
def test_diagram_shows_every_stage_once_and_the_sum(name):
    model, traced = network(name)
    fig = architecture.diagram(traced, name)
    words = texts(fig)
    for stage in traced.stages:
        label = [f"{stage.channels} @ {'×'.join(map(str, stage.sides))}", f"{stage.parameters:,}"]
        assert any(words[n : n + 2] == label for n in range(len(words))), stage.name
    assert f"{name}: {cost.parameters(model):,} parameters" in words
    outputs = sum(stage.role == shapes.HEAD for stage in traced.stages)
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


def test_skips_end_where_the_way_down_is_read():
    traced = shapes.trace(UNet(3, 1, 3, (4, 8, 16), supervised=1), 1, (8, 8, 8))
    names = [stage.name for stage in traced.stages]
    assert [(names[a], names[b]) for a, b in traced.skips] == [("down.0", "merge.0"), ("stem", "merge.1")]
    heads = [stage for stage in traced.stages if stage.role == shapes.HEAD]
    assert [(head.name, head.sides) for head in heads] == [("head", (8, 8, 8)), ("coarse_heads.0", (4, 4, 4))]
    gated = network("gated")[1]
    names = [stage.name for stage in gated.stages]
    assert [(names[a], names[b]) for a, b in gated.skips] == [("down.0", "gates.0"), ("stem", "gates.1")]


def test_layers_that_nothing_reads_are_shown_as_such():
    model, traced = network("wasteful")
    assert [(stage.name, stage.role, stage.parameters) for stage in traced.stages] == [
        ("encoder.1", shapes.ENCODER, 4 * 9 + 4),
        ("encoder.2", shapes.ENCODER, 8 * 4 * 9 + 8),
        ("encoder.rest", shapes.UNREAD, 16 * 8 * 9 + 16),
        ("decoder", shapes.DECODER, 4 * 12 * 9 + 4),
        ("head", shapes.HEAD, 4 * 3 * 4 + 3),
    ]
    assert "runs, and nothing reads it" in texts(architecture.diagram(traced))
    assert "runs, and nothing reads it" not in texts(architecture.diagram(network("2d")[1]))


def test_gates_have_a_colour_of_their_own():
    gated = shapes.trace(Gated(), 1, (16, 16))
    assert "attention gate" in texts(architecture.diagram(gated))
    assert "attention gate" not in texts(architecture.diagram(network("2d")[1]))


class Straight(nn.Module):
    """Down and up without a skip."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(4, 3, 2, 2)

    def forward(self, x):
        return self.up(self.down(x))


@pytest.mark.parametrize(
    ("build", "sizes", "reason"),
    [
        (lambda: UNETR(1, 3, (16, 16, 16)), (1, 16, 16, 16), r"net\.vit gives .*, not channels over 3 axes"),
        (Straight, (1, 8, 8), "nothing of its way down is read"),
        (lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1)), (1, 8, 8), "one resolution"),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 2, 2), nn.Conv2d(4, 3, 2, 2)), (1, 8, 8), "at the input's sides"),
        (lambda: UNet(2, 1, 3, (4, 8)), (2, 8, 8), r"does not run on \(2, 8, 8\)"),
    ],
)
def test_what_is_no_u_is_refused_with_the_reason(build, sizes, reason):
    with pytest.raises(ValueError, match=reason):
        shapes.trace(build(), sizes[0], sizes[1:])


def test_diagram_refuses_a_network_without_stages():
    with pytest.raises(ValueError, match="no stages"):
        architecture.diagram(shapes.Traced("Nothing", 1, (8, 8), ()))
