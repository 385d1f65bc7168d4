"""From a scan to volumes: crops as in training, and whole heads where HIPPOSEG_HEADS names a folder of them."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from test_registration import halved

from hipposeg import segment
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError
from hipposeg.experiments import RunSpec
from hipposeg.experiments.weights import predict
from hipposeg.metrics import dice
from hipposeg.predict import ensemble, registration
from hipposeg.predict import segment as segmenting
from hipposeg.predict.crop import Settled
from hipposeg.predict.ensemble import load_ensemble
from hipposeg.predict.registration import Located
from hipposeg.predict.scan import Scan, read
from hipposeg.results import load
from hipposeg.workspace import Workspace, project_root


def test_a_crops_mask_is_of_the_mean_of_all_networks_and_intervals_of_the_card(served):
    networks = load_ensemble(served.folder)
    found = segment(served.image(1), networks)
    assert len(networks.networks) == 5
    image = np.asarray(nibabel.load(served.image(1)).dataobj, dtype=np.float32)
    each = [
        predict(run.definition, network, image[None], (1.0, 1.0, 1.0), networks.machine)
        for run, network in networks.networks.items()
    ]
    assert np.array_equal(found.labels, sum(one.probabilities for one in each).argmax(0))
    assert found.names == {1: "anterior", 2: "posterior"} and found.asymmetry is found.intracranial_ml is None
    for name, voxels in (("anterior", found.labels == 1), ("posterior", found.labels == 2), ("total", found.labels)):
        label, volume = {"total": "union"}.get(name, name), found.volumes[name]
        spread = np.mean([one.spread((1.0, 1.0, 1.0), PHANTOM_SPEC)[label] for one in each])
        scale = {"volume": volume.predicted, "spread": spread}[networks.card.scale]
        assert volume.predicted == np.count_nonzero(voxels)
        assert volume.upper - volume.predicted == pytest.approx(networks.card.quantiles[label] * scale, rel=1e-6)
        assert volume.lower == pytest.approx(max(0, 2 * volume.predicted - volume.upper))


def test_networks_are_averaged_and_their_masks_compared(served, monkeypatch):
    def known(definition, network, image, spacing, machine):
        number = [*networks.networks.values()].index(network)
        classes = np.array([[0, 1, 2, 2], [0, 0, 1, 2], [0, 1, 1, 0]][number]).reshape(4, 1, 1)
        spread = {"anterior": 1.0 + number, "posterior": 4.0, "union": 5.0 * number}
        return SimpleNamespace(
            probabilities=(classes == np.arange(3).reshape(3, 1, 1, 1)).astype(np.float32), spread=lambda *_: spread
        )

    monkeypatch.setattr(ensemble, "predict", known)
    networks, crop = load_ensemble(served.folder, folds=(0, 1, 2)), np.zeros((4, 1, 1), np.float32)
    found = networks.predict(crop)
    assert np.allclose(found.probabilities[:, :, 0, 0] * 3, [[3, 1, 0, 1], [0, 2, 2, 0], [0, 0, 1, 2]])
    assert found.spread == {"anterior": 2.0, "posterior": 4.0, "union": 5.0}
    # Foreground 0111, 0011 and 0110: Dice 4/5, 4/5 and 2/4.
    assert found.agreement == pytest.approx((0.8 + 0.8 + 0.5) / 3)
    networks = load_ensemble(served.folder, folds=(1,))
    assert networks.predict(crop).agreement == 1


def test_a_crop_is_to_check_for_doubts_of_its_header_or_its_mask(served):
    networks, scan = load_ensemble(served.folder), read(served.image(1))
    limits = dict.fromkeys(networks.card.limits, (None, None))
    calm = replace(networks, card=replace(networks.card, limits=limits))
    assert segment(scan, calm).status == "ok" and not segment(scan, calm).reasons
    noted = segment(replace(scan, notes=("the header is odd",)), calm)
    assert (noted.status, noted.reasons) == ("check", ("the header is odd",))
    strict = replace(networks, card=replace(networks.card, limits=limits | {"union": (1e6, None)}))
    found = segment(scan, strict)
    assert found.status == "check" and "total volume" in found.reasons[0]
    assert found.hippocampi[0].flags == found.reasons and len(found.show().axes) >= 6


@pytest.mark.parametrize("scale", ["constant", "volume", "spread"])
def test_an_interval_has_the_quantile_and_the_scale_of_its_own_label(served, scale):
    quantiles = {"anterior": 2.0, "posterior": 3.0, "union": 5.0}
    loaded = load_ensemble(served.folder, folds=(0,))
    networks = replace(loaded, card=replace(loaded.card, scale=scale, quantiles=quantiles))
    for label, quantile in quantiles.items():
        found = networks.volume(label, 700.0, 11.0)
        half = {"constant": quantile, "volume": 700 * quantile, "spread": 11 * quantile}[scale]
        assert (found.predicted, found.lower, found.upper) == (700, max(0, 700 - half), 700 + half)


def averaged(networks, monkeypatch):
    """Let every crop have a spread of 2, 3 and 7 mm3 and networks that agree; the masks are those of the networks."""
    known = {"anterior": 2.0, "posterior": 3.0, "union": 7.0}
    predict = ensemble.Ensemble.predict
    monkeypatch.setattr(
        ensemble.Ensemble, "predict", lambda self, crop: replace(predict(self, crop), spread=known, agreement=1.0)
    )
    card = replace(networks.card, scale="spread", quantiles=dict.fromkeys(known, 10.0))
    return replace(networks, card=card), known


def test_volumes_and_intervals_of_a_crop_are_in_the_scans_own_millimetres(served, monkeypatch):
    networks, spread = averaged(load_ensemble(served.folder, folds=(0,)), monkeypatch)
    whole = read(served.image(1))
    found = segment(replace(whole, affine=whole.affine @ np.diag((1.015, 1.01, 1.005, 1))), networks)
    for name, label, values in (("anterior", "anterior", 1), ("posterior", "posterior", 2), ("total", "union", (1, 2))):
        volume = found.volumes[name]
        assert volume.predicted == pytest.approx(1.015 * 1.01 * 1.005 * np.isin(found.labels, values).sum())
        assert volume.upper - volume.predicted == pytest.approx(10 * spread[label])


def test_volumes_and_intervals_of_a_head_are_in_the_scans_own_millimetres(served, monkeypatch):
    """Registration and placing are replaced: the crops lie at the template's boxes."""
    networks, spread = averaged(load_ensemble(served.folder, folds=(0,)), monkeypatch)
    affine = np.array([[0.9, 0, 0, -63], [0, 1.2, 0, -84], [0, 0, 1.5, -75], [0, 0, 0, 1]])
    noise = np.random.default_rng(0).normal(100, 20, (140, 120, 90)).astype(np.float32)
    monkeypatch.setattr(segmenting, "locate", lambda *_: Located(np.eye(4), 1.0, False))
    monkeypatch.setattr(segmenting.crops, "settle", lambda _, box, *more: Settled(box, 1, True, 0.0))
    found = segment(Scan(Path("head.nii"), noise, affine), networks)
    assert found.labels is not None and set(found.names) == {1, 2, 3, 4}, found.reasons
    for value, name in found.names.items():
        volume, count = found.volumes[name], np.count_nonzero(found.labels == value)
        assert count > 100 and volume.predicted == pytest.approx(0.9 * 1.2 * 1.5 * count)
        assert volume.upper - volume.predicted == pytest.approx(10 * spread[name.split()[1]])
    for side, values in (("left", (1, 2)), ("right", (3, 4))):
        volume = found.volumes[side]
        assert volume.predicted == pytest.approx(0.9 * 1.2 * 1.5 * np.isin(found.labels, values).sum())
        assert volume.upper - volume.predicted == pytest.approx(10 * spread["union"])


def test_a_head_that_is_cut_off_is_no_crop(served, monkeypatch):
    """The template itself, at 4 mm, from the middle of the hippocampi upwards."""
    networks, (image, affine) = load_ensemble(served.folder, folds=(0,)), halved("head")
    monkeypatch.setattr(registration, "template", lambda name: registration._as_sitk(*halved(name), name != "mask"))
    cut, moved = np.ascontiguousarray(image[:, :, 17:36]), affine.copy()
    moved[:3, 3] += 17 * affine[:3, 2]
    scan = Scan(Path("head.nii"), cut, moved)
    found = segment(scan, networks)
    assert found.status == "refused" and found.labels is None
    assert "outside of the image" in found.reasons[0] and "the head is cut off" in found.reasons[-1]
    monkeypatch.setattr(segmenting, "locate", lambda *_: Located(0.1 * np.eye(4), 1.0, False))
    found = segment(scan, networks)
    assert found.status == "refused" and "the image has only 76 mm along one axis" in found.reasons[0]
    with pytest.raises(DataError, match="found a crop with voxels of 4 x 4 x 4 mm"):
        segment(replace(scan, image=cut[:12, :15, :12]), networks)


def test_a_slab_with_both_hippocampi_is_to_check(served, monkeypatch):
    networks, _ = averaged(load_ensemble(served.folder, folds=(0,)), monkeypatch)
    monkeypatch.setattr(segmenting, "locate", lambda *_: Located(np.eye(4), 1.0, False))
    monkeypatch.setattr(segmenting.crops, "settle", lambda _, box, *more: Settled(box, 1, True, 0.0))
    affine = np.array([[1.75, 0, 0, -63], [0, 1.75, 0, -84], [0, 0, 1.75, -60], [0, 0, 0, 1]])
    slab = np.random.default_rng(0).normal(100, 20, (72, 72, 50)).astype(np.float32)
    found = segment(Scan(Path("slab.nii"), slab, affine), networks)
    assert found.status == "check" and "the image has only 88 mm along one axis: the head is cut off" in found.reasons
    assert {"left", "right"} < set(found.volumes)


@pytest.mark.parametrize(
    ("changes", "flag", "failure"),
    [
        ({"agreement": 0.94, "moved": 8.0}, None, None),
        ({"agreement": 0.939}, r"Dice of 0\.94 \(limit 0\.94\)", None),
        ({"agreement": 0.85}, r"Dice of 0\.85 \(limit 0\.94\)", None),
        ({"agreement": 0.849}, None, r"Dice of 0\.85 \(limit 0\.85\): they do not know this kind of image"),
        ({"moved": 8.5}, r"the mask lies 8 mm from where the template has it \(limit 8\)", None),
        ({"moved": 15.0}, r"the mask lies 15 mm from where the template has it \(limit 8\)", None),
        ({"moved": 15.5}, None, "the mask lies 16 mm from where the template has a hippocampus"),
        ({"settled": False}, "the crop did not settle", None),
        ({"union": 0.0}, None, "no hippocampus was found"),
        ({"union": 9.0}, "total volume of 9 mm³ is below the limit of 10", None),
    ],
)
def test_what_a_side_is_flagged_and_refused_for(changes, flag, failure):
    known = {"agreement": 1.0, "moved": 0.0, "settled": True, "union": 20.0} | changes
    networks = SimpleNamespace(card=SimpleNamespace(limits={"union": (10.0, None)}))
    placed = Settled(None, 1, known["settled"], known["moved"])
    found = segmenting._judged(placed, known["agreement"], {"union": known["union"]}, networks)
    for texts, wanted in zip(found, (flag, failure), strict=True):
        assert len(texts) == bool(wanted) and all(re.search(wanted, text) for text in texts)


def test_asymmetry_is_relative_to_the_mean_of_both_sides():
    volumes = {side: ensemble.Volume(size, 0, 9e9) for side, size in (("left", 3000), ("right", 2000))}
    found = segmenting.Result(None, None, {}, volumes, (), "ok", ())
    assert found.asymmetry == 1000 / 2500
    assert replace(found, volumes={"left": volumes["left"]}).asymmetry is None


def test_limits_themselves_are_no_reason(served, monkeypatch):
    networks, _ = averaged(load_ensemble(served.folder, folds=(0,)), monkeypatch)
    calm = replace(networks, card=replace(networks.card, limits=dict.fromkeys(networks.card.limits, (None, None))))
    predict = ensemble.Ensemble.predict
    for agreement, status in ((0.94, "ok"), (0.939, "check")):
        with monkeypatch.context() as patch:
            patch.setattr(ensemble.Ensemble, "predict", lambda *a, to=agreement: replace(predict(*a), agreement=to))
            assert segment(served.image(1), calm).status == status
    # 100 mm are a head, less is a crop.
    noise = np.random.default_rng(0).normal(100, 20, (100, 40, 40)).astype(np.float32)
    monkeypatch.setattr(segmenting, "locate", lambda *_: Located(0.1 * np.eye(4), 1.0, False))
    assert segment(Scan(Path("head.nii"), noise, np.eye(4)), calm).status == "refused"
    with pytest.raises(DataError, match="expected a whole head or a crop"):
        segment(Scan(Path("crop.nii"), noise[:99], np.eye(4)), calm)
    # Nine tenths of a hippocampus in the image are enough.
    monkeypatch.setattr(segmenting, "locate", lambda *_: Located(np.eye(4), 1.0, False))
    monkeypatch.setattr(segmenting.crops, "settle", lambda _, box, *more: Settled(box, 1, True, 0.0))
    affine = np.array([[1, 0, 0, -63], [0, 1, 0, -84], [0, 0, 1, -75], [0, 0, 0, 1.0]])
    head = Scan(Path("head.nii"), np.random.default_rng(0).normal(100, 20, (126, 130, 120)).astype(np.float32), affine)
    monkeypatch.setattr(Located, "covered", lambda *_: 0.9)
    found = segment(head, calm)
    assert found.status != "refused" and found.hippocampi[0].image.shape == found.hippocampi[1].image.shape
    monkeypatch.setattr(Located, "covered", lambda self, side, *_: {"left": 0.75, "right": 0.9}[side])
    assert segment(head, calm).reasons == (
        "left: 25% of the place of the hippocampus lies outside of the image",
        "the head is cut off. Expected a T1-weighted scan of a whole head",
    )


def test_one_network_alone_gives_the_masks_that_were_scored(served):
    alone = load_ensemble(served.folder, folds=(2,))
    (run,) = alone.networks
    for case, mask in load.get(served.context.ws, run.name).masks.items():
        assert np.array_equal(segment(served.image(case), alone).labels, mask)


def test_the_packages_weights_give_a_mask_of_the_package(msd_dir):
    run = load.get(Workspace(project_root(), "msd"), "unet3d-scan.grouped0.s0.standard")
    case, mask = next(iter(run.masks.items()))
    found = segment(msd_dir / "imagesTr" / MSD_HIPPOCAMPUS.file_name(case), load_ensemble(folds=(0,)))
    assert np.mean(found.labels == mask) > 0.999


def test_a_run_is_parsed_from_its_name():
    for run in RunSpec("unet3d-fast"), RunSpec("search-b16-wd0.1", "leak-volumes", 3, 12, "p5", "cuda.fp32"):
        assert ensemble._parsed(run.name) == run
    with pytest.raises(ValueError, match="expected one such as"):
        ensemble._parsed("weights")


@pytest.fixture(scope="module")
def two():
    """Two of the networks, to be fast."""
    return load_ensemble(folds=(0, 1))


@pytest.fixture(scope="module")
def flash(heads):
    return read(heads / "flash_2mm_t1.nii.gz")


@pytest.fixture(scope="module")
def in_flash(flash, two):
    return segment(flash, two)


def agrees(found, heads, name, least):
    """Compare each side with the mask of another tool, by the least Dice."""
    assert found.status in ("ok", "check"), found.reasons
    assert found.labels.shape == found.scan.image.shape
    for side, values in (("L", (1, 2)), ("R", (3, 4))):
        reference = np.asarray(nibabel.load(heads / f"{name}_ref_{side}.nii.gz").dataobj) >= 128
        assert dice(np.isin(found.labels, values), reference) >= least
    voxel = abs(np.linalg.det(found.affine[:3, :3]))
    for value, part in found.names.items():
        assert found.volumes[part].predicted == pytest.approx(voxel * (found.labels == value).sum())
    assert abs(found.asymmetry) < 0.2 and 1200 < found.intracranial_ml < 2000
    front, back = (np.argwhere(found.labels == value).mean(axis=0) for value in (1, 2))
    assert (found.affine[:3, :3] @ (front - back))[1] > 10, "the anterior part lies in front"


def test_a_head_of_2_mm_agrees_with_another_tool_and_is_to_check(heads, in_flash):
    agrees(in_flash, heads, "flash_2mm_t1", 0.82)
    assert in_flash.status == "check"


def test_another_head_agrees_with_another_tool(heads):
    agrees(segment(heads / "example_1p75mm_t1.nii.gz"), heads, "example_1p75mm_t1", 0.85)


def test_a_mirrored_head_swaps_left_and_right(flash, in_flash, two):
    found = segment(replace(flash, affine=np.diag((-1.0, 1, 1, 1)) @ flash.affine), two)
    for side, other in (("left", "right"), ("right", "left")):
        assert found.volumes[side].predicted == pytest.approx(in_flash.volumes[other].predicted, rel=0.005)


def test_the_networks_were_trained_on_left_hippocampi(in_flash, two):
    for one in in_flash.hippocampi:
        seen = one.image[::-1] if one.side == "right" else one.image
        assert one.agreement > two.predict(np.ascontiguousarray(seen[::-1])).agreement + 0.02


def test_a_head_of_inverted_contrast_is_refused(flash, two):
    inverted = replace(flash, image=flash.image.max() - flash.image)
    found = segment(inverted, two)
    assert found.status == "refused" and found.labels is None and not found.volumes and found.reasons
