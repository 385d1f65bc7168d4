"""The predictor: geometry kept, every refusal in words, a batch that goes on, the same bytes twice."""

import csv
import gzip
import re
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from hipposeg import cli
from hipposeg.data.spec import PHANTOM_SPEC, DataError
from hipposeg.experiments import RunSpec, prediction
from hipposeg.experiments.weights import initial, predict_with
from hipposeg.inference import predictor
from hipposeg.predict import batch, ensemble
from hipposeg.predict.scan import read_scan
from hipposeg.results import load
from hipposeg.training.machine import Machine
from hipposeg.workspace import project_root

MACHINE = Machine("cpu", "fp32", 1)


@pytest.fixture
def model(served):
    return ensemble.load_ensemble(served.folder)


def predict(served, *images, out):
    return cli.main(["predict", *map(str, images), "-o", str(out), "--weights", str(served.folder)])


def table(out):
    with (out / "volumes.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_mask_table_and_picture_in_the_scans_own_geometry(served, model, tmp_path, capsys):
    affine = nib.affines.from_matvec(np.array([[1, 0.02, 0], [-0.02, 1, 0], [0, 0, 1]]), [-31.5, 12.25, 7])
    affine[:3, :3] /= np.linalg.norm(affine[:3, :3], axis=0)
    image = nib.Nifti1Image(np.asarray(nib.load(served.image(1)).dataobj), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header["descrip"] = b"name of a patient"
    path, out = tmp_path / "own.nii.gz", tmp_path / "out"
    nib.save(image, path)
    assert predict(served, path, out=out) == 0
    mask = nib.load(out / "own_mask.nii.gz")
    assert mask.shape == image.shape and mask.get_data_dtype() == np.uint8
    assert np.allclose(mask.affine, nib.load(path).affine, atol=1e-5)
    assert int(mask.header["sform_code"]) == int(mask.header["qform_code"]) == 1
    assert b"patient" not in gzip.decompress((out / "own_mask.nii.gz").read_bytes())
    (row,) = table(out)
    voxels = np.asarray(mask.dataobj)
    assert set(np.unique(voxels)) <= {0, 1, 2}
    for name, count in (
        ("anterior", (voxels == 1).sum()),
        ("posterior", (voxels == 2).sum()),
        ("total", (voxels > 0).sum()),
    ):
        assert float(row[f"{name}_mm3"]) == pytest.approx(count, abs=0.06)
        assert float(row[f"{name}_low"]) <= float(row[f"{name}_mm3"]) <= float(row[f"{name}_high"])
    assert row["mask"] == "own_mask.nii.gz" and row["image"] == str(path) and row["status"] in ("ok", "look")
    assert (out / row["picture"]).read_bytes()[:4] == b"\x89PNG"
    assert "1 images: 1 segmented" in capsys.readouterr().out


def test_the_same_bytes_twice_and_nothing_left_over(served, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for out in (a, b, a):
        predict(served, served.image(1), out=out)
    names = sorted(path.name for path in a.iterdir())
    assert names == sorted(path.name for path in b.iterdir()) and len(names) == 3
    assert all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


def test_mask_is_of_the_mean_of_all_folds_and_intervals_of_the_card(served, model):
    scan = read_scan(served.image(1), model.card.boxes, PHANTOM_SPEC)
    found = model.segment(scan)
    assert len(model.networks) == 5
    each = [
        prediction.predict(run.definition, net, scan.image, scan.spacing, MACHINE)
        for run, net in model.networks.items()
    ]
    assert np.array_equal(found.mask, sum(one.probabilities for one in each).argmax(0))
    volume = found.volumes["union"]
    factor = model.card.quantiles["union"]
    scale = {
        "volume": volume.predicted,
        "spread": np.mean([one.voxels[:, 1:].sum(1).std(ddof=1) for one in each]),
    }[model.card.scale]
    assert volume.upper - volume.predicted == pytest.approx(factor * scale, rel=1e-6)


def test_one_fold_alone_gives_the_masks_that_were_scored(served, model):
    alone = ensemble.load_ensemble(served.folder, folds=(2,), machine=MACHINE)
    (run,) = alone.networks
    for case, mask in load.get(served.context.ws, run.name).masks.items():
        scan = read_scan(served.image(case), alone.card.boxes, PHANTOM_SPEC)
        assert np.array_equal(alone.segment(scan).mask, mask)


def test_an_ensemble_predicts_by_its_members():
    run = RunSpec("unet2d-fusion")
    network = initial(run, PHANTOM_SPEC).eval()
    image = np.random.default_rng(0).normal(size=(1, 33, 44, 30)).astype(np.float32)
    found = prediction.predict(run.definition, network, image, (1.0, 1.0, 1.0), MACHINE)
    mask = predict_with(run.definition, network, MACHINE)(image, (1.0, 1.0, 1.0))
    assert np.mean(found.probabilities.argmax(0) == mask) > 0.9999  # a mean and a sum may round a tie apart
    assert found.voxels.shape == (3, 3) and (found.voxels.sum(1) == image.size).all()
    sizes = found.voxels[:, 1:].sum(1) * 2.0
    assert found.spread((1.0, 2.0, 1.0), PHANTOM_SPEC)["union"] == pytest.approx(sizes.std(ddof=1))
    single = replace(found, voxels=found.voxels[:1]).spread((1.0, 1.0, 1.0), PHANTOM_SPEC)
    assert all(np.isnan(value) for value in single.values())
    assert predictor(lambda *_: found.probabilities)(image, (1.0, 1.0, 1.0)).dtype == np.uint8


def saved(path, voxels, affine):
    nib.save(nib.Nifti1Image(voxels, affine), path)


def with_nan(voxels):
    voxels = voxels.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    return voxels


def turned(degrees, axes=(0, 1)):
    """An affine of 1 mm voxels whose two axes are turned."""
    affine, angle = np.eye(4), np.radians(degrees)
    affine[np.ix_(axes, axes)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


EYE = np.eye(4)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
REFUSALS = {
    "spacing": (lambda p, v: saved(p, v, np.diag([0.8, 1, 1.2, 1])), r"voxels of 0\.8 x 1 x 1\.2 mm .*Resample"),
    "too large": (
        lambda p, v: saved(p, np.tile(v, (2, 2, 2)), EYE),
        r"found a crop of .*Crop the scan .*The crop matters",
    ),
    "too small": (
        lambda p, v: saved(p, v[:20, :20, :20], EYE),
        r"found a crop of 20 x 20 x 20 voxels.*The crop matters",
    ),
    "orientation": (lambda p, v: saved(p, v, LPS), r"found axes LPS, expected RAS .*right, front, top.*Reorient"),
    "turned": (
        lambda p, v: saved(p, v, turned(15)),
        r"rotated by 15\.0 degrees, expected 10 at most .*Resample the whole",
    ),
    "turned far": (lambda p, v: saved(p, v, turned(44, (1, 2))), r"rotated by 44\.0 degrees, expected 10 at most"),
    "label map": (
        lambda p, v: saved(p, np.digitize(v, np.quantile(v, [0.5, 0.9])).astype(np.uint8), EYE),
        r"only 3 different values, .*label map.*Name",
    ),
    "axes swapped": (lambda p, v: saved(p, v, EYE[[1, 0, 2, 3]]), r"found axes ARS, expected RAS"),
    "NaN": (lambda p, v: saved(p, with_nan(v), EYE), r"1 voxels that are NaN or infinite"),
    "four axes": (lambda p, v: saved(p, np.stack([v, v], 3), EYE), r"expected 3-D \(X, Y, Z\)"),
    "constant": (lambda p, v: saved(p, v * 0, EYE), r"constant image"),
    "empty file": (lambda p, v: p.write_bytes(b""), r"not gzip"),
    "cut short": (lambda p, v: (saved(p, v, EYE), p.write_bytes(p.read_bytes()[:-4000])), r"truncated or damaged"),
    "no file": (lambda p, v: None, r"no such file"),
    "a folder": (lambda p, v: p.mkdir(), r"found a folder.*Name the files in it"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_the_networks_do_not_know_is_refused_in_words(served, model, tmp_path, kind):
    change, words = REFUSALS[kind]
    path = tmp_path / "bad.nii.gz"
    change(path, np.asarray(nib.load(served.image(1)).dataobj))
    with pytest.raises(DataError, match=words) as caught:
        read_scan(path, model.card.boxes, PHANTOM_SPEC)
    text = str(caught.value)
    assert str(path) in text and "found" in text and "expected" in text
    assert "make data" not in text, "advice for the data set, not for a user's scan"


def test_other_refusals(served, model, tmp_path):
    boxes = model.card.boxes
    with pytest.raises(DataError, match="ends in .nii or .nii.gz"):
        read_scan(tmp_path / "a.png", boxes, PHANTOM_SPEC)
    plain = tmp_path / "plain.nii"
    for content in (b"", b"<html>", b"\0" * 400):
        plain.write_bytes(content)
        with pytest.raises(DataError, match="Export the volume again"):
            read_scan(plain, boxes, PHANTOM_SPEC)
    image = nib.Nifti1Image(np.asarray(nib.load(served.image(1)).dataobj), None)  # says nothing of where it lies
    nib.save(image, plain)
    with pytest.raises(DataError, match="stores no orientation"):
        read_scan(plain, boxes, PHANTOM_SPEC)


def test_a_box_turned_as_far_as_in_training_is_taken(served, model, tmp_path):
    path = tmp_path / "a.nii"
    voxels = np.asarray(nib.load(served.image(1)).dataobj)
    for affine in (turned(10), turned(-10, (1, 2)), turned(10, (0, 2))):
        image = nib.Nifti1Image(voxels, affine)
        image.set_qform(affine, 1)
        image.set_sform(None, 0)  # only a quaternion in single precision is left
        nib.save(image, path)
        read_scan(path, model.card.boxes, PHANTOM_SPEC)
        saved(path, voxels, affine)
        read_scan(path, model.card.boxes, PHANTOM_SPEC)
    saved(path, voxels, turned(10.5))
    with pytest.raises(DataError, match=r"rotated by 10\.5 degrees"):
        read_scan(path, model.card.boxes, PHANTOM_SPEC)


def test_a_scan_of_few_values_is_taken_and_a_mask_is_not(served, model, tmp_path):
    path, shape = tmp_path / "a.nii", model.card.boxes.largest
    for count in (16, 15):
        saved(path, np.arange(np.prod(shape)).reshape(shape).astype(np.int16) % count, EYE)
        if count == 16:
            read_scan(path, model.card.boxes, PHANTOM_SPEC)
    with pytest.raises(DataError, match="only 15 different values"):
        read_scan(path, model.card.boxes, PHANTOM_SPEC)


def test_sizes_and_spacings_up_to_the_margin_are_taken(served, model, tmp_path):
    boxes, path = model.card.boxes, tmp_path / "a.nii"
    noise = np.random.default_rng(0).normal(size=[side + 3 for side in boxes.largest]).astype(np.float32)
    saved(path, noise, np.diag([1.01, 1.0, 0.99, 1.0]))
    assert read_scan(path, boxes, PHANTOM_SPEC).spacing == pytest.approx((1.01, 1.0, 0.99))
    saved(path, noise[:, :, : boxes.smallest[2] - 3], EYE)
    read_scan(path, boxes, PHANTOM_SPEC)
    for voxels in (np.pad(noise, ((0, 1), (0, 0), (0, 0))), noise[:, :, : boxes.smallest[2] - 4]):
        saved(path, voxels, EYE)
        with pytest.raises(DataError, match="The crop matters"):
            read_scan(path, boxes, PHANTOM_SPEC)


def test_a_batch_goes_on_past_a_bad_file(served, model, tmp_path, capsys):
    bad, out = tmp_path / "bad.nii.gz", tmp_path / "out"
    bad.write_bytes(b"not a volume")
    assert predict(served, served.image(1), bad, served.image(2), bad, out=out) == 1
    said = capsys.readouterr()
    assert "3 images: 2 segmented" in said.out and "1 refused" in said.out
    assert said.err.count("refused:") == 1 and "bad.nii.gz" in said.err
    rows = table(out)
    assert [row["status"] == "refused" for row in rows] == [False, True, False]
    assert rows[1]["anterior_mm3"] == "" and "not gzip" in rows[1]["notes"]
    assert not list(out.glob("bad*"))


def test_files_of_one_name_keep_apart(served, tmp_path):
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        shutil.copy(served.image(1), tmp_path / folder / "scan.nii.gz")
    out = tmp_path / "out"
    assert predict(served, tmp_path / "left/scan.nii.gz", tmp_path / "right/scan.nii.gz", out=out) == 0
    assert {row["mask"] for row in table(out)} == {"left_scan_mask.nii.gz", "right_scan_mask.nii.gz"}


def test_names(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    assert batch.names([a / "x.nii", b / "y.nii.gz"]) == ["x", "y"]
    assert batch.names([a / "c" / "x.nii", b / "c" / "x.nii", b / "z.nii"]) == ["a_c_x", "b_c_x", "z"]
    assert len(set(batch.names([a / "x.nii", a / "x.nii.gz"]))) == 2


def test_weights_that_are_missing_or_not_the_cards(served, tmp_path, capsys):
    arguments = ["-o", str(tmp_path / "out"), "--weights", str(tmp_path)]
    assert cli.main(["predict", str(served.image(1)), *arguments]) == 1
    assert f"{tmp_path / 'card.json'} is missing" in capsys.readouterr().err
    copy = tmp_path / "copy"
    shutil.copytree(served.folder, copy)
    path = sorted(copy.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"not the file that card.json was made for"):
        ensemble.load_ensemble(copy)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing, which .*card.json names"):
        ensemble.load_ensemble(copy)


@pytest.mark.parametrize(
    "run", [RunSpec("unet3d-fast"), RunSpec("search-lr0.001-b16-wd0.1", "leak-volumes", 3, 12, "p5", "cuda.fp32")]
)
def test_a_run_is_parsed_from_its_name(run):
    assert ensemble._parsed(run.name) == run
    with pytest.raises(ValueError, match="expected one such as"):
        ensemble._parsed("weights")


def test_the_command_of_the_readme_is_one_that_the_program_takes():
    text = (project_root() / "README.md").read_text()
    (line,) = re.findall(r"^\.venv/bin/hipposeg (predict .*)$", text, re.MULTILINE)
    args = cli.parser().parse_args(line.split())
    assert [path.name for path in args.images] == ["my_crop.nii.gz"] and args.output.name == "out"
