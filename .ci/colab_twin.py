"""A twin of Google Colab: notebooks run in its packages and its kernel, from a clone that their first cell makes.

`python .ci/colab_twin.py smoke 00 01 07`; called by `make colab`. The twin is a new environment
in .work/colab. Each notebook starts in an empty folder, with a module google.colab and without this project. It clones
the last commit of this checkout (HIPPOSEG_REPOSITORY), not what is uncommitted. At the end no package of Colab's may
have another version than before. The profile stored reads the real data from HIPPOSEG_DATA, smoke makes its phantom.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from packaging.utils import canonicalize_name

from hipposeg import reproduce

# What Colab has, of all that the project needs. Torch is the locked one: Colab's own build is not on PyPI.
COLAB = """
aiohttp==3.13.2 distributed==2025.9.1 einops==0.8.1 filelock==3.20.0 huggingface-hub==0.36.0 ipykernel==6.17.1
ipython==7.34.0 ipywidgets==7.7.1 jinja2==3.1.6 jupyter-client==7.4.9 jupytext==1.18.1 matplotlib==3.10.0
nbclient==0.10.2 nbconvert==7.16.6 nbformat==5.10.4 nibabel==5.3.2 numpy==2.1.3 pandas==2.2.3 pillow==11.3.0 pip==24.1.2
pooch==1.8.2 requests==2.32.4 safetensors==0.6.2 scikit-learn==1.6.1 scipy==1.16.3 timm==1.0.22 tornado==6.5.1
tqdm==4.67.1 traitlets==5.7.1
""".split()
OLDER = "nilearn==0.13.1"
ROOT = Path(__file__).resolve().parents[1]
TWIN = ROOT / ".work" / "colab"
PYTHON = TWIN / "venv" / "bin" / "python"
LAST = """
import hipposeg, os, sys
assert hipposeg.__file__ == os.path.abspath("src/hipposeg/__init__.py"), hipposeg.__file__
assert os.getcwd().endswith("hipposeg") and "google.colab" in sys.modules
print("Python", sys.version.split()[0], "torch", __import__("torch").__version__)
"""


def interpreter() -> str:
    """A Python of Colab's version (3.12), or the next best one."""
    installed = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.12.*/bin/python")
    for found in ("python3.12", *map(str, installed)):
        if shutil.which(found) and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
            return found
    print(f"No Python 3.12 here: the twin has {sys.version.split()[0]}, which Colab has not", flush=True)
    return sys.executable


def build() -> None:
    """Make the twin: Colab's packages, the locked torch, and a module google.colab."""
    shutil.rmtree(TWIN, ignore_errors=True)
    uv, lock = Path(sys.executable).with_name("uv"), (ROOT / "requirements.lock").read_text().splitlines()
    torch = [line.split(" ")[0] for line in lock if line.startswith(("torch==", "torchvision=="))]
    cpu = (Path(sys.prefix) / "torch-build").read_text().strip() == "cpu"
    subprocess.run([uv, "venv", "-q", "--python", interpreter(), TWIN / "venv"], check=True)
    backend = ["--torch-backend", "cpu"] if cpu else []
    subprocess.run([uv, "pip", "install", "-q", "--python", PYTHON, *backend, *COLAB, *torch], check=True)
    # What Colab has not comes in the locked version, today and in a year; only nilearn's needs a newer pandas.
    there = {*versions(), "nilearn"}
    others = [line.removesuffix(" \\") for line in lock if line[:1].isalnum() and line.split("==")[0] not in there]
    (TWIN / "constraints.txt").write_text("\n".join([*others, OLDER]))
    module = next(TWIN.glob("venv/lib/*/site-packages")) / "google" / "colab" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.touch()
    start = "--IPKernelApp.exec_lines=import google.colab"
    argv = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}", start]
    spec = TWIN / "kernels" / "colab" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))


def versions() -> dict[str, str]:
    """Name -> version of every package in the twin."""
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    found = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout
    return {canonicalize_name(name): version for name, version in (one.split("==") for one in found.split())}


def run(path: Path, profile: str) -> None:
    """Open a notebook in an empty folder, set its profile, run all cells, and keep the copy. Raises on an error."""
    notebook = reproduce.read(path)
    notebook.cells[2].source = f'profile = "{profile}"'
    notebook.cells.append(nbformat.v4.new_code_cell(LAST))
    folder = TWIN / path.stem
    folder.mkdir()
    began, place = time.monotonic(), {"metadata": {"path": str(folder)}}
    try:
        NotebookClient(notebook, kernel_name="colab", timeout=None, resources=place).execute()
    finally:
        nbformat.write(notebook, TWIN / f"{path.stem}.ipynb")
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", ())]
    end = notebook.cells[-1].outputs[0].text.strip()
    print(f"{path.stem}: {time.monotonic() - began:.0f} s, {kinds.count('image/png')} pictures, {end}", flush=True)


def main(profile: str, numbers: list[str]) -> None:
    """Build the twin, run the notebooks, and compare its packages with Colab's."""
    for name in [name for name in os.environ if name.startswith(("HIPPOSEG_", "PYTHON", "VIRTUAL_ENV", "IPYTHON"))]:
        if name != "HIPPOSEG_DATA":
            del os.environ[name]
    build()
    os.environ.update(
        HIPPOSEG_REPOSITORY=str(ROOT), IPYTHONDIR=str(TWIN / "ipython"), JUPYTER_PATH=str(TWIN),
        PATH=f"{PYTHON.parent}:{os.environ['PATH']}", PIP_CONSTRAINT=str(TWIN / "constraints.txt"),
        PYDEVD_DISABLE_FILE_VALIDATION="1",
    )  # fmt: skip
    if profile == "smoke":
        os.environ["HIPPOSEG_OUT"] = str(TWIN / "out")
    before = versions()
    for at, number in enumerate(numbers):
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.py")
        if at == 1 and profile == "smoke":  # 00 comes first: it installs the project and needs no run
            command = [PYTHON, "-m", "hipposeg.cli", "train", "--plan", "smoke"]
            done = subprocess.run(command, cwd=TWIN, capture_output=True, text=True, check=False)
            assert not done.returncode, done.stderr[-5000:]
        run(path, profile)
    after = versions()
    changed = {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
    assert not changed, f"the install cell replaced packages of Colab's: {changed}"
    print(f"{len(numbers)} passed, 0 failed; {len(before)} packages of Colab's kept, {len(after) - len(before)} added")


main(sys.argv[1], sys.argv[2:])
