"""Importing the package is cheap: heavy libraries load where they are used."""

import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import nibabel
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scipy.ndimage import gaussian_filter

from hipposeg.workspace import project_root

HEAVY = (
    "monai",
    "SimpleITK",
    "pyvista",
    "vtk",
    "open_clip",
    "segmentation_models_pytorch",
    "timm",
    "sklearn",
    "distributed",
)


def loaded(statement: str) -> set[str]:
    """Top-level modules that a fresh Python holds after `statement`."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["hipposeg", "hipposeg.workspace", "hipposeg.files", "hipposeg.data.locate", "hipposeg.cli"]
)
def test_what_make_calls_loads_no_torch(module):
    assert not loaded(f"import {module}") & {"torch", "matplotlib", "pandas", "nibabel", *HEAVY}


def test_training_and_sessions_load_torch_and_nothing_heavier():
    modules = loaded("import hipposeg.notebook, hipposeg.experiments.run, hipposeg.inference")
    assert "torch" in modules
    assert not modules & set(HEAVY)


def test_the_predictor_loads_no_tables_and_registration_only_for_heads():
    modules = loaded("import hipposeg.predict.output")
    assert "torch" in modules
    assert not modules & {"pandas", "triton", "matplotlib", *HEAVY}


def core() -> set[str]:
    """Names of the core dependencies and of all that they bring along."""
    todo, found = tomllib.loads((project_root() / "pyproject.toml").read_text())["project"]["dependencies"], set()
    while todo:
        one = Requirement(todo.pop())
        if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found.add(one.name)
            with suppress(PackageNotFoundError):  # of another system
                todo += requires(one.name) or ()
    return {canonicalize_name(name) for name in found}


# Python with a finder that refuses the modules of its first argument, as if they were not installed.
BLOCKED = """
import sys
names = set(sys.argv.pop(1).split(","))
class Finder:
    def find_spec(name, *_):
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(f"no {name}", name=name)
sys.meta_path.insert(0, Finder)
from hipposeg import cli, segment
import SimpleITK, hipposeg.predict.registration
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_crop_is_predicted_with_the_core_dependencies_alone(tmp_path):
    known, others = core(), set()
    for module, names in packages_distributions().items():
        if not known & {canonicalize_name(name) for name in names} and not re.match("_|hipposeg", module):
            others.add(module)
    assert {"pandas", "monai", "distributed", "pydicom", "highdicom", "aiohttp", "papermill", "pyvista"} <= others
    assert not others & {"torch", "numpy", "scipy", "nibabel", "SimpleITK", "safetensors", "matplotlib"}
    image = gaussian_filter(np.random.default_rng(0).normal(size=(36, 50, 36)), 2).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "crop.nii")

    def run(*words):
        command = [sys.executable, "-c", BLOCKED, ",".join(others), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("predict", tmp_path / "crop.nii", "-o", tmp_path / "out")
    assert done.returncode == 0 and (tmp_path / "out" / "crop_qc.html").is_file(), done.stdout + done.stderr
    done = run("serve")
    assert done.returncode == 1 and "found no aiohttp; `pip install 'hipposeg[web]'`" in done.stderr
