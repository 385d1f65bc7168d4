"""Importing the package is cheap: heavy libraries load where they are used."""

import subprocess
import sys

import pytest

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
