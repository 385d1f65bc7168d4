"""What the Makefile runs and what it leaves alone, seen with a stand-in for `hipposeg` that notes its calls."""

import os
import shutil
import subprocess
import time

import pytest

from hipposeg.workspace import project_root

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")

STAND_IN = """#!/bin/sh
echo "$*" >>calls
profile=standard
for word in "$@"; do profile=$word; done
ws=artifacts/phantom-$profile
work=.work/phantom-$profile
case $1 in
data)
    mkdir -p $work && [ -f $work/data.json ] || echo {} >$work/data.json
    echo phantom ;;
execute)
    if grep -q broken notebooks/$2_*.py; then echo "cell 3 failed" >&2; exit 1; fi
    mkdir -p $ws/notebooks && echo {} >$ws/notebooks/$2_made.ipynb ;;
report) mkdir -p "artifacts/phantom-$3" && echo page >"artifacts/phantom-$3/project.html" ;;
esac
"""


class Project:
    """A folder with the real Makefile, three notebooks and the stand-in."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(project_root() / name, folder / name)
        for name in ("notebooks", "src", ".venv/bin"):
            (folder / name).mkdir(parents=True)
        (folder / "src" / "module.py").write_text("")
        for number in ("01", "02", "07"):
            (folder / "notebooks" / f"{number}_made.py").write_text("")
        command = folder / ".venv" / "bin" / "hipposeg"
        command.write_text(STAND_IN)
        command.chmod(0o755)
        self.age()
        (folder / ".venv" / ".stamp").touch()

    def age(self):
        """Make every file old, so that one touched later is newer even on a coarse clock."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() - 1000, time.time() - 1000))

    def make(self, *words, status=0):
        """Run make; returns its output and the notebooks and pages that were made."""
        (self.folder / "calls").unlink(missing_ok=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HIPPOSEG", "MAKE", "MFLAGS", "PROFILE"))}
        done = subprocess.run(["make", *words], cwd=self.folder, capture_output=True, text=True, env=clean)
        assert (done.returncode == 0) == (status == 0), done.stdout + done.stderr
        calls = (self.folder / "calls").read_text().splitlines() if (self.folder / "calls").exists() else []
        made = [call.split()[1] if call.startswith("execute") else "page" for call in calls if call[:4] != "data"]
        return done.stdout + done.stderr, made


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def test_all_runs_everything_in_order_and_then_nothing(project):
    assert project.make("all")[1] == ["01", "02", "07", "page"]
    output, made = project.make("all")
    assert made == []
    assert "Nothing to do: artifacts/phantom-standard is up to date" in output


def test_touching_one_notebook_reruns_it_and_what_depends_on_it(project):
    project.make("all")
    project.age()
    (project.folder / ".venv" / ".stamp").touch()
    project.make("all")
    (project.folder / "notebooks" / "02_made.py").touch()
    os.utime(project.folder / "notebooks" / "02_made.py", (time.time() + 5, time.time() + 5))
    assert project.make("all")[1] == ["02", "07", "page"]


@pytest.mark.parametrize("changed", ["src/module.py", ".work/phantom-standard/data.json"])
def test_package_and_data_concern_every_notebook(project, changed):
    project.make("all")
    os.utime(project.folder / changed, (time.time() + 5, time.time() + 5))
    assert project.make("all")[1] == ["01", "02", "07", "page"]


def test_profile_is_part_of_every_stamp(project):
    project.make("all", "PROFILE=smoke")
    assert project.make("all")[1] == ["01", "02", "07", "page"]
    assert project.make("smoke")[1] == []


def test_failing_notebook_stops_make_and_is_run_again(project):
    (project.folder / "notebooks" / "02_made.py").write_text("broken")
    output, made = project.make("all", status=2)
    assert made == ["01", "02"]
    assert "cell 3 failed" in output
    assert project.make("all", status=2)[1] == ["02"]
    (project.folder / "notebooks" / "02_made.py").write_text("mended")
    assert project.make("all")[1] == ["02", "07", "page"]


def test_lost_output_is_made_again(project):
    project.make("all")
    (project.folder / "artifacts" / "phantom-standard" / "project.html").unlink()
    assert project.make("all")[1] == ["page"]
    (project.folder / "artifacts" / "phantom-standard" / "notebooks" / "01_made.ipynb").unlink()
    assert project.make("all")[1] == ["01", "07", "page"]


def test_one_notebook_alone_and_one_that_is_not_written(project):
    assert project.make("02")[1] == ["02"]
    assert "Nothing to do" in project.make("02")[0]
    output, made = project.make("05")
    assert made == []
    assert "Notebook 05 is not written yet" in output
    assert project.make("07")[1] == ["01", "07"]


def test_trainings_never_run_side_by_side(project):
    assert project.make("-j8", "all")[1] == ["01", "02", "07", "page"]


def test_dataset_in_the_environment_means_nothing(project, monkeypatch):
    monkeypatch.setenv("DATASET", "msd")
    assert project.make("all")[1] == ["01", "02", "07", "page"]


def test_help_is_the_default_and_lists_every_target(project):
    output, _ = project.make()
    for target in ("setup", "data", "all", "figures", "smoke", "report", "test", "lint", "verify", "lab", "clean"):
        assert f"\n  {target} " in output
    assert "01 02 03 04 05 06 07" in output


def test_old_python_is_told_what_to_do(project):
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


def test_default_setup_installs_the_lock_and_the_project(project):
    done, calls = set_up(project)
    assert done.returncode == 0, done.stderr
    assert calls[1:] == [
        "uv pip install --python .venv/bin/python --no-deps -r requirements.lock",
        "uv pip install --python .venv/bin/python --no-deps --no-build-isolation -q -e .",
    ]


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


def test_unknown_torch_build_is_refused(project):
    done, _ = set_up(project, HIPPOSEG_TORCH="gpu", PYTHON="")
    assert done.returncode != 0
    assert "it may be 'cpu' or 'default'" in done.stderr
