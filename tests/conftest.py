"""Shared fixtures. No test ever tries the network."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["HIPPOSEG_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores, so one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def folder_named_by(variable: str, unchecked: str) -> Path:
    """The folder that an environment variable names; without it the test is skipped and says what did not run."""
    if not (folder := os.environ.get(variable)):
        pytest.skip(f"{variable} is not set: {unchecked} did not run")
    return Path(folder)


@pytest.fixture(scope="session")
def msd_dir() -> Path:
    """The real data set's folder, as HIPPOSEG_DATA names it."""
    return folder_named_by("HIPPOSEG_DATA", "the checks on the real 260 volumes")


@pytest.fixture(scope="session")
def heads() -> Path:
    """The folder of whole-head scans with reference masks, as HIPPOSEG_HEADS names it."""
    return folder_named_by("HIPPOSEG_HEADS", "the checks on whole heads")


@pytest.fixture(scope="session")
def phantom_people(tmp_path_factory):
    """A function: number of people -> a new phantom of them, read (`cohort`), and its `folds`."""
    from hipposeg.data import cohort, folds, phantom
    from hipposeg.data.locate import Source
    from hipposeg.data.spec import PHANTOM_SPEC

    def make(n_subjects: int) -> SimpleNamespace:
        folder = tmp_path_factory.mktemp("data") / "Task04_Hippocampus"
        phantom.generate(folder, PHANTOM_SPEC, n_subjects=n_subjects, seed=3)
        people = cohort.load(Source("phantom", folder, PHANTOM_SPEC))
        return SimpleNamespace(cohort=people, folds=folds.make(people.spec, people.numbers))

    return make


@pytest.fixture(scope="session")
def eight(phantom_people):
    """A phantom of eight subjects."""
    return phantom_people(8)


@pytest.fixture(scope="session")
def guided_run(eight, tmp_path_factory):
    """Workspace and result of `guided.RUN`; tests must leave them as they are."""
    from guided import RUN

    from hipposeg.experiments.run import train
    from hipposeg.workspace import Workspace

    ws = Workspace(tmp_path_factory.mktemp("guided"), "phantom", "smoke")
    return ws, train(RUN, eight.cohort, eight.folds, ws)


@pytest.fixture
def house_style() -> Iterator[None]:
    """The figures' house style, and no figure left open."""
    import matplotlib.pyplot as plt

    from hipposeg.viz.style import use_style

    use_style()
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def tiny_flagship(phantom_people, tmp_path_factory):
    """A tiny flagship with weights and card (`serving.Served`), trained once; tests take `served`."""
    import serving

    return serving.make(phantom_people(14), tmp_path_factory.mktemp("served"))


@pytest.fixture
def served(tiny_flagship, monkeypatch):
    """The tiny flagship, known as a model while the test runs."""
    import serving

    serving.serve(monkeypatch)
    return tiny_flagship
