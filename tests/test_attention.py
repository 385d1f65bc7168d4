"""Attention gates, the models that have them, the study of their maps, and its figures."""

import inspect
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch
from same_bytes import saved_twice
from torch import nn

from hipposeg.data import grid
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.experiments import RunSpec, plan
from hipposeg.experiments.hooks import Finished
from hipposeg.experiments.registry import MODELS, NUMERICS
from hipposeg.experiments.spec import numerics_of
from hipposeg.experiments.weights import initial
from hipposeg.inference import Prep, probabilities
from hipposeg.models import cost
from hipposeg.models.attention import AttentionGate, AttentionUNet, doubled
from hipposeg.models.unet import UNet
from hipposeg.results import compare
from hipposeg.training.machine import Machine
from hipposeg_lab.figures import attention as pictures
from hipposeg_lab.studies import attention, attention_summary

MACHINE = Machine("cpu", "fp32", 1)
ISOTROPIC = (1.0, 1.0, 1.0)
BOTH = pytest.mark.parametrize("dims", [2, 3])


pytestmark = pytest.mark.usefixtures("house_style")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(dims, spatial=True, channels=(4, 8, 16), **options):
    torch.manual_seed(0)
    return AttentionUNet(dims, 1, 3, channels, spatial, **options)


@BOTH
def test_doubling_is_linear_interpolation(dims):
    x = torch.rand(2, 3, *(3, 1, 5)[:dims], generator=torch.Generator().manual_seed(1))
    mode = {2: "bilinear", 3: "trilinear"}[dims]
    expected = nn.functional.interpolate(x, scale_factor=2, mode=mode, align_corners=False)
    assert torch.allclose(doubled(x), expected, atol=1e-6)
    assert doubled(torch.tensor([[[0.0, 1.0]]])).tolist() == [[[0.0, 0.25, 0.75, 1.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_doubling_stays_within_the_range_and_keeps_a_constant(dtype):
    x = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(2)).to(dtype)
    x[:8], x[8:16] = (x[:8] > 0.5).to(dtype), torch.nextafter(torch.tensor(1.0), torch.tensor(0.0)).to(dtype)
    up = doubled(x)
    assert up.min() >= 0 and up.max() <= 1
    assert (doubled(x[:, :, :1, :1]) == x[:, :, :1, :1]).all()


def test_gate_by_hand():
    # One channel each, a skip of two by two voxels, one coarse voxel: all sums can be written down.
    gate = AttentionGate(2, 1, 1, 1)
    with torch.no_grad():
        gate.w_x.weight.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        for layer, weight, bias in ((gate.w_g, 0.5, -1.0), (gate.psi, 2.0, 0.5)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    skip = torch.tensor([[[[0.1, 0.2], [0.3, -0.1]]]])
    coarse = torch.tensor([[[[3.0]]]])
    # w_x: 0.1 + 0.4 + 0.9 - 0.4 = 1.0; w_g: 1.5 - 1 = 0.5; relu 1.5; psi 3.5.
    weight = 1 / (1 + np.exp(-3.5))
    kept, found = gate(skip, coarse)
    assert found.shape == (1, 1, 2, 2) and torch.allclose(found, torch.full((1, 1, 2, 2), weight))
    assert torch.allclose(kept, weight * skip)
    # A gate that is told no lets through what psi's bias says: relu cuts the sum off at 0.
    assert torch.allclose(gate(skip, -coarse)[1], torch.sigmoid(torch.full((1, 1, 2, 2), 0.5)))


@BOTH
@pytest.mark.parametrize("spatial", [True, False])
def test_maps_have_the_skips_size_lie_in_0_to_1_and_every_parameter_learns(dims, spatial):
    model = made(dims, spatial)
    x = noise(2, 1, *(8, 12, 16)[:dims])
    maps = model.maps(x)
    assert [tuple(one.shape) for one in maps] == [(2, 1, *(side // 2**i for side in x.shape[2:])) for i in range(2)]
    assert all(one.min() >= 0 and one.max() <= 1 for one in maps)
    (model(x) * noise(2, 3, *x.shape[2:], seed=1)).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@BOTH
def test_constant_gate_has_equal_parameters_and_one_weight_for_all_places(dims):
    model, constant = made(dims), made(dims, spatial=False)
    x = 3 * noise(2, 1, *(8, 12, 16)[:dims])
    assert cost.parameters(model) == cost.parameters(constant)
    states = zip(model.state_dict().items(), constant.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(v, w) for (a, v), (b, w) in states)
    for free, one in zip(model.maps(x), constant.maps(x), strict=True):
        flat = one.flatten(1)
        assert (flat == flat[:, :1]).all() and flat[0, 0] != flat[1, 0]
        assert free.flatten(1).std(1).min() > 0
        assert 0 < flat.min() and flat.max() < 1


def test_gates_come_after_the_twins_weights_and_open_gates_are_the_twin():
    torch.manual_seed(0)
    twin, model = UNet(2, 1, 3, (4, 8, 16)), made(2)
    shared = twin.state_dict()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in shared.items())
    parts = ("w_x.weight", "w_g.weight", "w_g.bias", "psi.weight", "psi.bias")
    added = {name for name in model.state_dict() if name not in shared}
    assert added == {f"gates.{number}.{part}" for number in (0, 1) for part in parts}
    with torch.no_grad():
        for gate in model.gates:
            gate.psi.weight.zero_()
            gate.psi.bias.fill_(50.0)
    x = noise(2, 1, 8, 12)
    assert torch.equal(model.eval()(x), twin.eval()(x))


def test_unet_keeps_its_bytes():
    # What stages() gave before its way down had a name of its own, written out.
    torch.manual_seed(0)
    model, x = UNet(2, 1, 3, (4, 8, 16)).eval(), noise(2, 1, 8, 12)
    first = model.stem(x)
    second = model.down[0](first)
    deepest = model.down[1](second)
    middle = model.merge[0](torch.cat([model.up[0](deepest), second], 1))
    finest = model.merge[1](torch.cat([model.up[1](middle), first], 1))
    assert all(torch.equal(a, b) for a, b in zip(model.stages(x), (finest, middle), strict=True))
    assert [one.shape[1] for one in model.encoded(x)] == [4, 8, 16]
    assert torch.equal(model(x), model.head(finest))
    assert UNet(2, 1, 3, (4,)).stages(x)[0].shape == (2, 4, 8, 12)


@BOTH
def test_forward_is_pure_and_shares_its_path_with_maps(dims):
    model, x = made(dims).eval(), noise(1, 1, *(8, 12, 16)[:dims])
    before = sorted(vars(model)), {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        first = model(x)
        maps = model.maps(x)
        assert torch.equal(first, model(x))
        stages, again = model.gated(x)
        assert torch.equal(model.head(stages[0]), first)
    assert all(torch.equal(a, b) for a, b in zip(maps, again, strict=True))
    assert sorted(vars(model)) == before[0]
    assert all(torch.equal(value, before[1][name]) for name, value in model.state_dict().items())
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]


def test_gates_go_with_the_other_options_and_refuse_what_the_twin_refuses():
    deep = made(2, residual=True, supervised=1).train()
    assert [tuple(level.shape[1:]) for level in deep(noise(1, 1, 8, 12))] == [(3, 8, 12), (3, 4, 6)]
    with pytest.raises(ValueError, match="not divisible by 4"):
        made(2).maps(torch.zeros(1, 1, 10, 12))


def test_models_differ_from_their_twins_in_the_network_alone():
    own = [model for model in MODELS.values() if model.notebook == "05"]
    assert [model.name for model in own] == list(attention_summary.WITHOUT)
    for model in own:
        twin = MODELS[attention_summary.WITHOUT[model.name]]
        assert (model.prep, model.dims, model.network != twin.network) == (twin.prep, twin.dims, True)
        assert model.schedules == {schedule: twin.schedules[schedule] for schedule in ("standard", "smoke")}
    assert NUMERICS["attention"] == 1 and numerics_of(MODELS["attention3d"]).startswith("attention1-")
    assert {name for pair in attention_summary.PAIRS for name in pair} == {run.model for run in plan.declared("05")}
    assert len(plan.declared("05")) == 8 * 3
    assert all(run.schedule in run.definition.schedules for run in plan.declared("05"))


# The study of maps


def test_ratio_by_hand():
    found = np.array([[[0.8, 0.4, 0.2, 0.2]]])
    inside = np.array([[[True, True, False, False]]])
    assert attention.ratio(found, inside) == pytest.approx(3)
    assert attention.ratio(np.array([[[np.nan, 0.4, 0.2, np.nan]]]), inside) == pytest.approx(2)
    assert np.isnan(attention.ratio(found, np.zeros_like(inside))) and np.isnan(attention.ratio(found, inside | True))
    assert np.isnan(attention.ratio(np.array([[[0.8, 0.4, 0.0, 0.0]]]), inside))
    assert attention.ratio(np.full((1, 1, 4), 0.3, np.float32), inside) == 1


def test_relative_maps_know_places_within_a_sample_only():
    found = np.array([[[0.2, 0.6]], [[0.1, 0.3]], [[np.nan, 0.5]], [[np.nan, np.nan]]])
    slices = attention.relative(found, 0)
    assert slices[:3].ravel()[[0, 1, 2, 3, 5]].tolist() == pytest.approx([0.5, 1.5, 0.5, 1.5, 1.0])
    assert np.isnan(slices[2, 0, 0]) and np.isnan(slices[3]).all()
    whole = attention.relative(found[:2], None)
    assert whole.mean() == pytest.approx(1) and whole[0, 0, 1] == pytest.approx(2)


def test_a_map_is_laid_over_another_grid_centre_on_centre():
    over = attention.laid_over({2: np.arange(4.0).reshape(1, 4, 1)}, (1, 2, 3))[2]
    assert over.shape == (1, 2, 3) and over[0, :, 1].tolist() == [1, 2] and np.isnan(over[:, :, [0, 2]]).all()


def test_another_case_is_of_another_person():
    subjects = {1: 1, 2: 1, 4: 2, 7: 4, 8: 4}
    assert attention.paired_cases([8, 1, 2, 4, 7], subjects) == {1: 4, 2: 4, 4: 7, 7: 1, 8: 1}
    with pytest.raises(ValueError, match="one person"):
        attention.paired_cases([1, 2], subjects)


class Bright(nn.Module):
    """Lets through 0.9 where the input is bright and 0.1 elsewhere, at two scales."""

    divisor = 2

    def maps(self, x):
        fine = 0.1 + 0.8 * (x[:, x.shape[1] // 2, None] > 0).float()
        return [fine, fine[(..., *[slice(None, None, 2)] * (x.ndim - 2))]]


def cohort_of(shapes):
    """Bright boxes on dark ground that are the structure, each case of another size and person."""
    cases = {}
    for number, shape in shapes.items():
        label = np.zeros(shape, np.uint8)
        label[2:6, 2:6, 2:6] = 1
        label[4:6, 2:6, 2:6] = 2
        image = (label[None] > 0).astype(np.float32) + 0.01 * np.indices(shape)[:1].astype(np.float32)
        cases[number] = SimpleNamespace(image=image, label=label, spacing=ISOTROPIC, subject=number)
    return SimpleNamespace(cases=cases, spec=SPEC)


@pytest.mark.parametrize("axis", [None, 0])
def test_maps_come_back_to_the_images_grid(axis):
    case = cohort_of({1: (9, 8, 12)}).cases[1]
    prep = Prep((8, 8, 8), axis=axis, neighbours=0 if axis is None else 1)
    found = attention.maps(Bright(), prep, case.image, MACHINE)
    assert list(found) == [1, 2] and all(one.shape == (9, 8, 12) for one in found.values())
    fine, coarse = found.values()
    inside = grid.place(case.image, prep.size)[1].inside_native  # what the network's box keeps
    assert np.allclose(fine[inside], np.where(case.label[inside] > 0, 0.9, 0.1))
    assert np.isnan(fine).sum() == fine.size - 512
    step = slice(None) if axis == 0 else slice(None, None, 2)  # slices are never made coarser across
    assert np.allclose(coarse[inside][step, ::2, ::2], fine[inside][step, ::2, ::2])
    assert np.allclose(coarse[inside][:, 1::2], coarse[inside][:, ::2])


@pytest.mark.parametrize("axis", [None, 0])
def test_study_measures_trained_maps_and_controls(axis):
    cohort = cohort_of({1: (8, 8, 8), 3: (10, 8, 8), 5: (8, 8, 10)})
    prep = Prep((8, 8, 8), axis=axis)
    torch.manual_seed(0)
    dims = 3 if axis is None else 2
    constant = AttentionUNet(dims, 1, 3, (2, 2, 2), spatial=False).eval()
    images = {number: case.image for number, case in cohort.cases.items()}
    asked = {attention.TRAINED: Bright(), attention.CONSTANT: constant}
    table = attention.study(asked, prep, images, cohort, MACHINE)
    assert tuple(table.columns) == attention.COLUMNS and not table.duplicated(list(attention.COLUMNS[:-1])).any()
    assert set(table.label) == {"hippocampus"} and set(table.scale) == {1, 2}
    trained = table[table.control == attention.TRAINED].set_index(["within", "scale", "case"]).ratio
    # Case 1 as it is: 0.9 in the 64 voxels of the structure, 0.1 outside.
    assert trained[attention.VOLUME, 1, 1] == pytest.approx(9)
    # Slices 2 to 5 hold it, a quarter of each: mean 0.3, so 3 inside and 1/3 outside; elsewhere 1 in 256 voxels.
    if axis == 0:
        assert trained[attention.SAMPLE, 1, 1] == pytest.approx(3 / ((192 / 3 + 256) / 448))
    else:
        assert trained[attention.SAMPLE, 1, 1] == pytest.approx(9)
    check = table[table.control == attention.CONSTANT]
    assert set(check.within) == {attention.SAMPLE} and check.ratio.to_numpy() == pytest.approx(1, abs=1e-6)
    # The next person's map, centre on centre: case 3 is two voxels longer along axis 0, so its box lies one lower.
    other = table[(table.control == attention.OTHER) & (table.scale == 1) & (table.within == attention.VOLUME)]
    assert set(other.case) == {1, 3, 5}
    moved = np.zeros((8, 8, 8), bool)
    moved[1:5, 2:6, 2:6] = True
    expected = attention.ratio(np.where(moved, 0.9, 0.1), cohort.cases[1].label > 0)
    assert other.set_index("case").ratio[1] == pytest.approx(expected)
    wrong = SimpleNamespace(cases={1: SimpleNamespace(spacing=(2.0, 1.0, 1.0))}, spec=SPEC)
    with pytest.raises(ValueError, match="case 1 has voxels of"):
        attention.study(asked, prep, {1: images[1]}, wrong, MACHINE)


def test_each_part_is_measured_without_the_other():
    cohort = cohort_of({1: (8, 8, 8)})
    case = cohort.cases[1]
    case.label[case.label > 0] = 1
    case.label[2:4, 2:6, 2:6] = 2  # half of the structure
    case.image[0] = case.label == 1
    case.image[0, 2:4, 2:6, 2:4] = 1  # its map is 0.9 where bright, else 0.1: 0.5 in the second part
    table = attention.by_part(Bright(), Prep((8, 8, 8)), {1: case.image}, cohort, MACHINE)
    assert tuple(table.columns) == attention.COLUMNS and set(table.within) == {attention.SAMPLE}
    found = table[table.scale == 1].set_index("label").ratio
    assert found.to_dict() == pytest.approx({"anterior": 9, "posterior": 5})


class Placed(nn.Module):
    """Lets through what the place in the box says, whatever the image: brightest in the middle."""

    def maps(self, x):
        axes = torch.meshgrid(*[torch.arange(n) - (n - 1) / 2 for n in x.shape[2:]], indexing="ij")
        return [torch.exp(-sum(axis**2 for axis in axes) / 20).expand(len(x), 1, *x.shape[2:])]


def test_attention_that_knows_places_only_is_not_ahead_of_another_cases():
    cohort = cohort_of({1: (10, 12, 8), 3: (8, 10, 12), 5: (12, 8, 10)})
    images = {number: case.image for number, case in cohort.cases.items()}
    table = attention.study({attention.TRAINED: Placed()}, Prep((12, 12, 12)), images, cohort, MACHINE)
    above = attention_summary.beyond(table)
    assert set(above.control) == {attention.OTHER} and np.allclose(above.difference, 0, atol=1e-6)
    whole = table[table.within == attention.VOLUME].pivot(index="case", columns="control", values="ratio")
    assert (whole[attention.TRAINED] - whole[attention.OTHER]).abs().max() > 0.05, "the whole box would have said so"


def finished(run, network, cohort, folder, cases=None):
    images = {number: cohort.cases[number].image for number in cases or cohort.cases}
    return Finished(run, network, cohort, {}, images, [], MACHINE, folder)


def test_what_cannot_be_studied_is_left_out_and_the_run_stands(tmp_path, caplog):
    run = RunSpec("attention2d", schedule="smoke")
    cohort = cohort_of({1: (8, 8, 8), 3: (8, 10, 8)})
    attention.hook(finished(run, initial(run, SPEC).eval(), cohort, tmp_path, [1]))
    assert "needs two subjects" in caplog.text and not list(tmp_path.iterdir())


def test_labels_never_reach_the_maps():
    cohort = cohort_of({1: (8, 8, 8), 3: (8, 8, 8)})
    model, prep = made(3, channels=(4, 4, 8)).eval(), Prep((8, 8, 8))
    assert "label" not in "".join(inspect.signature(attention.maps).parameters)
    before = {n: attention.maps(model, prep, case.image, MACHINE) for n, case in cohort.cases.items()}
    masks = {n: probabilities(model, prep, case.image, MACHINE) for n, case in cohort.cases.items()}
    generator = np.random.default_rng(0)
    for case in cohort.cases.values():
        case.label = generator.permuted(case.label.ravel()).reshape(case.label.shape)
    for number, case in cohort.cases.items():
        after = attention.maps(model, prep, case.image, MACHINE)
        assert all(np.array_equal(after[scale], one) for scale, one in before[number].items())
        assert np.array_equal(probabilities(model, prep, case.image, MACHINE), masks[number])


def test_a_gated_run_leaves_its_table_and_others_none(tmp_path):
    cohort = cohort_of({1: (8, 8, 8), 3: (8, 10, 8)})
    run = RunSpec("attention2d", seed=1, schedule="smoke")
    network = MACHINE.place(initial(run, SPEC)).eval()
    attention.hook(finished(run, network, cohort, tmp_path))
    content = (tmp_path / attention.TABLE).read_bytes()
    stored = pd.read_csv(tmp_path / attention.TABLE)
    assert tuple(stored.columns) == attention.COLUMNS and set(stored["case"]) == {1, 3}
    # Its weights are the initial ones, so trained and untrained are one network here.
    wide = stored.pivot(index=["case", "scale", "within"], columns="control", values="ratio")
    assert (wide[attention.TRAINED] == wide[attention.UNTRAINED]).all()
    attention.hook(finished(run, network, cohort, tmp_path))
    assert (tmp_path / attention.TABLE).read_bytes() == content
    for model in ("attention2d-constant", "unet2d", "atlas-no-image"):
        attention.hook(finished(RunSpec(model), None, cohort, tmp_path / "others"))
    assert not (tmp_path / "others").exists()


def ratios(seeds=None):
    rows = [
        {"case": case, "subject": (case + 1) // 2, "scale": scale, "control": control, "within": within,
         "ratio": value + 0.1 * case + 0.01 * seed, "seed": seed}
        for seed in (range(seeds) if seeds else (0,)) for case in (1, 2, 3, 4) for scale in (1, 2)
        for control, value in ((attention.TRAINED, 2.0), (attention.UNTRAINED, 1.0))
        for within in (attention.SAMPLE, attention.VOLUME)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table if seeds else table.drop(columns="seed")


@pytest.mark.parametrize("seeds", [None, 3])
def test_intervals_and_differences_are_over_people(seeds):
    found = attention_summary.intervals(ratios(seeds))
    assert list(found.columns) == ["within", "scale", "control", "value", "low", "high"] and len(found) == 8
    first = found.iloc[0]
    assert first.control == attention.TRAINED
    assert first.value == pytest.approx(2.25 + (0.01 if seeds else 0)) and first.low < first.value < first.high
    above = attention_summary.beyond(ratios(seeds))
    assert len(above) == 4 and above.difference.to_numpy() == pytest.approx(1)


def test_smallest_third_goes_by_true_volume():
    volumes = {1: 30.0, 2: 10.0, 3: 20.0, 4: 20.0, 5: 50.0, 6: 40.0, 7: 60.0}
    assert attention_summary.smallest_third(pd.Series(volumes)) == [2, 3]
    assert attention_summary.smallest_third(pd.Series({1: 30.0})) == [1]


def dice_rows(models, seeds=3):
    return pd.DataFrame(
        [{"model": model, "seed": seed, "case": case, "subject": case, "label": "mean", "steps": 1,
          **dict.fromkeys(compare.SETTING, "same"),
          "dice": 0.8 + gain + 0.001 * ((3 * case + seed) % 5) + 0.01 * case}
         for model, gain in models.items() for seed in range(seeds) for case in range(1, 9)]
    )  # fmt: skip


def test_declared_comparisons_are_one_family():
    rows = dice_rows({"unet2d": 0.0, "attention2d": 0.02, "attention2d-constant": 0.001, "unet3d": 0.1})
    found = attention_summary.comparisons(rows)
    assert list(found.index) == ["attention2d minus unet2d", "attention2d minus attention2d-constant"]
    assert found["verdict"].tolist() == ["ahead", "ahead"] and found["difference"].tolist() == pytest.approx(
        [0.02, 0.019]
    )
    alone = attention_summary.comparisons(rows[rows.model.isin(["unet2d", "attention2d"])])
    # Five are declared, whichever of them are there.
    assert found.p_holm.iloc[0] == pytest.approx(alone.p_holm.iloc[0])
    raw = compare.differences(rows[rows.model.isin(["unet2d", "attention2d"])], "unet2d")["p_holm"].iloc[0]
    assert found.p_holm.iloc[0] == pytest.approx(min(1, 5 * raw))
    assert attention_summary.comparisons(rows[rows.seed == 0])["verdict"].tolist() == ["none: 1 seed"] * 2
    assert (
        attention_summary.comparisons(rows[rows.model == "unet3d"]).empty
        and attention_summary.comparisons(rows[:0]).empty
    )


def test_comparisons_are_made_on_all_cases_and_on_the_smallest():
    rows = dice_rows({"unet2d": 0.0, "attention2d": 0.02})
    found = attention_summary.by_size(rows, [2, 5, 7])
    pair = "attention2d minus unet2d"
    assert list(found.index) == [("all 8 volumes", pair), ("the 3 smallest", pair)]
    assert found["people"].tolist() == [8, 3] and found["verdict"].tolist() == ["ahead", "ahead"]
    assert attention_summary.by_size(rows[rows["model"] == "unet2d"], [2]).empty
    assert attention_summary.by_size(rows[:0], [2]).empty


# Figures


def views():
    label = np.zeros((10, 16, 12), np.uint8)
    label[4:7, 4:8, 4:8], label[4:7, 8:12, 4:8] = 2, 1
    image = np.random.default_rng(0).normal(size=label.shape)
    half = np.where(label > 0, 0.9, 0.2)
    half[:, 0] = np.nan
    maps = {"1 mm": half, "2 mm": np.full(label.shape, 0.5)}
    return [pictures.MapView(title, image, label, maps) for title in ("best", "worst")]


def test_maps_are_drawn_between_image_and_outline_on_one_scale():
    fig = pictures.maps(views(), SPEC, "Attention")
    panels = [ax for ax in fig.axes if ax.images]
    assert all(len(ax.collections) == 2 for ax in panels)  # the two parts' outlines
    with_maps = [ax for ax in panels if ax.images[-1].get_cmap().name == pictures.MAP]
    assert len(panels) == 6 and len(with_maps) == 4
    for ax in with_maps:
        drawn = ax.images[-1]
        assert (drawn.norm.vmin, drawn.norm.vmax) == (0, 1)
        assert drawn.get_extent() == ax.images[0].get_extent()
    assert with_maps[0].images[-1].get_array().mask[:, 0].all()
    one = views()[0]
    drawn = pictures.maps([one], SPEC, axis=1, part=2).axes[0].images[0].get_array()
    first = int(np.argmax((one.label == 2).sum((0, 2))))
    assert np.allclose(drawn, one.image[:, first].T) and not np.allclose(drawn, one.image[:, 8].T)
    other = pictures.MapView("c", views()[0].image, views()[0].label, {"4 mm": views()[0].image})
    with pytest.raises(ValueError, match="4 mm"):
        pictures.maps([*views(), other], SPEC)


def test_ratios_show_every_scale_and_control_on_one_axis():
    table = attention_summary.intervals(ratios())
    fig = pictures.ratios(table, {attention.SAMPLE: "in a slice", attention.VOLUME: "in all"}, 1.0)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["in a slice", "in all"]
    assert len({ax.get_xlim() for ax in fig.axes}) == 1 and fig.axes[0].get_xlim()[0] < 1
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["skip of 1 mm voxels", "skip of 2 mm voxels"]
    assert len(pictures.ratios(table, {attention.SAMPLE: "in the volume"}, 1.0).axes) == 1


def figures():
    yield pictures.maps(views(), SPEC, "Attention")
    yield pictures.maps(views()[:1], SPEC, axis=1)
    yield pictures.ratios(attention_summary.intervals(ratios()), {attention.SAMPLE: "in a slice"}, 1.0)


def test_every_figure_saves_to_the_same_bytes_twice(tmp_path):
    first, second = saved_twice(figures, tmp_path)
    assert first == second and len(first) == 3
