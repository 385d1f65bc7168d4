"""What the Makefile runs and when it runs nothing, with a stand-in for `hipposeg` that records its calls."""

import os
import shutil
import subprocess
import time

import pytest

from hipposeg.workspace import project_root

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")

STAND_IN = """#!/bin/sh
[ -z "$PYTHONDONTWRITEBYTECODE" ] || exit 1
echo "$*" >>calls
[ -n "$HIPPOSEG_OUT" ] || HIPPOSEG_OUT=.
dataset=$(cat dataset)
out=$HIPPOSEG_OUT ws=$HIPPOSEG_OUT/artifacts
[ $dataset = msd ] || out=$HIPPOSEG_OUT/.work/phantom/artifacts ws=$HIPPOSEG_OUT/.work/phantom/artifacts
case $1 in
data) echo "$dataset $3 0123" ;;
execute)
    if grep -q broken notebooks/$2_*.py; then echo "cell 3 failed" >&2; exit 1; fi
    mkdir -p "$ws/notebooks" && echo {} >"$ws/notebooks/$2_made.ipynb" ;;
page) mkdir -p "$out" && echo page >"$out/project.html" ;;
esac
"""
ALL = ["train", "01", "02", "07", "page"]


class Project:
    """A folder with the real Makefile, three notebooks and the stand-in."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(project_root() / name, folder / name)
        files = (
            *("src/hipposeg/module.py", "src/hipposeg_lab/studies/module.py", "src/hipposeg_lab/page/base.css"),
            "notebooks/captions.toml",
            *(f"notebooks/{number}_made.py" for number in ("01", "02", "07")),
        )
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
        (folder / ".venv" / "bin").mkdir(parents=True)
        for name in ("hipposeg", "hipposeg-lab"):
            (folder / ".venv" / "bin" / name).write_text(STAND_IN)
            (folder / ".venv" / "bin" / name).chmod(0o755)
        (folder / "dataset").write_text("msd")
        for path in folder.rglob("*"):  # what is touched later is newer even on a coarse clock
            os.utime(path, (time.time() - 1000, time.time() - 1000))
        (folder / ".venv" / ".stamp").touch()

    def touch(self, name):
        os.utime(self.folder / name, (time.time() + 5, time.time() + 5))

    def make(self, *words, fails=False, **variables):
        """Run make; return its output and what it ran: training, notebooks and pages."""
        (self.folder / "calls").unlink(missing_ok=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HIPPOSEG", "MAKE", "MFLAGS", "PROFILE"))}
        done = subprocess.run(
            ["make", *words], cwd=self.folder, capture_output=True, text=True, env=clean | variables, check=False
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        calls = (self.folder / "calls").read_text().splitlines() if (self.folder / "calls").exists() else []
        made = [call.split()[1] if call.startswith("execute") else call.split()[0] for call in calls]
        return done.stdout + done.stderr, [name for name in made if name != "data"]


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def test_all_runs_everything_in_order_and_then_nothing(project):
    assert project.make("-j8", "all", PYTHONDONTWRITEBYTECODE="1")[1] == ALL, "bytecode is kept"
    output, made = project.make("all")
    assert made == [] and output.strip() == "Nothing to do: all is up to date."


@pytest.mark.parametrize(
    ("changed", "rerun"),
    [
        ("src/hipposeg/module.py", ALL),
        ("src/hipposeg_lab/studies/module.py", ALL[1:]),
        ("src/hipposeg_lab/page/base.css", ["page"]),
        (".venv/.stamp", ALL),
        ("notebooks/02_made.py", ["02", "07", "page"]),
        ("artifacts/runs.csv", ALL[1:]),
    ],
)
def test_code_reruns_what_depends_on_it(project, changed, rerun):
    project.make("all")
    (project.folder / "artifacts" / "runs.csv").touch()
    project.make("all")
    project.touch(changed)
    assert project.make("all")[1] == rerun


def test_another_data_set_or_profile_reruns_everything(project):
    project.make("all")
    (project.folder / "dataset").write_text("phantom")
    assert project.make("all")[1] == ALL
    assert project.make("all", "PROFILE=stored")[1] == ALL[1:], "nothing is trained"
    (project.folder / "dataset").write_text("msd")
    assert project.make("all", "PROFILE=full")[1] == ["train", "study", *ALL[1:]]


def test_smoke_has_stamps_of_its_own(project):
    project.make("all")
    (project.folder / "dataset").write_text("phantom")
    assert project.make("smoke")[1] == ALL
    assert "train --plan smoke" in (project.folder / "calls").read_text()
    assert project.make("smoke")[1] == []
    assert project.make("all", "PROFILE=smoke")[1] == []


def test_a_failing_notebook_stops_make_and_runs_again(project):
    (project.folder / "notebooks" / "02_made.py").write_text("broken")
    output, made = project.make("all", fails=True)
    assert made == ["train", "01", "02"] and "cell 3 failed" in output
    assert project.make("all", fails=True)[1] == ["02"]
    (project.folder / "notebooks" / "02_made.py").write_text("mended")
    assert project.make("all")[1] == ["02", "07", "page"]


@pytest.mark.parametrize("out", ["", "a folder with blanks"])
def test_lost_output_is_made_again(project, out):
    variables = {"HIPPOSEG_OUT": str(project.folder / out)} if out else {}
    assert project.make("all", **variables)[1] == ALL
    assert project.make("all", **variables)[1] == []
    (project.folder / out / "project.html").unlink()
    assert project.make("all", **variables)[1] == ["page"]
    (project.folder / out / "artifacts" / "notebooks" / "01_made.ipynb").unlink()
    assert project.make("all", **variables)[1] == ["01", "07", "page"]


def test_an_old_python_is_refused_with_advice(project):
    shutil.copytree(project_root() / ".ci", project.folder / ".ci")
    shutil.rmtree(project.folder / ".venv")
    old = project.folder / "old"
    old.mkdir()
    for name in ("python", "python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (old / name).write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.6"\nexit 1\n')
        (old / name).chmod(0o755)
    done = subprocess.run(
        ["sh", ".ci/setup.sh"], cwd=project.folder, capture_output=True, text=True,
        env={**os.environ, "PATH": f"{old}:{os.environ['PATH']}", "PYTHON": ""},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed, and this machine's python3 is: Python 3.9.6" in done.stderr
    assert "make setup PYTHON=" in done.stderr
    assert not (project.folder / ".venv").exists()


STAND_IN_PYTHON = """#!/bin/sh
echo "python $*" >>calls
echo 2.15.0+cpu
"""
STAND_IN_UV = """#!/bin/sh
echo "uv $*" >>calls
"""


def set_up(project, uv=STAND_IN_UV, **variables):
    """Run the set-up script on a .venv of stand-ins; returns its output and what it called."""
    shutil.copytree(project_root() / ".ci", project.folder / ".ci")
    for name, text in (("python", STAND_IN_PYTHON), ("uv", uv)):
        (project.folder / ".venv" / "bin" / name).write_text(text)
        (project.folder / ".venv" / "bin" / name).chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if k != "HIPPOSEG_TORCH"}
    done = subprocess.run(
        ["sh", ".ci/setup.sh"], cwd=project.folder, capture_output=True, text=True, env={**clean, **variables}
    )
    noted = project.folder / "calls"
    calls = [line for line in noted.read_text().splitlines() if " install " in line]
    return done, calls


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux has two builds of torch")
def test_cpu_build_leaves_out_the_cuda_libraries_and_is_remembered(project):
    done, calls = set_up(project, HIPPOSEG_TORCH="cpu")
    assert done.returncode == 0, done.stderr
    assert "--index-url https://download.pytorch.org/whl/cpu torch==" in calls[1]
    assert calls[1].count("+cpu") == 2
    assert calls[2].endswith("--no-deps -r .venv/cpu.lock")
    pins = {line for line in (project_root() / "requirements.lock").read_text().splitlines() if "==" in line}
    kept = {line for line in (project.folder / ".venv" / "cpu.lock").read_text().splitlines() if "==" in line}
    gone = {line.split("==")[0] for line in pins - kept}
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-bindings"} <= gone
    assert all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in gone)
    assert kept < pins
    assert (project.folder / ".venv" / "torch-build").read_text() == "cpu\n"


def test_setup_falls_back_to_pip_loudly(project):
    done, calls = set_up(project, uv="#!/bin/sh\nexit 1\n")
    assert done.returncode == 0, done.stderr
    assert "falling back to pip" in done.stderr
    assert calls[1] == "python -m pip install --disable-pip-version-check --no-deps -r requirements.lock"
