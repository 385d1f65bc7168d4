"""Cost, receptive fields and stages of networks."""

import numpy as np
import pytest
import torch
from torch import nn

from hipposeg.models import inspection
from hipposeg.models.attention import AttentionUNet
from hipposeg.models.unet import UNet


class Plain(nn.Module):
    """Convolutions without stride, whose field is known: 1 + 2 for each 3-wide one."""

    divisor = 1

    def __init__(self, dims, depth):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims]
        layers = [layer for _ in range(depth) for layer in (conv(1, 1, 3, padding=1), norm(1), nn.ReLU())]
        self.layers = nn.Sequential(*layers, conv(1, 2, 1))

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize(("dims", "depth"), [(2, 1), (2, 4), (3, 3)])
def test_width_of_stacked_convolutions(dims, depth):
    assert inspection.theoretical(Plain(dims, depth), 1, dims) == (1 + 2 * depth,) * dims


def test_width_of_a_unet_is_the_same_along_each_axis_and_grows_with_depth():
    found = [inspection.theoretical(UNet(3, 1, 3, channels), 1, 3) for channels in ((2, 2), (2, 2, 2))]
    assert all(len(set(sizes)) == 1 for sizes in found)
    assert found[0][0] < found[1][0]
    # One stage down, by hand: 2 + 2 voxels of the first block, then at twice the step one strided, one plain
    # convolution, and the last block; a voxel right beside the coarse grid's edge reaches one side farther.
    two = inspection.theoretical(UNet(2, 1, 3, (4, 4)), 1, 2)
    assert two == found[0][:2] and 14 <= two[0] <= 18


class Everything(nn.Module):
    """Reads the mean of the whole input."""

    divisor = 1

    def forward(self, x):
        return x + x.mean(dim=(2, 3), keepdim=True)


def test_a_field_without_end_is_an_error():
    with pytest.raises(ValueError, match="the network sees all"):
        inspection.theoretical(Everything(), 1, 2)


def test_effective_field_lies_inside_the_theoretical_one_and_repeats():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    inputs = torch.randn(3, 1, 15, 15)
    field = inspection.effective(model, inputs, (7, 6))
    assert field.shape == (1, 15, 15) and field.dtype == np.float64
    rows, columns = np.nonzero(field[0])
    assert rows.min() == 5 and rows.max() == 9 and columns.min() == 4 and columns.max() == 8
    assert np.array_equal(field, inspection.effective(model, inputs, (7, 6)))


def test_slices_go_where_they_lie():
    field = np.stack([np.full((4, 5), value) for value in (1.0, 2.0, 3.0)])
    volume = inspection.in_volume(field, 1, 6, 10)
    assert volume.shape == (4, 10, 5)
    assert volume.sum((0, 2)).tolist() == [0, 0, 0, 0, 0, 20, 40, 60, 0, 0]
    # At the box's end the neighbour outside repeats the last slice.
    assert inspection.in_volume(field, 0, 0, 10).sum((1, 2)).tolist()[:2] == [60, 60]
    with pytest.raises(ValueError, match="odd"):
        inspection.in_volume(field[:2], 0, 0, 10)


def test_radius_and_share_beyond():
    field = np.zeros((9, 9, 9))
    field[4, 4, 4], field[4, 4, 6], field[1, 4, 4] = 5, 3, 2
    assert inspection.radius(field, (4, 4, 4), 0.5, (1, 1, 1)) == 0
    assert inspection.radius(field, (4, 4, 4), 0.8, (1, 1, 2)) == 4
    assert inspection.radius(field, (4, 4, 4), 1.0, (1, 1, 1)) == 3
    assert np.isnan(inspection.radius(np.zeros((2, 2, 2)), (0, 0, 0), 0.5, (1, 1, 1)))
    assert inspection.share_beyond(field, (4, 4, 4), 0, 1) == pytest.approx(0.2)
    assert inspection.share_beyond(field, (4, 4, 4), 2, 1) == pytest.approx(0.3)


def test_flops_of_one_convolution_by_hand():
    class One(nn.Module):
        divisor = 1

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv3d(2, 5, 3, padding=1, bias=False)

        def forward(self, x):
            return self.layer(x)

    voxels = 40 * 56 * 40
    assert inspection.gflops(One(), 2, None) == pytest.approx(2 * 27 * 2 * 5 * voxels / 1e9)


NETWORKS = {
    "2d": (lambda: UNet(2, 3, 3, (8, 16, 32)), (3, 16, 24)),
    "3d": (lambda: UNet(3, 1, 3, (4, 8, 16), residual=True, supervised=1), (1, 8, 8, 8)),
    "gated": (lambda: AttentionUNet(2, 1, 3, (4, 8, 16)), (1, 16, 24)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_have_the_shapes_of_a_real_pass_and_all_parameters(name):
    build, sizes = NETWORKS[name]
    model, real = build(), {}
    traced = inspection.trace(model, sizes[0], sizes[1:])

    def note(path, output):
        real[path] = tuple((output[0] if isinstance(output, (list, tuple)) else output).shape[1:])

    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, __, output, path=path: note(path, output))
    model.train()(torch.rand(2, *sizes))
    assert all((stage.channels, *stage.sides) == real[stage.name] for stage in traced.stages)
    assert traced.parameters == inspection.parameters(model)


@pytest.mark.parametrize(("name", "reader"), [("2d", "merge"), ("3d", "merge"), ("gated", "gates")])
def test_skips_end_where_the_encoder_is_read(name, reader):
    build, sizes = NETWORKS[name]
    traced = inspection.trace(build(), sizes[0], sizes[1:])
    names = [stage.name for stage in traced.stages]
    assert [(names[a], names[b]) for a, b in traced.skips] == [("down.0", f"{reader}.0"), ("stem", f"{reader}.1")]
    heads = [stage.name for stage in traced.stages if stage.role == inspection.HEAD]
    assert heads == (["head", "coarse_heads.0"] if name == "3d" else ["head"])


@pytest.mark.parametrize(
    ("build", "sizes", "reason"),
    [
        (lambda: Plain(2, 3), (1, 8, 8), "no skip connections"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)), (1, 8, 8), "not all of its stages"),
        (lambda: UNet(2, 1, 3, (4, 8)), (2, 8, 8), r"does not run on \(2, 8, 8\)"),
    ],
)
def test_what_is_no_u_net_is_refused_with_the_reason(build, sizes, reason):
    with pytest.raises(ValueError, match=reason):
        inspection.trace(build(), sizes[0], sizes[1:])
