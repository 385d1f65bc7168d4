"""The predictor with the package's card and weights, on real scans."""

import csv
import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.predict import card
from hipposeg.predict.ensemble import load_ensemble
from hipposeg.predict.scan import read_scan
from hipposeg.results import load
from hipposeg.workspace import Workspace, project_root

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
# Only training and compilation need these; importing them takes seconds.
NOT_NEEDED = {
    "hipposeg_lab",
    "pandas",
    "torch._inductor",
    "torch._dynamo",
    "monai",
    "SimpleITK",
    "pyvista",
    "open_clip",
    "timm",
    "sklearn",
}


@pytest.fixture
def stored(msd_dir):
    """A scan and its stored mask, predicted by the network of fold 0."""
    run = load.get(Workspace(project_root(), "msd"), "unet3d-fast.grouped0.s0.standard")
    case, mask = next(iter(run.masks.items()))
    return msd_dir / "imagesTr" / MSD_HIPPOCAMPUS.file_name(case), mask


def test_committed_weights_give_a_committed_mask_through_the_predictor(stored):
    model, (path, mask) = load_ensemble(folds=(0,)), stored
    found = model.segment(read_scan(path, model.card.boxes, MSD_HIPPOCAMPUS))
    assert np.mean(found.mask == mask) > 0.999
    assert found.volumes["union"].lower < found.volumes["union"].predicted < found.volumes["union"].upper


def test_the_command_uses_all_five_networks_without_a_connection(stored, tmp_path):
    path, of_one = stored
    command = [sys.executable, "-c", COMMAND, "predict", str(path), "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == 0 and told["seen"] == [], done.stderr
    assert not NOT_NEEDED & set(told["modules"])
    assert len(card.read().runs) == len(list(card.PACKAGED.glob("*.safetensors"))) == 5
    (row,) = csv.DictReader((tmp_path / "volumes.csv").open(newline=""))
    mask = nib.load(tmp_path / row["mask"])
    voxels = np.asarray(mask.dataobj)
    assert row["status"] in ("ok", "look") and np.allclose(mask.affine, nib.load(path).affine)
    agreed = 2 * ((voxels == of_one) & (voxels > 0)).sum() / ((voxels > 0).sum() + (of_one > 0).sum())
    assert 0.9 < agreed < 1, "the mean of five networks, so near the one that never saw this person and not the same"
    assert float(row["total_low"]) < float(row["total_mm3"]) == (voxels > 0).sum() < float(row["total_high"])
    assert (tmp_path / row["picture"]).read_bytes()[:4] == b"\x89PNG"
