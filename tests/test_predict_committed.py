"""The predictor with the committed card and weights, on real scans: skipped where either is not there."""

import csv
import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.predict import card
from hipposeg.predict.scan import read_scan
from hipposeg.workspace import Workspace, project_root

FOLDER = Workspace(project_root(), "msd", "full").artifacts
# The command in a Python of its own, in which every use of a socket is an error and is listed with what was imported.
COMMAND = """
import json, sys
seen = []
def forbid(event, args):
    if event.startswith("socket."):
        seen.append(event)
        raise OSError(f"a connection was tried: {event}")
sys.addaudithook(forbid)
from hipposeg import cli
status = cli.main(sys.argv[1:])
print(json.dumps({"status": status, "seen": seen, "modules": sorted(sys.modules)}))
"""
# What only training, or a compiler that nobody asked for, needs: seconds, before the first image is read.
NOT_NEEDED = {"torch._inductor", "torch._dynamo", "monai", "SimpleITK", "pyvista", "open_clip", "timm", "sklearn"}


@pytest.fixture
def stored(msd_dir):
    """Scans and the masks that fold 0's network gave for them, by file name."""
    if not (FOLDER / card.NAME).is_file() or not any(FOLDER.glob("weights/*.safetensors")):
        pytest.skip("no card and weights are committed yet: `hipposeg study conformal` and `hipposeg series 04`")
    run = next(name for name in card.read(FOLDER / card.NAME).runs if ".grouped0." in name)
    paths = sorted((FOLDER / "predictions" / run).iterdir())
    return {path.name: (msd_dir / "imagesTr" / path.name, path) for path in paths}


def test_committed_weights_give_a_committed_mask_through_the_predictor(stored):
    model = ensembles.load_ensemble(FOLDER, folds=(0,))
    scan_path, mask_path = next(iter(stored.values()))
    scan = read_scan(scan_path, model.card.boxes, MSD_HIPPOCAMPUS)
    found, mask = model.segment(scan), np.asarray(nib.load(mask_path).dataobj)
    assert np.mean(found.mask == mask) > 0.999
    assert found.volumes["union"].lower < found.volumes["union"].predicted < found.volumes["union"].upper


def test_the_command_asks_all_five_networks_without_a_connection(stored, tmp_path):
    scan_path, mask_path = next(iter(stored.values()))
    command = [sys.executable, "-c", COMMAND, "predict", str(scan_path), "-o", str(tmp_path), "--model", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == 0 and told["seen"] == [], done.stderr
    assert not NOT_NEEDED & set(told["modules"])
    assert len(card.read(FOLDER / card.NAME).runs) == len(list(FOLDER.glob("weights/*.safetensors"))) == 5
    (row,) = csv.DictReader((tmp_path / "volumes.csv").open(newline=""))
    mask, of_one = nib.load(tmp_path / row["mask"]), np.asarray(nib.load(mask_path).dataobj)
    voxels = np.asarray(mask.dataobj)
    assert row["status"] in ("ok", "look") and np.allclose(mask.affine, nib.load(scan_path).affine)
    agreed = 2 * ((voxels == of_one) & (voxels > 0)).sum() / ((voxels > 0).sum() + (of_one > 0).sum())
    assert 0.9 < agreed < 1, "the mean of five networks, so near the one that never saw this person and not the same"
    assert float(row["total_low"]) < float(row["total_mm3"]) == (voxels > 0).sum() < float(row["total_high"])
    assert (tmp_path / row["picture"]).read_bytes()[:4] == b"\x89PNG"
